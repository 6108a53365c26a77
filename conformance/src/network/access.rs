//! Who gets in, and who does not.

use eidetica::ErrorKind;
use eidetica::auth::Permission;

use super::{Ground, let_in, rows, write};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Network, must "network.access.a-request-is-approved",
        "Sends a request for access, which was signed for this device and for the peer at this address ([`connect_to_peer`](Syncer::connect_to_peer) tells its key), and gives the answer.", approved),
    case!(Network, must "network.access.a-request-is-rejected",
        "Sends a request for access, which was signed for this device and for the peer at this address ([`connect_to_peer`](Syncer::connect_to_peer) tells its key), and gives the answer.", rejected),
    case!(Network, must "network.access.a-stranger-learns-nothing",
        "`PermissionDenied` if the peer does not have the database or does not give it to this device (it does not say which).",
        a_stranger_learns_nothing),
    case!(Network, must "network.access.a-removed-key-gets-nothing-more",
        "`PermissionDenied` if the peer does not have the database or does not give it to this device (it does not say which).", removed),
];

async fn approved(ground: Ground) {
    let (mut one, other) = (ground.node(0).await, ground.node(1).await);
    let database = one.database(10).await;
    let id = *database.root_id();
    let address = one.address().await;
    let asking = other.user.request_database_access(&other.sync, &address, &id, &other.key, Permission::Write).await;
    assert_eq!(asking.expect_err("nobody has decided").kind(), ErrorKind::Pending);
    ground
        .until("the request is there", || async {
            one.user.pending_bootstrap_requests(&one.sync).await.is_ok_and(|all| all.len() == 1)
        })
        .await;
    assert!(other.user.open_database(&id).await.is_err(), "it came before anybody has decided");
    let (request, asked) = one.user.pending_bootstrap_requests(&one.sync).await.expect("the requests").remove(0);
    assert_eq!((asked.database, asked.key), (id, other.key));
    one.approve(&request).await;
    // It comes by itself, and what is written there goes back.
    ground.until("it has come", || async { other.user.open_database(&id).await.is_ok() }).await;
    let there = other.user.open_database(&id).await.expect("it is there");
    ground.converged(&[&database, &there]).await;
    write(&there, "written there", "x").await;
    ground.converged(&[&database, &there]).await;
    assert_eq!(rows(&database).await.len(), 11);
}

async fn rejected(ground: Ground) {
    let (mut one, other) = (ground.node(0).await, ground.node(1).await);
    let database = one.database(5).await;
    let id = *database.root_id();
    let address = one.address().await;
    let ask = || other.user.request_database_access(&other.sync, &address, &id, &other.key, Permission::Read);
    assert_eq!(ask().await.expect_err("nobody has decided").kind(), ErrorKind::Pending);
    ground
        .until("the request is there", || async {
            one.user.pending_bootstrap_requests(&one.sync).await.is_ok_and(|all| all.len() == 1)
        })
        .await;
    let (request, _) = one.user.pending_bootstrap_requests(&one.sync).await.expect("the requests").remove(0);
    one.reject(&request).await;
    assert_eq!(ask().await.expect_err("it was rejected").kind(), ErrorKind::PermissionDenied);
    assert!(other.user.open_database(&id).await.is_err(), "it came all the same");
}

async fn a_stranger_learns_nothing(ground: Ground) {
    let (mut one, mut stranger) = (ground.node(0).await, ground.node(1).await);
    let database = one.database(5).await;
    let there = *database.root_id();
    let elsewhere = *stranger.database(1).await.root_id();
    let address = one.address().await;
    stranger.track(&there, false).await;
    // One that is there and one that is not: the answers are the same.
    let mut answers = Vec::new();
    for id in [&there, &elsewhere] {
        let error = stranger.sync.sync_with_peer(&address, Some(id)).await.expect_err("it is not for strangers");
        answers.push((error.kind(), error.message().to_owned()));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, ErrorKind::PermissionDenied);
    assert!(stranger.sync.discover_peer_trees(&address).await.expect("an answer").is_empty());
    assert!(stranger.instance.open_database_with_key(&there, None).await.is_err());
}

async fn removed(ground: Ground) {
    let (mut one, mut other) = (ground.node(0).await, ground.node(1).await);
    let database = one.database(5).await;
    let id = *database.root_id();
    let_in(&database, &[other.key]).await;
    one.track(&id, false).await;
    other.track(&id, false).await;
    let address = one.address().await;
    other.sync.sync_with_peer(&address, Some(&id)).await.expect("it syncs");
    let there = other.user.open_database(&id).await.expect("it is there");
    one.remove(&database, &other.key).await;
    write(&database, "after the removal", "x").await;
    for _ in 0..3 {
        let error = other.sync.sync_with_peer(&address, Some(&id)).await.expect_err("the right has ended");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    assert!(rows(&there).await.iter().all(|(key, _)| key != "after the removal"), "it came all the same");
    assert_eq!(rows(&database).await.len(), 6);
}
