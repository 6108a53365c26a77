//! What goes on by itself, and what must not.

use std::time::Duration;

use eidetica_contract::ErrorKind;
use eidetica_core::auth::{Right, Setting, Subject};
use eidetica_core::crdt::Doc;
use eidetica_core::store::SettingsStore;
use eidetica_sync::schedule::Wish;
use eidetica_sync::transport::MemoryNetwork;
use tokio::time::{Instant, timeout};

use super::kit::*;

const MOMENT: Duration = Duration::from_secs(10);

/// Two nodes that listen and have a database in step.
async fn pair(network: &MemoryNetwork) -> (Node, Node, eidetica_core::Database, eidetica_core::Database) {
    let (anna, ben) = (Node::listening(network, "anna").await, Node::listening(network, "ben").await);
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    ben.track(id, Wish::live()).await;
    ben.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    let here = ben.open(&id).await;
    in_step(&here, &there).await;
    (anna, ben, there, here)
}

/// Nothing yields between the commit and the flush, so nobody has told sync of the commit yet.
#[tokio::test]
async fn a_flush_counts_a_commit_that_has_just_been_made() {
    let (anna, ben, there, here) = pair(&MemoryNetwork::new()).await;
    for number in 0..20 {
        set(&here, "key", &number.to_string()).await;
        ben.syncer.flush().await.unwrap();
        assert_eq!(get(&there, "key").await, Some(number.to_string()));
        set(&there, "key", "anna's").await;
        anna.syncer.flush().await.unwrap();
        assert_eq!(get(&here, "key").await.as_deref(), Some("anna's"));
    }
}

/// Each sends what is new by itself; neither waits for the other to ask.
#[tokio::test]
async fn between_two_that_listen_nothing_waits_for_a_watch() {
    let (_anna, _ben, there, here) = pair(&MemoryNetwork::new()).await;
    // Both have met by now, in both directions.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    for number in 0..20 {
        set(&here, "from ben", &number.to_string()).await;
        in_step(&here, &there).await;
        set(&there, "from anna", &number.to_string()).await;
        in_step(&here, &there).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn sync_that_was_switched_off_and_on_is_as_it_was() {
    let network = MemoryNetwork::new();
    let anna = Node::listening(&network, "anna").await;
    // Ben is told of news by his watch alone.
    let ben = Node::new("ben").await;
    ben.join(&network).await;
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    ben.track(id, Wish::live()).await;
    ben.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    let here = ben.open(&id).await;
    for number in 0..3 {
        anna.untrack(id).await;
        anna.track(id, Wish::live()).await;
        set(&there, "key", &number.to_string()).await;
        in_step(&here, &there).await;
    }
}

#[tokio::test]
async fn an_interval_without_end_is_no_interval() {
    let (anna, _ben, there, here) = pair(&MemoryNetwork::new()).await;
    for seconds in [u64::MAX, i64::MAX as u64, 1 << 40] {
        let wish = Wish { interval: Some(Duration::from_secs(seconds)), ..Wish::live() };
        anna.track(*there.root_id(), wish).await;
        set(&there, "key", &seconds.to_string()).await;
        in_step(&here, &there).await;
    }
}

#[tokio::test]
async fn who_waits_for_a_round_is_told_when_there_will_be_none() {
    let network = MemoryNetwork::new();
    let (anna, ben) = (Node::listening(&network, "anna").await, Node::new("ben").await);
    ben.join(&network).await;
    let there = anna.create(&[&ben]).await;
    let id = *there.root_id();
    ben.track(id, Wish::live()).await;
    let address = anna.address();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (syncer, address) = (ben.syncer.clone(), address.clone());
        calls.spawn(async move { syncer.sync_with_peer(&address, Some(&id)).await.map(|_| ()) });
    }
    tokio::task::yield_now().await;
    ben.untrack(id).await;
    ben.syncer.remove_peer(anna.syncer.device_id()).await.ok();
    timeout(MOMENT, calls.join_all()).await.expect("every call ends, well or not");
}

/// Whoever reads what everybody may read is nobody in particular: with as many keys as he likes he leaves nothing behind.
#[tokio::test]
async fn who_reads_what_everybody_may_read_stays_a_stranger() {
    let network = MemoryNetwork::new();
    let anna = Node::listening(&network, "anna").await;
    let rights = vec![
        (Subject::Key(anna.user.public()), Setting::Grant(Right::admin(u32::MAX))),
        (Subject::Everybody, Setting::Grant(Right::READ)),
    ];
    let there = anna.engine.create_database_with_rights(Doc::new(), rights, &anna.user).await.unwrap();
    let id = *there.root_id();
    anna.track(id, Wish::live()).await;
    set(&there, "key", "for everybody").await;
    for name in ["eve", "mallory"] {
        let stranger = Node::listening(&network, name).await;
        stranger.wish(id, Wish::live()).await;
        stranger.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
        let here = stranger.open(&id).await;
        assert_eq!(get(&here, "key").await.as_deref(), Some("for everybody"));
    }
    assert!(anna.syncer.list_peers().await.unwrap().is_empty());
    // Shut out, he gets nothing more.
    let eve = Node::listening(&network, "eve again").await;
    eve.wish(id, Wish::live()).await;
    eve.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    let transaction = there.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_global_permission(None).await.unwrap();
    transaction.commit().await.unwrap();
    let refused = eve.syncer.sync_with_peer(&anna.address(), Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
}
