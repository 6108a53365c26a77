//! Too many of everything: who pays for it, and who does not.

use std::sync::atomic::Ordering;

use eidetica_contract::{ErrorKind, Transport};
use tokio::time::{sleep, timeout};

use super::kit::*;

/// Whether the server has ended this connection.
async fn ended(raw: &Raw) -> bool {
    timeout(millis(20), raw.connection.closed()).await.is_ok()
}

#[tokio::test]
async fn a_newcomer_gets_the_place_of_the_silent() {
    let server = server_with(|limits| limits.connections = 8).await;
    let busy = Raw::to(&server).await;
    let (mut send, _answer) = busy.say(frame("sleep")).await;
    send.finish().unwrap();
    server.service.until_working(1).await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(Raw::to(&server).await);
    }
    sleep(millis(100)).await;
    let mut gone = Vec::new();
    for raw in &flood {
        gone.push(ended(raw).await);
    }
    assert_eq!(gone.iter().filter(|gone| **gone).count(), 13, "{gone:?}");
    assert!(gone[..13].iter().all(|gone| *gone), "the oldest go first: {gone:?}");
    assert!(!ended(&busy).await);
    assert_eq!(server.service.working(), 1);
    for _ in 0..3 {
        works(&server).await;
    }
}

#[tokio::test]
async fn who_works_is_not_pushed_out() {
    let server = server_with(|limits| limits.connections_per_origin = 3).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        let raw = Raw::to(&server).await;
        let (mut send, receive) = raw.say(frame("sleep")).await;
        send.finish().unwrap();
        busy.push((raw, send, receive));
    }
    server.service.until_working(3).await;
    assert_eq!(kind(client().dial(&server.address, soon()).await), Some(ErrorKind::Unreachable));
    assert_eq!(server.service.working(), 3);
    // One that has nothing under way any more makes room.
    let _ = busy[1].2.stop(0_u32.into());
    server.service.until_working(2).await;
    sleep(millis(100)).await;
    works(&server).await;
    assert!(ended(&busy[1].0).await && !ended(&busy[0].0).await);
}

#[tokio::test]
async fn one_device_has_so_many_connections() {
    let server = server_with(|limits| limits.connections_per_peer = 2).await;
    let endpoint = raw().await;
    let connect = || endpoint.connect(read(&server.address), eidetica_transport_iroh::ALPN);
    let mut all = Vec::new();
    for _ in 0..2 {
        let connection = connect().await.unwrap();
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&frame("nap")).await.unwrap();
        send.finish().unwrap();
        all.push((connection, receive));
    }
    server.service.until_working(2).await;
    // A third is closed while the two work; others come in.
    let third = connect().await.unwrap();
    within(2, third.closed()).await;
    works(&server).await;
    for (_, receive) in &mut all {
        assert_eq!(receive.read_to_end(100).await.unwrap(), frame("nap"));
    }
    sleep(millis(100)).await;
    // And takes the place of a silent one later.
    let _fourth = connect().await.unwrap();
    within(2, all[0].0.closed()).await;
    assert!(timeout(millis(100), all[1].0.closed()).await.is_err());
}

#[tokio::test]
async fn requests_at_once_are_bounded_and_shared() {
    let server = server_with(|limits| limits.requests = 8).await;
    let channel = dial(&server.address).await;
    let napping: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { channel.request("nap".into(), soon()).await })
        })
        .collect();
    server.service.until_working(4).await;
    // One origin has half of them.
    let error = channel.request("x".into(), soon()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.is_retryable());
    for nap in napping {
        assert_eq!(nap.await.unwrap().unwrap(), "nap");
    }
    assert!(channel.request("x".into(), soon()).await.is_ok());
}

/// Streams of which nothing more comes do not hold up those that are whole.
#[tokio::test]
async fn floods_of_streams() {
    let server = server().await;
    let raw = Raw::to(&server).await;
    let mut kept = Vec::new();
    for _ in 0..120 {
        kept.push(raw.say([0, 0, 0, 100]).await);
    }
    assert_eq!(raw.ask(frame("fine")).await, Ok(frame("fine")));
    // All that one connection may have: the next waits here, and for nobody else.
    for _ in 0..7 {
        kept.push(raw.say([0, 0, 0, 100]).await);
    }
    assert!(timeout(millis(300), raw.connection.open_bi()).await.is_err());
    works(&server).await;
    drop(kept);
    assert_eq!(raw.ask(frame("fine")).await, Ok(frame("fine")));
    // Opened and reset, over and over.
    for _ in 0..2000 {
        let (mut send, mut receive) = within(5, raw.connection.open_bi()).await.unwrap();
        let _ = send.write_all(&frame("nap")[..5]).await;
        let _ = send.reset(0_u32.into());
        let _ = receive.stop(0_u32.into());
    }
    assert_eq!(raw.ask(frame("fine")).await, Ok(frame("fine")));
    works(&server).await;
    assert_eq!(server.service.working(), 0);
}

/// What is announced and never sent costs no memory, and what waits for its turn little.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_announced_costs_nothing() {
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    }
    let server = server_with(|limits| limits.large_messages = 4).await;
    let raw = Raw::to(&server).await;
    let before = resident();
    let mut kept = Vec::new();
    for _ in 0..120 {
        let (mut send, receive) = raw.connection.open_bi().await.unwrap();
        // Takes no more than the other side lets in.
        let mut said = frame([7; 0]);
        said.clone_from_slice(&[0, 0x40, 0, 0]);
        said.extend([7; 100_000]);
        let _ = timeout(millis(20), send.write_all(&said)).await;
        kept.push((send, receive));
    }
    let grown = resident().saturating_sub(before);
    // 120 messages would be 480 MiB; other tests run beside this one.
    assert!(grown < 200 << 20, "{} MiB", grown >> 20);
    works(&server).await;
}

/// Who counts answers until they are let go of relies on it: the transport holds them until they were read, and holds no copy.
#[tokio::test]
async fn an_answer_is_let_go_of_when_it_was_read_and_not_before() {
    let server = server().await;
    let reading = Raw::to(&server).await;
    assert_eq!(reading.ask(frame("counted")).await.unwrap().len(), 4 + (4 << 20));
    server.service.until_counted(0).await;
    let (one, other) = (Raw::deaf(&server).await, Raw::deaf(&server).await);
    let mut unread = Vec::new();
    for raw in [&one, &other] {
        let (mut send, receive) = raw.say(frame("counted")).await;
        send.finish().unwrap();
        unread.push(receive);
    }
    server.service.until_counted(2).await;
    sleep(millis(300)).await;
    assert_eq!(server.service.counted.load(Ordering::SeqCst), 2, "nobody reads");
    one.connection.close(0u8.into(), b"gone");
    server.service.until_counted(1).await;
    // A stream that nobody wants any more will do as well.
    drop(unread);
    server.service.until_counted(0).await;
    drop(other);
}
