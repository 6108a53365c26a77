//! No entry travels that the other side has, and little else does.

use std::time::Duration;

use eidetica_core::store::DocStore;
use eidetica_core::{Durability, Id};
use eidetica_sync::reconcile::Outcome;
use eidetica_sync::schedule::Wish;
use eidetica_sync::sim;

use super::kit::*;
use super::tally::{Rounds, Tally};

const MINUTE: Duration = Duration::from_secs(60);

/// Two that dial each other, or one that dials the other; how many rounds there were and what they carried.
async fn pair(world: &sim::World, mutual: bool) -> (Node, Node, eidetica_core::Id) {
    let anna = Node::start(world, "anna").await;
    let mut ben = Node::stopped(world, "ben", false).await;
    ben.listens = mutual;
    ben.begin().await;
    let database = anna.create(&[ben.user.public()]).await;
    let id = *database.root_id();
    ben.track(id, Wish::live()).await;
    ben.know(&anna, id).await;
    if mutual {
        anna.know(&ben, id).await;
    }
    come_in_step(&[&anna, &ben], &id, MINUTE).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    (anna, ben, id)
}

fn count(seed: u64, mutual: bool, at_once: bool) -> Rounds {
    sim::run(seed, async move |world| {
        let (anna, ben, id) = pair(&world, mutual).await;
        let (here, there) = (anna.open(&id).await, ben.open(&id).await);
        let tallies = [Tally::of(anna.syncer()), Tally::of(ben.syncer())];
        if at_once {
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..64u64 {
                for database in [here.clone(), there.clone()] {
                    let mut dice = world.dice(&format!("{number}"));
                    tasks.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
                        set(&database, &format!("{number}"), "x").await;
                    });
                }
            }
            tasks.join_all().await;
        } else {
            for number in 0..64 {
                for database in [&here, &there] {
                    set(database, "key", &number.to_string()).await;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    assert!(in_step(&[&anna, &ben], &id).await, "half a second is enough");
                }
            }
        }
        come_in_step(&[&anna, &ben], &id, MINUTE).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        tallies[0].rounds(&id).plus(tallies[1].rounds(&id))
    })
}

#[test]
fn one_after_the_other_each_entry_travels_once() {
    for mutual in [false, true] {
        let rounds = count(1, mutual, false);
        println!("one after the other, mutual: {mutual}: {rounds:?}");
        assert_eq!(rounds.travelled(), 128, "{rounds:?}");
        assert!(rounds.well <= 140 && rounds.failed == 0, "{rounds:?}");
    }
}

#[test]
fn at_once_hardly_any_entry_travels_twice() {
    for seed in sim::seeds(5) {
        for mutual in [false, true] {
            let rounds = count(seed, mutual, true);
            println!("at once, mutual: {mutual}: {rounds:?}");
            assert!(rounds.travelled() >= 128, "{rounds:?}");
            // What two rounds carry that cross each other.
            assert!(rounds.travelled() <= 128 + 16, "{rounds:?}");
        }
    }
}

/// What a call has taken, as it has passed `Channel::request`: round trips, and bytes there and back.
#[derive(Debug)]
struct Cost {
    requests: u64,
    there: u64,
    back: u64,
}

/// Ben calls Anna by hand, and nothing else is on the line.
struct Calls {
    world: sim::World,
    anna: Node,
    ben: Node,
    id: Id,
}

impl Calls {
    /// Both have `n` entries above the root, and a session.
    async fn with(world: sim::World, n: usize) -> Calls {
        let hourly = Wish::every(Duration::from_secs(3600));
        let anna = Node::start(&world, "anna").await;
        let mut ben = Node::stopped(&world, "ben", false).await;
        ben.listens = false;
        ben.begin().await;
        let database = anna.create(&[ben.user.public()]).await;
        let id = *database.root_id();
        anna.track(id, hourly).await;
        for number in 0..n {
            set(&database, &format!("key {}", number % 50), "a short value").await;
        }
        ben.track(id, hourly).await;
        ben.syncer().sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        Calls { world, anna, ben, id }
    }

    async fn call(&self) -> (Outcome, Cost) {
        self.world.network.reset_traffic();
        let outcome = self.ben.syncer().sync_tree_with_peer(&self.anna.key(), &self.id).await.unwrap();
        let (there, back) = (self.world.network.traffic("ben", "anna"), self.world.network.traffic("anna", "ben"));
        let cost = Cost { requests: there.requests, there: there.bytes, back: back.bytes };
        println!("{} entries in, {} out: {cost:?}", outcome.received, outcome.sent);
        assert_eq!((back.requests, outcome.repeated, outcome.sent_again), (0, 0, 0));
        assert!(outcome.complete && in_step(&[&self.anna, &self.ben], &self.id).await);
        (outcome, cost)
    }

    /// The bytes of an entry.
    async fn size(&self, id: &Id) -> u64 {
        let entry = self.anna.open(&self.id).await.get_entry(id).await.unwrap();
        (entry.header_bytes().len() + entry.bodies().iter().flatten().map(|body| body.len()).sum::<usize>()) as u64
    }

    /// A hundred entries, each on an old one.
    async fn scatter(&self, node: &Node, name: &str) {
        let database = node.open(&self.id).await;
        let old: Vec<Id> = database.log(None, 1000).await.unwrap().into_iter().map(|entry| entry.id).collect();
        for number in 0..100 {
            let below = old[(number * 7 + 3) % (old.len() - 1)];
            let transaction = database.new_transaction_with_tips(&[below]).await.unwrap();
            let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
            notes.set(&format!("{name} {number}"), "a short value").await.unwrap();
            transaction.commit_with(Durability::Buffered).await.unwrap();
        }
    }
}

/// The figures hold with everything around an exchange: sessions, seals, and what nodes say to each other. They do not grow with the
/// history.
#[test]
fn what_passes_the_channel_does_not_grow_with_the_history() {
    for n in [200, 2_000] {
        sim::run(1, async move |world| {
            let calls = Calls::with(world, n).await;
            println!("{n} entries");
            let (_, nothing) = calls.call().await;
            assert!(nothing.requests == 1 && nothing.there < 200 && nothing.back < 200, "{nothing:?}");

            let new = set(&calls.anna.open(&calls.id).await, "pulled", "a short value").await;
            let (outcome, cost) = calls.call().await;
            assert_eq!((outcome.received, outcome.sent), (1, 0));
            let beside = cost.there + cost.back - calls.size(&new).await;
            assert!(cost.requests <= 2 && beside <= 400, "{cost:?}, {beside} beside");
            let new = set(&calls.ben.open(&calls.id).await, "pushed", "a short value").await;
            let (outcome, cost) = calls.call().await;
            assert_eq!((outcome.received, outcome.sent), (0, 1));
            let beside = cost.there + cost.back - calls.size(&new).await;
            assert!(cost.requests <= 2 && beside <= 400, "{cost:?}, {beside} beside");

            // A hundred on each side, on old entries, and nothing is remembered of what both had.
            let mine = calls.ben.open(&calls.id).await.entry_count().await.unwrap();
            calls.scatter(&calls.anna, "anna").await;
            calls.scatter(&calls.ben, "ben").await;
            calls.ben.syncer().handle(&calls.anna.key(), &calls.id).end().await.unwrap();
            let (outcome, cost) = calls.call().await;
            assert_eq!((outcome.received, outcome.sent), (100, 100));
            let mut entries = 0;
            let database = calls.ben.open(&calls.id).await;
            for entry in database.log(None, 200).await.unwrap() {
                entries += calls.size(&entry.id).await;
            }
            assert_eq!(database.entry_count().await.unwrap(), mine + 200);
            assert!(cost.requests <= 5 && cost.there + cost.back <= entries + 10_000, "{cost:?}, {entries}");
            let (_, nothing) = calls.call().await;
            assert!(nothing.requests == 1 && nothing.there < 200 && nothing.back < 200, "{nothing:?}");
        });
    }
}

/// An empty peer, who first has to say who he is: all entries, compressed, and little more.
#[test]
fn an_empty_peer_fetches_hardly_more_than_the_compressed_entries() {
    sim::run(1, async |world| {
        let n = 3_000;
        let calls = Calls::with(world, n).await;
        let database = calls.anna.open(&calls.id).await;
        let ids: Vec<Id> = database.log(None, n + 1).await.unwrap().into_iter().rev().map(|entry| entry.id).collect();
        let mut all = Vec::new();
        for entry in database.get_entries(&ids).await.unwrap() {
            all.extend_from_slice(entry.header_bytes());
            entry.bodies().iter().flatten().for_each(|body| all.extend_from_slice(body));
        }
        let limit = zstd::bulk::compress(&all, 3).unwrap().len() as u64 * 13 / 10;
        let mut device = Node::stopped(&calls.world, "device", false).await;
        (device.listens, device.user) = (false, calls.ben.user.clone());
        device.begin().await;
        device.track(calls.id, Wish::every(Duration::from_secs(3600))).await;
        calls.world.network.reset_traffic();
        device.syncer().sync_with_peer(&calls.anna.address(), Some(&calls.id)).await.unwrap();
        let network = &calls.world.network;
        let (there, back) = (network.traffic("device", "anna"), network.traffic("anna", "device"));
        println!("{there:?} {back:?}, at most {limit}");
        assert!(in_step(&[&calls.anna, &device], &calls.id).await);
        assert!(there.bytes + back.bytes <= limit, "{there:?} {back:?}, at most {limit}");
        assert!(there.requests <= 8, "{there:?}");
    });
}
