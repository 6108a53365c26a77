//! What lasts: after closing, and after the end of a handle that nobody closed.

use eidetica_contract::WriteBatch;
use tokio::task::JoinSet;

use super::{Ground, ONE, OTHER};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.durability.closed-store-keeps-all",
        "Flushes, then releases files, threads and locks. When it returns the store can be opened again.",
        closed_store_keeps_all, need Durable),
    case!(Backend, must "backend.durability.flushed-survives-a-kill",
        "Makes durable everything whose commit returned before this was called.", flushed_survives, need Durable),
    case!(Backend, must "backend.durability.a-kill-leaves-a-prefix",
        "After a crash of the process, of the system or of the power, the store holds a prefix of the commit order that includes at least all that was flushed.",
        a_kill_leaves_a_prefix, need Durable),
    case!(Backend, must "backend.durability.flushes-at-once",
        "Makes durable everything whose commit returned before this was called.", flushes_at_once, need Durable),
    case!(Backend, must "backend.durability.opens-by-itself",
        "After a crash a store opens by itself: the backend cuts off what was written halfway (a torn record at the end of a log, say), back to a prefix of the commit order that holds at least all that was flushed.", opens_by_itself, need Durable),
    case!(Backend, must "backend.durability.flush-changes-nothing",
        "Makes durable everything whose commit returned before this was called.", flush_changes_nothing),
];

async fn closed_store_keeps_all(ground: Ground) {
    let mut store = ground.fresh().await;
    for round in 0..4u8 {
        let mut batch = WriteBatch::new();
        for n in 0..50u8 {
            batch.put(ONE, vec![round, n], vec![n; 300]);
        }
        batch.delete(ONE, vec![round.wrapping_sub(1), 7]);
        store.commit(batch).await;
        let before = store.dump().await;
        store = store.reopen().await;
        assert!(store.dump().await == before, "closing has changed something, in round {round}");
    }
}

async fn flushed_survives(ground: Ground) {
    let mut store = ground.fresh().await;
    for round in 0..4u8 {
        store.put(vec![round], vec![round; 70_000]).await;
        store.put("k", vec![round]).await;
        store.backend.flush().await.expect("a flush");
        let before = store.dump().await;
        store = store.kill().await;
        assert!(store.dump().await == before, "what was flushed is gone, in round {round}");
    }
}

async fn a_kill_leaves_a_prefix(ground: Ground) {
    let mut store = ground.fresh().await;
    let mut least = 0u32;
    for round in 0..6u32 {
        for n in least + 1..=least + 20 {
            let mut batch = WriteBatch::new();
            for keyspace in [ONE, OTHER] {
                batch.put(keyspace, n.to_be_bytes().to_vec(), vec![n as u8; 500]);
            }
            store.commit(batch).await;
            if n == least + 5 + round {
                store.backend.flush().await.expect("a flush");
            }
        }
        let flushed = least + 5 + round;
        store = store.kill().await;
        let dump = store.dump().await;
        let rows = |number| -> Vec<u32> {
            let of = dump.iter().filter(|row| row.0 == number);
            of.map(|row| u32::from_be_bytes(row.1[..].try_into().expect("a number"))).collect()
        };
        let (one, other) = (rows(1), rows(15));
        assert_eq!(one, other, "half of a commit is left");
        let kept = one.len() as u32;
        assert_eq!(one, (1..=kept).collect::<Vec<_>>(), "a commit in between is missing");
        assert!(kept >= flushed, "{flushed} commits were flushed, and {kept} are left");
        least = kept;
    }
}

async fn flushes_at_once(ground: Ground) {
    let store = ground.fresh().await;
    let mut tasks = JoinSet::new();
    for n in 0..32u8 {
        let backend = store.backend.clone();
        tasks.spawn(async move {
            backend.commit(super::put(ONE, vec![n], vec![n])).await.unwrap();
            backend.flush().await.unwrap();
        });
    }
    tasks.join_all().await;
    let store = store.kill().await;
    assert_eq!(store.dump().await.len(), 32, "each of them was told that it is durable");
}

/// Killed while it writes, flushes and reads, a store opens and goes on.
async fn opens_by_itself(ground: Ground) {
    let mut store = ground.fresh().await;
    for round in 0..5u8 {
        store.put("flushed", vec![round]).await;
        store.backend.flush().await.expect("a flush");
        let view = store.snapshot().await;
        let mut tasks = JoinSet::new();
        for n in 0..8u8 {
            let backend = store.backend.clone();
            tasks.spawn(async move {
                let _ = backend.commit(super::put(OTHER, vec![round, n], vec![n; 100_000])).await;
                let _ = backend.flush().await;
            });
        }
        tokio::task::yield_now().await;
        tasks.shutdown().await;
        drop(view);
        store = store.kill().await;
        assert_eq!(store.get(ONE, b"flushed").await, Some(vec![round].into()), "in round {round}");
        let torn = store.dump().await.iter().any(|row| row.0 == 15 && row.2.len() != 100_000);
        assert!(!torn, "a commit that was cut off has left a part");
    }
}

async fn flush_changes_nothing(ground: Ground) {
    let store = ground.fresh().await;
    store.backend.flush().await.expect("a flush of an empty store");
    store.put("k", "v").await;
    let before = store.dump().await;
    for _ in 0..3 {
        store.backend.flush().await.expect("a flush");
    }
    assert_eq!(store.dump().await, before);
}
