//! Who is who over iroh, whose endpoints have the keys of their devices.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::backend::Registry;
use eidetica::backend::database::Sqlite;
use eidetica::crdt::Doc;
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::sync::{Caller, Service, SyncOptions, SyncPeerInfo, Transport};
use eidetica::{Error, ErrorKind, Instance, PublicKey, Result};

use super::kit::*;
use super::ways::{Ways, iroh};

/// Listens to whoever calls, and says nothing of use.
#[derive(Default)]
struct Ear(Mutex<Vec<(Option<PublicKey>, Bytes)>>);

#[async_trait]
impl Service for Ear {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        self.0.lock().unwrap().push((caller.proven, message));
        Err(Error::new(ErrorKind::Unsupported, "this one only listens"))
    }
}

/// `docs/spec/wire.md` says what the first byte means.
#[tokio::test]
async fn nothing_is_shaken_where_the_transport_has_proven_both_keys() {
    let (ear, seed) = (Arc::new(Ear::default()), [9; 32]);
    let transport = iroh().into_transport(seed).unwrap();
    transport.listen(ear.clone()).await.unwrap();
    let address = transport.addresses().remove(0);
    let ben = Device::over("ben", Ways::Both).await;
    assert!(ben.sync.connect_to_peer(&address).await.is_err());
    let (proven, first) = ear.0.lock().unwrap()[0].clone();
    assert_eq!(proven, Some(ben.instance.device_id()), "the endpoint has the key of the device");
    assert_eq!(first[0], 0x06, "the first message is an offer with a frame behind it, in the plain");

    // Over HTTP it is the greeting of a handshake.
    let http = eidetica::sync::transports::http::HttpTransport::builder().bind("127.0.0.1:0").into_transport().unwrap();
    http.listen(ear.clone()).await.unwrap();
    assert!(ben.sync.connect_to_peer(&http.addresses()[0]).await.is_err());
    let (proven, last) = ear.0.lock().unwrap().last().cloned().unwrap();
    assert_eq!((proven, last[0]), (None, 0x01));
    transport.close().await.unwrap();
    http.close().await.unwrap();
}

#[tokio::test]
async fn another_device_at_the_same_place_is_refused() {
    let place = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let there = || IrohTransport::builder().relay_mode(RelayMode::Disabled).bind(place.as_str());
    let anna = Device::over("anna", Ways::Iroh).await;
    anna.sync.register_transport("iroh", there()).await.unwrap();
    let address = anna.listen().await;
    let ben = Device::over("ben", Ways::Iroh).await;
    assert_eq!(ben.sync.connect_to_peer(&address).await.unwrap(), anna.instance.device_id());
    let old = anna.instance.device_id();
    anna.instance.close().await.unwrap();

    // Carl has the port now, and not the key.
    let carl = Device::over("carl", Ways::Iroh).await;
    carl.sync.register_transport("iroh", there()).await.unwrap();
    let taken = carl.listen().await;
    let dora = Device::over("dora", Ways::Iroh).await;
    // Whoever has known anna, and whoever has not.
    let known = ben.sync.discover_peer_trees(&address).await.unwrap_err();
    let new = dora.sync.connect_to_peer(&address).await.unwrap_err();
    for error in [known, new] {
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(error.to_string().contains(&old.to_string()), "{error}");
    }
    // He is spoken with as who he is.
    assert_eq!(dora.sync.connect_to_peer(&taken).await.unwrap(), carl.instance.device_id());
}

#[tokio::test]
async fn a_peer_is_not_taken_for_another_one_by_its_address() {
    let (anna, mut ben) = (Device::over("anna", Ways::Iroh).await, Device::over("ben", Ways::Iroh).await);
    let carl = Device::over("carl", Ways::Iroh).await;
    let address = anna.listen().await;
    let database = ben.user.create_database(Doc::new(), &ben.key).await.unwrap();
    let info = SyncPeerInfo {
        peer_pubkey: carl.instance.device_id().to_string(),
        tree_id: *database.root_id(),
        addresses: vec![address.clone()],
        auth: None,
        display_name: None,
    };
    let handle = ben.sync.register_sync_peer(info).await.unwrap();
    until("it is noticed", || async { handle.status().unwrap().last_error.is_some() }).await;
    let (_, kind, text) = handle.status().unwrap().last_error.unwrap();
    assert_eq!(kind, ErrorKind::Unauthenticated, "{text}");
    // Nothing was said to anna of the database, and she is nobody new.
    assert!(!anna.sync.list_peers().await.unwrap().iter().any(|peer| peer.name == ben.instance.device_id().into()));
}

/// The device key and the port outlive the process, and with them the address.
#[tokio::test]
async fn the_address_outlives_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anna.db");
    let open = || async {
        let instance = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
        if instance.list_users().await.unwrap().is_empty() {
            instance.create_user("anna", None).await.unwrap();
        }
        let anna = Device::start(instance, "anna", None, SyncOptions::default()).await;
        Ways::Iroh.register(&anna.sync).await.unwrap();
        anna
    };
    let ben = Device::over("ben", Ways::Iroh).await;
    let anna = open().await;
    let first = anna.listen().await;
    assert_eq!(ben.sync.connect_to_peer(&first).await.unwrap(), anna.instance.device_id());
    anna.instance.close().await.unwrap();
    for _ in 0..2 {
        let anna = open().await;
        // Dialling does not take another port either.
        let _ = anna.sync.connect_to_peer(&first).await;
        assert_eq!(anna.listen().await, first);
        assert_eq!(ben.sync.connect_to_peer(&first).await.unwrap(), anna.instance.device_id());
        anna.instance.close().await.unwrap();
    }
}

/// What the registry makes is registered as what a program makes.
#[tokio::test]
async fn transports_by_their_scheme() {
    let registry = Registry::linked().unwrap();
    let anna = Device::over("anna", Ways::Http).await;
    for (scheme, settings) in [("http", "127.0.0.1:0"), ("iroh", "127.0.0.1:0?relay=disabled")] {
        let builder = registry.transport(scheme).unwrap().builder(settings).unwrap();
        anna.sync.register_transport(scheme, builder).await.unwrap();
    }
    let addresses = Ways::Both.listen(&anna.sync).await.unwrap();
    let ben = Device::over("ben", Ways::Both).await;
    for address in &addresses {
        assert_eq!(ben.sync.connect_to_peer(address).await.unwrap(), anna.instance.device_id());
    }
}
