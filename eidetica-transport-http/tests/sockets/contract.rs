//! The contract of `Transport`, method by method.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, ErrorKind, PublicKey, Registry, Result, Transport, TransportBuilder, TransportContext,
    TransportState,
};
use eidetica_transport_http::{HttpLimits, HttpTransport};
use tokio::time::Instant;

use super::kit::*;

#[tokio::test]
async fn messages_go_there_and_back_and_the_caller_has_an_origin() {
    let server = server().await;
    let client = client();
    assert!(client.addresses().is_empty());
    assert_eq!((client.info().scheme.as_str(), client.info().proves_identity), ("http", false));
    let channel = dial_with(&client, &server.address).await;
    for len in [0, 1, 1000, 65_535, 65_536, 65_537, 1 << 20, client.info().max_message] {
        let message: Bytes = (0..len).map(|at| (at * 31) as u8).collect();
        assert!(channel.request(message.clone(), soon()).await.unwrap() == message, "{len} bytes");
    }
    assert_eq!(channel.request("who".into(), soon()).await.unwrap(), r#"Some("127.0.0.1") None"#);
    assert_eq!(channel.peer(), None);
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
    assert_eq!(kind(large(200 << 10).await), Some(ErrorKind::TooLarge));
    assert_eq!(server.service.seen(), seen);
    let mut limits = HttpLimits::default();
    limits.max_message = 64 << 10;
    let small = HttpTransport::builder().limits(limits).into_transport().unwrap();
    let refused = dial_with(&small, &server.address).await.request("large".into(), soon()).await;
    assert_eq!(kind(refused), Some(ErrorKind::TooLarge));
    assert!(said("fine").await.is_ok());
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
    let client = client();
    let dial = |address: Address| {
        let client = &client;
        async move {
            let begun = Instant::now();
            let kind = kind(client.dial(&address, soon()).await);
            assert!(begun.elapsed() < Duration::from_secs(6));
            kind
        }
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    assert_eq!(dial(Address::http(free.to_string())).await, Some(ErrorKind::Unreachable));
    assert!(begun.elapsed() < millis(1000), "a refused connection is known at once");
    assert!(matches!(
        dial(Address::http("no-such-host.invalid:80")).await,
        Some(ErrorKind::Unreachable | ErrorKind::Timeout)
    ));
    assert_eq!(dial(Address::http("nothing")).await, Some(ErrorKind::InvalidInput));
    assert_eq!(dial(Address::iroh("127.0.0.1:80")).await, Some(ErrorKind::InvalidInput));
    #[cfg(not(feature = "tls"))]
    {
        let error = client.dial(&Address::http("https://127.0.0.1:1"), soon()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`tls`"), "{error}");
    }
}

#[tokio::test]
async fn names_are_resolved_and_paths_are_kept() {
    let server = server().await;
    let port = server.socket.port();
    for text in [format!("localhost:{port}"), format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}/")] {
        let channel = dial(&Address::http(text)).await;
        assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
    }
    let elsewhere = dial(&Address::http(format!("http://localhost:{port}/elsewhere"))).await;
    let error = elsewhere.request("x".into(), soon()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(error.context("status"), Some("404"));
}

#[tokio::test]
async fn listening_is_told_where_and_once() {
    let alone = client();
    assert_eq!(kind(alone.listen(Arc::new(Obedient::default())).await), Some(ErrorKind::Unsupported));
    let server = server().await;
    assert_ne!(server.socket.port(), 0);
    assert_eq!(kind(server.transport.listen(server.service.clone()).await), Some(ErrorKind::AlreadyExists));
    let listen = async |bind: &str| {
        let transport = HttpTransport::builder().bind(bind).into_transport()?;
        transport.listen(Arc::new(Obedient::default())).await
    };
    assert_eq!(kind(listen(&server.address.address).await), Some(ErrorKind::Locked));
    assert_eq!(kind(listen("192.0.2.1:0").await), Some(ErrorKind::InvalidInput));
    for bad in ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"] {
        assert_eq!(kind(listen(bad).await), Some(ErrorKind::InvalidInput), "{bad}");
    }
    assert_eq!(kind(listen("no-such-host.invalid:0").await), Some(ErrorKind::Io));
    listen("localhost:0").await.unwrap();
}

#[tokio::test]
async fn a_wildcard_and_an_advertised_address() {
    let server = serve_at("0.0.0.0:0", |_| {}).await;
    let channel = dial(&server.address).await;
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
    let mut addresses = server.transport.addresses();
    // Not every machine has IPv6.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        for bind in ["[::1]:0", "[::]:0"] {
            let server = serve_at(bind, |_| {}).await;
            for address in server.transport.addresses() {
                assert_eq!(dial(&address).await.request("x".into(), soon()).await.unwrap(), "x", "{address}");
            }
            addresses.extend(server.transport.addresses());
        }
    }
    for address in addresses {
        assert!(!address.address.starts_with("0.0.0.0") && !address.address.starts_with("[::]"), "{address}");
    }
    let builder = HttpTransport::builder().bind("127.0.0.1:0");
    let builder = builder.advertise("https://peer.example.com/notes").advertise("peer.example.com:8080");
    let transport = builder.into_transport().unwrap();
    assert!(transport.addresses().is_empty());
    transport.listen(Arc::new(Obedient::default())).await.unwrap();
    let expected = ["https://peer.example.com/notes", "peer.example.com:8080"].map(Address::http);
    assert_eq!(transport.addresses(), expected);
    transport.close().await.unwrap();
    assert!(transport.addresses().is_empty());
    let bad = HttpTransport::builder().advertise("peer").into_transport();
    assert_eq!(kind(bad), Some(ErrorKind::InvalidInput));
}

/// What the proxy has added counts, and not what the caller has said before.
#[tokio::test]
async fn a_proxy_says_where_callers_come_from() {
    let builder = HttpTransport::builder().bind("127.0.0.1:0").origin_header("X-Forwarded-For");
    let transport = builder.into_transport().unwrap();
    transport.listen(Arc::new(Obedient::default())).await.unwrap();
    let socket = transport.addresses().remove(0).address.parse().unwrap();
    for (headers, origin) in [
        ("x-forwarded-for: 10.1.2.3\r\n", r#"Some("10.1.2.3")"#),
        ("x-forwarded-for: 10.0.0.1, 10.1.2.3\r\n", r#"Some("10.1.2.3")"#),
        ("x-forwarded-for: 10.1.2.3\r\nx-forwarded-for: 2001:db8::1\r\n", r#"Some("2001:db8::1")"#),
        ("x-forwarded-for: 10.1.2.3:4567\r\n", r#"Some("10.1.2.3")"#),
        ("x-forwarded-for: 10.1.2.3, somebody\r\n", "None"),
        ("", "None"),
    ] {
        let mut raw = Raw::to(socket).await;
        raw.say(head(3).replace("\r\n\r\n", &format!("\r\nconnection: close\r\n{headers}\r\n"))).await;
        raw.say("who").await;
        let answer = raw.rest().await;
        assert!(answer.ends_with(&format!("{origin} None")), "{headers:?}: {answer}");
    }
    let bad = HttpTransport::builder().origin_header("where from").into_transport();
    assert_eq!(kind(bad), Some(ErrorKind::InvalidInput));
    transport.close().await.unwrap();
}

#[test]
fn limits_have_a_range() {
    let changes: [fn(&mut HttpLimits); 7] = [
        |limits| limits.max_message = (16 << 10) - 1,
        |limits| limits.max_message = usize::MAX,
        |limits| limits.connections = 0,
        |limits| limits.connections_per_origin = 0,
        |limits| limits.requests = usize::MAX,
        |limits| limits.large_messages = 1,
        |limits| limits.connections_per_peer = 0,
    ];
    for change in changes {
        let mut limits = HttpLimits::default();
        change(&mut limits);
        assert_eq!(kind(HttpTransport::builder().limits(limits).into_transport()), Some(ErrorKind::InvalidInput));
    }
}

#[tokio::test]
async fn two_servers_in_one_process_are_apart() {
    let (one, two) = (server().await, server().await);
    let client = client();
    let (first, second) = (dial_with(&client, &one.address).await, dial_with(&client, &two.address).await);
    first.request("x".into(), soon()).await.unwrap();
    assert_eq!((one.service.seen(), two.service.seen()), (1, 0));
    one.transport.close().await.unwrap();
    assert_eq!(kind(first.request("x".into(), soon()).await), Some(ErrorKind::Unreachable));
    assert_eq!(second.request("x".into(), soon()).await.unwrap(), "x");
}

/// What was kept is tried first, and only tried.
#[tokio::test]
async fn the_port_of_the_last_run_is_taken_if_it_is_free() {
    #[derive(Clone, Default)]
    struct State(Arc<std::sync::Mutex<Option<Bytes>>>);
    #[async_trait]
    impl TransportState for State {
        async fn load(&self) -> Result<Option<Bytes>> {
            Ok(self.0.lock().unwrap().clone())
        }
        async fn save(&self, bytes: Bytes) -> Result<()> {
            *self.0.lock().unwrap() = Some(bytes);
            Ok(())
        }
    }
    let state = State::default();
    let listening = async || {
        let context = TransportContext::new(PublicKey::from_bytes([1; 32]), Arc::new(state.clone()));
        let builder: Box<dyn TransportBuilder> = Box::new(HttpTransport::builder().bind("127.0.0.1:0"));
        let transport = builder.build(context).await.unwrap();
        transport.listen(Arc::new(Obedient::default())).await.unwrap();
        (transport.addresses().remove(0), transport)
    };
    let (first, transport) = listening().await;
    let (other, second) = listening().await;
    assert_ne!(first, other, "it is not free");
    transport.close().await.unwrap();
    second.close().await.unwrap();
    // The last that listened.
    let (again, transport) = listening().await;
    assert_eq!(again, other);
    transport.close().await.unwrap();
    for nonsense in ["", " ", "127.0.0.1 0", "127.0.0.1 70000", "\u{0}"] {
        state.save(nonsense.as_bytes().to_vec().into()).await.unwrap();
        listening().await.1.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_scheme_is_registered() {
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
    let registry = Registry::linked().unwrap();
    let entry = registry.transport("http").unwrap();
    assert!(entry.origin().starts_with("eidetica-transport-http "));
    for (bind, listens) in [("", false), ("127.0.0.1:0", true)] {
        let builder: Box<dyn TransportBuilder> = entry.builder(bind).unwrap();
        assert!(!builder.wants_device_secret());
        let context = TransportContext::new(PublicKey::from_bytes([1; 32]), Arc::new(Nowhere));
        let transport = builder.build(context).await.unwrap();
        assert_eq!(transport.listen(Arc::new(Obedient::default())).await.is_ok(), listens);
        assert_eq!(transport.addresses().len(), usize::from(listens));
    }
}
