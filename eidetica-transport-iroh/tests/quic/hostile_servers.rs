//! Servers that do not behave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use eidetica_contract::{CallOptions, ErrorKind};
use tokio::time::Instant;

use super::kit::*;

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for (says, wanted) in [
        (Says::Last(Vec::new()), ErrorKind::Unreachable),
        (Says::Last(vec![0, 0, 0]), ErrorKind::Unreachable),
        (Says::Last(vec![0, 0, 0, 5, 1]), ErrorKind::Unreachable),
        (Says::Last(vec![0, 0, 0, 1, 1, 2]), ErrorKind::Unreachable),
        (Says::Last(vec![0xff; 100]), ErrorKind::TooLarge),
        (Says::Forever(vec![0xff; 1000]), ErrorKind::TooLarge),
        (Says::Forever(vec![0; 1000]), ErrorKind::Unreachable),
        (Says::Resets(Vec::new(), 0), ErrorKind::Unreachable),
        (Says::Resets(vec![0, 0, 0, 5, 1], u32::MAX >> 2), ErrorKind::Unreachable),
        (Says::Resets(Vec::new(), ErrorKind::Full.number()), ErrorKind::Full),
        (Says::Closes, ErrorKind::Unreachable),
    ] {
        let parrot = parrot(says).await;
        let channel = dial(&parrot.address).await;
        let begun = Instant::now();
        let error = channel.request("x".into(), soon()).await.unwrap_err();
        assert_eq!(error.kind(), wanted, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(parrot.requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn answers_that_do_not_come_end_with_the_deadline() {
    for says in [Says::Hangs(Vec::new()), Says::Hangs(vec![0, 0, 0, 9, 1]), Says::Deaf] {
        let parrot = parrot(says).await;
        let channel = dial(&parrot.address).await;
        let begun = Instant::now();
        // More than is taken by who does not read.
        let message = vec![7; 4 << 20];
        let late = channel.request(message.into(), CallOptions::timeout(millis(600))).await;
        assert_eq!(kind(late), Some(ErrorKind::Timeout));
        assert!(begun.elapsed() < millis(1500), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn one_hung_peer_costs_others_nothing() {
    let (hung, server) = (parrot(Says::Deaf).await, server().await);
    let client = client_with(|limits| limits.calls_per_peer = 4);
    let (hanging, channel) = (dial_with(&client, &hung.address).await, dial_with(&client, &server.address).await);
    let call = |time| {
        let channel = hanging.clone();
        tokio::spawn(async move { channel.request("x".into(), CallOptions::timeout(time)).await })
    };
    let mut calls: Vec<_> = (0..4).map(|_| call(millis(6000))).collect();
    let all_places_are_taken = async {
        while hung.requests.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(millis(5)).await;
        }
    };
    tokio::time::timeout(millis(5000), all_places_are_taken).await.expect("four requests arrive");
    // These give up before a place is free.
    calls.extend((0..4).map(|_| call(millis(500))));
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(channel.request("x".into(), soon()).await.is_ok());
    }
    assert!(begun.elapsed() < millis(3500), "{:?}", begun.elapsed());
    for call in calls {
        assert_eq!(kind(call.await.unwrap()), Some(ErrorKind::Timeout));
    }
    assert_eq!(hung.requests.load(Ordering::SeqCst), 4, "those that waited for a place were never sent");
}
