//! Connections: kept, shared, broken, and a request that is sent once whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eidetica_contract::{Address, CallOptions, ErrorKind, Transport};
use eidetica_transport_http::{HttpLimits, HttpTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::kit::*;

#[tokio::test]
async fn connections_are_used_again() {
    let parrot = parrot(Says::Then(answer(b"yes"))).await;
    let client = client();
    for _ in 0..3 {
        // Also by a channel of its own.
        let channel = dial_with(&client, &parrot.address).await;
        for _ in 0..10 {
            assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "yes");
        }
    }
    assert_eq!(parrot.connections.load(Ordering::SeqCst), 1);
    assert_eq!(parrot.requests.load(Ordering::SeqCst), 30);
}

#[tokio::test]
async fn a_refusal_keeps_its_connection() {
    let refusal = b"HTTP/1.1 507 Full\r\neidetica-error: 10\r\ncontent-length: 2\r\n\r\nno".to_vec();
    let parrot = parrot(Says::Then(refusal)).await;
    let channel = dial(&parrot.address).await;
    for _ in 0..5 {
        assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Full));
    }
    assert_eq!(parrot.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_idle_connection_is_given_up() {
    let parrot = parrot(Says::Then(answer(b"yes"))).await;
    let mut limits = HttpLimits::default();
    limits.idle_timeout = millis(200);
    let client = HttpTransport::builder().limits(limits).into_transport().unwrap();
    let channel = dial_with(&client, &parrot.address).await;
    for _ in 0..2 {
        channel.request("x".into(), soon()).await.unwrap();
        sleep(millis(150)).await;
    }
    assert_eq!(parrot.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once() {
    let server = server().await;
    let channel = dial(&server.address).await;
    let mut calls = JoinSet::new();
    for number in 0..100_u32 {
        let channel = channel.clone();
        calls.spawn(async move {
            if number < 8 {
                assert_eq!(channel.request("nap".into(), soon()).await.unwrap(), "nap");
            }
            for round in 0..20_u32 {
                let message = [number.to_be_bytes(), round.to_be_bytes()].concat();
                assert_eq!(channel.request(message.clone().into(), soon()).await.unwrap(), message);
            }
        });
    }
    within(60, async { while calls.join_next().await.is_some_and(|call| call.map(|()| true).unwrap()) {} }).await;
    assert!(server.service.peak.load(Ordering::SeqCst) >= 8, "naps wait for each other");
    assert_eq!(server.service.seen(), 2008);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_at_once() {
    let server = server_with(|limits| limits.large_messages = 4).await;
    let channel = dial(&server.address).await;
    let mut calls = JoinSet::new();
    for number in 0..12_u8 {
        let channel = channel.clone();
        calls.spawn(async move {
            let message = vec![number; 4 << 20];
            assert!(channel.request(message.clone().into(), CallOptions::default()).await.unwrap() == message);
        });
    }
    within(60, async { while calls.join_next().await.is_some_and(|call| call.map(|()| true).unwrap()) {} }).await;
}

#[tokio::test]
async fn connections_to_a_peer_are_bounded() {
    let parrot = parrot(Says::Hangs(Vec::new())).await;
    let mut limits = HttpLimits::default();
    limits.connections_per_peer = 3;
    let client = HttpTransport::builder().limits(limits).into_transport().unwrap();
    let channel = dial_with(&client, &parrot.address).await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let channel = channel.clone();
        calls.spawn(async move { kind(channel.request("x".into(), CallOptions::timeout(millis(300))).await) });
    }
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap(), Some(ErrorKind::Timeout));
    }
    // Those of the first three, and at most three more that got a place just before their deadline.
    let connections = parrot.connections.load(Ordering::SeqCst);
    assert!((3..=6).contains(&connections), "{connections}");
}

/// Many peers behind one proxy: each is watched by a request that is under way as good as always, and none takes the places of
/// another.
#[tokio::test]
async fn peers_at_one_place_have_places_of_their_own() {
    let parrot = parrot(Says::Hangs(Vec::new())).await;
    let mut limits = HttpLimits::default();
    limits.connections_per_peer = 1;
    let client = HttpTransport::builder().limits(limits).into_transport().unwrap();
    let mut calls = JoinSet::new();
    for number in 0..40 {
        let peer = Address::http(format!("http://{}/peer{number}", parrot.address));
        let channel = dial_with(&client, &peer).await;
        calls.spawn(async move { channel.request("x".into(), CallOptions::timeout(Duration::from_secs(5))).await });
    }
    within(4, async {
        while parrot.requests.load(Ordering::SeqCst) < 40 {
            sleep(millis(5)).await;
        }
    })
    .await;
}

/// The server goes and comes back while the client keeps its connection.
#[tokio::test]
async fn a_server_that_is_restarted_is_found_again() {
    let client = client();
    let mut bind = "127.0.0.1:0".to_owned();
    let mut channel = None;
    for round in 0..5 {
        let server = serve_at(&bind, |_| {}).await;
        bind = server.address.address.clone();
        let channel = match &channel {
            Some(channel) => channel,
            none => {
                assert!(none.is_none());
                channel.insert(dial_with(&client, &server.address).await)
            }
        };
        assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x", "round {round}");
        server.transport.stop_listening(Duration::from_secs(1)).await.unwrap();
        assert_eq!(server.service.seen(), 1);
        if round % 2 == 0 {
            assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Unreachable));
        }
    }
}

/// A server that ends each connection as soon as it has heard a request on it for the second time: so that every request but
/// the first of a connection meets one that breaks.
#[tokio::test]
async fn a_request_is_never_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::http(listener.local_addr().unwrap().to_string());
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut some = vec![0; 4096];
                for round in 0..2 {
                    let read = stream.read(&mut some).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    if round == 0 {
                        stream.write_all(&answer(b"yes")).await.unwrap();
                    }
                }
            });
        }
    });
    let client = client();
    let channel = dial_with(&client, &address).await;
    let mut answered = 0;
    for _ in 0..40 {
        match channel.request("x".into(), soon()).await {
            Ok(_) => answered += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unreachable),
        }
    }
    assert_eq!(answered, 20);
    assert_eq!(heard.load(Ordering::SeqCst), 40, "each request reaches the server once");
}

/// The server ends idle connections at the very moment at which they are used again: some requests fail, and those that do are
/// not sent again on another connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_while_they_are_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::http(listener.local_addr().unwrap().to_string());
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut some = vec![0; 4096];
            if matches!(stream.read(&mut some).await, Ok(read) if read > 0) {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&answer(b"yes")).await;
                // Ended without a word.
            }
        }
    });
    let client = client();
    let channel = dial_with(&client, &address).await;
    let mut failed = 0;
    for _ in 0..500 {
        match channel.request("x".into(), soon()).await {
            Ok(answer) => assert_eq!(answer, "yes"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
                failed += 1;
            }
        }
    }
    let heard = heard.load(Ordering::SeqCst);
    assert!(heard <= 500 && heard + failed >= 500, "{heard} heard, {failed} failed");
}
