//! What both sides had: a hint that is kept cheaply.

use eidetica_core::Id;
use eidetica_sync::peers::{Frontiers, Peers};

use super::kit::*;

async fn related() -> (Place, Peers, Frontiers) {
    let place = Place::new().await;
    let peers = place.peers();
    for of in 1..4 {
        peers.declare(&info(1, of)).await.unwrap();
    }
    let frontiers = Frontiers::new(place.engine.clone());
    (place, peers, frontiers)
}

async fn heads(frontiers: &Frontiers, of: u16) -> Option<Vec<Id>> {
    frontiers.remembered(key(1), database(of)).await.unwrap().map(|remembered| remembered.heads)
}

#[tokio::test]
async fn what_is_saved_is_there_after_a_restart_and_the_rest_is_not() {
    let (mut place, _, frontiers) = related().await;
    assert_eq!(heads(&frontiers, 1).await, None);
    frontiers.note(key(1), database(1), &[database(7), database(8)]);
    frontiers.note(key(1), database(2), &[database(7)]);
    assert_eq!(heads(&frontiers, 1).await, Some(vec![database(7), database(8)]), "at once in this process");
    assert_eq!(frontiers.unsaved(), 2);
    let rows = place.dump().await.len();
    frontiers.save().await.unwrap();
    assert_eq!((frontiers.unsaved(), place.dump().await.len()), (0, rows + 2));
    frontiers.note(key(1), database(2), &[database(9)]);
    place.restart().await;
    let frontiers = Frontiers::new(place.engine.clone());
    assert_eq!(heads(&frontiers, 1).await, Some(vec![database(7), database(8)]));
    assert_eq!(heads(&frontiers, 2).await, Some(vec![database(7)]));
    let at = frontiers.remembered(key(1), database(1)).await.unwrap().unwrap().at;
    assert_eq!(at.millis(), 1000 * HOUR);
}

#[tokio::test]
async fn with_too_many_heads_nothing_is_remembered() {
    let (place, _, frontiers) = related().await;
    let many: Vec<Id> = (0..65).map(database).collect();
    frontiers.note(key(1), database(1), &many[..64]);
    frontiers.save().await.unwrap();
    assert_eq!(heads(&Frontiers::new(place.engine.clone()), 1).await.map(|heads| heads.len()), Some(64));
    frontiers.note(key(1), database(1), &many);
    assert_eq!(heads(&frontiers, 1).await, None);
    frontiers.save().await.unwrap();
    assert_eq!(heads(&Frontiers::new(place.engine.clone()), 1).await, None, "an older one would be of no use");
}

#[tokio::test]
async fn without_a_relationship_nothing_is_stored() {
    let (place, peers, frontiers) = related().await;
    let rows = place.dump().await;
    frontiers.note(key(1), database(99), &[database(1)]);
    frontiers.note(key(99), database(1), &[database(1)]);
    frontiers.save().await.unwrap();
    assert_eq!(place.dump().await, rows);
    // Nor does a round that ends late bring back what was forgotten.
    frontiers.note(key(1), database(1), &[database(1)]);
    frontiers.save().await.unwrap();
    peers.unrelate(&name(1), &database(1)).await.unwrap();
    frontiers.note(key(1), database(1), &[database(1)]);
    frontiers.save().await.unwrap();
    assert!(place.dump().await.iter().all(|(name, _)| !name.starts_with("sync/lane/")));
    frontiers.forget(key(1), database(1));
    assert_eq!((heads(&frontiers, 1).await, frontiers.unsaved()), (None, 0));
}

#[tokio::test]
async fn what_is_noted_while_it_is_saved_is_saved_next_time() {
    let (place, _, frontiers) = related().await;
    frontiers.note(key(1), database(1), &[database(7)]);
    let note = async {
        tokio::task::yield_now().await;
        frontiers.note(key(1), database(1), &[database(8)]);
    };
    // The other one runs while the first is at the disk.
    let (saved, ()) = tokio::join!(frontiers.save(), note);
    saved.unwrap();
    assert_eq!(frontiers.unsaved(), 1);
    frontiers.save().await.unwrap();
    assert_eq!(frontiers.unsaved(), 0);
    assert_eq!(heads(&Frontiers::new(place.engine.clone()), 1).await, Some(vec![database(8)]));
}

#[tokio::test]
async fn memory_is_bounded_and_what_is_dropped_is_read_again() {
    let (_place, _, frontiers) = related().await;
    frontiers.note(key(1), database(1), &[database(7)]);
    frontiers.save().await.unwrap();
    for of in 100..10_000 {
        assert_eq!(heads(&frontiers, of).await, None);
    }
    assert_eq!(heads(&frontiers, 1).await, Some(vec![database(7)]));
}
