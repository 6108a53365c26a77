//! The contract of `Transport`, method by method.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, ErrorKind, Registry, Result, Transport, TransportBuilder, TransportContext, TransportState,
};
use eidetica_transport_iroh::{IrohLimits, IrohTransport, RelayMode};
use iroh::{EndpointAddr, SecretKey};
use iroh_tickets::endpoint::EndpointTicket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::kit::*;

fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 + (at >> 9)) as u8).collect()
}

#[tokio::test]
async fn messages_go_there_and_back_and_both_sides_know_each_other() {
    let server = server().await;
    let me = seed();
    let client = builder().into_transport(me).unwrap();
    assert!(client.addresses().is_empty());
    assert_eq!((client.info().scheme.as_str(), client.info().proves_identity), ("iroh", true));
    let channel = dial_with(&client, &server.address).await;
    for len in [0, 1, 1000, 65_535, 65_536, 65_537, 1 << 20, client.info().max_message] {
        let message = pattern(len);
        assert!(channel.request(message.clone(), soon()).await.unwrap() == message, "{len} bytes");
    }
    let who = format!(r#"Some("127.0.0.1") Some({})"#, device(&me));
    assert_eq!(channel.request("who".into(), soon()).await.unwrap(), who);
    assert_eq!(channel.peer(), Some(device(&server.seed)));
}

#[tokio::test]
async fn a_hundred_at_once_share_a_connection() {
    let server = server().await;
    let parrot = parrot(Says::Last(frame("yes"))).await;
    let client = client();
    let (channel, other) = (dial_with(&client, &server.address).await, dial_with(&client, &parrot.address).await);
    let mut calls = JoinSet::new();
    for number in 0..100_usize {
        let channel = channel.clone();
        calls.spawn(async move {
            let message = pattern(if number % 10 == 0 { 1 << 20 } else { number });
            assert!(channel.request(message.clone(), soon()).await.unwrap() == message, "{number}");
        });
        let other = other.clone();
        calls.spawn(async move { assert_eq!(other.request("x".into(), soon()).await.unwrap(), "yes") });
    }
    for _ in 0..20 {
        let channel = channel.clone();
        calls.spawn(async move { assert_eq!(channel.request("nap".into(), soon()).await.unwrap(), "nap") });
    }
    within(60, async { while calls.join_next().await.transpose().unwrap().is_some() {} }).await;
    assert_eq!(server.service.seen(), 120);
    assert!(server.service.peak.load(Ordering::SeqCst) >= 20);
    // More of them wait, and none is lost.
    assert_eq!(parrot.connections.load(Ordering::SeqCst), 1);
    assert_eq!(parrot.requests.load(Ordering::SeqCst), 100);
}

/// What waits at the other side for its turn does not keep out what has its turn.
#[tokio::test]
async fn many_large_ones_at_once_do_not_block_each_other() {
    let server = server_with(|limits| limits.large_messages = 2).await;
    let client = client();
    let channel = dial_with(&client, &server.address).await;
    let mut calls = JoinSet::new();
    for number in 0..16_usize {
        let channel = channel.clone();
        calls.spawn(async move {
            let message = pattern((100 << 10) << (number % 4));
            let answer = channel.request(message.clone(), CallOptions::timeout(Duration::from_secs(25))).await.unwrap();
            assert!(answer == message, "{number}");
        });
    }
    // Small ones go past them.
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
    within(25, async { while calls.join_next().await.transpose().unwrap().is_some() {} }).await;
}

#[tokio::test]
async fn more_than_the_peer_allows_at_once_wait() {
    let server = server_with(|limits| limits.requests_per_connection = 4).await;
    let channel = dial(&server.address).await;
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let channel = channel.clone();
        calls.spawn(async move { assert_eq!(channel.request("nap".into(), soon()).await.unwrap(), "nap") });
    }
    within(20, async { while calls.join_next().await.transpose().unwrap().is_some() {} }).await;
    assert_eq!(server.service.peak.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn errors_are_those_of_the_contract() {
    let server = server_with(|limits| limits.max_message = 64 << 10).await;
    let client = client();
    let channel = dial_with(&client, &server.address).await;
    let said = |message: &'static str| channel.request(message.into(), soon());
    assert_eq!(kind(said("full").await), Some(ErrorKind::Full));
    assert_eq!(kind(said("denied").await), Some(ErrorKind::PermissionDenied));
    // Kinds that speak of the other process.
    assert_eq!(kind(said("corrupted").await), Some(ErrorKind::Unreachable));
    assert_eq!(kind(said("closed").await), Some(ErrorKind::Unreachable));
    assert!(!said("full").await.unwrap_err().to_string().contains("secret"));
    // Too large here, there, and on the way back.
    let seen = server.service.seen();
    let large = |len| channel.request(vec![0; len].into(), soon());
    assert_eq!(kind(large((4 << 20) + 1).await), Some(ErrorKind::TooLarge));
    assert_eq!(kind(large((64 << 10) + 1).await), Some(ErrorKind::TooLarge));
    assert_eq!(kind(large(4 << 20).await), Some(ErrorKind::TooLarge));
    assert_eq!(server.service.seen(), seen);
    assert_eq!(kind(said("large").await), Some(ErrorKind::TooLarge));
    assert!(said("fine").await.is_ok());
    let other = super::kit::server().await;
    let small = client_with(|limits| limits.max_message = 64 << 10);
    let channel = dial_with(&small, &other.address).await;
    assert_eq!(kind(channel.request("large".into(), soon()).await), Some(ErrorKind::TooLarge));
    assert!(channel.request("fine".into(), soon()).await.is_ok());
}

#[tokio::test]
async fn a_deadline_holds_and_takes_the_work_along() {
    let server = server().await;
    let channel = dial(&server.address).await;
    let begun = Instant::now();
    let late = channel.request("sleep".into(), CallOptions::timeout(millis(300))).await;
    assert_eq!(kind(late), Some(ErrorKind::Timeout));
    assert!(begun.elapsed() < millis(1500), "{:?}", begun.elapsed());
    server.service.until_working(0).await;
    assert_eq!(server.service.seen(), 1);
    // A caller who goes is noticed as well.
    let mut call = channel.request("sleep".into(), CallOptions::timeout(Duration::MAX));
    tokio::select! {
        _ = &mut call => panic!("it sleeps for longer"),
        () = server.service.until_working(1) => {}
    }
    drop(call);
    server.service.until_working(0).await;
    // And one who goes in the middle of a large message: nobody takes it for a whole one.
    for _ in 0..10 {
        let call = channel.request(pattern(4 << 20), CallOptions::timeout(Duration::from_micros(500)));
        assert_eq!(kind(call.await), Some(ErrorKind::Timeout));
    }
    assert_eq!(channel.request("fine".into(), soon()).await.unwrap(), "fine");
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = server().await;
    let channel = dial(&server.address).await;
    let napping = channel.request("nap".into(), soon());
    let other = async {
        assert_eq!(kind(channel.request("panic".into(), soon()).await), Some(ErrorKind::Unreachable));
        assert_eq!(channel.request("fine".into(), soon()).await.unwrap(), "fine");
    };
    assert_eq!(tokio::join!(napping, other).0.unwrap(), "nap");
    server.service.until_working(0).await;
}

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let client = client_with(|limits| limits.connect_timeout = millis(700));
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranger = SecretKey::from_bytes(&seed()).public();
    let at = |place: std::net::SocketAddr| {
        Address::iroh(EndpointTicket::new(EndpointAddr::new(stranger).with_ip_addr(place)).to_string())
    };
    for (address, wanted) in [
        (at(free), ErrorKind::Unreachable),
        (at(silent.local_addr().unwrap()), ErrorKind::Unreachable),
        (Address::iroh(SecretKey::from_bytes(&seed()).public().to_string()), ErrorKind::Unreachable),
        (Address::iroh("nothing"), ErrorKind::InvalidInput),
        (Address::http("127.0.0.1:80"), ErrorKind::InvalidInput),
    ] {
        let begun = Instant::now();
        assert_eq!(kind(client.dial(&address, soon()).await), Some(wanted), "{address}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{address}: {:?}", begun.elapsed());
    }
    // The deadline of the call holds as well.
    let begun = Instant::now();
    let late = client.dial(&at(free), CallOptions::timeout(millis(100))).await;
    assert_eq!(kind(late), Some(ErrorKind::Timeout));
    assert!(begun.elapsed() < millis(600), "{:?}", begun.elapsed());
    // This device itself.
    let server = server().await;
    assert_eq!(kind(server.transport.dial(&server.address, soon()).await), Some(ErrorKind::InvalidInput));
}

#[tokio::test]
async fn who_has_another_key_is_not_spoken_with() {
    let server = server().await;
    let client = client();
    let other = SecretKey::from_bytes(&seed()).public();
    let wrong = Address::iroh(EndpointTicket::new(EndpointAddr::new(other).with_ip_addr(server.place())).to_string());
    let begun = Instant::now();
    assert_eq!(kind(client.dial(&wrong, soon()).await), Some(ErrorKind::Unauthenticated));
    assert!(begun.elapsed() < millis(1000), "{:?}", begun.elapsed());
    assert_eq!(server.service.seen(), 0);
    works(&server).await;
}

#[tokio::test]
async fn who_speaks_another_protocol_is_told_apart() {
    let other = raw_with(seed(), b"eidetica/2").await;
    let address = Address::iroh(EndpointTicket::new(other.addr()).to_string());
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = other.accept().await.map(|i| i.into_future()) {
            let _ = incoming.await;
        }
    });
    let error = client().dial(&address, soon()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("another protocol"), "{error}");
    accepting.abort();
}

#[tokio::test]
async fn a_device_is_found_by_its_key_while_it_is_known() {
    let server = server().await;
    let client = client();
    let _channel = dial_with(&client, &server.address).await;
    for text in [SecretKey::from_bytes(&server.seed).public().to_string(), device(&server.seed).to_string()] {
        let channel = dial_with(&client, &Address::iroh(text)).await;
        assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
    }
}

#[tokio::test]
async fn listening_happens_once_and_where_it_may() {
    let alone = builder().dial_only().into_transport(seed()).unwrap();
    assert_eq!(kind(alone.listen(Arc::new(Obedient::default())).await), Some(ErrorKind::Unsupported));
    let server = server().await;
    assert_ne!(server.place().port(), 0);
    assert_eq!(kind(server.transport.listen(server.service.clone()).await), Some(ErrorKind::AlreadyExists));
    works(&server).await;
    // The port is taken, for both directions.
    let taken = IrohTransport::builder().relay_mode(RelayMode::Disabled).bind(server.place().to_string());
    let taken = taken.into_transport(seed()).unwrap();
    assert_eq!(kind(taken.listen(Arc::new(Obedient::default())).await), Some(ErrorKind::Locked));
    assert_eq!(kind(taken.dial(&server.address, soon()).await), Some(ErrorKind::Locked));
    // An address that this machine does not have.
    let nowhere = IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("192.0.2.1:0");
    let nowhere = nowhere.into_transport(seed()).unwrap();
    assert_eq!(kind(nowhere.listen(Arc::new(Obedient::default())).await), Some(ErrorKind::InvalidInput));
}

#[tokio::test]
async fn settings_are_checked_when_it_is_built() {
    for builder in [
        builder().bind("127.0.0.1:0"),
        IrohTransport::builder().bind("nonsense"),
        IrohTransport::builder().bind("localhost:80"),
        IrohTransport::builder().advertise("0.0.0.0:1"),
        IrohTransport::builder().advertise("127.0.0.1:0"),
        IrohTransport::builder().relay_mode(RelayMode::Custom(Vec::new())),
        IrohTransport::builder().relay_mode(RelayMode::Custom(vec!["relay".into()])),
        IrohTransport::builder().relay_mode(RelayMode::Custom(vec!["ftp://relay".into()])),
    ] {
        let shown = format!("{builder:?}");
        assert_eq!(kind(builder.into_transport(seed())), Some(ErrorKind::InvalidInput), "{shown}");
    }
    let custom = RelayMode::Custom(vec!["https://relay.example.com".into()]);
    assert!(
        IrohTransport::builder().relay_mode(custom).bind("127.0.0.1:0").bind("[::1]:0").into_transport(seed()).is_ok()
    );
    // What is advertised stands in the ticket.
    let server = serve(builder().advertise("203.0.113.7:4321"), seed()).await;
    let within_a_moment = async {
        while !read(&server.transport.addresses()[0]).ip_addrs().any(|place| place.to_string() == "203.0.113.7:4321") {
            sleep(millis(10)).await;
        }
    };
    within(5, within_a_moment).await;
    works(&server).await;
}

#[test]
fn limits_have_a_range() {
    let changes: [fn(&mut IrohLimits); 9] = [
        |limits| limits.max_message = (16 << 10) - 1,
        |limits| limits.max_message = usize::MAX,
        |limits| limits.connections = 0,
        |limits| limits.connections_per_origin = 0,
        |limits| limits.connections_per_peer = 0,
        |limits| limits.requests_per_connection = 0,
        |limits| limits.requests = usize::MAX,
        |limits| limits.large_messages = 1,
        |limits| limits.calls_per_peer = 0,
    ];
    for change in changes {
        let mut limits = IrohLimits::default();
        change(&mut limits);
        assert_eq!(kind(builder().limits(limits).into_transport(seed())), Some(ErrorKind::InvalidInput));
    }
}

/// Relays and discovery that nobody can reach are not waited for.
#[tokio::test]
async fn without_a_network_the_same_machine_is_reached_at_once() {
    let relays = || RelayMode::Custom(vec!["https://127.0.0.1:1".into()]);
    let begun = Instant::now();
    let build = || IrohTransport::builder().relay_mode(relays()).discovery(true).bind("127.0.0.1:0");
    let server = serve(build(), seed()).await;
    let client = build().into_transport(seed()).unwrap();
    let channel = dial_with(&client, &server.address).await;
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // A bare id that cannot be looked up costs its deadline, and no more.
    let stranger = Address::iroh(SecretKey::from_bytes(&seed()).public().to_string());
    let begun = Instant::now();
    let lost = kind(client.dial(&stranger, CallOptions::timeout(Duration::from_secs(1))).await);
    assert!(matches!(lost, Some(ErrorKind::Timeout | ErrorKind::Unreachable)), "{lost:?}");
    assert!(begun.elapsed() < millis(1500), "{:?}", begun.elapsed());
    let begun = Instant::now();
    client.close().await.unwrap();
    server.transport.close().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// As it is without any settings but for the relays: all addresses of this machine.
#[tokio::test]
async fn all_addresses_of_the_machine() {
    let server = serve(IrohTransport::builder().relay_mode(RelayMode::Disabled), seed()).await;
    assert!(read(&server.address).ip_addrs().all(|place| !place.ip().is_unspecified() && place.port() != 0));
    let client = IrohTransport::builder().relay_mode(RelayMode::Disabled).into_transport(seed()).unwrap();
    let channel = dial_with(&client, &server.address).await;
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
}

#[tokio::test]
async fn two_servers_in_one_process_are_apart() {
    let (one, two) = (server().await, server().await);
    let client = client();
    let (first, second) = (dial_with(&client, &one.address).await, dial_with(&client, &two.address).await);
    first.request("x".into(), soon()).await.unwrap();
    assert_eq!((one.service.seen(), two.service.seen()), (1, 0));
    one.transport.close().await.unwrap();
    assert_eq!(kind(first.request("x".into(), CallOptions::timeout(millis(500))).await), Some(ErrorKind::Timeout));
    assert_eq!(second.request("x".into(), soon()).await.unwrap(), "x");
    // And towards each other, at the same time.
    let three = server().await;
    let (there, back) = (dial_with(&two.transport, &three.address), dial_with(&three.transport, &two.address));
    let (there, back) = tokio::join!(there, back);
    let (there, back) = tokio::join!(there.request("nap".into(), soon()), back.request("nap".into(), soon()));
    assert_eq!((there.unwrap(), back.unwrap()), ("nap".into(), "nap".into()));
}

struct Nowhere;

#[async_trait]
impl TransportState for Nowhere {
    async fn load(&self) -> Result<Option<Bytes>> {
        Ok(None)
    }
    async fn save(&self, _: Bytes) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_scheme_is_registered() {
    let registry = Registry::linked().unwrap();
    let entry = registry.transport("iroh").unwrap();
    assert!(entry.origin().starts_with("eidetica-transport-iroh "));
    let (mine, other) = (seed(), seed());
    // Nothing is asked of anybody by building it; listening would be by the one that may.
    let builder: Box<dyn TransportBuilder> = entry.builder("").unwrap();
    assert!(builder.wants_device_secret());
    let context = || TransportContext::new(device(&mine), Arc::new(Nowhere));
    let transport = builder.build(context().with_secret(mine)).await.unwrap();
    assert_eq!(kind(transport.listen(Arc::new(Obedient::default())).await), Some(ErrorKind::Unsupported));
    assert!(transport.addresses().is_empty());
    let build = |context| entry.builder("127.0.0.1:0").unwrap().build(context);
    assert_eq!(kind(build(context()).await), Some(ErrorKind::PermissionDenied));
    assert_eq!(kind(build(context().with_secret(other)).await), Some(ErrorKind::InvalidInput));
    assert!(build(context().with_secret(mine)).await.is_ok());
}
