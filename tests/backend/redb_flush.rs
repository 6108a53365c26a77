//! That a flush of redb reaches the disk, and a commit does not wait for it, seen from outside.

use std::sync::Arc;

use eidetica_backend_redb::Redb;
use eidetica_contract::{Backend, Keyspace, Scan, WriteBatch};

use super::children;
use super::durability::{between, mark, syncs, trace};

const SPACE: Keyspace = Keyspace::new(0);
const ROUNDS: usize = 5;

#[test]
fn a_flush_reaches_the_disk_before_it_returns() {
    let directory = tempfile::tempdir().unwrap();
    let Some(trace) = trace("backend::redb_flush::child_flushes", directory.path()) else { return };
    for round in 0..ROUNDS {
        let during_commit = between(&trace, &format!("begin {round}"), &format!("committed {round}"));
        assert_eq!(syncs(during_commit), 0, "a commit waits for the disk: {during_commit:#?}");
        let during_flush = between(&trace, &format!("committed {round}"), &format!("flushed {round}"));
        assert!((1..=2).contains(&syncs(during_flush)), "one sync, or two where the file grows: {during_flush:#?}");
    }
    assert_eq!(syncs(between(&trace, "growing", "growing end")), 0, "a commit for which the file grows waits");
    assert_eq!(syncs(between(&trace, "idle", "idle end")), 0, "a flush after which nothing was committed syncs");
    assert_eq!(syncs(between(&trace, "together", "together end")), 1, "32 flushes at once share one sync");
    assert!(syncs(between(&trace, "close", "close end")) >= 1, "closing makes durable what was committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by a_flush_reaches_the_disk_before_it_returns"]
async fn child_flushes() {
    let Some(path) = children::store() else { return };
    let store = Arc::new(Redb::open(&path).await.unwrap());
    for round in 0..ROUNDS {
        mark(&format!("begin {round}"));
        put(&store, round, 300).await;
        mark(&format!("committed {round}"));
        store.flush().await.unwrap();
        mark(&format!("flushed {round}"));
    }
    mark("growing");
    for round in 0..50 {
        put(&store, 1000 + round, 200_000).await;
    }
    mark("growing end");
    store.flush().await.unwrap();
    mark("idle");
    for _ in 0..10 {
        store.flush().await.unwrap();
    }
    mark("idle end");
    put(&store, ROUNDS, 300).await;
    mark("together");
    let mut flushing = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        flushing.spawn(async move { store.flush().await });
    }
    while let Some(done) = flushing.join_next().await {
        done.unwrap().unwrap();
    }
    mark("together end");
    put(&store, ROUNDS + 1, 300).await;
    mark("close");
    store.close().await.unwrap();
    mark("close end");
}

async fn put(store: &Redb, number: usize, bytes: usize) {
    let mut batch = WriteBatch::new();
    batch.put(SPACE, number.to_be_bytes().to_vec(), vec![1; bytes]);
    store.commit(batch).await.unwrap();
}

/// Copies of the file, taken while it is written, are what a kill leaves. Each opens by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_taken_between_commits_holds_what_was_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("store.redb"), directory.path().join("copy.redb"));
    let store = Redb::builder(&path).page_cache(256 << 10).open().await.unwrap();
    let mut flushed = 0;
    for number in 1..=150 {
        put(&store, number, number * 997 % 20_000).await;
        if number % 7 == 0 {
            store.flush().await.unwrap();
            flushed = number;
        }
        if number % 10 == 0 {
            std::fs::copy(&path, &copy).unwrap();
            let killed = Redb::open(&copy).await.unwrap();
            let scan = Scan::new(SPACE).rows(usize::MAX).bytes(usize::MAX);
            let rows = killed.snapshot().await.unwrap().scan(scan).await.unwrap().rows;
            let found: Vec<usize> =
                rows.iter().map(|(key, _)| usize::from_be_bytes(key[..].try_into().unwrap())).collect();
            assert_eq!(found, (1..=found.len()).collect::<Vec<_>>(), "a prefix");
            assert!((flushed..=number).contains(&found.len()), "{} of {number}, {flushed} flushed", found.len());
            killed.close().await.unwrap();
        }
    }
    store.close().await.unwrap();
}
