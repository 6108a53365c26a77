//! What newcomers do to a node.

use std::time::Duration;

use eidetica_sync::schedule::Wish;
use eidetica_sync::sim::{self, Conditions, World, check};
use tokio::time::timeout;

use super::kit::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A backup was opened on a second machine: two devices with one key.
#[test]
fn two_with_the_same_device_key_do_no_harm() {
    for seed in sim::seeds(5) {
        sim::run(seed, async |world| {
            let anna = Node::start(&world, "anna").await;
            let (mut one, mut other) =
                (Node::stopped(&world, "one", false).await, Node::stopped(&world, "other", false).await);
            other.device = one.device.clone();
            one.begin().await;
            other.begin().await;
            let database = anna.create(&[one.user.public(), other.user.public()]).await;
            let id = *database.root_id();
            for node in [&one, &other] {
                node.track(id, Wish::live()).await;
                node.know(&anna, id).await;
            }
            // They know each other, too.
            one.know(&other, id).await;
            for number in 0..10 {
                set(&database, "key", &number.to_string()).await;
                for node in [&one, &other] {
                    if let Some(database) = node.database(&id).await {
                        set(&database, &node.name, &number.to_string()).await;
                    }
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            come_in_step(&[&anna, &one, &other], &id, MINUTE * 3).await;
            for node in [&anna, &one, &other] {
                timeout(MINUTE, node.syncer().close()).await.expect("it closes");
            }
        });
    }
}

#[test]
fn a_peer_that_is_itself_is_no_peer() {
    sim::run(1, async |world| {
        let anna = Node::start(&world, "anna").await;
        let database = anna.create(&[]).await;
        let id = *database.root_id();
        anna.know(&anna, id).await;
        set(&database, "key", "value").await;
        let asked = timeout(MINUTE, anna.syncer().sync_with_peer(&anna.address(), Some(&id))).await;
        println!("{:?}", asked.expect("it answers"));
        world.network.reset_traffic();
        tokio::time::sleep(MINUTE * 10).await;
        let total = world.network.total();
        assert!(total.requests < 200, "it talks to itself all the time: {total:?}");
        timeout(MINUTE, anna.syncer().close()).await.expect("it closes");
    });
}

#[test]
fn clocks_that_are_hours_off_come_in_step_when_the_time_has_come() {
    sim::run(1, async |world| {
        let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
        let hours = 3;
        let database = anna.create(&[ben.user.public()]).await;
        let id = *database.root_id();
        ben.track(id, Wish::live()).await;
        ben.know(&anna, id).await;
        come_in_step(&[&anna, &ben], &id, MINUTE).await;
        anna.environment.set_skew(hours * 3_600_000);
        ben.environment.set_skew(-3_600_000);
        set(&database, "from", "the future").await;
        set(&ben.open(&id).await, "from", "the past").await;
        world.network.reset_traffic();
        for minute in 1..=60 {
            tokio::time::sleep(MINUTE).await;
            // What is ahead of the clock there waits, and is not sent over and over.
            let total = world.network.total();
            assert!(total.bytes < 20_000 + minute * 10_000 && total.requests < 30 + minute * 30, "{minute}: {total:?}");
        }
        let here = ben.open(&id).await;
        assert_eq!(get(&here, "from").await.as_deref(), Some("the past"));
        set(&here, "and", "still writing").await;
        tokio::time::sleep(MINUTE * 60 * 4).await;
        come_in_step(&[&anna, &ben], &id, MINUTE * 5).await;
        check::all(&here, &mut world.dice("check")).await.unwrap();
    });
}

#[test]
fn a_peer_that_has_moved_is_found_where_it_is_now() {
    sim::run(1, async |world| {
        let anna = Node::start(&world, "anna").await;
        let mut ben = Node::start(&world, "ben").await;
        let database = anna.create(&[ben.user.public()]).await;
        let id = *database.root_id();
        ben.track(id, Wish::live()).await;
        ben.know(&anna, id).await;
        come_in_step(&[&anna, &ben], &id, MINUTE).await;
        for home in ["hill", "lake", "ben", "sea"] {
            ben.end().await;
            ben.host = Some(home.to_owned());
            set(&database, "moved to", home).await;
            ben.begin().await;
            come_in_step(&[&anna, &ben], &id, MINUTE).await;
            // Anna finds him by herself, and before long.
            set(&database, "found at", home).await;
            let took = come_in_step(&[&anna, &ben], &id, MINUTE).await;
            assert!(took < Duration::from_secs(5), "{took:?} at {home}");
        }
    });
}

#[test]
fn peers_are_removed_in_the_middle_of_everything() {
    for seed in sim::seeds(20) {
        sim::run(seed, async |world| {
            let (anna, ben, id) = busy(&world).await;
            let mut dice = world.dice("removing");
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
                timeout(MINUTE, ben.syncer().remove_peer(&anna.key())).await.expect("it is removed").ok();
                tokio::time::sleep(Duration::from_millis(dice.below(50))).await;
                ben.know(&anna, id).await;
            }
            come_in_step(&[&anna, &ben], &id, MINUTE * 3).await;
            // While nothing comes through, each forgets the other, and leaves it alone from then on.
            world.network.partition(&["anna"], &["ben"]);
            tokio::time::sleep(Duration::from_secs(3)).await;
            ben.syncer().remove_peer(&anna.key()).await.unwrap();
            anna.syncer().remove_peer(&ben.key()).await.unwrap();
            tokio::time::sleep(MINUTE * 2).await;
            world.network.heal();
            world.network.reset_traffic();
            set(&ben.open(&id).await, "after", "all").await;
            tokio::time::sleep(MINUTE).await;
            assert_eq!(world.network.total().requests, 0);
        });
    }
}

#[test]
fn closing_in_the_middle_of_everything_ends() {
    for seed in sim::seeds(40) {
        sim::run(seed, async |world| {
            let (anna, ben, id) = busy(&world).await;
            let mut dice = world.dice("closing");
            let syncer = ben.syncer().clone();
            let mut calls = tokio::task::JoinSet::new();
            for number in 0..8 {
                let (syncer, address, peer, delay) = (syncer.clone(), anna.address(), anna.key(), dice.below(1_000));
                calls.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                    match number % 4 {
                        0 => drop(syncer.sync_with_peer(&address, None).await),
                        1 => drop(syncer.sync_tree_with_peer(&peer, &id).await),
                        2 => drop(syncer.flush().await),
                        _ => drop(syncer.connect_to_peer(&address).await),
                    }
                });
            }
            tokio::time::sleep(Duration::from_millis(dice.below(1_000))).await;
            if dice.chance(0.5) {
                // Whatever order an application closes things in.
                timeout(MINUTE, ben.engine().close()).await.expect("the store closes").ok();
            }
            timeout(MINUTE, syncer.close()).await.expect("it closes");
            timeout(MINUTE, calls.join_all()).await.expect("whoever waits is answered");
            timeout(MINUTE, anna.syncer().close()).await.expect("it closes");
        });
    }
}

/// Two that have much to tell each other, over a poor line.
async fn busy(world: &World) -> (Node, Node, eidetica_core::Id) {
    let (anna, ben) = (Node::start(world, "anna").await, Node::start(world, "ben").await);
    let database = anna.create(&[ben.user.public()]).await;
    let id = *database.root_id();
    for number in 0..100 {
        set(&database, &number.to_string(), "x").await;
    }
    ben.track(id, Wish { enabled: true, on_commit: true, interval: Some(Duration::from_secs(1)) }).await;
    world.network.everywhere(Conditions::poor());
    ben.know(&anna, id).await;
    (anna, ben, id)
}

/// Whoever begins to listen when it has called others already can be called by them within a second.
#[test]
fn who_listens_later_is_reached_by_those_it_has_called() {
    for seed in sim::seeds(5) {
        sim::run(seed, async |world| {
            let (anna, ben, database) = two_in_step(&world, false).await;
            let (key, id) = (ben.key(), *database.root_id());
            assert!(anna.syncer().sync_tree_with_peer(&key, &id).await.is_err(), "nobody knows where");
            ben.syncer().accept_connections().await.unwrap();
            let reached = async {
                while anna.syncer().sync_tree_with_peer(&key, &id).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(1), reached).await.expect("it is told at once");
        });
    }
}
