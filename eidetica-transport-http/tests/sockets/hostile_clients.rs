//! Clients that do not behave, byte by byte.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::kit::*;

/// The server still works.
async fn works(server: &Server) {
    assert_eq!(dial(&server.address).await.request("fine".into(), soon()).await.unwrap(), "fine");
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = server().await;
    let typed = "content-type: application/octet-stream\r\nhost: x\r\n";
    for (said, status) in [
        ("GET /eidetica/v1 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "405"),
        (format!("POST / HTTP/1.1\r\n{typed}content-length: 1\r\n\r\nx"), "404"),
        ("POST /eidetica/v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx".to_owned(), "415"),
        (
            "POST /eidetica/v1 HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\nx"
                .to_owned(),
            "415",
        ),
        (format!("POST /eidetica/v1 HTTP/1.1\r\n{typed}content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx"), "415"),
        (format!("POST /eidetica/v1 HTTP/1.1\r\n{typed}content-length: 999999999999\r\n\r\nx"), "413"),
        (
            format!("POST /eidetica/v1 HTTP/1.1\r\n{typed}expect: 100-continue\r\ncontent-length: 4194305\r\n\r\n"),
            "413",
        ),
        (format!("POST /eidetica/v1 HTTP/1.1\r\n{typed}content-length: -1\r\n\r\nx"), "400"),
        (format!("POST /eidetica/v1 HTTP/1.1\r\n{typed}content-length: 1\r\ncontent-length: 2\r\n\r\nx"), "400"),
        (format!("POST /eidetica/v1 HTTP/1.1\r\n{typed}transfer-encoding: chunked\r\n\r\nZZ\r\n"), "400"),
        (format!("POST /eidetica/v1 HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100)), "431"),
        (format!("POST /eidetica/v1 HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000)), "431"),
        (format!("POST /{} HTTP/1.1\r\n\r\n", "y".repeat(200_000)), "431"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
        ("\0\0\0\0garbage\r\n\r\n".to_owned(), "400"),
        ("\r\n".repeat(100), ""),
        ("\u{16}\u{3}\u{1}\u{2}\0".to_owned(), "400"),
    ] {
        let mut raw = Raw::to(server.socket).await;
        raw.say(&said).await;
        let _ = raw.0.shutdown().await;
        let heard = raw.rest().await;
        let shown: String = said.chars().take(150).collect();
        assert!(heard.is_empty() || heard.contains(status), "{shown:?}: {heard:?}");
        assert!(!heard.contains("200 OK"), "{shown:?}: {heard:?}");
    }
    assert_eq!(server.service.seen(), 0);
    works(&server).await;
}

#[tokio::test]
async fn refusals_say_why() {
    let server = server().await;
    let mut raw = Raw::to(server.socket).await;
    raw.say("POST /eidetica/v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    let heard = raw.hear().await.to_ascii_lowercase();
    assert!(heard.starts_with("http/1.1 415 "), "{heard}");
    assert!(
        heard.contains("\r\neidetica-error: 5\r\n") && heard.ends_with("application/octet-stream, without an encoding")
    );
}

#[tokio::test]
async fn requests_in_small_pieces_and_in_a_row() {
    let server = server().await;
    let mut raw = Raw::to(server.socket).await;
    for byte in format!("{}abc", head(3)).bytes() {
        raw.say([byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(raw.hear().await.ends_with("abc"));
    // In chunks, and with what comes after the last one.
    let chunked = head(0).replace("content-length: 0", "transfer-encoding: chunked");
    raw.say(format!("{chunked}2\r\nab\r\n1;x=y\r\nc\r\n0\r\nx: y\r\n\r\n")).await;
    assert!(raw.hear().await.ends_with("abc"));
    // Two at once.
    raw.say(format!("{}a{}b", head(1), head(1))).await;
    let mut heard = raw.hear().await;
    while heard.matches("200 OK").count() < 2 || !heard.ends_with('b') {
        heard += &raw.hear().await;
    }
    assert_eq!(server.service.seen(), 4);
}

#[tokio::test]
async fn slow_heads_have_a_deadline() {
    let server = server_with(|limits| limits.header_timeout = millis(400)).await;
    // Says nothing; stops in the middle; drips.
    let mut silent = Raw::to(server.socket).await;
    let mut half = Raw::to(server.socket).await;
    half.say("POST /eidetica/v1 HTTP/1.1\r\nhost:").await;
    let mut drips = Raw::to(server.socket).await;
    let begun = Instant::now();
    let drip = async {
        while drips.say("x").await && begun.elapsed() < Duration::from_secs(5) {
            sleep(millis(50)).await;
        }
        begun.elapsed()
    };
    let (silent, half, drip) = tokio::join!(silent.ends(), half.ends(), drip);
    for taken in [silent, half, drip] {
        assert!(taken > millis(300) && taken < millis(1500), "{taken:?}");
    }
    // The same for the second head of a connection.
    let mut second = Raw::to(server.socket).await;
    second.say(format!("{}x", head(1))).await;
    second.hear().await;
    sleep(millis(600)).await;
    second.say("POST /").await;
    let taken = second.ends().await;
    assert!(taken > millis(300) && taken < millis(1500), "{taken:?}");
    works(&server).await;
}

#[tokio::test]
async fn slow_bodies_have_a_deadline() {
    let server = server_with(|limits| limits.body_timeout = millis(400)).await;
    let mut half = Raw::to(server.socket).await;
    half.say(format!("{}x", head(100))).await;
    let mut drips = Raw::to(server.socket).await;
    drips.say(head(1000)).await;
    let begun = Instant::now();
    let drip = async {
        while drips.say("x").await && begun.elapsed() < Duration::from_secs(5) {
            sleep(millis(50)).await;
        }
        begun.elapsed()
    };
    let (half, drip) = tokio::join!(
        async {
            let heard = half.rest().await;
            assert!(heard.contains("408"), "{heard}");
            begun.elapsed()
        },
        drip
    );
    for taken in [half, drip] {
        assert!(taken > millis(300) && taken < millis(1500), "{taken:?}");
    }
    assert_eq!(server.service.seen(), 0);
    works(&server).await;
}

#[tokio::test]
async fn idle_connections_and_answers_that_nobody_reads_have_a_deadline() {
    let server = server_with(|limits| limits.idle_timeout = millis(500)).await;
    let mut idle = Raw::to(server.socket).await;
    idle.say(format!("{}x", head(1))).await;
    idle.hear().await;
    let taken = idle.ends().await;
    assert!(taken > millis(300) && taken < millis(1500), "{taken:?}");
    // Asks for much and reads nothing; buffers of the system take some of it.
    let mut deaf = Raw::to(server.socket).await;
    let mut asked = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) && deaf.say(format!("{}large", head(5))).await {
        asked += 1;
        sleep(millis(20)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{asked} answers of 1 MiB are kept for who does not read");
    works(&server).await;
}

#[tokio::test]
async fn clients_that_vanish_take_their_work_along() {
    let server = server().await;
    let mut all = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::to(server.socket).await;
        raw.say(format!("{}sleep", head(5))).await;
        all.push(raw);
    }
    server.service.until_working(20).await;
    for (number, raw) in all.into_iter().enumerate() {
        if number % 2 == 0 {
            // With a reset.
            let _ = raw.0.set_zero_linger();
        }
        drop(raw);
    }
    server.service.until_working(0).await;
    // In the middle of a body.
    let mut raw = Raw::to(server.socket).await;
    raw.say(format!("{}{}", head(1 << 20), "x".repeat(1000))).await;
    drop(raw);
    works(&server).await;
    assert_eq!(server.service.seen(), 21);
}
