//! Several processes on one store, one of which serves it.

use std::path::Path;

use eidetica::backend::database::Sqlite;
use eidetica::crdt::Doc;
use eidetica::sync::peers::{PeerLimits, Peers};
use eidetica::sync::{Address, SyncPeerInfo};
use eidetica::user::types::TrackedDatabase;
use eidetica::{Database, Instance};

use super::kit::*;

/// The store as one more process would open it: nothing is shared but the file.
async fn open(path: &Path) -> Instance {
    Instance::open(Box::new(Sqlite::open(path).await.unwrap())).await.unwrap()
}

/// Anna listens, and has let ben into a database. Ben's store lies in a file; he tracks the database, and has not met her.
struct Apart {
    anna: Device,
    address: Address,
    database: Database,
    ben: Device,
}

async fn apart(path: &Path) -> Apart {
    let mut anna = Device::new("anna").await;
    let address = anna.listen().await;
    let serving = open(path).await;
    serving.create_user("ben", None).await.unwrap();
    let mut ben = Device::of(serving, "ben", None).await;
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let_in(&database, &ben.key).await;
    let wish = TrackedDatabase { database_id: *database.root_id(), key_id: ben.key, sync_settings: Default::default() };
    ben.user.track_database(wish).await.unwrap();
    Apart { anna, address, database, ben }
}

#[tokio::test]
async fn what_another_process_wishes_counts_for_the_one_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anna.db");
    let serving = open(&path).await;
    serving.create_user("anna", None).await.unwrap();
    let anna = Device::of(serving, "anna", None).await;
    let address = anna.listen().await;
    let mut ben = Device::new("ben").await;

    // Another process makes a database, lets ben in, and writes.
    let other = open(&path).await;
    let mut user = other.login_user("anna", None).await.unwrap();
    let key = user.get_default_key().unwrap();
    let database = user.create_database(Doc::new(), &key).await.unwrap();
    let id = *database.root_id();
    let_in(&database, &ben.key).await;
    set(&database, "who", "the other process").await.unwrap();
    let sync_settings = Default::default();
    let tracked = TrackedDatabase { database_id: id, key_id: ben.key, sync_settings };
    ben.user.track_database(tracked).await.unwrap();
    until("ben has been given it", || async { ben.sync.sync_with_peer(&address, Some(&id)).await.is_ok() }).await;
    let there = ben.user.open_database(&id).await.unwrap();
    assert_eq!(get(&there, "who").await.as_deref(), Some("the other process"));

    // And live from then on, in both directions.
    set(&database, "live", "there").await.unwrap();
    until("it is at ben's", || async { get(&there, "live").await.as_deref() == Some("there") }).await;
    set(&there, "live", "back").await.unwrap();
    until("it is in the other process", || async { get(&database, "live").await.as_deref() == Some("back") }).await;

    // What the other process no longer wishes is not served any longer.
    user.untrack_database(&id).await.unwrap();
    until("ben is refused", || async { ben.sync.sync_with_peer(&address, Some(&id)).await.is_err() }).await;
    other.close().await.unwrap();
    anna.instance.close().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_another_process_declares_is_synced_and_one_that_it_removes_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ben.db");
    let Apart { anna, address, database, ben } = apart(&path).await;
    let id = *database.root_id();
    set(&database, "who", "anna").await.unwrap();

    let other = open(&path).await;
    let peers = Peers::new(other.engine().clone(), PeerLimits::default());
    let info = SyncPeerInfo {
        peer_pubkey: anna.instance.device_id().to_string(),
        tree_id: id,
        addresses: vec![address],
        auth: None,
        display_name: None,
    };
    let name = peers.declare(&info).await.unwrap();
    until("ben has it", || async { ben.user.open_database(&id).await.is_ok() }).await;
    let here = ben.user.open_database(&id).await.unwrap();
    until("all of it", || async { get(&here, "who").await.as_deref() == Some("anna") }).await;

    peers.remove(&name).await.unwrap();
    let handle = ben.sync.handle(&anna.instance.device_id(), &id);
    let ended = || async { handle.status().unwrap().state == eidetica::sync::SyncState::Ended };
    until("the relationship has ended", ended).await;
    other.close().await.unwrap();
    ben.instance.close().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_came_by_itself_is_gone_once_another_process_removes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ben.db");
    let Apart { anna, address, database, ben } = apart(&path).await;
    let id = *database.root_id();
    let other = open(&path).await;
    let peers = Peers::new(other.engine().clone(), PeerLimits::default());
    // Opening has changed the store. Only what comes after this process has looked at that is of its own making.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    ben.sync.sync_with_peer(&address, Some(&id)).await.unwrap();
    let handle = ben.sync.handle(&anna.instance.device_id(), &id);
    assert_ne!(handle.status().unwrap().state, eidetica::sync::SyncState::Ended);

    peers.remove(&anna.instance.device_id().into()).await.unwrap();
    let ended = || async { handle.status().unwrap().state == eidetica::sync::SyncState::Ended };
    until("the relationship has ended", ended).await;
    other.close().await.unwrap();
    ben.instance.close().await.unwrap();
}
