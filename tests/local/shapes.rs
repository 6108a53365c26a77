//! Graphs of unusual shape: very deep, very wide, in the worst order. Slow is allowed, endless and wrong are not.

use std::time::{Duration, Instant};

use eidetica::backend::database::Memory;
use eidetica::entry::VerifiedEntry;
use eidetica::store::DocStore;
use eidetica::{Database, Options, Outcome, Parked};

use super::big::big;
use super::counting::{Counting, Counts, Shared};
use super::kit::{Forge, check, hand_in, hand_in_all, raw};

/// How long each of these tests may take on a slow machine that builds something else at the same time.
const BUDGET: Duration = Duration::from_secs(60);

/// Commits one key, and returns how many entries that made.
async fn commit(database: &Database, key: &str) -> u64 {
    let before = database.entry_count().await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, "after").await.unwrap();
    transaction.commit().await.unwrap();
    database.entry_count().await.unwrap() - before
}

/// The hundred thousand entries that other tests count on came in within the budget; and they verify.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_history_comes_in_in_time() {
    let begun = Instant::now();
    let big = big().await;
    assert!(begun.elapsed() < BUDGET, "it took {:?}", begun.elapsed());
    let backend = Shared::in_turns(Memory::new());
    super::counting::load(&backend, &big.stages[1].rows).await;
    let instance = eidetica::Instance::open(Box::new(backend)).await.unwrap();
    let database = instance.open_database_with_key(&big.forge.root.id(), Some(big.forge.key.clone())).await.unwrap();
    assert_eq!(check(&database).await.entries, 10_000);
}

/// Each before its parent, one by one: all wait, and come in together with the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_in_reverse_order_comes_in_whole() {
    const LENGTH: usize = 5_000;
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let chain = forge.chain(&forge.root, LENGTH, |n| format!("key {}", n % 100));
    let begun = Instant::now();
    for entry in chain[1..].iter().rev() {
        let outcome = hand_in(&database, entry.to_raw()).await;
        assert!(matches!(outcome, Outcome::Parked(Parked::Parents(_))), "{outcome:?}");
    }
    assert_eq!(database.waiting().await.unwrap().0, LENGTH - 1);
    assert_eq!(hand_in(&database, chain[0].to_raw()).await, Outcome::Accepted);
    assert_eq!(database.waiting().await.unwrap(), (0, 0));
    assert_eq!(database.entry_count().await.unwrap(), LENGTH as u64 + 1);
    assert!(begun.elapsed() < BUDGET, "it took {:?}", begun.elapsed());
    // As one page, in the same order: it is put in order, and nothing waits.
    let (_instance, other) = forge.database().await;
    let outcomes = other.ingest(raw(&chain).into_iter().rev().collect(), "peer").await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted));
    assert_eq!(other.get_tips().await.unwrap(), database.get_tips().await.unwrap());
    check(&database).await;
}

/// Ten thousand entries that have not seen each other. The next commit brings them together, 64 at a time.
async fn siblings_are_merged(key: impl Fn(usize) -> String) -> (Database, Vec<VerifiedEntry>) {
    const WIDTH: usize = 10_000;
    let forge = Forge::new(1);
    let (instance, database) = forge.database().await;
    let siblings: Vec<_> = (0..WIDTH).map(|n| forge.entry(&[&forge.root], &key(n), n as i64)).collect();
    let begun = Instant::now();
    hand_in_all(&database, &siblings).await;
    println!("{WIDTH} siblings came in after {:?}", begun.elapsed());
    assert_eq!(database.get_tips().await.unwrap().len(), WIDTH);
    // Each merge takes 64 heads away and adds one; the commit itself takes up to 64.
    let merges = (WIDTH - 64).div_ceil(63) as u64;
    assert_eq!(commit(&database, "merged").await, merges + 1);
    println!("and were merged after {:?}", begun.elapsed());
    assert_eq!(database.get_tips().await.unwrap().len(), 1);
    assert_eq!(commit(&database, "next").await, 1);
    for entry in database.log(None, merges as usize + 2).await.unwrap() {
        assert!(entry.parents.len() <= 64);
    }
    // What comes in on top of the merges, and beside them, is as usual.
    let late = forge.entry(&[&siblings[0]], "late", 1i64);
    assert_eq!(hand_in(&database, late.to_raw()).await, Outcome::Accepted);
    assert_eq!(commit(&database, "last").await, 1);
    assert!(begun.elapsed() < BUDGET, "it took {:?}", begun.elapsed());
    std::mem::forget(instance);
    (database, siblings)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_siblings_at_different_keys() {
    let (database, siblings) = siblings_are_merged(|n| format!("key {n}")).await;
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(notes.get_all().await.unwrap().len(), siblings.len() + 4);
    check(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_siblings_at_one_key() {
    let (database, siblings) = siblings_are_merged(|_| "key".to_owned()).await;
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    let strongest = siblings.iter().max_by_key(|entry| (entry.header().time, entry.id())).unwrap();
    let index = siblings.iter().position(|entry| entry.id() == strongest.id()).unwrap();
    assert_eq!(notes.get("key").await.unwrap().as_int(), Some(index as i64));
    let path = eidetica::store::doc::Path(vec![eidetica::store::doc::Step::Key("key".into())]);
    assert_eq!(notes.conflicts(&path).await.unwrap().len(), siblings.len() - 1);
    commit(&database, "key").await;
    assert_eq!(notes.get_string("key").await.unwrap(), "after");
    assert!(notes.conflicts(&path).await.unwrap().is_empty());
    check(&database).await;
}

/// Two branches whose entries arrive in turns: what each has not seen is as many runs as there are turns. That must make
/// work grow with the number of entries, and not with its square.
#[tokio::test(flavor = "multi_thread")]
async fn branches_that_arrive_in_turns() {
    let forge = Forge::new(1);
    let costs = async |turns: usize| {
        let branches = [
            forge.chain(&forge.root, turns, |n| format!("a {n}")),
            forge.chain(&forge.root, turns, |n| format!("b {n}")),
        ];
        let (backend, counts): (_, std::sync::Arc<Counts>) = Counting::new(Memory::new());
        let (_instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
        let begun = Instant::now();
        let ((), asked) = counts
            .of(async {
                for (one, other) in branches[0].iter().zip(&branches[1]) {
                    assert_eq!(hand_in(&database, one.to_raw()).await, Outcome::Accepted);
                    assert_eq!(hand_in(&database, other.to_raw()).await, Outcome::Accepted);
                }
            })
            .await;
        let time = begun.elapsed();
        check(&database).await;
        println!("{turns} turns: {asked:?}, {time:?}");
        (asked.read, time)
    };
    let (few, many) = (costs(500).await, costs(4_000).await);
    assert!(many.0 <= 10 * few.0, "{few:?}, {many:?}");
    assert!(many.1 < BUDGET, "{many:?}");
}

/// Rows of merges, each of everything in the row before: many ways down, but only as many steps as entries.
#[tokio::test(flavor = "multi_thread")]
async fn a_braid_has_many_ways_and_few_entries() {
    const ROWS: usize = 60;
    const WIDTH: usize = 32;
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let mut row = vec![forge.root.clone()];
    let mut all = Vec::new();
    for at in 0..ROWS {
        let below: Vec<&VerifiedEntry> = row.iter().collect();
        row = (0..WIDTH).map(|n| forge.entry(&below, &format!("key {}", n % 5), (at * WIDTH + n) as i64)).collect();
        all.extend(row.iter().cloned());
    }
    let begun = Instant::now();
    // The worst order that still is one page: the latest first.
    let outcomes = database.ingest(raw(&all).into_iter().rev().collect(), "peer").await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted));
    let tips = database.get_tips().await.unwrap();
    assert_eq!(tips.len(), WIDTH);
    assert_eq!(database.difference(&tips, &[forge.root.id()]).await.unwrap().len(), ROWS * WIDTH);
    assert_eq!(commit(&database, "key 0").await, 1);
    check(&database).await;
    println!("{:?}", begun.elapsed());
    assert!(begun.elapsed() < BUDGET, "it took {:?}", begun.elapsed());
}
