//! What is declared, learnt and removed, and what of it is there after a restart.

use eidetica_contract::{Address, ErrorKind};
use eidetica_sync::peers::{Contact, PeerName, SyncAuth, SyncPeerInfo};

use super::kit::*;

#[tokio::test]
async fn what_was_declared_and_learnt_is_there_after_a_restart() {
    let mut place = Place::new().await;
    let peers = place.peers();
    let auth = Some(SyncAuth::key(key(77)));
    let declared = SyncPeerInfo { auth: auth.clone(), display_name: Some("Büro".to_owned()), ..info(1, 1) };
    assert_eq!(peers.declare(&declared).await.unwrap(), name(1));
    let contact =
        Contact { addresses: vec![address(20), Address::iroh("ticket")], display_name: Some("Ben".to_owned()) };
    assert!(peers.learn(key(2), &contact).await.unwrap().is_new);
    assert!(peers.relate(key(2), &database(1), key(2)).await.unwrap().is_new);
    peers.tried(key(2), &address(20), false).await.unwrap();
    place.clock.pass(1);
    peers.tried(key(2), &Address::iroh("ticket"), true).await.unwrap();
    let (list, relationships) = (peers.list().await.unwrap(), peers.relationships().await.unwrap());
    place.restart().await;
    let peers = place.peers();
    assert_eq!(peers.list().await.unwrap(), list);
    assert_eq!(peers.relationships().await.unwrap(), relationships);

    let [first, second] = &list[..] else { panic!("{list:?}") };
    assert_eq!((first.name.clone(), first.declared, first.display_name.as_deref()), (name(1), true, Some("Büro")));
    assert_eq!((first.seen, first.addresses[0].address.clone()), (None, address(1)));
    assert!(!second.declared && second.seen.is_some() && second.display_name.as_deref() == Some("Ben"));
    let shown: Vec<_> = second.addresses.iter().map(|known| (known.address.clone(), known.failures)).collect();
    assert_eq!(shown, [(Address::iroh("ticket"), 0), (address(20), 1)], "what works comes first");
    let [first, second] = &relationships[..] else { panic!("{relationships:?}") };
    assert_eq!(
        (first.peer.clone(), first.database, first.declared, first.auth.clone()),
        (name(1), database(1), true, auth)
    );
    assert_eq!((second.peer.clone(), second.database, second.declared), (name(2), database(1), false));
    assert_eq!(peers.relationships_of(&name(2)).await.unwrap(), relationships[1..]);
    assert_eq!(peers.relationships_for(&database(1)).await.unwrap(), relationships);
    assert!(peers.relationships_for(&database(2)).await.unwrap().is_empty());
    assert_eq!(peers.relationship(&name(2), &database(1)).await.unwrap().as_ref(), Some(second));
    assert_eq!(peers.relationship(&name(2), &database(2)).await.unwrap(), None);
}

#[tokio::test]
async fn doing_it_twice_changes_no_byte() {
    let place = Place::new().await;
    let peers = place.peers();
    let contact = Contact { addresses: vec![address(9)], display_name: Some("Ben".to_owned()) };
    peers.declare(&info(1, 1)).await.unwrap();
    peers.learn(key(2), &contact).await.unwrap();
    peers.relate(key(2), &database(1), key(2)).await.unwrap();
    peers.tried(key(2), &address(9), true).await.unwrap();
    let rows = place.dump().await;
    place.clock.pass(HOUR / 2);
    peers.declare(&info(1, 1)).await.unwrap();
    assert!(!peers.learn(key(2), &contact).await.unwrap().is_new);
    assert!(!peers.relate(key(2), &database(1), key(2)).await.unwrap().is_new);
    assert!(!peers.relate(key(1), &database(1), key(1)).await.unwrap().is_new, "what is declared need not be learnt");
    assert!(!peers.add_address(&name(1), &address(1)).await.unwrap());
    peers.tried(key(2), &address(9), true).await.unwrap();
    peers.tried(key(2), &address(10), true).await.unwrap();
    peers.tried(key(3), &address(9), false).await.unwrap();
    assert_eq!(place.dump().await, rows);
    // After a while it is worth noting that the peer is still there.
    place.clock.pass(HOUR);
    peers.learn(key(2), &contact).await.unwrap();
    assert_ne!(place.dump().await, rows);
    assert_eq!(peers.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_was_learnt_becomes_declared_and_not_the_other_way_round() {
    let place = Place::new().await;
    let peers = place.peers();
    let contact = Contact { addresses: vec![address(1)], display_name: Some("calls itself so".to_owned()) };
    peers.learn(key(1), &contact).await.unwrap();
    peers.relate(key(1), &database(1), key(1)).await.unwrap();
    peers.declare(&SyncPeerInfo { display_name: Some("Ben".to_owned()), ..info(1, 1) }).await.unwrap();
    peers.learn(key(1), &contact).await.unwrap();
    peers.relate(key(1), &database(1), key(1)).await.unwrap();
    let record = peers.get(&name(1)).await.unwrap().unwrap();
    assert!(record.declared && record.addresses.len() == 1 && record.addresses[0].declared);
    assert_eq!(record.display_name.as_deref(), Some("Ben"));
    assert!(peers.relationship(&name(1), &database(1)).await.unwrap().unwrap().declared);
    peers.set_display_name(&name(1), None).await.unwrap();
    peers.learn(key(1), &contact).await.unwrap();
    assert_eq!(peers.get(&name(1)).await.unwrap().unwrap().display_name.as_deref(), Some("calls itself so"));
}

#[tokio::test]
async fn a_key_that_is_none_is_kept_and_shown_as_the_error_that_it_is() {
    let mut place = Place::new().await;
    for text in ["ed25519:abc123", "", "a/b/c", "?", "ed25519:", "schlüssel"] {
        let declared = SyncPeerInfo { peer_pubkey: text.to_owned(), ..info(1, 1) };
        let name = place.peers().declare(&declared).await.unwrap();
        assert_eq!((name.to_string(), name.key().unwrap_err().kind()), (text.to_owned(), ErrorKind::InvalidInput));
    }
    place.restart().await;
    let list = place.peers().list().await.unwrap();
    assert_eq!(list.len(), 6);
    for record in &list {
        let of = place.peers().relationships_of(&record.name).await.unwrap();
        assert_eq!((of.len(), of[0].peer.clone()), (1, record.name.clone()));
        place.peers().remove(&record.name).await.unwrap();
    }
    assert_eq!(place.dump().await, []);
}

#[tokio::test]
async fn a_key_is_the_same_however_it_is_written() {
    let place = Place::new().await;
    let text = key(0xabcd).to_string().replace(['a', 'b', 'c'], "D").to_uppercase().replace("ED25519", "ed25519");
    let declared = SyncPeerInfo { peer_pubkey: text.clone(), ..info(1, 1) };
    let name = place.peers().declare(&declared).await.unwrap();
    assert!(matches!(name, PeerName::Key(_)), "{name:?}");
    let lower = PeerName::of(&text.to_lowercase());
    assert_eq!(name, lower);
    assert!(place.peers().get(&PeerName::Text(text)).await.unwrap().is_some());
    assert_eq!(place.peers().list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_removed_is_gone_with_all_its_rows_and_with_no_other() {
    let place = Place::new().await;
    let peers = place.peers();
    for (peer, of) in [(1, 1), (1, 2), (2, 1)] {
        peers.declare(&info(peer, of)).await.unwrap();
    }
    let frontiers = eidetica_sync::peers::Frontiers::new(place.engine.clone());
    for (peer, of) in [(1, 1), (1, 2), (2, 1)] {
        frontiers.note(key(peer), database(of), &[database(9)]);
    }
    frontiers.save().await.unwrap();
    assert_eq!(place.dump().await.len(), 8);
    assert!(peers.unrelate(&name(1), &database(1)).await.unwrap());
    assert!(!peers.unrelate(&name(1), &database(1)).await.unwrap());
    assert_eq!(place.dump().await.len(), 6);
    peers.remove(&name(1)).await.unwrap();
    let left: Vec<String> = place.dump().await.into_iter().map(|(name, _)| name).collect();
    assert!(left.len() == 3 && left.iter().all(|row| row.contains(&key(2).to_string())), "{left:?}");
    for unknown in [name(1), PeerName::of("nobody")] {
        let refusals = [
            peers.remove(&unknown).await,
            peers.add_address(&unknown, &address(1)).await.map(drop),
            peers.remove_address(&unknown, &address(1)).await.map(drop),
            peers.set_display_name(&unknown, None).await,
        ];
        for refusal in refusals {
            let error = refusal.unwrap_err();
            assert_eq!((error.kind(), error.context("reason")), (ErrorKind::NotFound, Some("unknown_peer")));
        }
    }
}

#[tokio::test]
async fn addresses_come_and_go_and_stand_once() {
    let place = Place::new().await;
    let peers = place.peers();
    peers.declare(&info(1, 1)).await.unwrap();
    assert!(peers.add_address(&name(1), &Address::iroh("127.0.0.1:1")).await.unwrap(), "another kind of transport");
    assert!(!peers.add_address(&name(1), &address(1)).await.unwrap());
    assert_eq!(peers.get(&name(1)).await.unwrap().unwrap().addresses.len(), 2);
    assert!(peers.remove_address(&name(1), &address(1)).await.unwrap());
    assert!(!peers.remove_address(&name(1), &address(1)).await.unwrap());
    let left = peers.get(&name(1)).await.unwrap().unwrap().addresses;
    assert_eq!(left.iter().map(|known| known.address.clone()).collect::<Vec<_>>(), [Address::iroh("127.0.0.1:1")]);
}

#[tokio::test]
async fn everything_may_run_in_a_task_of_its_own() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let place = Place::new().await;
    let (peers, frontiers) = (place.peers(), eidetica_sync::peers::Frontiers::new(place.engine.clone()));
    let (info, contact, other) = (info(1, 1), Contact::default(), database(1));
    sent(peers.declare(&info)).await.unwrap();
    sent(peers.learn(key(1), &contact)).await.unwrap();
    sent(peers.relate(key(1), &other, key(1))).await.unwrap();
    sent(peers.add_address(&name(1), &address(1))).await.unwrap();
    sent(peers.remove_address(&name(1), &address(1))).await.unwrap();
    sent(peers.set_display_name(&name(1), None)).await.unwrap();
    sent(peers.tried(key(1), &address(1), true)).await.unwrap();
    sent(peers.readable()).await.unwrap();
    frontiers.note(key(1), other, &[other]);
    sent(frontiers.save()).await.unwrap();
    sent(frontiers.remembered(key(1), other)).await.unwrap();
    sent(peers.unrelate(&name(1), &other)).await.unwrap();
    sent(peers.remove(&name(1))).await.unwrap();
}
