//! Callers that do not behave.

use std::time::Duration;

use eidetica_contract::ErrorKind;
use eidetica_transport_iroh::ALPN;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::kit::*;

fn code(kind: ErrorKind) -> Result<Vec<u8>, u64> {
    Err(kind.number().into())
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = server().await;
    let raw = Raw::to(&server).await;
    for (said, heard) in [
        (Vec::new(), ErrorKind::InvalidInput),
        (vec![0, 0, 0], ErrorKind::InvalidInput),
        (vec![0, 0, 0, 5, b'x'], ErrorKind::InvalidInput),
        (vec![0, 0, 0, 1, b'x', b'y'], ErrorKind::InvalidInput),
        (vec![0, 0, 0, 0, b'y'], ErrorKind::InvalidInput),
        ([frame("x"), frame("y")].concat(), ErrorKind::InvalidInput),
        (vec![0xff; 4], ErrorKind::TooLarge),
        (vec![0xff; 1 << 16], ErrorKind::TooLarge),
        (vec![0, 0x40, 0, 1], ErrorKind::TooLarge),
        ([&[0, 1, 0, 0][..], &[7; 70_000]].concat(), ErrorKind::InvalidInput),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), ErrorKind::TooLarge),
    ] {
        assert_eq!(raw.ask(&said).await, code(heard), "{:?}", &said[..said.len().min(20)]);
    }
    assert_eq!(server.service.seen(), 0);
    // The connection is none the worse for it.
    assert_eq!(raw.ask(frame("fine")).await, Ok(frame("fine")));
    assert_eq!(raw.ask(frame("")).await, Ok(frame("")));
    assert_eq!(raw.ask(frame("panic")).await, code(ErrorKind::Internal));
    // Byte by byte is slow, and all right.
    let (mut send, receive) = raw.connection.open_bi().await.unwrap();
    for byte in frame("slowly") {
        send.write_all(&[byte]).await.unwrap();
        sleep(millis(2)).await;
    }
    send.finish().unwrap();
    assert_eq!(hear(receive).await, Ok(frame("slowly")));
}

#[tokio::test]
async fn streams_that_were_not_asked_for() {
    let server = server().await;
    let raw = Raw::to(&server).await;
    let uni = tokio::time::timeout(millis(200), raw.connection.open_uni()).await;
    assert!(uni.is_err(), "streams in one direction are not allowed");
    assert!(raw.connection.send_datagram("x".into()).is_err());
    assert_eq!(raw.ask(frame("fine")).await, Ok(frame("fine")));
}

#[tokio::test]
async fn slow_requests_have_a_deadline() {
    let server = server_with(|limits| limits.request_timeout = millis(400)).await;
    let raw = Raw::to(&server).await;
    let begun = Instant::now();
    let (_one, half) = raw.say([0, 0, 0, 100, 1]).await;
    let (_two, large) = raw.say([0, 16, 0, 0, 1]).await;
    let (mut three, drips) = raw.say([0, 0, 255, 0]).await;
    let drip = async {
        while three.write_all(b"x").await.is_ok() && begun.elapsed() < Duration::from_secs(5) {
            sleep(millis(50)).await;
        }
    };
    let (half, large, drips, ()) = tokio::join!(hear(half), hear(large), hear(drips), drip);
    for heard in [half, large, drips] {
        assert_eq!(heard, code(ErrorKind::Timeout));
    }
    let taken = begun.elapsed();
    assert!(taken > millis(300) && taken < millis(1500), "{taken:?}");
    assert_eq!(server.service.seen(), 0);
    assert_eq!(raw.ask(frame("fine")).await, Ok(frame("fine")));
}

#[tokio::test]
async fn silent_connections_and_answers_that_nobody_reads_have_a_deadline() {
    let server = server_with(|limits| {
        limits.idle_timeout = millis(400);
        limits.answer_timeout = millis(400);
    })
    .await;
    let (silent, used) = (Raw::to(&server).await, Raw::to(&server).await);
    used.ask(frame("x")).await.unwrap();
    let begun = Instant::now();
    within(2, async { tokio::join!(silent.connection.closed(), used.connection.closed()) }).await;
    assert!(begun.elapsed() > millis(200), "{:?}", begun.elapsed());
    // Asks for much and reads nothing, until it has all the streams that it may have.
    let deaf = Raw::deaf(&server).await;
    let mut kept = Vec::new();
    for _ in 0..60 {
        let (mut send, receive) = deaf.say(frame("large")).await;
        send.finish().unwrap();
        kept.push((send, receive));
    }
    within(10, deaf.connection.closed()).await;
    assert!(server.service.seen() >= 40);
    works(&server).await;
}

#[tokio::test]
async fn callers_that_vanish_take_their_work_along() {
    let server = server().await;
    let mut all = Vec::new();
    for _ in 0..6 {
        let raw = Raw::to(&server).await;
        let mut streams = vec![raw.say([0, 0, 1, 0, 7]).await, raw.say([0]).await];
        for _ in 0..2 {
            let (mut send, receive) = raw.say(frame("sleep")).await;
            send.finish().unwrap();
            streams.push((send, receive));
        }
        all.push((raw, streams));
    }
    server.service.until_working(12).await;
    for (number, (raw, streams)) in all.iter_mut().enumerate() {
        match number % 3 {
            0 => raw.connection.close(7_u32.into(), b"enough"),
            1 => raw.endpoint.close().await,
            // Does not want the answers any more, and stays.
            _ => streams.iter_mut().for_each(|(send, receive)| {
                let _ = (send.reset(7_u32.into()), receive.stop(7_u32.into()));
            }),
        }
    }
    server.service.until_working(0).await;
    assert_eq!(server.service.seen(), 12);
    assert_eq!(all[2].0.ask(frame("fine")).await, Ok(frame("fine")));
    works(&server).await;
}

#[tokio::test]
async fn other_protocols_and_other_keys() {
    let server = server().await;
    let address = read(&server.address);
    let endpoint = raw().await;
    for alpn in [&b"eidetica/0"[..], b"h3", &[0; 200]] {
        let begun = Instant::now();
        assert!(endpoint.connect(address.clone(), alpn).await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    let connection = endpoint.connect(address, ALPN).await.unwrap();
    drop(connection);
    assert_eq!(server.service.seen(), 0);
    works(&server).await;
}

#[tokio::test]
async fn packets_that_are_none() {
    let server = server().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for number in 0..2000_usize {
        let mut packet = vec![0; number % 1400];
        for byte in &mut packet {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (random >> 56) as u8;
        }
        // Some of them look like the first packet of a connection.
        if number % 3 == 0 && packet.len() > 20 {
            packet[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
        }
        let _ = socket.send_to(&packet, server.place()).await;
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    works(&server).await;
}
