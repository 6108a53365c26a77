//! Ends: with grace, without, twice, at once.

use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{CallOptions, ErrorKind, Transport};
use eidetica_transport_http::HttpTransport;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::kit::*;

#[tokio::test]
async fn stopping_waits_for_what_is_under_way_and_no_longer() {
    for (grace, message, answered) in [(5000, "nap", true), (300, "sleep", false)] {
        let server = server().await;
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
            let mut half = Raw::to(server.socket).await;
            half.say("POST /eid").await;
            let late = async {
                sleep(millis(100)).await;
                assert!(server.transport.addresses().is_empty());
                assert_eq!(kind(idle.request("late".into(), soon()).await), Some(ErrorKind::Unreachable));
            };
            let (stopped, ()) = tokio::join!(server.transport.stop_listening(millis(grace)), late);
            stopped.unwrap();
            assert_eq!(server.service.working(), 0);
            TcpListener::bind(server.socket).await.expect("the port is free");
        };
        tokio::join!(call, stop);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(server.service.seen(), 1);
    }
}

#[tokio::test]
async fn stopping_without_anything_under_way_is_immediate() {
    let server = server().await;
    let channel = dial(&server.address).await;
    channel.request("x".into(), soon()).await.unwrap();
    let mut raw = Raw::to(server.socket).await;
    raw.say("POST /").await;
    let _silent = Raw::to(server.socket).await;
    let begun = Instant::now();
    server.transport.stop_listening(Duration::MAX).await.unwrap();
    server.transport.stop_listening(Duration::MAX).await.unwrap();
    assert!(begun.elapsed() < millis(500), "{:?}", begun.elapsed());
    assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Unreachable));
    // And again.
    server.transport.listen(server.service.clone()).await.unwrap();
    server.transport.stop_listening(Duration::ZERO).await.unwrap();
}

/// Bodies that are half there and answers that nobody reads count as under way, until the grace period ends.
#[tokio::test]
async fn stopping_ends_what_does_not_end_by_itself() {
    let server = server().await;
    let mut half = Raw::to(server.socket).await;
    half.say(format!("{}x", head(100))).await;
    let mut deaf = Raw::to(server.socket).await;
    for _ in 0..20 {
        deaf.say(format!("{}large", head(5))).await;
    }
    sleep(millis(200)).await;
    let begun = Instant::now();
    server.transport.stop_listening(millis(300)).await.unwrap();
    assert!(begun.elapsed() >= millis(250) && begun.elapsed() < millis(1300), "{:?}", begun.elapsed());
    TcpListener::bind(server.socket).await.expect("the port is free");
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
    let call = async {
        let answer = channel.request("sleep".into(), CallOptions::default()).await;
        assert_eq!(kind(answer), Some(ErrorKind::Closed));
    };
    let close = async {
        other.service.until_working(1).await;
        server.transport.close().await.unwrap();
        server.transport.close().await.unwrap();
    };
    tokio::join!(call, close);
    other.service.until_working(0).await;
    assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Closed));
    assert_eq!(kind(server.transport.dial(&other.address, soon()).await), Some(ErrorKind::Closed));
    assert_eq!(kind(server.transport.listen(server.service.clone()).await), Some(ErrorKind::Closed));
    TcpListener::bind(server.socket).await.expect("the port is free");
}

#[tokio::test]
async fn dropping_a_transport_ends_it() {
    let server = server().await;
    let client = client();
    let channel = dial_with(&client, &server.address).await;
    channel.request("x".into(), soon()).await.unwrap();
    let Server { transport, socket, .. } = server;
    drop(transport);
    within(2, async {
        while TcpListener::bind(socket).await.is_err() {
            sleep(millis(10)).await;
        }
    })
    .await;
    drop(client);
    assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_stopping_and_sending_at_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let transport = HttpTransport::builder().bind(port.to_string()).into_transport().unwrap();
    let transport = Arc::new(transport);
    let client = Arc::new(client());
    let mut all = Vec::new();
    for number in 0..8_u64 {
        let (transport, client) = (transport.clone(), client.clone());
        all.push(tokio::spawn(async move {
            for round in 0..40 {
                match (number + round) % 4 {
                    0 => drop(transport.listen(Arc::new(Obedient::default())).await),
                    1 => transport.stop_listening(millis(number * 10)).await.unwrap(),
                    _ => {
                        let address = eidetica_contract::Address::http(port.to_string());
                        if let Ok(channel) = client.dial(&address, soon()).await {
                            let _ = channel.request("x".into(), soon()).await;
                        }
                    }
                }
            }
        }));
    }
    within(30, async {
        for task in all {
            task.await.unwrap();
        }
    })
    .await;
    transport.stop_listening(Duration::ZERO).await.unwrap();
    transport.listen(Arc::new(Obedient::default())).await.unwrap();
    let channel = dial(&transport.addresses()[0]).await;
    assert!(channel.request("x".into(), soon()).await.is_ok());
}
