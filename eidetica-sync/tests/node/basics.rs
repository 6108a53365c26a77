//! The ways of the guide.

use std::time::Duration;

use eidetica_contract::ErrorKind;
use eidetica_sync::schedule::Wish;
use eidetica_sync::transport::MemoryNetwork;
use eidetica_sync::{SyncPeerInfo, SyncState};

use super::kit::*;

#[tokio::test]
async fn one_call_brings_everything_both_ways() {
    let network = MemoryNetwork::new();
    let anna = Node::listening(&network, "anna").await;
    let ben = Node::new("ben").await;
    ben.join(&network).await;
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    for number in 0..300 {
        set(&there, &format!("key {number}"), "anna's").await;
    }
    ben.track(id, Wish::every(Duration::from_secs(3600))).await;
    let report = ben.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    assert_eq!(report.peer, anna.syncer.device_id());
    let outcome = report.databases[0].result.as_ref().unwrap();
    assert!(outcome.complete, "{outcome:?}");
    let here = ben.open(&id).await;
    assert_eq!(get(&here, "key 299").await.as_deref(), Some("anna's"));
    in_step(&here, &there).await;

    set(&here, "key 1", "ben's").await;
    set(&there, "key 2", "anna's again").await;
    ben.syncer.sync_with_peer(&anna.address(), None).await.unwrap();
    in_step(&here, &there).await;
    assert_eq!(get(&there, "key 1").await.as_deref(), Some("ben's"));
    assert_eq!(get(&here, "key 2").await.as_deref(), Some("anna's again"));
}

#[tokio::test]
async fn a_commit_reaches_the_other_side_by_itself_in_both_directions() {
    let network = MemoryNetwork::new();
    let anna = Node::listening(&network, "anna").await;
    // Ben does not listen: he hears of news by asking for them.
    let ben = Node::new("ben").await;
    ben.join(&network).await;
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    ben.track(id, Wish::live()).await;
    let info = SyncPeerInfo {
        peer_pubkey: anna.syncer.device_id().to_string(),
        tree_id: id,
        addresses: vec![anna.address()],
        auth: None,
        display_name: Some("Anna".into()),
    };
    let handle = ben.syncer.register_sync_peer(info).await.unwrap();
    handle.wait_for_initial_sync(Duration::from_secs(10)).await.unwrap();
    let here = ben.open(&id).await;
    in_step(&here, &there).await;
    for number in 0..20 {
        set(&here, "from ben", &number.to_string()).await;
        in_step(&here, &there).await;
        set(&there, "from anna", &number.to_string()).await;
        in_step(&here, &there).await;
    }
    ben.syncer.flush().await.unwrap();
    let status = handle.status().unwrap();
    assert!(status.connected && status.has_local_data && status.last_error.is_none(), "{status:?}");
    assert!(matches!(status.state, SyncState::Idle | SyncState::Waiting | SyncState::Running), "{status:?}");
}

#[tokio::test]
async fn who_may_not_read_is_told_nothing() {
    let network = MemoryNetwork::new();
    let anna = Node::listening(&network, "anna").await;
    let eve = Node::new("eve").await;
    eve.join(&network).await;
    let there = anna.create(&[]).await;
    let id = *there.root_id();
    eve.track(id, Wish::live()).await;
    let refused = eve.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    // As for a database that nobody has.
    let nobodys = eidetica_core::Id::of(b"nobody's");
    let unknown = eve.syncer.sync_with_peer(&anna.address(), Some(&nobodys)).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.message()), (refused.kind(), refused.message()));
    assert!(eve.engine.databases().await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_transport_both_directions_say_what_to_call() {
    let anna = Node::new("anna").await;
    let id = *anna.create(&[]).await.root_id();
    let outbound = anna.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap_err();
    let inbound = anna.syncer.accept_connections().await.unwrap_err();
    for error in [outbound, inbound] {
        assert!(error.message().contains("No transport enabled") && error.message().contains("register_transport()"));
    }
}

#[tokio::test]
async fn what_nobody_wishes_any_longer_is_neither_served_nor_fetched() {
    let network = MemoryNetwork::new();
    let (anna, ben) = (Node::listening(&network, "anna").await, Node::listening(&network, "ben").await);
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    ben.track(id, Wish::live()).await;
    ben.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    let here = ben.open(&id).await;
    in_step(&here, &there).await;
    anna.untrack(id).await;
    set(&there, "key", "kept to herself").await;
    let refused = ben.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    let handle = anna.syncer.handle(&ben.syncer.device_id(), &id);
    assert_eq!(handle.status().unwrap().state, SyncState::NotWished);
    assert_eq!(get(&here, "key").await, None);
    // Wished again, it comes.
    anna.track(id, Wish::live()).await;
    in_step(&here, &there).await;
    assert_eq!(get(&here, "key").await.as_deref(), Some("kept to herself"));
}

/// A peer that comes by itself.
fn without_address(peer: &Node, database: eidetica_core::Id) -> SyncPeerInfo {
    let peer_pubkey = peer.syncer.device_id().to_string();
    SyncPeerInfo { peer_pubkey, tree_id: database, addresses: Vec::new(), auth: None, display_name: None }
}

/// Anna cannot be called, and has what Ben, who listens, waits for.
#[tokio::test]
async fn a_database_is_brought_to_who_waits_for_it() {
    let network = MemoryNetwork::new();
    let ben = Node::listening(&network, "ben").await;
    let anna = Node::new("anna").await;
    anna.join(&network).await;
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    set(&there, "key", "value").await;
    // As long as Ben does not want it, he is told of nothing, and tells nothing.
    let refused = anna.syncer.sync_with_peer(&ben.address(), Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    assert!(ben.engine.databases().await.unwrap().is_empty());
    ben.track(id, Wish::live()).await;
    // Nor to somebody with whom he does not want to sync it: that he wants it is his affair.
    let refused = anna.syncer.sync_with_peer(&ben.address(), Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    ben.syncer.register_sync_peer(without_address(&anna, id)).await.unwrap();
    anna.syncer.sync_with_peer(&ben.address(), Some(&id)).await.unwrap();
    let here = ben.open(&id).await;
    in_step(&here, &there).await;
    // Who may not read it is offered nothing.
    let eve = Node::listening(&network, "eve").await;
    eve.track(id, Wish::live()).await;
    eve.syncer.register_sync_peer(without_address(&anna, id)).await.unwrap();
    let refused = anna.syncer.sync_with_peer(&eve.address(), Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    assert!(eve.engine.databases().await.unwrap().is_empty());
    // Nor the root of one in which nothing was written.
    let fresh = *anna.create(&[]).await.root_id();
    eve.track(fresh, Wish::live()).await;
    eve.syncer.register_sync_peer(without_address(&anna, fresh)).await.unwrap();
    let refused = anna.syncer.sync_with_peer(&eve.address(), Some(&fresh)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    assert!(eve.engine.databases().await.unwrap().is_empty());
    // From now on both keep it in step.
    set(&here, "key", "ben's").await;
    in_step(&here, &there).await;
}
