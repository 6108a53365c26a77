//! Ends: with grace, without, twice, at once.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{CallOptions, ErrorKind, Transport};
use tokio::time::{Instant, sleep};

use super::kit::*;

#[tokio::test]
async fn stopping_waits_for_what_is_under_way_and_no_longer() {
    for (grace, message, answered) in [(5000, "nap", true), (300, "sleep", false)] {
        let (server, other) = (server().await, server().await);
        let out = dial_with(&server.transport, &other.address).await;
        let channel = dial(&server.address).await;
        let begun = Instant::now();
        let call = async {
            let answer = channel.request(message.into(), CallOptions::default()).await;
            assert_eq!(answer.is_ok(), answered, "{answer:?}");
            if !answered {
                assert_eq!(kind(answer), Some(ErrorKind::Unreachable));
            }
        };
        let stop = async {
            server.service.until_working(1).await;
            // Neither of these is under way.
            let idle = dial(&server.address).await;
            let late = async {
                sleep(millis(100)).await;
                assert!(server.transport.addresses().is_empty());
                assert_eq!(kind(idle.request("late".into(), soon()).await), Some(ErrorKind::Unreachable));
                let client = client();
                assert_eq!(kind(client.dial(&server.address, soon()).await), Some(ErrorKind::Unreachable));
            };
            let (stopped, ()) = tokio::join!(server.transport.stop_listening(millis(grace)), late);
            stopped.unwrap();
            assert_eq!(server.service.working(), 0);
        };
        tokio::join!(call, stop);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(server.service.seen(), 1);
        // The side that dials goes on, over the same connection and over new ones.
        assert_eq!(out.request("x".into(), soon()).await.unwrap(), "x");
        let third = super::kit::server().await;
        assert!(dial_with(&server.transport, &third.address).await.request("x".into(), soon()).await.is_ok());
        // And listening begins again, under the same address.
        server.transport.listen(server.service.clone()).await.unwrap();
        assert_eq!(server.transport.addresses(), std::slice::from_ref(&server.address));
        assert_eq!(channel.request("again".into(), soon()).await.unwrap(), "again");
    }
}

/// A connection that is closed drops what is still on its way, so it is not closed before that has arrived.
#[tokio::test]
async fn an_answer_on_its_way_arrives() {
    let server = server().await;
    let channel = dial(&server.address).await;
    let call = async {
        let answer = channel.request("later".into(), soon()).await.unwrap();
        assert!(answer == vec![7; 4 << 20]);
    };
    let stop = async {
        server.service.until_working(1).await;
        server.transport.stop_listening(Duration::from_secs(10)).await.unwrap();
    };
    tokio::join!(call, stop);
}

#[tokio::test]
async fn stopping_without_anything_under_way_is_immediate() {
    let server = server().await;
    let channel = dial(&server.address).await;
    channel.request("x".into(), soon()).await.unwrap();
    let _silent = Raw::to(&server).await;
    let begun = Instant::now();
    server.transport.stop_listening(Duration::MAX).await.unwrap();
    server.transport.stop_listening(Duration::MAX).await.unwrap();
    assert!(begun.elapsed() < millis(500), "{:?}", begun.elapsed());
    assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Unreachable));
    // And again.
    server.transport.listen(server.service.clone()).await.unwrap();
    server.transport.stop_listening(Duration::ZERO).await.unwrap();
    assert_eq!(server.service.seen(), 1);
}

/// Requests that are half there and answers that nobody reads count as under way, until the grace period ends.
#[tokio::test]
async fn stopping_ends_what_does_not_end_by_itself() {
    let server = server().await;
    let raw = Raw::deaf(&server).await;
    let mut kept = vec![raw.say([0, 0, 1, 0, 7]).await];
    for _ in 0..20 {
        let (mut send, receive) = raw.say(frame("large")).await;
        send.finish().unwrap();
        kept.push((send, receive));
    }
    sleep(millis(200)).await;
    let begun = Instant::now();
    server.transport.stop_listening(millis(300)).await.unwrap();
    assert!(begun.elapsed() >= millis(250) && begun.elapsed() < millis(1300), "{:?}", begun.elapsed());
    within(1, raw.connection.closed()).await;
}

#[tokio::test]
async fn who_is_in_a_hurry_has_it_his_way() {
    let server = server().await;
    let channel = dial(&server.address).await;
    let begun = Instant::now();
    let call = async {
        let answer = channel.request("sleep".into(), CallOptions::default()).await;
        assert_eq!(kind(answer), Some(ErrorKind::Unreachable));
    };
    let patient = async {
        server.service.until_working(1).await;
        server.transport.stop_listening(Duration::from_secs(60)).await.unwrap();
    };
    let hasty = async {
        sleep(millis(300)).await;
        server.transport.stop_listening(millis(100)).await.unwrap();
        assert_eq!(server.service.working(), 0);
    };
    let again = async {
        // Begins once the old one has ended.
        sleep(millis(200)).await;
        server.transport.listen(server.service.clone()).await.unwrap();
    };
    tokio::join!(call, patient, hasty, again);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(server.transport.addresses().len(), 1);
}

#[tokio::test]
async fn closing_ends_both_sides() {
    let (server, other) = (server().await, server().await);
    let channel = dial_with(&server.transport, &other.address).await;
    channel.request("x".into(), soon()).await.unwrap();
    let guest = dial(&server.address).await;
    let begun = Instant::now();
    let call = async {
        let answer = channel.request("sleep".into(), CallOptions::default()).await;
        assert_eq!(kind(answer), Some(ErrorKind::Closed));
    };
    let served = async {
        assert_eq!(kind(guest.request("sleep".into(), CallOptions::default()).await), Some(ErrorKind::Unreachable));
    };
    let close = async {
        other.service.until_working(1).await;
        server.service.until_working(1).await;
        server.transport.close().await.unwrap();
        server.transport.close().await.unwrap();
        assert_eq!(server.service.working(), 0);
    };
    tokio::join!(call, served, close);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    other.service.until_working(0).await;
    assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Closed));
    assert_eq!(kind(server.transport.dial(&other.address, soon()).await), Some(ErrorKind::Closed));
    assert_eq!(kind(server.transport.listen(server.service.clone()).await), Some(ErrorKind::Closed));
    UdpSocket::bind(server.place()).expect("the port is free");
}

#[tokio::test]
async fn dropping_a_transport_ends_it() {
    let server = server().await;
    let client = client();
    let channel = dial_with(&client, &server.address).await;
    channel.request("x".into(), soon()).await.unwrap();
    let place = server.place();
    drop(server.transport);
    within(5, async {
        while UdpSocket::bind(place).is_err() {
            sleep(millis(10)).await;
        }
    })
    .await;
    drop(client);
    assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Closed));
    // One that was never used has nothing to end.
    let unused = super::kit::client();
    unused.stop_listening(Duration::MAX).await.unwrap();
    unused.close().await.unwrap();
    drop(unused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_stopping_and_sending_at_once() {
    let server = Arc::new(server().await);
    let client = Arc::new(client_with(|limits| limits.connect_timeout = millis(1000)));
    let mut all = Vec::new();
    for number in 0..8_u64 {
        let (server, client) = (server.clone(), client.clone());
        all.push(tokio::spawn(async move {
            for round in 0..40 {
                match (number + round) % 4 {
                    0 => drop(server.transport.listen(server.service.clone()).await),
                    1 => server.transport.stop_listening(millis(number * 10)).await.unwrap(),
                    _ => {
                        if let Ok(channel) = client.dial(&server.address, soon()).await {
                            let _ = channel.request("x".into(), soon()).await;
                        }
                    }
                }
            }
        }));
    }
    within(60, async {
        for task in all {
            task.await.unwrap();
        }
    })
    .await;
    server.transport.stop_listening(Duration::ZERO).await.unwrap();
    server.transport.listen(server.service.clone()).await.unwrap();
    works(&server).await;
}
