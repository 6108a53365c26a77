//! Several transports at once.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use eidetica::crdt::Doc;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::sync::{Address, SyncEvent, SyncPeerInfo, Syncer};
use eidetica::user::types::TrackedDatabase;
use eidetica::{Database, ErrorKind};

use super::kit::*;
use super::ways::{Ways, iroh};

/// A database of anna's that ben has, too, fetched from one of her addresses.
async fn share(anna: &mut Device, ben: &mut Device, from: &Address) -> (Database, Database) {
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *database.root_id();
    let_in(&database, &ben.key).await;
    let sync_settings = Default::default();
    ben.user.track_database(TrackedDatabase { database_id: id, key_id: ben.key, sync_settings }).await.unwrap();
    ben.sync.sync_with_peer(from, Some(&id)).await.unwrap();
    (database, ben.user.open_database(&id).await.unwrap())
}

/// Really stops one server: the transport is replaced by one that only dials.
async fn stop(sync: &Syncer, label: &str) {
    match label {
        "http" => sync.register_transport("http", HttpTransport::builder()).await.unwrap(),
        _ => sync.register_transport("iroh", iroh().dial_only()).await.unwrap(),
    }
    let listening = sync.get_all_server_addresses_async().await.unwrap();
    assert!(listening.iter().all(|(other, _)| other != label), "{listening:?}");
}

/// Starts it again, where it was.
async fn start_again(sync: &Syncer, label: &str, address: &Address) {
    match label {
        "http" => {
            let http = HttpTransport::builder().bind(address.address.as_str());
            sync.register_transport("http", http).await.unwrap();
        }
        // It has the port that it had.
        _ => sync.register_transport("iroh", iroh()).await.unwrap(),
    }
    sync.accept_connections().await.unwrap();
    let listening = sync.get_all_server_addresses_async().await.unwrap();
    assert!(listening.contains(&(label.to_owned(), address.clone())), "{listening:?} without {address:?}");
}

#[tokio::test]
async fn requests_go_over_the_transport_of_the_address() {
    let anna = Device::over("anna", Ways::Both).await;
    let addresses = Ways::Both.listen(&anna.sync).await.unwrap();
    for (ways, index) in [(Ways::Http, 0), (Ways::Iroh, 1)] {
        let ben = Device::over("ben", ways).await;
        assert_eq!(ben.sync.connect_to_peer(&addresses[index]).await.unwrap(), anna.instance.device_id());
        let error = ben.sync.connect_to_peer(&addresses[1 - index]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.context("scheme"), Some(addresses[1 - index].transport_type.as_str()));
    }
    // And over no other: where its server is gone, an address leads nowhere, though the peer is there.
    for (index, label) in ["http", "iroh"].into_iter().enumerate() {
        stop(&anna.sync, label).await;
        let ben = Device::over("ben", Ways::Both).await;
        assert!(ben.sync.connect_to_peer(&addresses[index]).await.is_err());
        assert_eq!(ben.sync.connect_to_peer(&addresses[1 - index]).await.unwrap(), anna.instance.device_id());
        start_again(&anna.sync, label, &addresses[index]).await;
    }
}

#[tokio::test]
async fn one_peer_under_several_addresses_is_one_peer() {
    let (mut anna, mut ben) = (Device::over("anna", Ways::Both).await, Device::over("ben", Ways::Both).await);
    let addresses = Ways::Both.listen(&anna.sync).await.unwrap();
    let (there, here) = share(&mut anna, &mut ben, &addresses[0]).await;
    let id = *there.root_id();
    ben.sync.sync_with_peer(&addresses[1], Some(&id)).await.unwrap();
    for address in &addresses {
        set(&there, "over", &address.transport_type).await.unwrap();
        ben.sync.sync_with_peer(address, None).await.unwrap();
        assert_eq!(get(&here, "over").await.as_ref(), Some(&address.transport_type));
    }
    let peers = ben.sync.list_peers().await.unwrap();
    let [peer] = &peers[..] else { panic!("more than one: {peers:?}") };
    assert_eq!(peer.name, anna.instance.device_id().into());
    let mut known: Vec<&Address> = peer.addresses.iter().map(|known| &known.address).collect();
    known.sort();
    assert_eq!(known, addresses.iter().collect::<Vec<_>>());
    assert_eq!(anna.sync.list_peers().await.unwrap().len(), 1, "and so it is on the other side");
    let status = ben.sync.handle(&anna.instance.device_id(), &id).status().unwrap();
    assert!(status.last_error.is_none(), "{status:?}");
}

#[tokio::test]
async fn when_one_way_fails_the_next_is_taken() {
    let mut anna = Device::over("anna", Ways::Both).await;
    let addresses = Ways::Both.listen(&anna.sync).await.unwrap();
    // Ben is called by nobody: whatever goes between the two goes over what he dials.
    let mut ben = Device::over("ben", Ways::Both).await;
    let (there, here) = share(&mut anna, &mut ben, &addresses[0]).await;
    ben.sync.connect_to_peer(&addresses[1]).await.unwrap();
    for round in ["first", "second"] {
        for (label, address) in ["http", "iroh"].into_iter().zip(&addresses) {
            stop(&anna.sync, label).await;
            let value = format!("{round}, without {label}");
            set(&here, "from ben", &value).await.unwrap();
            until("it is at anna's", || async { get(&there, "from ben").await.as_ref() == Some(&value) }).await;
            set(&there, "from anna", &value).await.unwrap();
            until("it is at ben's", || async { get(&here, "from anna").await.as_ref() == Some(&value) }).await;
            start_again(&anna.sync, label, address).await;
        }
    }
}

/// The next address is tried in the same round, and not with the next attempt.
#[tokio::test]
async fn an_address_that_leads_nowhere_fails_no_round() {
    for (index, label) in ["http", "iroh"].into_iter().enumerate() {
        let mut anna = Device::over("anna", Ways::Both).await;
        let mut addresses = Ways::Both.listen(&anna.sync).await.unwrap();
        stop(&anna.sync, label).await;
        // What leads nowhere comes first.
        addresses.rotate_left(index);
        let mut ben = Device::over("ben", Ways::Both).await;
        let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
        let id = *database.root_id();
        let_in(&database, &ben.key).await;
        let sync_settings = Default::default();
        ben.user.track_database(TrackedDatabase { database_id: id, key_id: ben.key, sync_settings }).await.unwrap();
        let mut events = ben.sync.events();
        let peer_pubkey = anna.instance.device_id().to_string();
        let info = SyncPeerInfo { peer_pubkey, tree_id: id, addresses, auth: None, display_name: None };
        let handle = ben.sync.register_sync_peer(info).await.unwrap();
        handle.wait_for_initial_sync(Duration::from_secs(40)).await.unwrap();
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(event, SyncEvent::Failed { .. }), "without {label}: {event:?}");
        }
        assert!(ben.user.open_database(&id).await.is_ok());
    }
}

#[tokio::test]
async fn a_transport_that_cannot_listen_takes_no_other_along() {
    let http_taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let iroh_taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (http_place, iroh_place) =
        (http_taken.local_addr().unwrap().to_string(), iroh_taken.local_addr().unwrap().to_string());
    let without_relays = || IrohTransport::builder().relay_mode(RelayMode::Disabled);
    for (http, place, listens) in
        [(http_place.as_str(), "127.0.0.1:0", "iroh"), ("127.0.0.1:0", iroh_place.as_str(), "http")]
    {
        let anna = Device::over("anna", Ways::Both).await;
        anna.sync.register_transport("http", HttpTransport::builder().bind(http)).await.unwrap();
        anna.sync.register_transport("iroh", without_relays().bind(place)).await.unwrap();
        anna.sync.accept_connections().await.unwrap();
        let all = anna.sync.get_all_server_addresses_async().await.unwrap();
        let [(label, address)] = &all[..] else { panic!("{all:?}") };
        assert_eq!(label, listens);
        let ben = Device::over("ben", Ways::Both).await;
        assert_eq!(ben.sync.connect_to_peer(address).await.unwrap(), anna.instance.device_id());
    }
    // Where none can, the error tells of both.
    let anna = Device::over("anna", Ways::Both).await;
    anna.sync.register_transport("http", HttpTransport::builder().bind(http_place)).await.unwrap();
    anna.sync.register_transport("iroh", without_relays().bind(iroh_place)).await.unwrap();
    let error = anna.sync.accept_connections().await.unwrap_err();
    assert_eq!((error.kind(), error.context("transport")), (ErrorKind::Locked, Some("http")), "{error}");
    assert!(error.context("others").is_some_and(|others| others.starts_with("iroh: ")), "{error}");
    // What was in the way goes, and the next call starts both.
    drop((http_taken, iroh_taken));
    anna.sync.accept_connections().await.unwrap();
    assert_eq!(anna.sync.get_all_server_addresses_async().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_transport_that_cannot_be_built_changes_nothing() {
    let anna = Device::over("anna", Ways::Both).await;
    let addresses = Ways::Both.listen(&anna.sync).await.unwrap();
    for label in ["iroh", "another"] {
        let broken = anna.sync.register_transport(label, IrohTransport::builder().bind("nonsense")).await;
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let ben = Device::over("ben", Ways::Both).await;
    for address in &addresses {
        assert_eq!(ben.sync.connect_to_peer(address).await.unwrap(), anna.instance.device_id());
    }
}

#[tokio::test]
async fn two_transports_of_one_scheme_have_an_address_each() {
    let anna = Device::over("anna", Ways::Both).await;
    anna.sync.register_transport("second", HttpTransport::builder().bind("127.0.0.1:0")).await.unwrap();
    anna.sync.accept_connections().await.unwrap();
    let all = anna.sync.get_all_server_addresses_async().await.unwrap();
    assert_eq!(all.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>(), ["http", "iroh", "second"]);
    assert_eq!(anna.sync.get_server_address_async().await.unwrap(), all[0].1);
    let ben = Device::over("ben", Ways::Both).await;
    for (_, address) in &all {
        assert_eq!(ben.sync.connect_to_peer(address).await.unwrap(), anna.instance.device_id());
    }
    assert_eq!(ben.sync.list_peers().await.unwrap().len(), 1);
}
