//! What comes from others.

use super::Ground;
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Kind, must "kind.merge.any-order",
        "Peers that hold the same entries show the same, in whatever order and company the entries have come.",
        any_order, sees ["some have written apart"]),
    case!(Kind, must "kind.merge.again-changes-nothing",
        "An entry that comes again changes nothing.", again),
    case!(Kind, must "kind.merge.what-was-seen-is-overtaken",
        "What a transaction shows before its commit is what everybody shows who holds its entry and what lies below it, and nothing else.",
        overtaken),
    case!(Kind, must "kind.merge.unread-is-kept",
        "Peers that do not know the kind keep and relay its entries unread.", unread),
    case!(Kind, must "kind.merge.foreign-values-are-passed-over",
        "What another program has written in a form that the kind does not have is passed over, and is no error. Such a value of another peer is passed over.",
        foreign, need Cells),
];

async fn any_order(ground: Ground) {
    let mut dice = ground.dice();
    for _ in 0..ground.times(3) {
        let mut peers = ground.peers(3).await;
        if peers.live(20, &mut dice).await {
            ground.saw("some have written apart");
        }
        peers.meet().await;
        let expected = peers.shown("after all have met").await;
        for _ in 0..3 {
            let late = peers.newcomer(None).await;
            let mut entries = peers.entries.clone();
            dice.shuffle(&mut entries);
            while !entries.is_empty() {
                let rest = entries.split_off(entries.len().min(1 + dice.below(8) as usize));
                late.take(std::mem::replace(&mut entries, rest)).await;
                // Who looks in between sees no other thing in the end.
                if dice.below(4) == 0 {
                    peers.show(&late).await;
                }
            }
            peers.same(&late, &expected, "in another order").await;
        }
        peers.close().await;
    }
}

async fn again(ground: Ground) {
    let mut dice = ground.dice();
    let mut peers = ground.peers(2).await;
    peers.live(ground.times(20), &mut dice).await;
    peers.meet().await;
    let expected = peers.shown("after both have met").await;
    for _ in 0..3 {
        let mut some = peers.entries.clone();
        dice.shuffle(&mut some);
        some.truncate(1 + dice.below(some.len() as u64) as usize);
        for peer in &peers.all {
            peer.take([some.clone(), some.clone()].concat()).await;
        }
        assert_eq!(peers.shown("after entries came again").await, expected);
    }
    peers.close().await;
}

/// Whoever has seen everything decides what there is.
async fn overtaken(ground: Ground) {
    let mut dice = ground.dice();
    let mut peers = ground.peers(3).await;
    for round in 0..ground.times(8) {
        peers.live(5, &mut dice).await;
        peers.meet().await;
        let writer = round % peers.all.len();
        let transaction = peers.all[writer].database.new_transaction().await.expect("a transaction");
        for _ in 0..3 {
            ground.kind.act(&transaction, &mut dice).await.expect("what the kind can do");
        }
        let expected = ground.kind.show_within(&transaction).await.expect("the store shows something");
        peers.commit(writer, transaction).await;
        peers.meet().await;
        let shown = peers.shown("after a commit that has seen everything").await;
        assert_eq!(shown, expected, "what was shown in the transaction is not what was committed");
    }
    peers.close().await;
}

async fn unread(ground: Ground) {
    let mut dice = ground.dice();
    let mut peers = ground.peers(2).await;
    // It has the entries, and nobody there asks for the store.
    let relay = peers.newcomer(None).await;
    peers.live(ground.times(15), &mut dice).await;
    relay.take(peers.entries.clone()).await;
    peers.meet().await;
    let expected = peers.shown("after both have met").await;
    let behind = peers.newcomer(None).await;
    let heads = relay.database.get_tips().await.expect("the heads");
    let ids = relay.database.difference(&heads, &[]).await.expect("its entries");
    let entries = relay.database.get_entries(&ids).await.expect("its entries");
    behind.take(entries.iter().map(|entry| entry.to_raw()).collect()).await;
    peers.same(&behind, &expected, "behind a peer that has not read it").await;
    peers.same(&relay, &expected, "where it is read late").await;
    peers.close().await;
}

async fn foreign(ground: Ground) {
    let mut dice = ground.dice();
    let mut peers = ground.peers(2).await;
    peers.live(8, &mut dice).await;
    for round in 0..ground.times(12) {
        let transaction = peers.all[0].database.new_transaction().await.expect("a transaction");
        for _ in 0..3 {
            let key = match dice.below(3) {
                0 => dice.bytes(6),
                1 => b"one".to_vec(),
                _ => b"\0\xff".to_vec(),
            };
            let value = dice.bytes(20);
            ground.kind.write_foreign(&transaction, &key, value).await.expect("a cell is written");
        }
        peers.commit(0, transaction).await;
        let other = round % 2;
        peers.act(other, &mut dice).await;
    }
    peers.meet().await;
    peers.shown("with what another program has written").await;
    peers.close().await;
}
