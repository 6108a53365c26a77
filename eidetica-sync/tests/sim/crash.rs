//! What a crash leaves: a prefix of the commits that holds all that was flushed, and any such prefix.

use std::collections::BTreeSet;
use std::time::Duration;

use eidetica_contract::{Backend, ErrorKind, Keyspace, Result, Scan, WriteBatch};
use eidetica_core::Memory;
use eidetica_sync::sim::{Crashing, Delay, Dice, InPlace, copy_rows, seeds};

const ROWS: Keyspace = Keyspace::new(1);
const COUNT: Keyspace = Keyspace::new(2);

fn numbered(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    match number {
        0 => batch.expect_absent(COUNT, "count"),
        _ => batch.expect_value(COUNT, "count", (number - 1).to_be_bytes().to_vec()),
    }
    batch.put(ROWS, number.to_be_bytes().to_vec(), vec![number as u8; 10]);
    batch.put(COUNT, "count", number.to_be_bytes().to_vec());
    // Deleting is part of an image, too: the last eight stay.
    batch.delete_range(ROWS, "", Some(number.saturating_sub(7).to_be_bytes().to_vec().into()));
    batch
}

/// How many commits the store holds; they must be a prefix, whole.
async fn held(store: &dyn Backend) -> u64 {
    let view = store.snapshot().await.unwrap();
    let rows = view.scan(Scan::new(ROWS)).await.unwrap().rows;
    let count = view.get(COUNT, b"count").await.unwrap();
    let count = count.map_or(0, |count| u64::from_be_bytes(count[..].try_into().unwrap()) + 1);
    let found: Vec<u64> = rows.iter().map(|(key, _)| u64::from_be_bytes(key[..].try_into().unwrap())).collect();
    assert_eq!(found, (count.saturating_sub(8)..count).collect::<Vec<_>>(), "the rows after {count} commits");
    count
}

async fn check_prefixes<B: Backend>(make: impl AsyncFn(u64) -> Result<Crashing<B>>, cases: u64) {
    let (mut all, mut none, mut some, mut lengths) = (0, 0, 0, BTreeSet::new());
    for seed in seeds(cases) {
        let mut dice = Dice::named(seed, "steps");
        let mut store = make(seed).await.unwrap();
        let mut next = 0;
        for _ in 0..3 {
            let mut flushed = next;
            let begun = next;
            for _ in 0..dice.below(12) {
                store.commit(numbered(next)).await.unwrap();
                next += 1;
                if dice.chance(0.2) {
                    store.flush().await.unwrap();
                    flushed = next;
                }
            }
            let unflushed = store.unflushed().await;
            assert_eq!(unflushed as u64, next - flushed);
            let old = store.clone();
            let view = store.snapshot().await.unwrap();
            assert_eq!(store.reopen().await.unwrap_err().kind(), ErrorKind::Locked);
            store.crash();
            assert_eq!(old.commit(numbered(next)).await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(old.flush().await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(old.snapshot().await.err().unwrap().kind(), ErrorKind::Closed);
            assert_eq!(view.get(COUNT, b"count").await.unwrap_err().kind(), ErrorKind::Closed);
            store = store.reopen().await.unwrap();
            assert_eq!(old.reopen().await.unwrap_err().kind(), ErrorKind::Locked);
            let survived = old.survived().await.unwrap();
            let held = held(&store).await;
            assert!((flushed..=next).contains(&held), "{held} of {flushed} to {next}");
            assert_eq!((held - flushed, next - held), (survived.kept as u64, survived.lost as u64));
            if unflushed > 1 {
                match (survived.kept, survived.lost) {
                    (0, _) => none += 1,
                    (_, 0) => all += 1,
                    _ => some += 1,
                }
                lengths.insert(survived.kept);
            }
            assert!(held >= begun.min(flushed));
            next = held;
        }
    }
    if std::env::var_os("EIDETICA_SEED").is_none() {
        assert!(all > 3 && none > 3 && some > 3, "all {all}, none {none}, some {some}");
        assert!(lengths.len() > 3, "{lengths:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_prefix_survives_that_holds_what_was_flushed() {
    check_prefixes(async |seed| Ok(Crashing::memory(seed)), 60).await;
}

#[tokio::test(start_paused = true)]
async fn so_it_is_where_rows_are_copied_into_a_new_backend() {
    let restore = |image: Memory| async move {
        let store = InPlace::new(Memory::new());
        copy_rows(&image, &store).await?;
        Ok(store)
    };
    check_prefixes(async |seed| Crashing::new(seed, restore).await, 60).await;
}

/// What survives follows from the seed.
#[tokio::test(start_paused = true)]
async fn the_same_seed_leaves_the_same_prefix() {
    let survivors = async |seed| {
        let mut kept = Vec::new();
        let mut store = Crashing::memory(seed);
        for _ in 0..10 {
            let from = held(&store).await;
            for number in from..from + 10 {
                store.commit(numbered(number)).await.unwrap();
            }
            store.crash();
            store = store.reopen().await.unwrap();
            kept.push(held(&store).await);
        }
        kept
    };
    assert_eq!(survivors(1).await, survivors(1).await);
    assert_ne!(survivors(1).await, survivors(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_a_flush_leaves_it_open_and_one_in_a_commit_too() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 1..=40 {
        let store = Crashing::memory(seed).flush_takes(Delay::millis(20));
        store.commit(numbered(0)).await.unwrap();
        let crash = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            store.crash();
        };
        let (flushed, ()) = tokio::join!(store.flush(), crash);
        assert_eq!(flushed.unwrap_err().kind(), ErrorKind::Closed);
        let store = store.reopen().await.unwrap();
        let begun = held(&store).await;
        // By itself, in the third commit from now.
        store.crash_after(2);
        for number in begun..begun + 2 {
            store.commit(numbered(number)).await.unwrap();
        }
        let waits = store.clone();
        let waiting = tokio::spawn(async move { waits.ended().await });
        assert_eq!(store.commit(numbered(begun + 2)).await.unwrap_err().kind(), ErrorKind::Closed);
        waiting.await.unwrap();
        let after = held(&store.reopen().await.unwrap()).await;
        assert!((begun..=begun + 3).contains(&after));
        if after == begun + 3 { kept += 1 } else { lost += 1 }
    }
    assert!(kept > 2 && lost > 2, "{kept} kept, {lost} lost");
}

/// What is flushed is what was committed before the flush began.
#[tokio::test(start_paused = true)]
async fn a_commit_during_a_flush_is_not_flushed() {
    let store = Crashing::memory(1).flush_takes(Delay::millis(20));
    store.commit(numbered(0)).await.unwrap();
    let commit = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        store.commit(numbered(1)).await.unwrap();
    };
    let (flushed, ()) = tokio::join!(store.flush(), commit);
    flushed.unwrap();
    assert_eq!(store.unflushed().await, 1);
    // Two flushes at once do not take the same commit twice.
    let (one, other) = tokio::join!(store.flush(), store.flush());
    assert!(one.is_ok() && other.is_ok() && store.unflushed().await == 0);
}

#[tokio::test(start_paused = true)]
async fn closing_flushes_and_it_opens_again() {
    let store = Crashing::memory(1);
    for number in 0..5 {
        store.commit(numbered(number)).await.unwrap();
    }
    assert_eq!(store.commit(numbered(3)).await.unwrap_err().kind(), ErrorKind::Conflict);
    store.close().await.unwrap();
    store.close().await.unwrap();
    let anew = store.reopen().await.unwrap();
    assert_eq!(held(&anew).await, 5);
    // A commit that is dropped by its caller is whole or not there.
    for number in 5..20 {
        let gone = tokio::time::timeout(Duration::ZERO, anew.commit(numbered(number))).await;
        tokio::task::yield_now().await;
        let there = held(&anew).await;
        assert_eq!(there, number + 1, "{gone:?}");
    }
}
