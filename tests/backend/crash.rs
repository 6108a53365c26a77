//! What is found after a crash: a prefix of the commits, whatever part of the log has reached the disk.

use std::path::Path;

use eidetica_backend_sqlite::Sqlite;
use eidetica_contract::{Backend, Keyspace, Maintenance, Scan, WriteBatch};

const ROWS: Keyspace = Keyspace::new(1);
const COUNT: Keyspace = Keyspace::new(2);
const COMMITS: u64 = 120;

#[tokio::test]
async fn a_torn_log_is_a_prefix_of_the_commits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let log = directory.path().join("store.db-wal");
    let store = Sqlite::open(&path).await.unwrap();
    // Where the log ended after each commit.
    let mut ends = vec![std::fs::metadata(&log).unwrap().len()];
    for number in 1..=COMMITS {
        commit(&store, number).await;
        ends.push(std::fs::metadata(&log).unwrap().len());
    }
    let (file, log) = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());
    drop(store);

    let mut cuts: Vec<usize> = ends.iter().map(|end| *end as usize).collect();
    cuts.extend(ends.iter().skip(1).map(|end| *end as usize - 1));
    // And anywhere: the multiples of a large prime hit headers, frames and their middles.
    cuts.extend((1..60).map(|index: usize| index * 15_485_863 % log.len()));
    for cut in cuts.into_iter().step_by(7) {
        // The rest is missing, or is what the disk held before, or is what it likes.
        for rest in [Vec::new(), vec![0; log.len() - cut], vec![0x5a; log.len() - cut]] {
            let torn = [&log[..cut], &rest[..]].concat();
            let same = log.iter().zip(&torn).take_while(|(one, other)| one == other).count();
            let whole = ends.iter().rposition(|end| *end as usize <= same).unwrap_or(0) as u64;
            let crashed = tempfile::tempdir().unwrap();
            std::fs::write(crashed.path().join("store.db"), &file).unwrap();
            std::fs::write(crashed.path().join("store.db-wal"), torn).unwrap();
            check_prefix(crashed.path(), whole).await;
        }
    }
}

/// The store holds exactly the first commits, and can be used on.
async fn check_prefix(directory: &Path, commits: u64) {
    let store = Sqlite::open(directory.join("store.db")).await.unwrap();
    let view = store.snapshot().await.unwrap();
    let page = view.scan(Scan::new(ROWS).bytes(usize::MAX).rows(usize::MAX)).await.unwrap();
    let found: Vec<u64> = page.rows.iter().map(|(key, _)| u64::from_be_bytes(key[..].try_into().unwrap())).collect();
    assert_eq!(found, (1..=commits).collect::<Vec<_>>());
    for ((_, value), number) in page.rows.iter().zip(1..) {
        assert_eq!(*value, value_of(number), "the value of commit {number}");
    }
    let count = view.get(COUNT, b"count").await.unwrap();
    assert_eq!(count.as_deref(), (commits > 0).then(|| commits.to_be_bytes()).as_ref().map(|count| &count[..]));
    drop(view);
    store.maintain(Maintenance::Check).await.unwrap();
    commit(&store, commits + 1).await;
    store.close().await.unwrap();
}

async fn commit(store: &Sqlite, number: u64) {
    let mut batch = WriteBatch::new();
    batch.put(ROWS, number.to_be_bytes().to_vec(), value_of(number));
    batch.put(COUNT, "count", number.to_be_bytes().to_vec());
    store.commit(batch).await.unwrap();
}

/// Now and then one that takes many pages.
fn value_of(number: u64) -> Vec<u8> {
    vec![number as u8; if number.is_multiple_of(10) { 20_000 } else { 300 }]
}
