//! Several change the same rows at once: every change is made.

use eidetica_sync::peers::{Contact, Frontiers, PeerLimits, Peers};

use super::kit::*;

#[tokio::test]
async fn two_processes_that_add_to_one_peer_lose_nothing() {
    let place = Place::new().await;
    let mut limits = PeerLimits::default();
    limits.declared_addresses = 1000;
    let books = [place.limited(limits), Peers::new(place.other().await, limits)];
    books[0].declare(&info(1, 1)).await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..8u16 {
        let peers = books[usize::from(task) % 2].clone();
        tasks.push(tokio::spawn(async move {
            for nth in 0..25 {
                assert!(peers.add_address(&name(1), &address(1000 + task * 100 + nth)).await.unwrap());
                peers.declare(&info(1, 2 + task * 100 + nth)).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(books[0].get(&name(1)).await.unwrap().unwrap().addresses.len(), 201);
    assert_eq!(books[1].relationships_of(&name(1)).await.unwrap().len(), 201);
}

#[tokio::test]
async fn one_that_removes_and_one_that_declares_come_one_after_the_other() {
    let place = Place::new().await;
    let (here, there) = (place.peers(), Peers::new(place.other().await, PeerLimits::default()));
    for _ in 0..50 {
        let (peer, declare, learn) = (name(1), info(1, 1), Contact::default());
        let (removed, declared, learnt) =
            tokio::join!(here.remove(&peer), there.declare(&declare), there.learn(key(1), &learn));
        declared.unwrap();
        learnt.unwrap();
        drop(removed);
        // Whoever came last, declaring again makes it whole.
        here.declare(&declare).await.unwrap();
        assert!(here.get(&name(1)).await.unwrap().unwrap().declared);
        assert_eq!(here.relationships().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_same_is_learnt_by_many_at_once_and_is_there_once() {
    let place = Place::new().await;
    let books = [place.peers(), Peers::new(place.other().await, PeerLimits::default())];
    let mut tasks = Vec::new();
    for task in 0..16 {
        let peers = books[task % 2].clone();
        tasks.push(tokio::spawn(async move { peers.relate(key(1), &database(1), key(1)).await.unwrap().is_new }));
    }
    let mut first = 0;
    for task in tasks {
        first += usize::from(task.await.unwrap());
    }
    assert_eq!((first, books[0].relationships().await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn frontiers_of_two_processes_are_both_saved() {
    let place = Place::new().await;
    let peers = place.peers();
    let sides = [Frontiers::new(place.engine.clone()), Frontiers::new(place.other().await)];
    for of in 0..40 {
        peers.declare(&info(1, of)).await.unwrap();
        // Every lane but the first is noted on one side, that on both.
        sides[usize::from(of % 2)].note(key(1), database(of), &[database(1000 + of)]);
        sides[usize::from(of % 2)].note(key(1), database(0), &[database(1000)]);
    }
    let (one, two) = tokio::join!(sides[0].save(), sides[1].save());
    one.unwrap();
    two.unwrap();
    assert_eq!((sides[0].unsaved(), sides[1].unsaved()), (0, 0));
    for of in 0..40 {
        let found = Frontiers::new(place.engine.clone()).remembered(key(1), database(of)).await.unwrap().unwrap();
        assert_eq!(found.heads, [database(1000 + of)]);
    }
}
