//! The code of the guide on synchronization, as it is written there.
#![allow(clippy::clone_on_copy)]

use eidetica::backend::database::Sqlite;
use eidetica::crdt::Doc;
use eidetica::{Instance, Result};

#[tokio::test]
async fn quick_start_and_authenticated_bootstrap() -> Result<()> {
    let backend = Box::new(Sqlite::in_memory().await?);
    let instance = Instance::open(backend).await?;
    instance.enable_sync().await?;

    // Create and login a user (generates authentication key automatically)
    instance.create_user("alice", None).await?;
    let mut user = instance.login_user("alice", None).await?;
    let alice_key = user.get_default_key()?;
    let database = user.create_database(Doc::new(), &alice_key).await?;
    let tree_id = database.root_id().clone();
    super::kit::set(&database, "greeting", "hello").await?;

    let server = {
        use eidetica::sync::transports::http::HttpTransport;

        let sync = instance.sync().unwrap();

        // Register transport with bind address and start accepting connections
        // (the guide says port 8080; a test takes what is free)
        sync.register_transport("http", HttpTransport::builder().bind("127.0.0.1:0")).await?;
        sync.accept_connections().await?;
        let my_address = sync.get_server_address_async().await?; // Share this with peers
        my_address.to_string()
    };

    let other = Instance::open(Box::new(Sqlite::in_memory().await?)).await?;
    other.enable_sync().await?;
    other.create_user("ben", None).await?;
    let mut user_ben = other.login_user("ben", None).await?;
    let key_id = user_ben.add_private_key(None).await?;
    let sync = other.sync().unwrap();
    {
        use eidetica::sync::transports::http::HttpTransport;
        sync.register_transport("http", HttpTransport::builder()).await?;
    }
    let database_id = tree_id.clone();
    let asked = {
        use eidetica::sync::Address;
        let user = &user_ben;

        // Request database access through User API
        user.request_database_access(
            &sync,
            &Address::http(server.as_str()),
            &database_id,
            &key_id, // User's key ID from user.add_private_key()
            eidetica::auth::Permission::Write,
        )
        .await
    };
    let pending = asked.unwrap_err();
    assert_eq!(pending.kind(), eidetica::ErrorKind::Pending);
    let id = pending.context("request_id").unwrap().to_owned();
    let serving = instance.sync().unwrap();
    super::kit::until("the request is there", || async {
        !user.pending_bootstrap_requests(&serving).await.unwrap().is_empty()
    })
    .await;
    let (request, _) = user.pending_bootstrap_requests(&serving).await?.remove(0);
    assert_eq!(request.to_string(), id);
    user.approve_bootstrap_request(&serving, &request, &alice_key).await?;

    {
        use eidetica::sync::Address;

        // Single API handles both bootstrap (new) and incremental (existing) sync
        sync.sync_with_peer(&Address::http(server.as_str()), Some(&tree_id)).await?;
    }
    let database = user_ben.open_database(&tree_id).await?;
    assert_eq!(super::kit::get(&database, "greeting").await.as_deref(), Some("hello"));
    other.close().await?;
    instance.close().await
}

#[tokio::test]
async fn declarative_sync() -> Result<()> {
    use eidetica::sync::{Address, SyncPeerInfo};

    let backend = Box::new(Sqlite::in_memory().await?);
    let instance = Instance::open(backend).await?;
    instance.enable_sync().await?;
    instance.create_user("alice", None).await?;
    let mut user = instance.login_user("alice", None).await?;
    let default_key = user.get_default_key()?;
    let db = user.create_database(Doc::new(), &default_key).await?;
    let tree_id = db.root_id().clone();
    let sync = instance.sync().expect("Sync enabled");
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
    instance.close().await
}

#[tokio::test]
async fn sync_settings() -> Result<()> {
    use eidetica::user::types::{SyncSettings, TrackedDatabase};

    let backend = Box::new(Sqlite::in_memory().await?);
    let instance = Instance::open(backend).await?;
    instance.enable_sync().await?;
    instance.create_user("alice", None).await?;
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
    instance.close().await
}

#[tokio::test]
async fn without_a_transport_the_error_names_the_call() -> Result<()> {
    use eidetica::sync::Address;

    let instance = Instance::open_url("memory:").await?;
    assert!(instance.sync().is_none());
    instance.enable_sync().await?;
    instance.enable_sync().await?;
    let sync = instance.sync().unwrap();
    let outbound = sync.sync_with_peer(&Address::http("127.0.0.1:8080"), None).await.unwrap_err();
    let inbound = sync.accept_connections().await.unwrap_err();
    for error in [outbound, inbound] {
        let text = error.to_string();
        assert!(text.contains("No transport enabled") && text.contains("register_transport()"), "{text}");
    }
    instance.close().await
}
