//! Rows that nobody here has written so: an error that names them, never a panic, and they can be removed.

use bytes::Bytes;
use eidetica_contract::{ErrorKind, Result};
use eidetica_core::LocalChange;
use eidetica_sync::peers::{Contact, Frontiers};
use proptest::prelude::*;

use super::kit::*;

fn corrupted<T: std::fmt::Debug>(result: Result<T>, row: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.context("row")), (ErrorKind::Corrupted, Some(row)), "{error:?}");
}

#[tokio::test]
async fn damage_is_named_and_keeps_nothing_else_from_being_read() {
    let place = Place::new().await;
    let peers = place.peers();
    peers.declare(&info(1, 1)).await.unwrap();
    peers.declare(&info(2, 2)).await.unwrap();
    let (peer_row, relation_row) =
        (format!("sync/peer/{}", key(1)), format!("sync/relation/{}/{}", key(1), database(1)));
    place.tamper(&peer_row, b"nonsense").await;
    place.tamper(&relation_row, b"").await;
    corrupted(peers.list().await, &peer_row);
    corrupted(peers.get(&name(1)).await, &peer_row);
    corrupted(peers.declare(&info(1, 2)).await, &peer_row);
    corrupted(peers.add_address(&name(1), &address(1)).await, &peer_row);
    corrupted(peers.tried(key(1), &address(1), true).await, &peer_row);
    corrupted(peers.learn(key(1), &Contact::default()).await, &peer_row);
    corrupted(peers.relationships().await, &relation_row);
    corrupted(peers.relationship(&name(1), &database(1)).await, &relation_row);
    corrupted(peers.relate(key(1), &database(1), key(1)).await, &relation_row);
    let (readable, relationships, errors) = peers.readable().await.unwrap();
    assert_eq!((readable.len(), relationships.len(), errors.len()), (1, 1, 2));
    // Others come and go as before.
    peers.learn(key(3), &Contact::default()).await.unwrap();
    peers.relate(key(3), &database(1), key(3)).await.unwrap();
    peers.remove(&name(1)).await.unwrap();
    assert_eq!(peers.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_row_under_the_name_of_another_one_is_damage() {
    let place = Place::new().await;
    let peers = place.peers();
    peers.declare(&info(1, 1)).await.unwrap();
    let read = async |name: &str| place.engine.local(name).await.unwrap();
    let (one, two) = (format!("sync/peer/{}", key(1)), format!("sync/peer/{}", key(2)));
    place.engine.set_local(&two, None, read(&one).await.unwrap()).await.unwrap();
    corrupted(peers.get(&name(2)).await, &two);
    let one = format!("sync/relation/{}/{}", key(1), database(1));
    for other in [format!("sync/relation/{}/{}", key(2), database(1)), format!("sync/relation/{}/nothing", key(1))] {
        let change = LocalChange { name: other.clone(), before: None, after: read(&one).await };
        place.engine.change_locals(vec![change]).await.unwrap();
        corrupted(peers.relationships().await, &other);
        let change = LocalChange { name: other.clone(), before: read(&other).await, after: None };
        place.engine.change_locals(vec![change]).await.unwrap();
    }
    peers.relationships().await.unwrap();
}

#[tokio::test]
async fn what_follows_a_row_is_damage() {
    let place = Place::new().await;
    place.peers().declare(&info(1, 1)).await.unwrap();
    let (row, before) = place.dump().await.remove(0);
    let after: Bytes = before.iter().copied().chain([0]).collect();
    place.engine.set_local(&row, Some(before), after).await.unwrap();
    corrupted(place.peers().list().await, &row);
}

#[tokio::test]
async fn a_row_of_a_newer_version_is_left_as_it_is() {
    let place = Place::new().await;
    let row = format!("sync/peer/{}", key(1));
    place.tamper(&row, &[0x82, 0x02, 0x80]).await;
    let before = place.dump().await;
    let error = place.peers().declare(&info(1, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
    assert_eq!(place.dump().await, before);
}

#[tokio::test]
async fn a_damaged_frontier_is_an_error_until_there_is_a_new_one() {
    let place = Place::new().await;
    place.peers().declare(&info(1, 1)).await.unwrap();
    let row = format!("sync/lane/{}/{}", key(1), database(1));
    // The second one is well formed, and its ids are not.
    for damage in [&b"nonsense"[..], &[0x82, 0x01, 0x82, 0x43, 1, 2, 3, 0x00]] {
        place.tamper(&row, damage).await;
        let frontiers = Frontiers::new(place.engine.clone());
        corrupted(frontiers.remembered(key(1), database(1)).await, &row);
        frontiers.note(key(1), database(1), &[database(5)]);
        frontiers.save().await.unwrap();
        let found = Frontiers::new(place.engine.clone()).remembered(key(1), database(1)).await.unwrap().unwrap();
        assert_eq!(found.heads, [database(5)]);
    }
}

/// What random damage of a row leads to: whatever is read is whole, or an error.
async fn damaged(at: usize, flip: u8, cut: usize, row: usize) {
    let place = Place::new().await;
    let peers = place.peers();
    let contact = Contact { addresses: vec![address(5)], display_name: Some("Ben".to_owned()) };
    peers.declare(&info(1, 1)).await.unwrap();
    peers.learn(key(1), &contact).await.unwrap();
    let frontiers = Frontiers::new(place.engine.clone());
    frontiers.note(key(1), database(1), &[database(3), database(4)]);
    frontiers.save().await.unwrap();
    let rows = place.dump().await;
    let (name, row) = rows[row % rows.len()].clone();
    let mut bytes = row.to_vec();
    let at = at % bytes.len();
    bytes[at] ^= flip;
    bytes.truncate(cut.max(at + 1));
    place.engine.set_local(&name, Some(row), Bytes::from(bytes)).await.unwrap();
    let frontiers = Frontiers::new(place.engine.clone());
    let results = [
        peers.list().await.map(drop),
        peers.relationships().await.map(drop),
        peers.readable().await.map(drop),
        peers.learn(key(1), &contact).await.map(drop),
        frontiers.remembered(key(1), database(1)).await.map(drop),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        assert!([ErrorKind::Corrupted, ErrorKind::NewerFormat].contains(&error.kind()), "{error:?}");
    }
    peers.remove(&self::name(1)).await.unwrap();
    assert_eq!(place.dump().await, []);
}

proptest! {
    #[test]
    fn whatever_becomes_of_a_row_nothing_panics(at: usize, flip in 1u8.., cut in 0usize..400, row in 0usize..3) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(damaged(at, flip, cut, row));
    }
}
