//! Messages there, and back.

use bytes::Bytes;
use eidetica_contract::{CallOptions, ErrorKind};
use std::time::Duration;
use tokio::task::JoinSet;

use super::{Ground, dial, kind, pattern, soon, until};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Transport, must "transport.exchange.keeps-every-byte",
        "Moves one opaque message to a peer and one back.", keeps_every_byte),
    case!(Transport, must "transport.exchange.answers-find-their-requests",
        "Any number of requests may be under way at once, and their answers may come in any order; each request gets its own.",
        answers_find_their_requests, sees ["an answer overtook another"]),
    case!(Transport, must "transport.exchange.once-at-most",
        "The peer's service sees a request at most once: a transport never repeats one by itself.", once_at_most),
    case!(Transport, must "transport.exchange.many-large-ones",
        "Any number of requests may be under way at once, and their answers may come in any order.", many_large_ones),
    case!(Transport, must "transport.exchange.many-channels",
        "Opens a channel to a peer.", many_channels),
    case!(Transport, must "transport.exchange.both-ways",
        "Accepts requests and hands them to the service.", both_ways),
    case!(Transport, must "transport.exchange.dropped-calls-harm-none",
        "Cancellation: dropping the future abandons the call; the peer may or may not have seen it.",
        dropped_calls_harm_none, sees ["a call was dropped on its way"]),
    case!(Transport, must "transport.exchange.a-panic-costs-one-request",
        "A service that panics costs the one request, which the caller sees as an error.", a_panic_costs_one_request),
    case!(Transport, must "transport.exchange.a-refusal-is-an-error",
        "An error of the service is an error at the caller: of the same kind, or [`ErrorKind::Unreachable`] where that kind speaks of this process alone, or the transport carries no kinds.",
        a_refusal_is_an_error),
];

async fn keeps_every_byte(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let most = client.info().max_message;
    let lengths = [0, 1, 255, 256, 4096, 16_383, 16_384, 65_535, 65_536, 65_537, 1 << 20, most];
    for length in lengths.into_iter().filter(|length| *length <= most) {
        let message = pattern(length);
        let answer = channel.request(message.clone(), soon()).await.expect("a request is answered");
        assert!(answer == message, "{length} bytes came back as others, or as {} of them", answer.len());
        let answer = channel.request(format!("send {length}").into(), soon()).await.expect("a request is answered");
        assert!(answer == message, "an answer of {length} bytes came as another one");
    }
    client.close().await.expect("it closes");
    server.transport.close().await.expect("it closes");
}

async fn answers_find_their_requests(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let mut calls = JoinSet::new();
    for n in 0..64u64 {
        let channel = channel.clone();
        calls.spawn(async move {
            // The later ones are answered first.
            let message = Bytes::from(format!("wait {}", 10 + (63 - n) * 8));
            let answer = channel.request(message.clone(), soon()).await.expect("a request is answered");
            assert_eq!(answer, message, "the answer belongs to another request");
            n
        });
    }
    let mut order = Vec::new();
    while let Some(done) = calls.join_next().await {
        order.push(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    if order.windows(2).any(|pair| pair[0] > pair[1]) {
        ground.saw("an answer overtook another");
    }
    assert_eq!(server.service.seen(), 64);
}

async fn once_at_most(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    for n in 1..=50 {
        channel.request(format!("request {n}").into(), soon()).await.expect("a request is answered");
        assert_eq!(server.service.seen(), n, "a request came more than once");
    }
    // Neither after the caller was told nothing.
    let _ = channel.request("wait 2000".into(), CallOptions::timeout(Duration::from_millis(100))).await;
    channel.request("after".into(), soon()).await.expect("a request is answered");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let seen = server.service.seen();
    assert!((51..=52).contains(&seen), "a request came again after its deadline: {seen} have come");
}

async fn many_large_ones(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let length = client.info().max_message.min(1 << 20);
    let mut calls = JoinSet::new();
    for n in 0..12usize {
        let channel = channel.clone();
        calls.spawn(async move {
            let message = pattern(length - n);
            let answer = channel.request(message.clone(), soon()).await.expect("a large request is answered");
            assert!(answer == message, "a large message came back as another one");
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

async fn many_channels(ground: Ground) {
    let server = ground.server().await;
    let client = ground.client().await;
    let mut channels = Vec::new();
    for _ in 0..8 {
        channels.push(dial(&*client, &server.address).await);
    }
    for turn in 0..3 {
        for (n, channel) in channels.iter().enumerate() {
            let message = Bytes::from(format!("{turn} on {n}"));
            assert_eq!(channel.request(message.clone(), soon()).await.expect("an answer"), message);
        }
    }
    // The others go on when some are dropped.
    channels.truncate(2);
    for channel in &channels {
        assert_eq!(channel.request("left".into(), soon()).await.expect("an answer"), "left");
    }
}

/// Two that listen, and dial each other.
async fn both_ways(ground: Ground) {
    let (one, other) = (ground.server().await, ground.server().await);
    let to_other = dial(&*one.transport, &other.address).await;
    let to_one = dial(&*other.transport, &one.address).await;
    let (there, back) =
        tokio::join!(to_other.request("to other".into(), soon()), to_one.request("to one".into(), soon()));
    assert_eq!((there.expect("an answer"), back.expect("an answer")), ("to other".into(), "to one".into()));
    assert_eq!((one.service.seen(), other.service.seen()), (1, 1), "a request went to another one");
}

async fn dropped_calls_harm_none(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    for n in 0..20u64 {
        let call = channel.request("wait 5000".into(), soon());
        let begun = server.service.seen();
        tokio::select! {
            _ = call => panic!("it waits for longer"),
            () = until("the request has come", || server.service.seen() > begun) => ground.saw("a call was dropped on its way"),
            () = tokio::time::sleep(Duration::from_millis(n)), if n % 2 == 0 => {}
        }
        let message = Bytes::from(format!("after {n}"));
        assert_eq!(channel.request(message.clone(), soon()).await.expect("an answer"), message);
    }
}

async fn a_panic_costs_one_request(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let other = dial(&*client, &server.address).await;
    let waiting = other.request("wait 300".into(), soon());
    let panicking = async {
        for _ in 0..3 {
            channel.request("panic".into(), soon()).await.expect_err("the service has panicked");
            assert_eq!(channel.request("fine".into(), soon()).await.expect("an answer"), "fine");
        }
    };
    assert_eq!(tokio::join!(waiting, panicking).0.expect("another request goes on"), "wait 300");
    until("nothing is under way", || server.service.working() == 0).await;
}

async fn a_refusal_is_an_error(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let found = kind(channel.request("fail".into(), soon()).await);
    assert!(
        matches!(found, Some(ErrorKind::Full | ErrorKind::Unreachable)),
        "the service has said `Full`, not {found:?}"
    );
    assert_eq!(channel.request("fine".into(), soon()).await.expect("an answer"), "fine");
}
