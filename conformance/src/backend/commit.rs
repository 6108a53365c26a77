//! Writing: batches, and what must hold before them.

use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use eidetica_contract::{ErrorKind, Keyspace, WriteBatch};
use proptest::prelude::Rng as _;
use tokio::task::JoinSet;

use super::{Ground, ONE, OTHER, kind, put};
use crate::case::case;
use crate::{Case, seed};

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.commit.is-atomic",
        "**Atomic**: all of its operations take effect, in their order, or none does.", is_atomic),
    case!(Backend, must "backend.commit.keeps-order",
        "all of its operations take effect, in their order, or none does.", keeps_order),
    case!(Backend, must "backend.commit.expectations-hold",
        "**Expectations** are compared with the state directly before the batch, with no commit in between, also none of another process.",
        expectations_hold),
    case!(Backend, must "backend.commit.conflict-names-the-first",
        "If one fails nothing is written and the answer is [`ErrorKind::Conflict`] with the context pairs `keyspace` and `key` (hexadecimal) of the first that failed.",
        conflict_names_the_first),
    case!(Backend, must "backend.commit.one-of-many-wins",
        "**Expectations** are compared with the state directly before the batch, with no commit in between, also none of another process.", one_of_many_wins, sees ["conflict"]),
    case!(Backend, must "backend.commit.is-visible",
        "**Visible**: when this returns, every snapshot that is begun later shows the batch.", is_visible),
    case!(Backend, must "backend.commit.empty-does-nothing",
        "An empty batch succeeds and does nothing.", empty_does_nothing),
    case!(Backend, must "backend.commit.too-large-is-refused",
        "[`ErrorKind::TooLarge`] if a key or a value is over the limits", too_large_is_refused),
    case!(Backend, must "backend.commit.dropped-is-whole-or-not",
        "Cancellation: when the future is dropped the batch is applied whole or not at all.", dropped_is_whole_or_not,
        sees ["a commit was dropped"]),
    case!(Backend, must "backend.commit.ranges-are-half-open",
        "all of its operations take effect, in their order, or none does.", ranges_are_half_open),
    case!(Backend, must "backend.commit.keeps-every-byte",
        "Any key of 0 to [`Limits::max_key`] bytes and any value of 0 to [`Limits::max_value`] bytes must be kept exactly, NUL bytes included.",
        keeps_every_byte),
    case!(Backend, must "backend.commit.keyspaces-are-apart",
        "A store holds sixteen [`Keyspace`]s.", keyspaces_are_apart),
];

async fn is_atomic(ground: Ground) {
    let store = ground.fresh().await;
    store.put("there", "old").await;
    let before = store.dump().await;
    for n in 0..4 {
        let mut batch = WriteBatch::new();
        batch.put(ONE, "there", "new");
        batch.put(OTHER, "more", "new");
        batch.delete(ONE, "there");
        batch.delete_range(ONE, "", None);
        // It fails at the last expectation, whatever the batch would do.
        for _ in 0..n {
            batch.expect_value(ONE, "there", "old");
        }
        batch.expect_absent(ONE, "there");
        assert_eq!(kind(store.backend.commit(batch).await), Some(ErrorKind::Conflict));
        assert_eq!(store.dump().await, before, "a batch that failed has left something");
    }
}

async fn keeps_order(ground: Ground) {
    let store = ground.fresh().await;
    let mut batch = WriteBatch::new();
    batch.put(ONE, "a", "1");
    batch.delete(ONE, "a");
    batch.put(ONE, "b", "1");
    batch.put(ONE, "b", "2");
    batch.put(ONE, "c", "1");
    batch.delete_range(ONE, "c", Some("d".into()));
    batch.put(ONE, "d", "1");
    batch.delete_range(ONE, "d", None);
    batch.put(ONE, "d", "2");
    batch.put(OTHER, "last", "1");
    store.commit(batch).await;
    let rows = |rows: &[(u8, &'static str, &'static str)]| -> super::Dump {
        rows.iter().map(|(space, key, value)| (*space, Bytes::from(*key), Bytes::from(*value))).collect()
    };
    assert_eq!(store.dump().await, rows(&[(1, "b", "2"), (1, "d", "2"), (15, "last", "1")]));
}

async fn expectations_hold(ground: Ground) {
    let store = ground.fresh().await;
    let expecting = |value: Option<&'static str>| {
        let mut batch = put(OTHER, "done", "x");
        match value {
            Some(value) => batch.expect_value(ONE, "k", value),
            None => batch.expect_absent(ONE, "k"),
        }
        batch
    };
    assert_eq!(kind(store.backend.commit(expecting(Some(""))).await), Some(ErrorKind::Conflict), "absent is not empty");
    store.commit(expecting(None)).await;
    store.put("k", "abc").await;
    for wrong in [None, Some(""), Some("ab"), Some("abcd"), Some("abd")] {
        assert_eq!(kind(store.backend.commit(expecting(wrong)).await), Some(ErrorKind::Conflict), "{wrong:?}");
    }
    store.commit(expecting(Some("abc"))).await;
    // Directly before the batch: what it does itself does not count.
    let mut batch = WriteBatch::new();
    batch.put(ONE, "k", "new");
    batch.expect_value(ONE, "k", "new");
    assert_eq!(kind(store.backend.commit(batch).await), Some(ErrorKind::Conflict));
    // A batch may expect and write nothing.
    let mut batch = WriteBatch::new();
    batch.expect_absent(ONE, "k");
    assert_eq!(kind(store.backend.commit(batch).await), Some(ErrorKind::Conflict));
    assert_eq!(store.get(ONE, b"k").await.as_deref(), Some(&b"abc"[..]));
}

async fn conflict_names_the_first(ground: Ground) {
    let store = ground.fresh().await;
    let mut batch = put(ONE, "k", "v");
    batch.expect_absent(ONE, "fine");
    batch.expect_value(Keyspace::new(7), vec![0, 0xab], "x");
    batch.expect_value(ONE, "later", "x");
    let error = store.backend.commit(batch).await.expect_err("it cannot be applied");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!((error.context("keyspace"), error.context("key")), (Some("7"), Some("00ab")), "{error:?}");
    assert_eq!(store.get(ONE, b"k").await, None);
}

/// A counter that many raise: each reads, and writes only if nobody was faster.
async fn one_of_many_wins(ground: Ground) {
    const TASKS: u32 = 8;
    const EACH: u32 = 25;
    let store = ground.fresh().await;
    store.put("count", 0u32.to_be_bytes().to_vec()).await;
    let mut tasks = JoinSet::new();
    // All have read before the first one commits; or on a busy machine they might come one after the other.
    let all_have_read = Arc::new(tokio::sync::Barrier::new(TASKS as usize));
    for _ in 0..TASKS {
        let (backend, all_have_read) = (store.backend.clone(), all_have_read.clone());
        tasks.spawn(async move {
            let (mut conflicts, mut first) = (0, true);
            for _ in 0..EACH {
                loop {
                    let found = backend.snapshot().await.unwrap().get(ONE, b"count").await.unwrap().unwrap();
                    if std::mem::take(&mut first) {
                        all_have_read.wait().await;
                    } else {
                        tokio::task::yield_now().await;
                    }
                    let count = u32::from_be_bytes(found[..].try_into().unwrap());
                    let mut batch = put(ONE, "count", (count + 1).to_be_bytes().to_vec());
                    batch.expect_value(ONE, "count", found);
                    match backend.commit(batch).await {
                        Ok(()) => break,
                        Err(error) if error.kind() == ErrorKind::Conflict => conflicts += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
            conflicts
        });
    }
    let conflicts: u32 = tasks.join_all().await.into_iter().sum();
    if conflicts > 0 {
        ground.saw("conflict");
    }
    let count = store.get(ONE, b"count").await.unwrap();
    assert_eq!(count, (TASKS * EACH).to_be_bytes().to_vec(), "an update was lost, or applied twice");
}

async fn is_visible(ground: Ground) {
    let store = ground.fresh().await;
    for n in 0..200u32 {
        let value = n.to_be_bytes().to_vec();
        store.put("k", value.clone()).await;
        assert_eq!(store.get(ONE, b"k").await, Some(value.into()), "after {n} commits");
    }
}

async fn empty_does_nothing(ground: Ground) {
    let store = ground.fresh().await;
    store.commit(WriteBatch::new()).await;
    assert!(store.dump().await.is_empty());
    store.put("k", "v").await;
    store.commit(WriteBatch::new()).await;
    assert_eq!(store.dump().await.len(), 1);
}

async fn too_large_is_refused(ground: Ground) {
    let store = ground.fresh().await;
    let limits = store.backend.info().limits;
    let (key, value) = (vec![b'k'; limits.max_key], vec![b'v'; limits.max_value]);
    let (long_key, long_value) = (vec![b'k'; limits.max_key + 1], vec![b'v'; limits.max_value + 1]);
    type Change<'a> = &'a (dyn Fn(&mut WriteBatch) + Send + Sync);
    let changes: [(&str, Change<'_>); 5] = [
        ("a key", &|batch| batch.put(ONE, long_key.clone(), "v")),
        ("a value", &|batch| batch.put(ONE, "k", long_value.clone())),
        ("a key to delete", &|batch| batch.delete(ONE, long_key.clone())),
        ("a key to expect", &|batch| batch.expect_absent(ONE, long_key.clone())),
        ("a value to expect", &|batch| batch.expect_value(ONE, "k", long_value.clone())),
    ];
    for (what, change) in changes {
        let mut batch = put(OTHER, "before", "v");
        change(&mut batch);
        batch.put(OTHER, "after", "v");
        assert_eq!(kind(store.backend.commit(batch).await), Some(ErrorKind::TooLarge), "{what} that is too long");
        assert!(store.dump().await.is_empty(), "{what} that is too long has left something");
    }
    // What is exactly as long as it may be is kept.
    store.put(key.clone(), value.clone()).await;
    assert!(store.get(ONE, &key).await.is_some_and(|found| found == value), "the longest key with the longest value");
}

/// Commits are dropped after any number of polls. Each writes the same to two keyspaces.
async fn dropped_is_whole_or_not(ground: Ground) {
    let store = ground.fresh().await;
    let mut random = seed::rng(ground.seed);
    for turn in 0..60u8 {
        let mut batch = WriteBatch::new();
        for keyspace in [ONE, OTHER] {
            batch.put(keyspace, "k", vec![turn; 2000]);
            batch.put(keyspace, vec![turn], vec![turn; 50_000]);
        }
        let mut commit = store.backend.commit(batch);
        let mut done = false;
        for _ in 0..random.next_u32() % 4 {
            done = commit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            if done {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        // Where a commit is done with its first poll, it can be dropped before it alone.
        if !done {
            ground.saw("a commit was dropped");
        }
        let view = store.snapshot().await;
        for key in [&b"k"[..], &[turn]] {
            let (one, other) = (view.get(ONE, key).await.unwrap(), view.get(OTHER, key).await.unwrap());
            assert!(one == other, "half of a batch that was dropped is visible, in turn {turn}");
        }
    }
    // Some may have landed later.
    store.put("after", "after").await;
    assert_eq!(store.get(ONE, b"after").await.as_deref(), Some(&b"after"[..]));
    let view = store.snapshot().await;
    for turn in 0..60u8 {
        let (one, other) = (view.get(ONE, &[turn]).await.unwrap(), view.get(OTHER, &[turn]).await.unwrap());
        assert!(one == other, "half of a batch that was dropped has landed, in turn {turn}");
    }
}

async fn ranges_are_half_open(ground: Ground) {
    let store = ground.fresh().await;
    let keys = ["a", "b", "b\0", "c", "d"];
    for (start, end, left) in [
        ("b", Some("c"), vec!["a", "c", "d"]),
        ("b", Some("b"), keys.to_vec()),
        ("c", Some("b"), keys.to_vec()),
        ("", Some("b"), vec!["b", "b\0", "c", "d"]),
        ("c", None, vec!["a", "b", "b\0"]),
        ("", None, vec![]),
    ] {
        let mut batch = WriteBatch::new();
        batch.delete_range(ONE, "", None);
        keys.iter().for_each(|key| batch.put(ONE, *key, "v"));
        batch.put(OTHER, "b", "v");
        store.commit(batch).await;
        let mut batch = WriteBatch::new();
        batch.delete_range(ONE, start, end.map(Bytes::from));
        store.commit(batch).await;
        let dump = store.dump().await;
        let found: Vec<&[u8]> = dump.iter().filter(|row| row.0 == 1).map(|row| &row.1[..]).collect();
        assert_eq!(found, left.iter().map(|key| key.as_bytes()).collect::<Vec<_>>(), "{start:?} to {end:?}");
        assert_eq!(dump.len(), found.len() + 1, "another keyspace has lost a row");
    }
}

async fn keeps_every_byte(ground: Ground) {
    let store = ground.fresh().await;
    let limits = store.backend.info().limits;
    let all: Vec<u8> = (0..=255).collect();
    let mut keys: Vec<Bytes> = vec![Bytes::new(), vec![0].into(), vec![0, 0].into(), vec![0xff].into(), "Ä".into()];
    keys.push(all[..limits.max_key.min(256)].to_vec().into());
    keys.push(vec![0xff; limits.max_key].into());
    let lengths = [0, 1, 255, 256, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1 << 20];
    let values = lengths.into_iter().filter(|length| *length <= limits.max_value);
    let values: Vec<Bytes> = values.map(|length| (0..length).map(|at| (at * 31 % 256) as u8).collect()).collect();
    for (n, value) in values.iter().enumerate() {
        for key in &keys {
            store.put(key.clone(), value.clone()).await;
            assert!(
                store.get(ONE, key).await.as_ref() == Some(value),
                "{} bytes under a key of {}",
                value.len(),
                key.len()
            );
        }
        let mut expected: Vec<&Bytes> = keys.iter().collect();
        expected.sort();
        let dump = store.dump().await;
        assert!(dump.iter().map(|row| &row.1).eq(expected), "the keys differ, after value {n}");
        assert!(dump.iter().all(|row| row.2 == value), "the values differ, after value {n}");
    }
}

async fn keyspaces_are_apart(ground: Ground) {
    let store = ground.fresh().await;
    let mut batch = WriteBatch::new();
    for keyspace in Keyspace::all() {
        batch.put(keyspace, "k", vec![keyspace.number()]);
    }
    store.commit(batch).await;
    for keyspace in Keyspace::all() {
        assert_eq!(store.get(keyspace, b"k").await, Some(vec![keyspace.number()].into()));
    }
    let mut batch = WriteBatch::new();
    batch.delete(Keyspace::new(3), "k");
    batch.delete_range(Keyspace::new(5), "", None);
    store.commit(batch).await;
    let left: Vec<u8> = store.dump().await.iter().map(|row| row.0).collect();
    assert_eq!(left, (0..16).filter(|number| ![3, 5].contains(number)).collect::<Vec<_>>());
}
