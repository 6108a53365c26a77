//! Sync that goes on by itself.

use std::time::Duration;

use eidetica::backend::database::Sqlite;
use eidetica::crdt::Doc;
use eidetica::sync::SyncPeerInfo;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Instance};

use super::kit::*;

/// Lets ben into a database of anna's, which both then have.
async fn share(anna: &mut Device, ben: &mut Device) -> (Database, Database) {
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *database.root_id();
    let_in(&database, &ben.key).await;
    let sync_settings = SyncSettings::default();
    ben.user.track_database(TrackedDatabase { database_id: id, key_id: ben.key, sync_settings }).await.unwrap();
    let address = anna.listen().await;
    ben.sync.sync_with_peer(&address, Some(&id)).await.unwrap();
    (database, ben.user.open_database(&id).await.unwrap())
}

#[tokio::test]
async fn commits_reach_the_other_side_within_moments() {
    let (mut anna, mut ben) = (Device::new("anna").await, Device::new("ben").await);
    let (there, here) = share(&mut anna, &mut ben).await;
    for round in 0..10 {
        let value = round.to_string();
        set(&there, "from anna", &value).await.unwrap();
        until("it is at ben's", || async { get(&here, "from anna").await.as_ref() == Some(&value) }).await;
        set(&here, "from ben", &value).await.unwrap();
        until("it is at anna's", || async { get(&there, "from ben").await.as_ref() == Some(&value) }).await;
    }
    ben.sync.flush().await.unwrap();
    let handle = ben.sync.handle(&anna.instance.device_id(), there.root_id());
    let status = handle.status().unwrap();
    assert!(status.connected && !status.unsent && status.last_error.is_none(), "{status:?}");
}

#[tokio::test]
async fn a_password_user_who_is_logged_out_is_synced_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ben.db");
    let mut anna = Device::new("anna").await;
    let (there, id) = {
        let instance = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
        instance.create_user("ben", Some("correct horse")).await.unwrap();
        let mut ben = Device::of(instance, "ben", Some("correct horse")).await;
        let (there, here) = share(&mut anna, &mut ben).await;
        let id = *here.root_id();
        let info = SyncPeerInfo {
            peer_pubkey: anna.instance.device_id().to_string(),
            tree_id: id,
            addresses: vec![anna.sync.get_server_address_async().await.unwrap()],
            auth: None,
            display_name: None,
        };
        ben.sync.register_sync_peer(info).await.unwrap();
        ben.user.logout();
        ben.instance.close().await.unwrap();
        (there, id)
    };
    set(&there, "while you were away", "news").await.unwrap();

    let instance = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    instance.enable_sync().await.unwrap();
    let sync = instance.sync().unwrap();
    let transport = eidetica::sync::transports::http::HttpTransport::builder();
    sync.register_transport("http", transport).await.unwrap();
    let handle = sync.handle(&anna.instance.device_id(), &id);
    handle.wait_for_initial_sync(Duration::from_secs(20)).await.unwrap();
    let here = instance.open_database_with_key(&id, None).await.unwrap();
    until("the news have come", || async { get(&here, "while you were away").await.as_deref() == Some("news") }).await;
    // And live from now on.
    set(&there, "and now", "more").await.unwrap();
    until("more has come", || async { get(&here, "and now").await.as_deref() == Some("more") }).await;
    instance.close().await.unwrap();
}

#[tokio::test]
async fn closing_waits_for_nobody_who_waits() {
    let (mut anna, mut ben) = (Device::new("anna").await, Device::new("ben").await);
    let (there, _here) = share(&mut anna, &mut ben).await;
    // Ben watches by now: he has heard of this.
    set(&there, "key", "value").await.unwrap();
    let here = ben.user.open_database(there.root_id()).await.unwrap();
    until("ben has it", || async { get(&here, "key").await.is_some() }).await;
    let began = std::time::Instant::now();
    anna.instance.close().await.unwrap();
    ben.instance.close().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    for sync in [&anna.sync, &ben.sync] {
        assert_eq!(sync.flush().await.unwrap_err().kind(), eidetica::ErrorKind::Closed);
    }
}

/// What is dropped without being closed must not go on listening, or keep the store.
#[tokio::test]
async fn a_device_that_is_dropped_is_gone() {
    let anna = Device::new("anna").await;
    let address = anna.listen().await;
    let ben = Device::new("ben").await;
    ben.sync.connect_to_peer(&address).await.unwrap();
    drop(anna);
    let other = Device::new("carl").await;
    until("nobody answers", || async { other.sync.connect_to_peer(&address).await.is_err() }).await;
}
