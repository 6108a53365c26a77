//! Wishes: what is wished goes on without anybody there, and what is no longer wished stops at once.

use std::sync::Arc;
use std::time::Duration;

use eidetica_sync::schedule::Wish;
use eidetica_sync::sim;

use super::kit::*;
use super::tally::Tally;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn grants_are_enough_after_a_restart_and_an_end_is_an_end() {
    sim::run(1, async |world| {
        let (mut anna, mut ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
        let both = [ben.user.public()];
        let (ended, stays) = (anna.create(&both).await, anna.create(&both).await);
        let (ended, stays) = (*ended.root_id(), *stays.root_id());
        for id in [ended, stays] {
            ben.track(id, Wish::live()).await;
            ben.know(&anna, id).await;
            come_in_step(&[&anna, &ben], &id, MINUTE).await;
        }
        for node in [&mut anna, &mut ben] {
            node.end().await;
            node.begin().await;
        }
        // No user is here; what the grants say is in the store.
        for id in [ended, stays] {
            set(&anna.open(&id).await, "from", "anna").await;
            come_in_step(&[&anna, &ben], &id, MINUTE).await;
            set(&ben.open(&id).await, "from", "ben").await;
            come_in_step(&[&anna, &ben], &id, MINUTE).await;
        }

        // Ben alone ends it: he neither asks nor answers, whatever Anna has to tell; of her entries not one leaves.
        ben.untrack(ended).await;
        anna.untrack(stays).await;
        world.network.reset_traffic();
        let large = noise(&mut world.dice("value"), 50_000);
        let before = anna.open(&ended).await.entry_count().await.unwrap();
        set(&anna.open(&ended).await, "more", &large).await;
        set(&ben.open(&ended).await, "more", &large).await;
        set(&ben.open(&stays).await, "more", &large).await;
        tokio::time::sleep(MINUTE).await;
        let (to, from) = (world.network.traffic("anna", "ben"), world.network.traffic("ben", "anna"));
        assert!(to.bytes < 10_000 && from.bytes < 10_000, "{to:?} {from:?}");
        assert_eq!(anna.open(&ended).await.entry_count().await.unwrap(), before + 1);

        // Both have ended it: nobody asks for anything, and once the waits of before have run out, nothing at all is on the
        // line, however much is written.
        ben.untrack(stays).await;
        anna.untrack(ended).await;
        world.network.reset_traffic();
        tokio::time::sleep(MINUTE).await;
        let total = world.network.total();
        assert!(total.requests == 0 && total.bytes < 500, "{total:?}");
        world.network.reset_traffic();
        for id in [ended, stays] {
            set(&anna.open(&id).await, "still more", &large).await;
            set(&ben.open(&id).await, "still more", &large).await;
        }
        tokio::time::sleep(MINUTE).await;
        assert_eq!(world.network.total().bytes, 0);

        // And goes on as soon as it is wished again.
        anna.track(stays, Wish::live()).await;
        ben.track(stays, Wish::live()).await;
        come_in_step(&[&anna, &ben], &stays, MINUTE).await;
    });
}

/// So many characters that compress to their half at best: on the line they show.
fn noise(dice: &mut sim::Dice, length: usize) -> String {
    (0..length / 16).map(|_| format!("{:016x}", dice.number())).collect()
}

/// Whoever goes on sending, live or at intervals, hears of an end before it is one: not one new entry is on the line after.
#[test]
fn after_an_end_nothing_is_sent_in_vain() {
    for (seed, wish) in [(5, Wish::live()), (6, Wish::every(Duration::from_secs(2)))] {
        sim::run(seed, async move |world| {
            let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
            let id = *anna.create(&[ben.user.public()]).await.root_id();
            anna.track(id, wish).await;
            ben.track(id, Wish::live()).await;
            ben.know(&anna, id).await;
            anna.know(&ben, id).await;
            // Small enough for a first message.
            let mut dice = world.dice("values");
            let mut write = async |node: &Node| {
                set(&node.open(&id).await, "key", &noise(&mut dice, 4_000)).await;
            };
            come_in_step(&[&anna, &ben], &id, MINUTE).await;
            world.network.reset_traffic();
            write(&anna).await;
            come_in_step(&[&anna, &ben], &id, MINUTE).await;
            let to = world.network.traffic("anna", "ben").bytes + world.network.traffic("ben", "anna").bytes;
            assert!(to > 2_000, "{to}");
            // By then each has begun rounds of its own, and knows what the other has: what is new goes with the first message.
            tokio::time::sleep(Duration::from_secs(10)).await;
            ben.untrack(id).await;
            world.network.reset_traffic();
            write(&anna).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let (to, from) = (world.network.traffic("anna", "ben"), world.network.traffic("ben", "anna"));
            assert!(to.bytes < 1_500 && from.bytes < 1_500, "{to:?} {from:?}");
        });
    }
}

/// The end of one wish changes nothing on the line but for that database: the same world, in which the database was never
/// written to again, says the same number of bytes.
#[test]
fn of_two_databases_one_ends_and_the_other_goes_on() {
    let bytes = |writes: bool| {
        sim::run(2, async move |world| {
            let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
            let both = [ben.user.public()];
            let (ended, stays) = (anna.create(&both).await, anna.create(&both).await);
            for id in [*ended.root_id(), *stays.root_id()] {
                ben.track(id, Wish::live()).await;
                ben.know(&anna, id).await;
                come_in_step(&[&anna, &ben], &id, MINUTE).await;
            }
            let there = ben.open(ended.root_id()).await;
            anna.untrack(*ended.root_id()).await;
            ben.untrack(*ended.root_id()).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            world.network.reset_traffic();
            for number in 0..20 {
                if writes {
                    set(&ended, "key", &"x".repeat(number * 100)).await;
                    set(&there, "key", &"y".repeat(number * 100)).await;
                }
                set(&stays, "key", &number.to_string()).await;
                come_in_step(&[&anna, &ben], stays.root_id(), MINUTE).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            let total = world.network.total();
            (total.messages, total.bytes)
        })
    };
    let (with, without) = (bytes(true), bytes(false));
    assert!(without.0 >= 40, "{without:?}");
    assert_eq!(with.0, without.0);
    // Signatures and times may compress to a few bytes more or less.
    assert!(with.1.abs_diff(without.1) < 200, "{with:?} {without:?}");
}

#[test]
fn intervals_keep_their_own_rhythm() {
    sim::run(3, async |world| {
        let anna = Node::start(&world, "anna").await;
        let mut ben = Node::stopped(&world, "ben", false).await;
        ben.listens = false;
        ben.begin().await;
        let both = [ben.user.public()];
        let (quick, slow) = (anna.create(&both).await, anna.create(&both).await);
        let (quick, slow) = (*quick.root_id(), *slow.root_id());
        for (id, seconds) in [(quick, 1), (slow, 3)] {
            ben.track(id, Wish::every(Duration::from_secs(seconds))).await;
            ben.know(&anna, id).await;
            come_in_step(&[&anna, &ben], &id, MINUTE).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let tally = Tally::of(ben.syncer());
        world.network.reset_traffic();
        tokio::time::sleep(MINUTE * 5).await;
        let (quick, slow) = (tally.rounds(&quick), tally.rounds(&slow));
        assert!(quick.well.abs_diff(300) <= 1 && slow.well.abs_diff(100) <= 1, "{quick:?} {slow:?}");
        // Each was one round trip, and nothing else was on the line.
        let on_the_line = world.network.traffic("ben", "anna").requests;
        assert!(on_the_line.abs_diff(quick.well + slow.well) <= 2, "{on_the_line} {quick:?} {slow:?}");
        assert_eq!(world.network.traffic("anna", "ben").requests, 0);
    });
}

/// The time from a commit to its arrival at the last of eight peers, of which seven may be black holes: the median.
fn median(holes: bool) -> Duration {
    sim::run(4, async move |world| {
        let anna = Node::start(&world, "anna").await;
        let mut peers = Vec::new();
        for number in 0..8 {
            peers.push(Node::start(&world, &format!("peer {number}")).await);
        }
        let users: Vec<_> = peers.iter().map(|peer| peer.user.public()).collect();
        let database = anna.create(&users).await;
        let id = *database.root_id();
        for peer in &peers {
            peer.track(id, Wish::live()).await;
            peer.know(&anna, id).await;
            come_in_step(&[&anna, peer], &id, MINUTE).await;
        }
        let last = &peers[7];
        let there = last.open(&id).await;
        if holes {
            let names: Vec<&str> = peers[..7].iter().map(|peer| &*peer.name).collect();
            world.network.partition(&["anna"], &names);
        }
        let mut times = Vec::new();
        for number in 0..60 {
            let begun = world.clock.elapsed();
            set(&database, "key", &number.to_string()).await;
            while get(&there, "key").await != Some(number.to_string()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert!(world.clock.elapsed() - begun < MINUTE, "commit {number} has not arrived");
            }
            times.push(world.clock.elapsed() - begun);
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        times.sort();
        times[times.len() / 2]
    })
}

#[test]
fn seven_black_holes_do_not_delay_an_eighth() {
    let (without, with) = (median(false), median(true));
    println!("median from commit to arrival: {without:?} without black holes, {with:?} with seven");
    assert!(with * 2 <= without * 3, "{with:?} instead of {without:?}");
    // A request there, an answer back, and what it takes to look: nobody waits for the other side to come by itself.
    assert!(without < Duration::from_millis(100), "{without:?}");
}

#[test]
fn a_node_that_is_dropped_ends() {
    sim::run(5, async |world| {
        let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
        let database = anna.create(&[ben.user.public()]).await;
        let id = *database.root_id();
        ben.track(id, Wish::live()).await;
        ben.know(&anna, id).await;
        come_in_step(&[&anna, &ben], &id, MINUTE).await;
        let wishes = anna.wishes.clone();
        drop((anna, database));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(Arc::strong_count(&wishes), 1, "something still goes by what is wished");
        // Nobody listens there any longer.
        let refused = ben.syncer().connect_to_peer(&address("nobody")).await.unwrap_err();
        let gone = ben.syncer().connect_to_peer(&address("anna")).await.unwrap_err();
        assert_eq!(gone.kind(), refused.kind());
    });
}

#[test]
fn closing_does_not_wait_for_those_who_wait_for_news() {
    sim::run(6, async |world| {
        let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
        let database = anna.create(&[ben.user.public()]).await;
        let id = *database.root_id();
        ben.track(id, Wish::live()).await;
        ben.know(&anna, id).await;
        come_in_step(&[&anna, &ben], &id, MINUTE).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let begun = world.clock.elapsed();
        anna.syncer().close().await;
        assert!(world.clock.elapsed() - begun < Duration::from_millis(600), "{:?}", world.clock.elapsed() - begun);
    });
}
