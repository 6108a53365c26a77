//! Several processes on one SQLite file: no update is lost, and each is noticed.

use std::path::Path;

use bytes::Bytes;
use eidetica_backend_sqlite::Sqlite;
use eidetica_contract::{Backend, ErrorKind, Keyspace, WriteBatch};

use super::children;

const COUNTERS: Keyspace = Keyspace::new(4);
const PROCESSES: u64 = 3;
const ROUNDS: u64 = 150;

#[tokio::test]
async fn processes_lose_no_update() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.db");
    // The file does not exist yet: they also race to create it.
    let start = |_| children::command("backend::two_processes::child_counts", &path).spawn().unwrap();
    let running: Vec<_> = (0..PROCESSES).map(start).collect();
    for child in running {
        children::finish(child);
    }
    let store = Sqlite::open(&path).await.unwrap();
    assert_eq!(read(&store, b"shared").await, PROCESSES * ROUNDS);
}

/// Increments a counter that all children share; whoever comes second is told, and tries again.
#[tokio::test]
#[ignore = "is started by processes_lose_no_update"]
async fn child_counts() {
    let Some(path) = children::store() else { return };
    let store = Sqlite::open(path).await.unwrap();
    let mut done = 0;
    while done < ROUNDS {
        match increment(&store).await {
            Ok(()) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn commits_of_others_are_noticed_and_own_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.db");
    let store = Sqlite::open(&path).await.unwrap();
    assert!(store.info().capabilities.shared);
    let before = store.changed().await.unwrap();
    increment(&store).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.changed().await.unwrap(), before, "an own commit counts as one of somebody else");

    let held = store.snapshot().await.unwrap();
    children::check(&children::command("backend::two_processes::child_counts", &path).output().unwrap());
    let after = store.changed().await.unwrap();
    assert_ne!(after, before, "the commits of the other process were not noticed");
    assert_eq!(store.changed().await.unwrap(), after);
    assert_eq!(number(held.get(COUNTERS, b"shared").await.unwrap()), 1, "the snapshot has moved");
    assert_eq!(read(&store, b"shared").await, ROUNDS + 1);
}

/// Two values of one process behave like two processes.
#[tokio::test]
async fn handles_of_one_process_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.db");
    let stores = open_at_once(&path).await;
    for store in &stores {
        increment(store).await.unwrap();
    }
    for (index, store) in stores.iter().enumerate() {
        assert_eq!(read(store, b"shared").await, 6);
        // Closing one must not disturb the others, nor take away what they have locked.
        store.close().await.unwrap();
        if let Some(next) = stores.get(index + 1) {
            next.flush().await.unwrap();
        }
    }
    assert!(beside(&path).is_empty(), "the last one to close leaves one file: {:?}", beside(&path));
}

/// Whoever opens a store while another is making it finds nothing or all of it.
#[tokio::test]
async fn a_store_that_is_just_being_made_is_nobody_elses() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..60 {
        for store in open_at_once(&directory.path().join(format!("{round}.db"))).await {
            store.close().await.unwrap();
        }
    }
}

async fn open_at_once(path: &Path) -> Vec<Sqlite> {
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let path = path.to_owned();
        opening.spawn(async move { Sqlite::open(path).await });
    }
    opening.join_all().await.into_iter().collect::<Result<_, _>>().unwrap()
}

/// Adds one, provided that nobody does so in between.
async fn increment(store: &Sqlite) -> eidetica_contract::Result<()> {
    let present = store.snapshot().await?.get(COUNTERS, b"shared").await?;
    let mut batch = WriteBatch::new();
    match present.clone() {
        Some(value) => batch.expect_value(COUNTERS, "shared", value),
        None => batch.expect_absent(COUNTERS, "shared"),
    }
    batch.put(COUNTERS, "shared", (number(present) + 1).to_be_bytes().to_vec());
    store.commit(batch).await
}

async fn read(store: &Sqlite, key: &[u8]) -> u64 {
    number(store.snapshot().await.unwrap().get(COUNTERS, key).await.unwrap())
}

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

/// The names of what lies beside a file.
pub fn beside(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| path.file_name().unwrap() != name.as_str()).collect()
}
