//! A database over redb on a disk that fills up, and moving to redb and back.

use eidetica::backend::database::{Memory, Sqlite};
use eidetica::crdt::Value;
use eidetica::store::DocStore;
use eidetica::{Database, Durability, ErrorKind, Instance, Outcome, Parked};
use eidetica_backend_redb::Redb;

use super::kit::{Forge, check, hand_in};
use crate::backend::sqlite_errors::Disk;

async fn count(database: &Database, number: usize, durability: Durability) -> eidetica::Result<()> {
    let transaction = database.new_transaction().await?;
    let notes = transaction.get_store::<DocStore>("notes").await?;
    notes.set("count", number as i64).await?;
    notes.set(&format!("key {number}"), "x".repeat(if number.is_multiple_of(10) { 20_000 } else { 100 })).await?;
    transaction.commit_with(durability).await.map(drop)
}

/// redb finds out at the flush that there is no room. So a commit that waits for it may fail and be there all the same; but
/// what is refused before is not, and nothing that was seen goes away.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_of_a_database() {
    let Some(disk) = Disk::new(16) else { return };
    let forge = Forge::new(1);
    let path = disk.path().join("store.redb");
    let instance = Instance::open(Box::new(Redb::open(&path).await.unwrap())).await.unwrap();
    let database = forge.adopt(&instance).await;
    let chain = forge.chain(&forge.root, 3, |n| format!("foreign {n}"));
    assert_eq!(hand_in(&database, chain[0].to_raw()).await, Outcome::Accepted);
    assert_eq!(hand_in(&database, chain[2].to_raw()).await, Outcome::Parked(Parked::Parents(vec![chain[1].id()])));
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 12 << 20]).unwrap();
    let mut committed = 0;
    let error = loop {
        match count(&database, committed, Durability::Flushed).await {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
        assert!(committed < 5000, "the disk never becomes full");
    };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Full, true), "{error:?}");
    let entries = database.entry_count().await.unwrap();
    assert!(
        (committed as u64 + 2..=committed as u64 + 3).contains(&entries),
        "{entries} entries, {committed} committed"
    );
    let error = count(&database, 0, Durability::Buffered).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    let error = database.ingest(vec![chain[1].to_raw()], "peer").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    let Value::Int(last) = notes.get("count").await.unwrap() else { panic!("no number") };
    assert!((committed as i64 - 1..=committed as i64).contains(&last), "reading goes on");
    assert_eq!(check(&database).await.entries, entries);

    std::fs::remove_file(filler).unwrap();
    count(&database, 5000, Durability::Flushed).await.expect("after making room it works on");
    assert_eq!(hand_in(&database, chain[1].to_raw()).await, Outcome::Accepted);
    assert_eq!(check(&database).await.entries, entries + 3, "what waited for a parent must not be lost");
    instance.close().await.unwrap();
    let instance = Instance::open(Box::new(Redb::open(&path).await.unwrap())).await.unwrap();
    let database = instance.open_database_with_key(&forge.root.id(), None).await.unwrap();
    assert_eq!(check(&database).await.entries, entries + 3);
    instance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_from_one_backend_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("a.db"), directory.path().join("b.redb"));
    let instance = Instance::open(Box::new(Memory::new())).await.unwrap();
    instance.create_user("alice", Some("secret")).await.unwrap();
    let mut user = instance.login_user("alice", Some("secret")).await.unwrap();
    let key = user.get_default_key().unwrap();
    let database = user.create_database([("name", "notes")].into_iter().collect(), &key).await.unwrap();
    for number in 0..50 {
        count(&database, number, Durability::Buffered).await.unwrap();
    }
    let (id, tips) = (*database.root_id(), database.get_tips().await.unwrap());
    let rows = instance.backup(Box::new(Sqlite::open(&first).await.unwrap())).await.unwrap();
    let sqlite = Instance::open(Box::new(Sqlite::open(&first).await.unwrap())).await.unwrap();
    let moved = sqlite.backup(Box::new(Redb::open(&second).await.unwrap())).await.unwrap();
    assert!(moved >= rows);
    let error = sqlite.backup(Box::new(Redb::open(&second).await.unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    let redb = Instance::open(Box::new(Redb::open(&second).await.unwrap())).await.unwrap();
    assert_eq!(redb.device_id(), instance.device_id());
    let user = redb.login_user("alice", Some("secret")).await.unwrap();
    let copy = user.open_database(&id).await.unwrap();
    assert_eq!(copy.get_tips().await.unwrap(), tips);
    count(&copy, 51, Durability::Flushed).await.unwrap();
    check(&copy).await;
    redb.close().await.unwrap();
}
