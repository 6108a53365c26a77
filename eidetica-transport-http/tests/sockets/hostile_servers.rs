//! Servers that do not behave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use eidetica_contract::{CallOptions, Error, ErrorKind, Transport};
use tokio::time::Instant;

use super::kit::*;

async fn asked(says: Says) -> (Error, usize) {
    let parrot = parrot(says).await;
    let channel = dial(&parrot.address).await;
    let begun = Instant::now();
    let error = channel.request("x".into(), CallOptions::timeout(millis(800))).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3));
    (error, parrot.requests.load(Ordering::SeqCst))
}

#[tokio::test]
async fn answers_that_are_none() {
    let plain = |text: &str| text.as_bytes().to_vec();
    let typed = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n";
    for (says, kind) in [
        // A server that dies: before, in the head, in the body, in a chunk.
        (Says::Last(Vec::new()), ErrorKind::Unreachable),
        (Says::Last(plain("HTTP/1.1 200 OK\r\ncontent-")), ErrorKind::Unreachable),
        (Says::Last(plain(&format!("{typed}content-length: 10\r\n\r\n12345"))), ErrorKind::Unreachable),
        (Says::Last(plain(&format!("{typed}transfer-encoding: chunked\r\n\r\n5\r\n123"))), ErrorKind::Unreachable),
        (
            Says::Last(plain(&format!("{typed}transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n"))),
            ErrorKind::Unreachable,
        ),
        // One that stops in the middle.
        (Says::Hangs(Vec::new()), ErrorKind::Timeout),
        (Says::Hangs(plain("HTTP/1.1 200 OK\r\n")), ErrorKind::Timeout),
        (Says::Hangs(plain(&format!("{typed}content-length: 10\r\n\r\n12345"))), ErrorKind::Timeout),
        // Garbage, and what speaks HTTP but is no peer.
        (Says::Last(plain("SSH-2.0-OpenSSH_9.9\r\n")), ErrorKind::Unreachable),
        (Says::Last(vec![0xff; 1000]), ErrorKind::Unreachable),
        (
            Says::Then(plain("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi")),
            ErrorKind::Unreachable,
        ),
        (
            Says::Then(plain("HTTP/1.1 307 Elsewhere\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n")),
            ErrorKind::Unreachable,
        ),
        (Says::Then(plain("HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n")), ErrorKind::Unreachable),
        (Says::Then(plain("HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n")), ErrorKind::TooLarge),
        (Says::Then(plain("HTTP/1.1 429 Many\r\ncontent-length: 0\r\n\r\n")), ErrorKind::Busy),
        (Says::Then(plain("HTTP/1.1 500 X\r\neidetica-error: 10\r\ncontent-length: 0\r\n\r\n")), ErrorKind::Full),
        (
            Says::Then(plain("HTTP/1.1 500 X\r\neidetica-error: 14\r\ncontent-length: 0\r\n\r\n")),
            ErrorKind::Unreachable,
        ),
        (
            Says::Then(plain("HTTP/1.1 500 X\r\neidetica-error: nine\r\ncontent-length: 0\r\n\r\n")),
            ErrorKind::Unreachable,
        ),
        // Too much of everything.
        (Says::Then(plain(&format!("{typed}content-length: 4194305\r\n\r\n"))), ErrorKind::TooLarge),
        (Says::Then(plain(&format!("{typed}content-length: 18446744073709551615\r\n\r\n"))), ErrorKind::Unreachable),
        (Says::Forever(plain(typed), plain(&"x: y\r\n".repeat(1000))), ErrorKind::Unreachable),
        (Says::Forever(plain(typed), vec![b'x'; 10_000]), ErrorKind::Unreachable),
    ] {
        let shown = match &says {
            Says::Then(said) | Says::Last(said) | Says::Hangs(said) | Says::Forever(said, _) => said.clone(),
        };
        let (error, requests) = asked(says).await;
        assert_eq!(error.kind(), kind, "{}: {error:?}", String::from_utf8_lossy(&shown));
        assert_eq!(requests, 1);
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_given_up_at_the_limit() {
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"4000\r\n".to_vec(), vec![7; 0x4000], b"\r\n".to_vec()].concat();
    let parrot = parrot(Says::Forever(head, chunk)).await;
    let channel = dial(&parrot.address).await;
    assert_eq!(kind(channel.request("x".into(), CallOptions::default()).await), Some(ErrorKind::TooLarge));
}

#[tokio::test]
async fn an_answer_in_chunks_is_one() {
    let says = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                2\r\nye\r\n1\r\ns\r\n0\r\n\r\n";
    let parrot = parrot(Says::Then(says.into())).await;
    let channel = dial(&parrot.address).await;
    for _ in 0..3 {
        assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "yes");
    }
    assert_eq!(parrot.connections.load(Ordering::SeqCst), 1);
}

/// A second answer that nobody has asked for must not become that of the next request.
#[tokio::test]
async fn an_answer_too_many_is_not_the_next_one() {
    let parrot = parrot(Says::Then([answer(b"yes"), answer(b"forged")].concat())).await;
    let client = client();
    let channel = dial_with(&client, &parrot.address).await;
    for _ in 0..20 {
        match channel.request("x".into(), soon()).await {
            Ok(answer) => assert_eq!(answer, "yes"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unreachable),
        }
    }
    client.close().await.unwrap();
}
