//! The blocks of the guide, one after the other.
#![allow(clippy::clone_on_copy)]

use std::time::Duration;

use eidetica::crdt::Doc;
use eidetica::{Instance, Result};

use super::Store;
use crate::sync::kit::{get, set, until};
use crate::sync::ways::Ways;

/// *Quick Start*, *Transport Options* and *Authenticated Bootstrap*.
pub async fn quick_start_and_bootstrap(store: Store, ways: Ways) -> Result<()> {
    let (backend, _folder) = store.backend().await?;
    let instance = Instance::open(backend).await?;
    instance.enable_sync().await?;

    // Create and login a user (generates authentication key automatically)
    instance.create_user("alice", None).await?;
    let mut user = instance.login_user("alice", None).await?;
    let alice_key = user.get_default_key()?;
    let database = user.create_database(Doc::new(), &alice_key).await?;
    let tree_id = database.root_id().clone();
    set(&database, "greeting", "hello").await?;

    let serving = instance.sync().unwrap();
    ways.register(&serving).await?;
    let addresses = ways.listen(&serving).await?;

    let (other, folder) = store.instance("ben").await?;
    let mut user_ben = other.login_user("ben", None).await?;
    let key_id = user_ben.add_private_key(None).await?;
    let sync = other.sync().unwrap();
    ways.register(&sync).await?;
    let database_id = tree_id.clone();
    let asked = {
        let user = &user_ben;

        // Request database access through User API
        user.request_database_access(
            &sync,
            &addresses[0],
            &database_id,
            &key_id, // User's key ID from user.add_private_key()
            eidetica::auth::Permission::Write,
        )
        .await
    };
    let pending = asked.unwrap_err();
    assert_eq!(pending.kind(), eidetica::ErrorKind::Pending);
    let id = pending.context("request_id").unwrap().to_owned();
    until("the request is there", || async { !user.pending_bootstrap_requests(&serving).await.unwrap().is_empty() })
        .await;
    let (request, _) = user.pending_bootstrap_requests(&serving).await?.remove(0);
    assert_eq!(request.to_string(), id);
    user.approve_bootstrap_request(&serving, &request, &alice_key).await?;

    // Single API handles both bootstrap (new) and incremental (existing) sync
    for address in &addresses {
        sync.sync_with_peer(address, Some(&tree_id)).await?;
    }
    let here = user_ben.open_database(&tree_id).await?;
    assert_eq!(get(&here, "greeting").await.as_deref(), Some("hello"));

    // The system automatically detects whether you need full bootstrap or incremental sync.
    set(&here, "answer", "hello yourself").await?;
    for address in addresses.iter().rev() {
        sync.sync_with_peer(address, Some(&tree_id)).await?;
    }
    assert_eq!(get(&database, "answer").await.as_deref(), Some("hello yourself"));
    drop((here, user_ben, sync));
    other.close().await?;

    // What has come is there when the store is opened again, and sync goes on by itself where it was.
    if let Some(backend) = store.again(&folder).await? {
        let other = Instance::open(backend).await?;
        other.enable_sync().await?;
        let user_ben = other.login_user("ben", None).await?;
        let here = user_ben.open_database(&tree_id).await?;
        assert_eq!(get(&here, "greeting").await.as_deref(), Some("hello"));
        set(&database, "greeting", "welcome back").await?;
        ways.register(&other.sync().unwrap()).await?;
        until("ben has it", || async { get(&here, "greeting").await.as_deref() == Some("welcome back") }).await;
        drop((here, user_ben));
        other.close().await?;
    }
    instance.close().await
}

/// *Declarative Sync API*.
pub async fn declarative_sync(store: Store, ways: Ways) -> Result<()> {
    use eidetica::sync::{Address, SyncPeerInfo};

    let (instance, _folder) = store.instance("alice").await?;
    let mut user = instance.login_user("alice", None).await?;
    let default_key = user.get_default_key()?;
    let db = user.create_database(Doc::new(), &default_key).await?;
    let tree_id = db.root_id().clone();
    let sync = instance.sync().expect("Sync enabled");
    ways.register(&sync).await?;
    let peer_pubkey = "ed25519:abc123".to_string();
    // Register a peer for automatic background sync
    let handle = sync
        .register_sync_peer(SyncPeerInfo {
            peer_pubkey,
            tree_id,
            addresses: vec![Address {
                transport_type: "http".to_string(),
                address: "http://peer.example.com:8080".to_string(),
            }],
            auth: None,
            display_name: Some("Peer Device".to_string()),
        })
        .await?;
    // What is no key is kept, and shown as the error that it is.
    let error = handle.status().unwrap_err();
    assert_eq!(error.kind(), eidetica::ErrorKind::InvalidInput, "{error}");
    assert_eq!(sync.list_peers().await?.len(), 1);

    // And with a peer that is there, by one who has nothing yet: background sync happens automatically, both ways.
    let addresses = ways.listen(&sync).await?;
    let (other, _other_folder) = store.instance("ben").await?;
    let mut user_ben = other.login_user("ben", None).await?;
    crate::sync::kit::let_in(&db, &user_ben.get_default_key()?).await;
    set(&db, "from alice", "1").await?;
    track(&mut user_ben, db.root_id(), Default::default()).await?;
    let sync = other.sync().expect("Sync enabled");
    ways.register(&sync).await?;
    let handle = sync
        .register_sync_peer(SyncPeerInfo {
            peer_pubkey: instance.device_id().to_string(),
            tree_id: db.root_id().clone(),
            addresses: addresses
                .iter()
                .map(|known| Address { transport_type: known.transport_type.clone(), address: known.address.clone() })
                .collect(),
            auth: None,
            display_name: Some("Peer Device".to_string()),
        })
        .await?;
    handle.wait_for_initial_sync(Duration::from_secs(30)).await?;
    let here = user_ben.open_database(db.root_id()).await?;
    assert_eq!(get(&here, "from alice").await.as_deref(), Some("1"));
    set(&here, "from ben", "2").await?;
    until("it is at alice's", || async { get(&db, "from ben").await.is_some() }).await;
    set(&db, "from alice", "3").await?;
    until("it is at ben's", || async { get(&here, "from alice").await.as_deref() == Some("3") }).await;
    let status = handle.status()?;
    assert!(status.last_error.is_none(), "{status:?}");
    other.close().await?;
    instance.close().await
}

/// *Sync Settings*, and *Automatic Behavior* as far as they decide on it.
pub async fn sync_settings(store: Store, ways: Ways) -> Result<()> {
    use eidetica::user::types::{SyncSettings, TrackedDatabase};

    let (instance, _folder) = store.instance("alice").await?;
    let mut user = instance.login_user("alice", None).await?;
    let key = user.get_default_key()?;
    let db = user.create_database(Doc::new(), &key).await?;
    let db_id = db.root_id().clone();
    let tracked = TrackedDatabase {
        database_id: db_id,
        key_id: user.get_default_key()?,
        sync_settings: SyncSettings {
            sync_enabled: true,
            sync_on_commit: true,       // Sync immediately on commit
            interval_seconds: Some(60), // Also sync every 60 seconds
            properties: Default::default(),
        },
    };

    // Track this database with the User
    user.track_database(tracked).await?;
    assert_eq!(instance.wishes(&db_id).await?.unwrap().interval_seconds, Some(60));

    // A commit is at a peer long before the minute is over.
    let sync = instance.sync().unwrap();
    ways.register(&sync).await?;
    let addresses = ways.listen(&sync).await?;
    let (peer, _peer_folder) = store.instance("ben").await?;
    let mut user_ben = peer.login_user("ben", None).await?;
    crate::sync::kit::let_in(&db, &user_ben.get_default_key()?).await;
    track(&mut user_ben, &db_id, Default::default()).await?;
    let calling = peer.sync().unwrap();
    ways.register(&calling).await?;
    for address in &addresses {
        calling.sync_with_peer(address, Some(&db_id)).await?;
    }
    let there = user_ben.open_database(&db_id).await?;
    set(&db, "news", "of alice").await?;
    until("it is at ben's", || async { get(&there, "news").await.is_some() }).await;

    // And nothing is, once sync is switched off.
    track(&mut user, &db_id, SyncSettings { sync_enabled: false, ..Default::default() }).await?;
    for address in &addresses {
        let refused = calling.sync_with_peer(address, Some(&db_id)).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    peer.close().await?;
    instance.close().await
}

/// *Connection Architecture* and *Multiple Transports*: who may call, who lets in, and under which addresses.
pub async fn transports_by_their_addresses(store: Store, ways: Ways) -> Result<()> {
    let (instance, _folder) = store.instance("alice").await?;
    let sync = instance.sync().unwrap();
    ways.register(&sync).await?;
    // Nothing listens before it is told to.
    assert_eq!(sync.get_all_server_addresses_async().await?, []);
    let error = sync.get_server_address_async().await.unwrap_err();
    assert!(error.to_string().contains("accept_connections()"), "{error}");

    let (peer, _peer_folder) = store.instance("ben").await?;
    let calling = peer.sync().unwrap();
    ways.register(&calling).await?;

    let addresses = ways.listen(&sync).await?;
    assert_eq!(addresses.len(), ways.labels().len());
    assert_eq!(sync.get_server_address_async().await?, addresses[0]);
    for (address, label) in addresses.iter().zip(ways.labels()) {
        // The first transport of a scheme has it as its label here.
        assert_eq!(address.transport_type, *label);
        assert_eq!(calling.connect_to_peer(address).await?, instance.device_id());
    }
    // What is displayed is what the constructor of the scheme takes back.
    for address in &addresses {
        let again = match address.transport_type.as_str() {
            "http" => eidetica::sync::Address::http(address.to_string()),
            _ => eidetica::sync::Address::iroh(address.to_string()),
        };
        assert_eq!(again, *address);
    }

    sync.accept_connections().await?;
    assert_eq!(ways.listen(&sync).await?, addresses, "it is idempotent");
    sync.stop_server().await?;
    assert_eq!(sync.get_all_server_addresses_async().await?, []);
    peer.close().await?;
    instance.close().await
}

async fn track(
    user: &mut eidetica::User,
    database: &eidetica::Id,
    sync_settings: eidetica::user::types::SyncSettings,
) -> Result<()> {
    let key_id = user.get_default_key()?;
    let database_id = database.clone();
    user.track_database(eidetica::user::types::TrackedDatabase { database_id, key_id, sync_settings }).await
}
