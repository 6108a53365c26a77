//! Two nodes.

use eidetica::sync::SyncPeerInfo;
use eidetica::{ErrorKind, Id};

use super::{Ground, Node, let_in, rows, write};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Network, must "network.pair.bootstraps",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.",
        bootstraps),
    case!(Network, must "network.pair.both-have-written",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.", both_have_written, sees ["both had something new"]),
    case!(Network, must "network.pair.comes-by-itself",
        "Declares that a database is to be kept in step with a peer from now on, over restarts, and returns at once.",
        comes_by_itself),
    case!(Network, must "network.pair.both-dial-at-once",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.", both_dial_at_once),
    case!(Network, must "network.pair.goes-on-after-a-kill",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.", goes_on_after_a_kill, need Durable, sees ["killed on its way"]),
    case!(Network, must "network.pair.a-lasting-bond-outlives-restarts",
        "Declares that a database is to be kept in step with a peer from now on, over restarts, and returns at once.", outlives_restarts,
        need Durable),
    case!(Network, must "network.pair.another-device-is-told",
        "Reaches whoever answers at an address, and says who it is.", another_device_is_told),
];

/// Two nodes; the first has a database that the second may write.
async fn two(ground: &Ground, entries: usize, live: bool) -> (Node, Node, eidetica::Database) {
    let (mut one, mut other) = (ground.node(0).await, ground.node(1).await);
    let database = one.database(entries).await;
    let_in(&database, &[other.key]).await;
    one.track(database.root_id(), live).await;
    other.track(database.root_id(), live).await;
    (one, other, database)
}

async fn bootstraps(ground: Ground) {
    let (one, other, database) = two(&ground, 150, false).await;
    let id = *database.root_id();
    let report = other.sync.sync_with_peer(&one.address().await, Some(&id)).await.expect("it syncs");
    assert_eq!(report.databases.len(), 1);
    let outcome = report.databases[0].result.as_ref().expect("the database syncs");
    // How much came in this round is not said: the other side may have begun to send by itself.
    assert!(outcome.complete && outcome.refused == 0, "{outcome:?}");
    let there = other.user.open_database(&id).await.expect("it is there");
    ground.converged(&[&database, &there]).await;
    assert_eq!(rows(&there).await.len(), 150);
    // And there is nothing more.
    let report = other.sync.sync_with_peer(&one.address().await, Some(&id)).await.expect("it syncs");
    let outcome = report.databases[0].result.as_ref().expect("the database syncs");
    assert_eq!((outcome.received, outcome.sent, outcome.repeated), (0, 0, 0), "{outcome:?}");
    one.close().await;
    other.close().await;
}

async fn both_have_written(ground: Ground) {
    let (one, other, database) = two(&ground, 20, false).await;
    let id = *database.root_id();
    let address = one.address().await;
    other.sync.sync_with_peer(&address, Some(&id)).await.expect("it syncs");
    let there = other.user.open_database(&id).await.expect("it is there");
    for round in 0..3 {
        for n in 0..10 {
            write(&database, &format!("{round} {n}"), "one").await;
            write(&there, &format!("{round} {}", n + 5), "other").await;
        }
        let heads = async |database: &eidetica::Database| database.heads_digest().await.expect("the heads can be read");
        if heads(&database).await != heads(&there).await {
            ground.saw("both had something new");
        }
        let report = other.sync.sync_with_peer(&address, Some(&id)).await.expect("it syncs");
        let outcome = report.databases[0].result.as_ref().expect("the database syncs");
        assert_eq!((outcome.refused, outcome.refused_there), (0, 0), "{outcome:?}");
        ground.converged(&[&database, &there]).await;
        assert_eq!(rows(&there).await.len(), 20 + 15 * (round + 1));
    }
}

fn bond(peer: &Node, id: &Id, address: eidetica::sync::Address) -> SyncPeerInfo {
    SyncPeerInfo {
        peer_pubkey: peer.instance.device_id().to_string(),
        tree_id: *id,
        addresses: vec![address],
        auth: None,
        display_name: None,
    }
}

async fn comes_by_itself(ground: Ground) {
    let (one, other, database) = two(&ground, 20, true).await;
    let id = *database.root_id();
    let handle = other.sync.register_sync_peer(bond(&one, &id, one.address().await)).await.expect("it is declared");
    handle.wait_for_initial_sync(ground.patience).await.expect("it comes");
    let there = other.user.open_database(&id).await.expect("it is there");
    for n in 0..10 {
        // Nobody calls anything.
        write(&database, &format!("pushed {n}"), "one").await;
        ground.converged(&[&database, &there]).await;
        write(&there, &format!("back {n}"), "other").await;
        ground.converged(&[&database, &there]).await;
    }
    assert_eq!(rows(&database).await.len(), 40);
}

async fn both_dial_at_once(ground: Ground) {
    let (one, other, database) = two(&ground, 50, false).await;
    let id = *database.root_id();
    let (to_one, to_other) = (one.address().await, other.address().await);
    other.sync.sync_with_peer(&to_one, Some(&id)).await.expect("it syncs");
    let there = other.user.open_database(&id).await.expect("it is there");
    for round in 0..4 {
        for n in 0..5 {
            write(&database, &format!("one {round} {n}"), "one").await;
            write(&there, &format!("other {round} {n}"), "other").await;
        }
        let (a, b) =
            tokio::join!(other.sync.sync_with_peer(&to_one, Some(&id)), one.sync.sync_with_peer(&to_other, Some(&id)));
        a.expect("it syncs");
        b.expect("it syncs");
        ground.converged(&[&database, &there]).await;
    }
    assert_eq!(rows(&database).await.len(), 90);
}

/// The process of the receiver ends in the middle of a bootstrap, with nothing closed.
async fn goes_on_after_a_kill(ground: Ground) {
    const ENTRIES: usize = 1500;
    let (one, mut other, database) = two(&ground, ENTRIES, false).await;
    let id = *database.root_id();
    let address = one.address().await;
    for _ in 0..3 {
        {
            let syncing = other.sync.sync_with_peer(&address, Some(&id));
            let some = ground.until("something has come", || async {
                match other.user.open_database(&id).await {
                    Ok(there) => !rows(&there).await.is_empty(),
                    Err(_) => false,
                }
            });
            tokio::select! {
                _ = syncing => {}
                () = some => ground.saw("killed on its way"),
            }
        }
        other = other.kill(&ground).await;
    }
    let report = other.sync.sync_with_peer(&address, Some(&id)).await.expect("it syncs");
    assert!(report.databases[0].result.as_ref().expect("the database syncs").complete);
    let there = other.user.open_database(&id).await.expect("it is there");
    ground.converged(&[&database, &there]).await;
    assert_eq!(rows(&there).await.len(), ENTRIES);
}

async fn outlives_restarts(ground: Ground) {
    let (one, other, database) = two(&ground, 10, true).await;
    let id = *database.root_id();
    let handle = other.sync.register_sync_peer(bond(&one, &id, one.address().await)).await.expect("it is declared");
    handle.wait_for_initial_sync(ground.patience).await.expect("it comes");
    other.user.open_database(&id).await.expect("it is there").flush().await.expect("a flush");
    // Whoever holds a handle holds the store.
    drop(handle);
    let other = other.kill(&ground).await;
    write(&database, "while it was away", "one").await;
    let there = other.user.open_database(&id).await.expect("it is there");
    ground.converged(&[&database, &there]).await;
    assert_eq!(rows(&there).await.len(), 11);
}

/// At the address of one device it is not another one that is believed.
async fn another_device_is_told(ground: Ground) {
    let (one, other, database) = two(&ground, 5, true).await;
    let third = ground.node(2).await;
    let id = *database.root_id();
    assert_eq!(other.sync.connect_to_peer(&one.address().await).await.expect("it answers"), one.instance.device_id());
    // Declared is the third one, and at the address is the first.
    let wrong = bond(&third, &id, one.address().await);
    let handle = other.sync.register_sync_peer(wrong).await.expect("it is declared");
    ground
        .until("it is told that somebody else is there", || async {
            let status = handle.status().expect("there is a status");
            status.last_error.is_some_and(|(_, kind, _)| kind == ErrorKind::Unauthenticated)
        })
        .await;
    assert!(other.user.open_database(&id).await.is_err(), "it has taken the database from another device");
}
