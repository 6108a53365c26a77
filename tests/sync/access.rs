//! Who gets in, and who does not.

use std::time::Duration;

use eidetica::ErrorKind;
use eidetica::auth::{Permission, Right};
use eidetica::crdt::Doc;

use super::kit::*;

#[tokio::test]
async fn an_approved_request_completes_by_itself() {
    let mut anna = Device::new("anna").await;
    let ben = Device::new("ben").await;
    let address = anna.listen().await;
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *database.root_id();
    set(&database, "who", "anna").await.unwrap();

    let ask = || ben.user.request_database_access(&ben.sync, &address, &id, &ben.key, Permission::Write);
    let first = ask().await.unwrap_err();
    let again = ask().await.unwrap_err();
    assert_eq!((first.kind(), again.kind()), (ErrorKind::Pending, ErrorKind::Pending));
    assert_eq!(first.context("request_id"), again.context("request_id"));
    assert_eq!(ben.user.open_database(&id).await.unwrap_err().kind(), ErrorKind::Pending);
    until("the request is there", || async {
        anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len() == 1
    })
    .await;
    let (request, asked) = anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().remove(0);
    assert_eq!((asked.database, asked.key, asked.permission), (id, ben.key, Permission::Write));
    anna.user.approve_bootstrap_request(&anna.sync, &request, &anna.key).await.unwrap();
    let twice = anna.user.approve_bootstrap_request(&anna.sync, &request, &anna.key).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict, "{twice}");

    // Nobody calls anything: it comes.
    let began = std::time::Instant::now();
    until("ben has it", || async { ben.user.open_database(&id).await.is_ok() }).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let there = ben.user.open_database(&id).await.unwrap();
    until("ben has all of it", || async { get(&there, "who").await.as_deref() == Some("anna") }).await;
    // And he may write.
    set(&there, "who", "ben").await.unwrap();
    until("anna has what ben wrote", || async { get(&database, "who").await.as_deref() == Some("ben") }).await;
    // Who has access is told so at once, and nothing is added.
    ask().await.unwrap();
    assert!(anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_rejected_request_and_less_than_was_asked_for() {
    let mut anna = Device::new("anna").await;
    let (ben, eve) = (Device::new("ben").await, Device::new("eve").await);
    let address = anna.listen().await;
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *database.root_id();
    for device in [&ben, &eve] {
        let pending = device.user.request_database_access(&device.sync, &address, &id, &device.key, Permission::Admin);
        assert_eq!(pending.await.unwrap_err().kind(), ErrorKind::Pending);
    }
    until("both are there", || async { anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len() == 2 })
        .await;
    for (request, asked) in anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap() {
        if asked.key == ben.key {
            let less = Right::READ;
            anna.user.approve_bootstrap_request_with(&anna.sync, &request, &anna.key, less).await.unwrap();
        } else {
            anna.user.reject_bootstrap_request(&anna.sync, &request, &anna.key).await.unwrap();
        }
    }
    until("ben has it", || async { ben.user.open_database(&id).await.is_ok() }).await;
    let there = ben.user.open_database(&id).await.unwrap();
    assert_eq!(set(&there, "who", "ben").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let refused = eve.sync.sync_with_peer(&address, Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    assert!(eve.instance.databases().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_asked_for_a_database_that_is_not_there_is_answered_alike() {
    let mut anna = Device::new("anna").await;
    let eve = Device::new("eve").await;
    let address = anna.listen().await;
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let nobodys = eidetica::Id::of(b"nobody's");
    let mut errors = Vec::new();
    for id in [database.root_id(), &nobodys] {
        let ask = eve.user.request_database_access(&eve.sync, &address, id, &eve.key, Permission::Read);
        errors.push(ask.await.unwrap_err());
    }
    assert_eq!(errors[0].message(), errors[1].message());
    assert_eq!(errors[0].context("request_id").unwrap().len(), errors[1].context("request_id").unwrap().len());
    until("the one is there", || async { anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len() == 1 })
        .await;
    assert!(eve.sync.discover_peer_trees(&address).await.unwrap().is_empty());
    let own = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    assert_ne!(own.root_id(), database.root_id());
}

#[tokio::test]
async fn an_untracked_database_is_not_served_any_more() {
    let mut anna = Device::new("anna").await;
    let ben = Device::new("ben").await;
    let address = anna.listen().await;
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *database.root_id();
    let ask = ben.user.request_database_access(&ben.sync, &address, &id, &ben.key, Permission::Write);
    assert_eq!(ask.await.unwrap_err().kind(), ErrorKind::Pending);
    until("the request is there", || async {
        anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len() == 1
    })
    .await;
    let (request, _) = anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().remove(0);
    anna.user.approve_bootstrap_request(&anna.sync, &request, &anna.key).await.unwrap();
    ben.sync.sync_with_peer(&address, Some(&id)).await.unwrap();
    anna.user.untrack_database(&id).await.unwrap();
    let refused = ben.sync.sync_with_peer(&address, Some(&id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    let nobodys = eidetica::Id::of(b"nobody's");
    let unknown = ben.sync.sync_with_peer(&address, Some(&nobodys)).await.unwrap_err();
    assert_eq!(refused.message(), unknown.message());
}
