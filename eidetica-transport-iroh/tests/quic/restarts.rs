//! Peers that go and come back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use eidetica_contract::{CallOptions, ErrorKind, Transport};
use tokio::time::{Instant, sleep};

use super::kit::*;

#[tokio::test]
async fn connections_are_used_again_and_given_up() {
    let parrot = parrot(Says::Last(frame("yes"))).await;
    let client = client_with(|limits| limits.idle_timeout = millis(600));
    for _ in 0..3 {
        // Also by a channel of its own.
        let channel = dial_with(&client, &parrot.address).await;
        for _ in 0..10 {
            assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "yes");
        }
    }
    assert_eq!(parrot.connections.load(Ordering::SeqCst), 1);
    let channel = dial_with(&client, &parrot.address).await;
    sleep(millis(800)).await;
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "yes");
    assert_eq!(parrot.connections.load(Ordering::SeqCst), 2);
    // Not while something is under way.
    let server = server().await;
    let channel = dial_with(&client, &server.address).await;
    for _ in 0..3 {
        assert_eq!(channel.request("nap".into(), soon()).await.unwrap(), "nap");
    }
    let first = channel.request("sleep".into(), CallOptions::timeout(Duration::from_secs(2)));
    let second = async {
        sleep(millis(1500)).await;
        assert_eq!(server.service.working(), 1);
    };
    assert_eq!(kind(tokio::join!(first, second).0), Some(ErrorKind::Timeout));
}

#[tokio::test]
async fn a_restart_under_the_same_key_on_another_port() {
    let first = server().await;
    let client = client_with(|limits| limits.connect_timeout = millis(700));
    let channel = dial_with(&client, &first.address).await;
    channel.request("x".into(), soon()).await.unwrap();
    let (seed, old) = (first.seed, first.address.clone());
    first.transport.close().await.unwrap();
    let error = channel.request("x".into(), soon()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("nobody answers"), "{error}");
    assert_eq!(kind(client.dial(&old, soon()).await), Some(ErrorKind::Unreachable));

    let second = serve(builder(), seed).await;
    assert_ne!(second.address, old);
    assert_eq!(
        kind(super::kit::client_with(|limits| limits.connect_timeout = millis(700)).dial(&old, soon()).await),
        Some(ErrorKind::Unreachable)
    );
    let fresh = dial_with(&client, &second.address).await;
    assert_eq!(fresh.request("x".into(), soon()).await.unwrap(), "x");
    assert_eq!(fresh.peer(), channel.peer());
    // It is one peer, so older channels reach it as well.
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
}

#[tokio::test]
async fn a_restart_on_a_fixed_port_keeps_the_address() {
    let first = server().await;
    let client = client();
    let channel = dial_with(&client, &first.address).await;
    channel.request("x".into(), soon()).await.unwrap();
    let (seed, place, address) = (first.seed, first.place(), first.address.clone());
    first.transport.close().await.unwrap();
    let fixed =
        || eidetica_transport_iroh::IrohTransport::builder().relay_mode(eidetica_transport_iroh::RelayMode::Disabled);
    let second = serve(fixed().bind(place.to_string()), seed).await;
    assert_eq!(second.address, address);
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
    assert_eq!(second.service.seen(), 1);
}

/// A peer that goes without a word, as one does that is killed.
#[test]
fn a_peer_that_vanishes() {
    let here = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let there = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = there.block_on(server());
    let (seed, address) = (server.seed, server.address.clone());
    here.block_on(async {
        let client = Arc::new(client());
        let channel = dial_with(&client, &address).await;
        channel.request("x".into(), soon()).await.unwrap();
        let call = {
            let channel = channel.clone();
            tokio::spawn(
                async move { channel.request("sleep".into(), CallOptions::timeout(Duration::from_secs(50))).await },
            )
        };
        server.service.until_working(1).await;
        // First what could still say a word.
        std::thread::spawn(move || there.shutdown_timeout(Duration::from_secs(5))).join().unwrap();
        drop(server);
        let begun = Instant::now();
        assert_eq!(kind(call.await.unwrap()), Some(ErrorKind::Unreachable));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        // Whoever comes back is found again.
        let second = serve(builder(), seed).await;
        let found = dial_with(&client, &second.address).await;
        assert_eq!(found.request("x".into(), soon()).await.unwrap(), "x");
        assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
        assert_eq!(second.service.seen(), 2);
        client.close().await.unwrap();
    });
}

/// A request is sent once, whatever becomes of its connection.
#[tokio::test]
async fn a_request_is_never_repeated() {
    let parrot = parrot(Says::Closes).await;
    let client = client();
    let channel = dial_with(&client, &parrot.address).await;
    for number in 1..=5 {
        assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Unreachable));
        assert_eq!(parrot.requests.load(Ordering::SeqCst), number);
    }
}
