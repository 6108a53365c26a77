//! What is shown, and when.

use super::Ground;
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Kind, must "kind.view.the-past-stays",
        "A view of an earlier moment shows what was shown then.", the_past_stays),
    case!(Kind, must "kind.view.looking-changes-nothing",
        "Reading changes nothing, in a transaction either: whoever reads twice reads the same, and has nothing to commit.",
        looking),
    case!(Kind, must "kind.view.rebuilt-is-the-same",
        "What is shown follows from the entries alone: after a rebuild, or in another process, it is the same.", rebuilt),
];

async fn the_past_stays(ground: Ground) {
    let mut dice = ground.dice();
    let mut peers = ground.peers(3).await;
    let mut moments = Vec::new();
    for _ in 0..ground.times(8) {
        peers.live(4, &mut dice).await;
        let database = &peers.all[0].database;
        let snapshot = database.snapshot().await.expect("a moment");
        let now = ground.kind.show(&database.now()).await.expect("the store shows something");
        moments.push((snapshot, now));
    }
    peers.meet().await;
    for (snapshot, shown) in moments {
        let view = peers.all[0].database.at(&snapshot).await.expect("a view of a moment");
        let then = ground.kind.show(&view).await.expect("the store shows something");
        assert_eq!(then, shown, "an earlier moment shows something else than was shown then");
    }
    peers.close().await;
}

async fn looking(ground: Ground) {
    let mut dice = ground.dice();
    let mut peers = ground.peers(2).await;
    for _ in 0..ground.times(6) {
        peers.live(4, &mut dice).await;
        peers.meet().await;
        let first = peers.shown("at first").await;
        assert_eq!(peers.shown("at second").await, first, "the second look shows something else");
        let transaction = peers.all[0].database.new_transaction().await.expect("a transaction");
        for _ in 0..2 {
            let within = ground.kind.show_within(&transaction).await.expect("the store shows something");
            assert_eq!(within, first, "a transaction that has done nothing shows something else");
        }
        let count = peers.entries.len();
        peers.commit(0, transaction).await;
        assert_eq!(peers.entries.len(), count, "reading has written something");
    }
    peers.close().await;
}

async fn rebuilt(ground: Ground) {
    let mut dice = ground.dice();
    let mut peers = ground.peers(3).await;
    for _ in 0..ground.times(3) {
        peers.live(12, &mut dice).await;
        peers.meet().await;
        let expected = peers.shown("before").await;
        peers.all[0].database.reindex().await.expect("it is rebuilt");
        assert_eq!(peers.shown("rebuilt").await, expected);
    }
    peers.close().await;
}
