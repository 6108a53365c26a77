//! Who is a stranger, and who is not any longer.

use std::time::Duration;

use eidetica_contract::{ErrorKind, PublicKey};
use eidetica_core::Database;
use eidetica_core::auth::Permission;
use eidetica_core::store::SettingsStore;
use eidetica_sync::schedule::Wish;
use eidetica_sync::transport::MemoryNetwork;
use eidetica_sync::{Rate, SyncOptions};

use super::kit::*;

/// The peers that a node knows, once they are as many as they should be.
async fn known(node: &Node, is_it: impl Fn(&[PublicKey]) -> bool) -> Vec<PublicKey> {
    let wait = async {
        loop {
            let peers = node.syncer.list_peers().await.unwrap().into_iter().map(|record| record.name.key().unwrap());
            let peers: Vec<PublicKey> = peers.collect();
            if is_it(&peers) {
                return peers;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("they come to be known, or forgotten")
}

async fn set_right(database: &Database, user: PublicKey, permission: Option<Permission>) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    match permission {
        Some(permission) => settings.set_auth_key(&user, permission, 0).await.unwrap(),
        None => settings.revoke_auth_key(&user).await.unwrap(),
    }
    transaction.commit().await.unwrap();
}

/// As many devices as a reader likes to have: each is served, and so many are known.
#[tokio::test]
async fn a_reader_with_many_devices_drives_out_no_peer_of_others() {
    let network = MemoryNetwork::new();
    // All of these come from as good as one place.
    let anna = Node::with("anna", SyncOptions::default().behind_proxy()).await;
    anna.join(&network).await;
    anna.syncer.accept_connections().await.unwrap();
    let (ben, first, last) = (Node::new("ben").await, Node::new("first").await, Node::new("last").await);
    let there = anna.create(&[&ben, &first, &last]).await;
    let id = *there.root_id();
    set(&there, "key", "for all").await;
    let sync = async |node: &Node| {
        node.join(&network).await;
        node.track(id, Wish::every(Duration::from_secs(3600))).await;
        node.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
        assert_eq!(get(&node.open(&id).await, "key").await.as_deref(), Some("for all"));
    };
    sync(&first).await;
    let mut devices = Vec::new();
    for _ in 0..40 {
        let mut device = Node::new("one of ben's").await;
        device.user = ben.user.clone();
        sync(&device).await;
        devices.push(device);
    }
    // They are put down in the order in which they have come, so that the others have been by then.
    sync(&last).await;
    let peers = known(&anna, |peers| peers.contains(&last.syncer.device_id())).await;
    assert!(peers.contains(&first.syncer.device_id()));
    assert_eq!(peers.len(), 32 + 2);
}

/// With the right of its user a peer loses what it has before strangers, and gets it back with it.
#[tokio::test]
async fn who_has_no_right_any_longer_is_a_stranger_again() {
    let network = MemoryNetwork::new();
    let mut options = SyncOptions::default();
    // So many requests, and never more.
    options.strangers.requests = Rate { burst: 64, per_second: 0 };
    let anna = Node::with("anna", options).await;
    anna.join(&network).await;
    anna.syncer.accept_connections().await.unwrap();
    let ben = Node::new("ben").await;
    ben.join(&network).await;
    let there = anna.create(&[&ben]).await;
    let (id, device) = (*there.root_id(), ben.syncer.device_id());
    ben.track(id, Wish::every(Duration::from_secs(3600))).await;
    let sync = async || ben.syncer.sync_with_peer(&anna.address(), Some(&id)).await;
    for _ in 0..2 {
        sync().await.unwrap();
        known(&anna, |peers| peers.contains(&device)).await;
        for _ in 0..40 {
            ben.syncer.discover_peer_trees(&anna.address()).await.unwrap();
        }
        set_right(&there, ben.user.public(), None).await;
        known(&anna, |peers| !peers.contains(&device)).await;
        assert_eq!(sync().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        set_right(&there, ben.user.public(), Some(Permission::Write)).await;
    }
    sync().await.unwrap();
    known(&anna, |peers| peers.contains(&device)).await;
    set_right(&there, ben.user.public(), None).await;
    known(&anna, |peers| !peers.contains(&device)).await;
    let mut refused = None;
    for _ in 0..64 {
        refused = refused.or(ben.syncer.discover_peer_trees(&anna.address()).await.err());
    }
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Busy));
}

/// A peer that was joined is none that was learnt, even if it has called first: it stays whatever becomes of its right.
#[tokio::test]
async fn who_was_joined_stays_known_without_a_right() {
    let network = MemoryNetwork::new();
    let (anna, ben) = (Node::listening(&network, "anna").await, Node::listening(&network, "ben").await);
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    ben.track(id, Wish::live()).await;
    ben.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    known(&anna, |peers| peers.len() == 1).await;
    anna.syncer.sync_with_peer(&ben.address(), Some(&id)).await.unwrap();
    in_step(&ben.open(&id).await, &there).await;
    let carol = Node::listening(&network, "carol").await;
    set_right(&there, carol.user.public(), Some(Permission::Read)).await;
    carol.track(id, Wish::live()).await;
    carol.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    known(&anna, |peers| peers.len() == 2).await;
    set_right(&there, ben.user.public(), None).await;
    set_right(&there, carol.user.public(), None).await;
    assert_eq!(known(&anna, |peers| peers.len() == 1).await, [ben.syncer.device_id()]);
}
