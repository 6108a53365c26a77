//! Too many of everything: who pays for it, and who does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use eidetica_contract::{CallOptions, ErrorKind};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::kit::*;

/// Whether the server has ended this connection.
async fn ended(raw: &mut Raw) -> bool {
    let mut some = [0; 100];
    matches!(timeout(millis(50), raw.0.read(&mut some)).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn one_origin_with_idle_connections_pushes_out_its_own() {
    let server = server_with(|limits| limits.connections_per_origin = 10).await;
    let mut other = Raw::from(3, server.socket).await;
    other.say(format!("{}sleep", head(5))).await;
    server.service.until_working(1).await;
    let mut flood = Vec::new();
    for _ in 0..30 {
        let mut raw = Raw::from(2, server.socket).await;
        raw.say("POST ").await;
        flood.push(raw);
    }
    sleep(millis(100)).await;
    let mut gone = Vec::new();
    for raw in &mut flood {
        gone.push(ended(raw).await);
    }
    assert_eq!(gone.iter().filter(|gone| **gone).count(), 20, "{gone:?}");
    assert!(gone[..20].iter().all(|gone| *gone), "the oldest go first: {gone:?}");
    assert!(!ended(&mut other).await);
    assert_eq!(server.service.working(), 1);
}

#[tokio::test]
async fn a_newcomer_gets_the_place_of_the_silent() {
    let server = server_with(|limits| limits.connections = 20).await;
    let mut flood = Vec::new();
    // From many origins.
    for number in 0..60 {
        flood.push(Raw::from(10 + number, server.socket).await);
    }
    for _ in 0..5 {
        assert_eq!(dial(&server.address).await.request("fine".into(), soon()).await.unwrap(), "fine");
    }
}

#[tokio::test]
async fn who_works_is_not_pushed_out() {
    let server = server_with(|limits| limits.connections = 5).await;
    let mut busy = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::to(server.socket).await;
        raw.say(format!("{}nap", head(3))).await;
        busy.push(raw);
    }
    server.service.until_working(5).await;
    let mut more = Raw::to(server.socket).await;
    assert!(ended(&mut more).await);
    for raw in &mut busy {
        assert!(raw.hear().await.ends_with("nap"));
    }
}

#[tokio::test]
async fn requests_at_once_are_bounded() {
    let server = server_with(|limits| limits.requests = 3).await;
    let channel = dial(&server.address).await;
    let napping: Vec<_> = (0..3)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { channel.request("nap".into(), soon()).await })
        })
        .collect();
    server.service.until_working(3).await;
    let error = channel.request("x".into(), soon()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.is_retryable());
    for nap in napping {
        assert_eq!(nap.await.unwrap().unwrap(), "nap");
    }
    assert!(channel.request("x".into(), soon()).await.is_ok());
}

/// Large bodies that never end hold half of the places; the other half is for others.
#[tokio::test]
async fn large_bodies_that_never_end_leave_room() {
    let server = server_with(|limits| limits.large_messages = 4).await;
    let mut flood = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::from(2, server.socket).await;
        raw.say(head(4 << 20)).await;
        raw.say(vec![0; 100_000]).await;
        flood.push(raw);
    }
    sleep(millis(200)).await;
    let channel = dial(&server.address).await;
    let message = vec![1; 1 << 20];
    let answer = channel.request(message.clone().into(), CallOptions::timeout(Duration::from_secs(5))).await.unwrap();
    assert!(answer == message);
}

/// What is announced and never sent costs no memory: as many bodies of 4 MiB as connections may be.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_announced_costs_nothing() {
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    }
    let server = server_with(|limits| limits.connections_per_origin = 1000).await;
    let before = resident();
    let mut flood = Vec::new();
    for _ in 0..400 {
        let mut raw = Raw::to(server.socket).await;
        raw.say(format!("{}{}", head(4 << 20), "x".repeat(1000))).await;
        flood.push(raw);
    }
    sleep(millis(300)).await;
    let grown = resident().saturating_sub(before);
    // 400 bodies would be 1.6 GiB; other tests run beside this one.
    assert!(grown < 300 << 20, "{} MiB", grown >> 20);
    assert_eq!(dial(&server.address).await.request("fine".into(), soon()).await.unwrap(), "fine");
}

/// Who counts answers until they are let go of relies on it: the transport holds them until they were read, and holds no copy.
#[tokio::test]
async fn an_answer_is_let_go_of_when_it_was_read_and_not_before() {
    let server = server().await;
    let mut readers = Vec::new();
    for count in 1..=3 {
        let mut reader = Raw::to(server.socket).await;
        reader.say(format!("{}much, counted", head(13))).await;
        assert!(reader.hear().await.starts_with("HTTP/1.1 200"));
        server.service.until_counted(count).await;
        readers.push(reader);
    }
    sleep(millis(300)).await;
    assert_eq!(server.service.counted.load(Ordering::SeqCst), 3, "nobody has read one to its end");
    // One reads on, and the others go away.
    let mut reader = readers.remove(0);
    while server.service.counted.load(Ordering::SeqCst) == 3 {
        assert!(!reader.hear().await.is_empty());
    }
    drop(readers);
    server.service.until_counted(0).await;
}
