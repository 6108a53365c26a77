//! However much others tell, a bounded part of it is kept; what an application declares is never dropped.

use eidetica_contract::{Address, ErrorKind};
use eidetica_sync::peers::{Contact, PeerLimits, SyncPeerInfo};

use super::kit::*;

fn few() -> PeerLimits {
    let mut limits = PeerLimits::default();
    (limits.learnt, limits.strangers, limits.learnt_databases) = (4, 3, 2);
    (limits.learnt_addresses, limits.declared_addresses) = (3, 2);
    limits
}

#[tokio::test]
async fn of_strangers_those_stay_that_were_seen_last_and_they_take_no_place_of_others() {
    let place = Place::new().await;
    let peers = place.limited(few());
    peers.declare(&info(1, 1)).await.unwrap();
    for peer in 2..6 {
        peers.learn(key(peer), &Contact::default()).await.unwrap();
        peers.relate(key(peer), &database(1), key(peer)).await.unwrap();
    }
    for stranger in 100..120 {
        place.clock.pass(2 * HOUR);
        peers.learn(key(stranger), &Contact::default()).await.unwrap();
    }
    let kept: Vec<_> = peers.list().await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(kept, [1, 2, 3, 4, 5, 117, 118, 119].map(name));
}

#[tokio::test]
async fn of_learnt_peers_those_go_that_were_seen_longest_ago_with_all_their_rows() {
    let place = Place::new().await;
    let peers = place.limited(few());
    peers.declare(&info(1, 1)).await.unwrap();
    for peer in 2..6 {
        place.clock.pass(2 * HOUR);
        peers.learn(key(peer), &Contact::default()).await.unwrap();
        peers.relate(key(peer), &database(1), key(peer)).await.unwrap();
    }
    place.clock.pass(2 * HOUR);
    peers.learn(key(2), &Contact::default()).await.unwrap();
    place.clock.pass(2 * HOUR);
    // All were here within a day: two that come in turns would drive each other out.
    let before = place.dump().await;
    assert_eq!(peers.relate(key(6), &database(1), key(6)).await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(place.dump().await, before);
    // With a clock that was set back nobody new would ever be known.
    place.clock.set(1);
    let learnt = peers.relate(key(6), &database(1), key(6)).await.unwrap();
    assert_eq!((learnt.is_new, learnt.forgotten.peers), (true, vec![key(3)]));
    let kept: Vec<_> = peers.list().await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(kept, [1, 2, 4, 5, 6].map(name));
    assert!(peers.relationships_of(&name(3)).await.unwrap().is_empty());
}

/// A reader may have as many device keys as he likes.
#[tokio::test]
async fn one_key_brings_so_many_devices_and_drives_out_none_of_others() {
    let place = Place::new().await;
    let mut limits = PeerLimits::default();
    (limits.learnt, limits.learnt_per_key) = (8, 3);
    let peers = place.limited(limits);
    let (one, two, three) = (key(9001), key(9002), key(9003));
    // Declared, joined, and vouched for by three.
    peers.declare(&info(1, 1)).await.unwrap();
    assert!(peers.join(key(2), &database(1)).await.unwrap());
    peers.relate(key(3), &database(1), three).await.unwrap();
    peers.relate(key(4), &database(1), two).await.unwrap();
    peers.relate(key(5), &database(1), one).await.unwrap();
    // Of these the first has another way in, too.
    peers.relate(key(4), &database(2), one).await.unwrap();
    for device in 100..1100 {
        place.clock.pass(HOUR);
        match peers.relate(key(device), &database(1), one).await {
            Ok(learnt) => assert!(learnt.is_new),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
        }
        let related = peers.relationships().await.unwrap();
        assert!(related.iter().filter(|related| related.vouched == Some(one)).count() <= 3);
    }
    let kept: Vec<_> = peers.list().await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(kept[..4], [1, 2, 3, 4].map(name));
    assert_eq!(kept.len(), 4 + 3, "{kept:?}");
    let of_four = peers.relationships_of(&name(4)).await.unwrap();
    assert_eq!(of_four.iter().map(|related| related.database).collect::<Vec<_>>(), [database(1)]);
}

#[tokio::test]
async fn what_was_declared_or_joined_needs_no_place_and_gives_way_to_nobody() {
    let place = Place::new().await;
    let peers = place.limited(few());
    for peer in 1..20 {
        place.clock.pass(48 * HOUR);
        match peer % 2 {
            0 => drop(peers.declare(&info(peer, 1)).await.unwrap()),
            _ => drop(peers.join(key(peer), &database(1)).await.unwrap()),
        }
    }
    for peer in 100..110 {
        peers.relate(key(peer), &database(1), key(9000)).await.ok();
    }
    // All places are taken, and those who are kept anyway need none.
    for peer in 1..20 {
        assert!(peers.relate(key(peer), &database(2), key(9000)).await.unwrap().is_new);
    }
    // One that was learnt before it was joined is joined from then on.
    assert!(!peers.join(key(100), &database(1)).await.unwrap());
    place.clock.pass(1000 * HOUR);
    for peer in 200..204 {
        peers.relate(key(peer), &database(1), key(9000)).await.unwrap();
    }
    let kept: Vec<_> = peers.list().await.unwrap().into_iter().map(|record| record.name).collect();
    let expected: Vec<_> = (1..20).chain([100]).chain(200..204).map(name).collect();
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn a_thousand_declared_peers_all_stay() {
    let place = Place::new().await;
    let peers = place.limited(few());
    for peer in 0..1000 {
        peers.declare(&info(peer, peer % 7)).await.unwrap();
    }
    for stranger in 2000..2010 {
        peers.learn(key(stranger), &Contact::default()).await.unwrap();
    }
    let declared = peers.list().await.unwrap().into_iter().filter(|record| record.declared).count();
    assert_eq!((declared, peers.relationships().await.unwrap().len()), (1000, 1000));
}

#[tokio::test]
async fn databases_that_are_learnt_of_a_peer_are_bounded_and_declared_ones_are_not() {
    let place = Place::new().await;
    let peers = place.limited(few());
    for of in 0..10 {
        peers.declare(&info(1, of)).await.unwrap();
    }
    assert!(peers.relate(key(1), &database(20), key(1)).await.unwrap().is_new);
    assert!(peers.relate(key(1), &database(21), key(1)).await.unwrap().is_new);
    assert_eq!(peers.relate(key(1), &database(22), key(1)).await.unwrap_err().kind(), ErrorKind::Full);
    assert!(!peers.relate(key(1), &database(21), key(1)).await.unwrap().is_new, "what is known is no more");
    peers.declare(&info(1, 22)).await.unwrap();
    assert_eq!(peers.relationships_of(&name(1)).await.unwrap().len(), 13);
}

#[tokio::test]
async fn of_learnt_addresses_the_hopeless_and_the_oldest_go_and_declared_ones_stay() {
    let place = Place::new().await;
    let peers = place.limited(few());
    peers.declare(&info(1, 1)).await.unwrap();
    let tell = async |number: u16| {
        place.clock.pass(1);
        let contact = Contact { addresses: vec![address(number)], display_name: None };
        peers.learn(key(1), &contact).await.unwrap().is_new
    };
    let known = async || {
        let known = peers.get(&name(1)).await.unwrap().unwrap().addresses;
        let mut ports: Vec<String> = known.into_iter().map(|known| known.address.address).collect();
        ports.sort();
        ports.into_iter().map(|port| port.split_once(':').unwrap().1.to_owned()).collect::<Vec<_>>().join(" ")
    };
    for number in [20, 30, 40] {
        assert!(tell(number).await);
    }
    assert_eq!(known().await, "1 20 30 40");
    // 20 is the oldest, and works.
    place.clock.pass(HOUR);
    peers.tried(key(1), &address(20), true).await.unwrap();
    tell(50).await;
    assert_eq!(known().await, "1 20 40 50");
    for _ in 0..20 {
        peers.tried(key(1), &address(50), false).await.unwrap();
        peers.tried(key(1), &address(1), false).await.unwrap();
    }
    tell(60).await;
    assert_eq!(known().await, "1 20 40 60");
    // As many at once as anybody likes to tell.
    let flood = (100..10_000).map(address).collect();
    peers.learn(key(1), &Contact { addresses: flood, display_name: None }).await.unwrap();
    assert_eq!(peers.get(&name(1)).await.unwrap().unwrap().addresses.len(), 4);
    assert!(peers.add_address(&name(1), &address(2)).await.unwrap());
    assert_eq!(peers.add_address(&name(1), &address(3)).await.unwrap_err().kind(), ErrorKind::Full);
    let more = SyncPeerInfo { addresses: vec![address(3)], ..info(1, 5) };
    assert_eq!(peers.declare(&more).await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(peers.relationship(&name(1), &database(5)).await.unwrap(), None, "nothing of it is there");
}

#[tokio::test]
async fn texts_that_are_too_long_are_refused_from_the_application_and_cut_off_from_others() {
    let place = Place::new().await;
    let peers = place.peers();
    let long = "ü".repeat(129);
    for declared in [
        SyncPeerInfo { peer_pubkey: long.clone(), ..info(1, 1) },
        SyncPeerInfo { display_name: Some(long.clone()), ..info(1, 1) },
        SyncPeerInfo { addresses: vec![Address::http("x".repeat(4097))], ..info(1, 1) },
        SyncPeerInfo { addresses: vec![Address::new("x".repeat(65), "y")], ..info(1, 1) },
    ] {
        assert_eq!(peers.declare(&declared).await.unwrap_err().kind(), ErrorKind::TooLarge);
    }
    assert_eq!(place.dump().await, []);
    let addresses = vec![Address::http("x".repeat(4097)), address(1)];
    assert!(peers.learn(key(1), &Contact { addresses, display_name: Some(long) }).await.unwrap().is_new);
    let record = peers.get(&name(1)).await.unwrap().unwrap();
    assert_eq!((record.display_name, record.addresses.len()), (Some("ü".repeat(128)), 1));
}
