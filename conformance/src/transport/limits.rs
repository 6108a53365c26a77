//! Sizes and deadlines.

use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{CallOptions, ErrorKind};
use tokio::time::Instant;

use super::{Ground, dial, kind, soon};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Transport, must "transport.limits.carries-enough",
        "The largest message, in bytes, that it carries in either direction; at least 16 KiB.", carries_enough),
    case!(Transport, must "transport.limits.too-large-is-not-sent",
        "[`TooLarge`](crate::ErrorKind::TooLarge) before anything is sent", too_large_is_not_sent),
    case!(Transport, must "transport.limits.a-deadline-holds", "`Timeout` at the deadline", a_deadline_holds),
    case!(Transport, must "transport.limits.a-slow-call-holds-up-none",
        "Any number of requests may be under way at once, and their answers may come in any order.", a_slow_call_holds_up_none),
];

/// How late an answer may be on a machine that has other work.
const SLACK: Duration = Duration::from_secs(3);

async fn carries_enough(ground: Ground) {
    let client = ground.client().await;
    assert!(client.info().max_message >= 16 << 10, "{} bytes are too few", client.info().max_message);
    assert!(!client.info().scheme.is_empty(), "it has no scheme");
    assert_eq!(client.info(), client.info());
}

async fn too_large_is_not_sent(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let most = client.info().max_message;
    for length in [most + 1, most + 4096] {
        let refused = channel.request(Bytes::from(vec![7; length]), soon()).await;
        assert_eq!(kind(refused), Some(ErrorKind::TooLarge), "{length} bytes");
    }
    assert_eq!(server.service.seen(), 0, "it was sent all the same");
    assert_eq!(channel.request("fine".into(), soon()).await.expect("an answer"), "fine");
}

async fn a_deadline_holds(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    // So that what is measured is the call, and not the way there.
    channel.request("first".into(), soon()).await.expect("an answer");
    for timeout in [Duration::from_millis(50), Duration::from_millis(400)] {
        let begun = Instant::now();
        let late = channel.request("wait 60000".into(), CallOptions::timeout(timeout)).await;
        assert_eq!(kind(late), Some(ErrorKind::Timeout));
        let took = begun.elapsed();
        assert!(took >= timeout, "it gave up after {took:?}, and had {timeout:?}");
        assert!(took < timeout + SLACK, "it gave up after {took:?}, and had {timeout:?}");
    }
    assert_eq!(channel.request("fine".into(), soon()).await.expect("an answer"), "fine");
    assert!(server.service.seen() >= 2);
}

async fn a_slow_call_holds_up_none(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let slow = channel.request("wait 4000".into(), soon());
    let quick = async {
        let begun = Instant::now();
        for _ in 0..20 {
            channel.request("quick".into(), soon()).await.expect("an answer");
        }
        assert!(begun.elapsed() < SLACK, "quick calls wait for a slow one");
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert_eq!(slow.expect("an answer"), "wait 4000");
}
