//! Databases on disks that tear, fill up, and are watched from outside.

use std::path::Path;

use eidetica::backend::database::Sqlite;
use eidetica::crdt::Value;
use eidetica::store::DocStore;
use eidetica::{Cursor, Database, Durability, ErrorKind, Id, Instance, Outcome, Parked};

use super::kit::{Forge, check, hand_in, seed, splitmix};
use crate::backend::durability::{between, mark, syncs, trace};
use crate::backend::sqlite_errors::Disk;

const COMMITS: usize = 60;

async fn open(path: &Path) -> Instance {
    Instance::open(Box::new(Sqlite::open(path).await.unwrap())).await.unwrap()
}

async fn count(database: &Database, number: usize, durability: Durability) -> eidetica::Result<Id> {
    let transaction = database.new_transaction().await?;
    let notes = transaction.get_store::<DocStore>("notes").await?;
    notes.set("count", number as i64).await?;
    // Now and then one that takes many pages.
    notes.set(&format!("key {number}"), "x".repeat(if number.is_multiple_of(10) { 20_000 } else { 100 })).await?;
    Ok(transaction.commit_with(durability).await?.id)
}

/// The log is cut off or damaged at any byte: what is found is exactly the commits before, it verifies, it can be used on,
/// and whoever had seen more is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_is_a_prefix_of_the_history() {
    let forge = Forge::new(1);
    let directory = tempfile::tempdir().unwrap();
    let (path, log) = (directory.path().join("store.db"), directory.path().join("store.db-wal"));
    let instance = open(&path).await;
    let database = forge.adopt(&instance).await;
    let length = || std::fs::metadata(&log).unwrap().len();
    // Where the log ended after each entry, and the cursor behind it.
    let (mut ids, mut ends, mut cursors) =
        (vec![forge.root.id()], vec![length()], vec![database.cursor().await.unwrap()]);
    for number in 1..=COMMITS {
        let durability = if number % 7 == 0 { Durability::Flushed } else { Durability::Buffered };
        ids.push(count(&database, number, durability).await.unwrap());
        ends.push(length());
        cursors.push(database.cursor().await.unwrap());
    }
    let (file, log) = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());
    drop((database, instance));

    let mut random = seed();
    let mut cuts: Vec<usize> = (0..40).map(|_| splitmix(&mut random) as usize % log.len()).collect();
    cuts.extend([ends[5], ends[5] - 1, ends[5] + 1, ends[0], ends[COMMITS]].map(|end| end as usize));
    for cut in cuts {
        let rest = match splitmix(&mut random) % 3 {
            0 => Vec::new(),
            1 => vec![0; log.len() - cut],
            _ => (cut..log.len()).map(|_| splitmix(&mut random) as u8).collect(),
        };
        let torn = [&log[..cut], &rest].concat();
        let same = log.iter().zip(&torn).take_while(|(one, other)| one == other).count();
        let crashed = tempfile::tempdir().unwrap();
        std::fs::write(crashed.path().join("store.db"), &file).unwrap();
        std::fs::write(crashed.path().join("store.db-wal"), torn).unwrap();
        let instance = open(&crashed.path().join("store.db")).await;
        let Some(last) = ends.iter().rposition(|end| *end as usize <= same) else {
            assert!(instance.databases().await.unwrap().is_empty(), "a cut at {cut} leaves something");
            continue;
        };
        let database = instance.open_database_with_key(&ids[0], Some(forge.key.clone())).await.unwrap();
        found(&database, &ids[..=last]).await;
        followers(&database, &cursors, &ids[..=last]).await;
        instance.close().await.unwrap();
    }
}

/// The database holds exactly these entries.
async fn found(database: &Database, ids: &[Id]) {
    let log: Vec<Id> = database.log(None, usize::MAX).await.unwrap().iter().rev().map(|entry| entry.id).collect();
    assert_eq!(log, ids);
    assert_eq!(check(database).await.entries, ids.len() as u64);
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    match ids.len() - 1 {
        0 => assert!(notes.get_all().await.unwrap().is_empty()),
        last => assert_eq!(notes.get("count").await.unwrap(), Value::Int(last as i64)),
    }
}

/// Those who had seen no more than what is there go on; the others are told, also when their numbers are used anew.
async fn followers(database: &Database, cursors: &[Cursor], ids: &[Id]) {
    let last = ids.len() - 1;
    let new = [
        count(database, 1000, Durability::Buffered).await.unwrap(),
        count(database, 1001, Durability::Flushed).await.unwrap(),
    ];
    for (seen, cursor) in cursors.iter().enumerate() {
        let answer = all_since(database, *cursor).await;
        if seen <= last {
            assert!(answer.unwrap() == [&ids[seen + 1..], &new].concat(), "behind {cursor}");
            continue;
        }
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CursorLost, "{cursor}: {error:?}");
        let resume: Cursor = error.context("resume").unwrap().parse().unwrap();
        assert_eq!(resume.next_number() as usize, ids.len(), "what both share ends where the loss begins");
        assert_eq!(all_since(database, resume).await.unwrap(), new);
        let error = database.watch_from(*cursor).next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CursorLost);
    }
    check(database).await;
}

/// Everything behind a cursor, page by page.
async fn all_since(database: &Database, mut cursor: Cursor) -> eidetica::Result<Vec<Id>> {
    let mut ids = Vec::new();
    loop {
        let (changes, after) = database.changes_since(cursor, 1000).await?;
        if changes.is_empty() {
            return Ok(ids);
        }
        ids.extend(changes.iter().map(|change| change.log.id));
        cursor = after;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_of_a_database() {
    let Some(disk) = Disk::new(4) else { return };
    let forge = Forge::new(1);
    let path = disk.path().join("store.db");
    let instance = open(&path).await;
    let database = forge.adopt(&instance).await;
    let chain = forge.chain(&forge.root, 3, |n| format!("foreign {n}"));
    assert_eq!(hand_in(&database, chain[0].to_raw()).await, Outcome::Accepted);
    // It waits for its parent, which will come while the disk is full.
    assert_eq!(hand_in(&database, chain[2].to_raw()).await, Outcome::Parked(Parked::Parents(vec![chain[1].id()])));
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 1 << 20]).unwrap();
    let mut committed = 0;
    let error = loop {
        let durability = if committed % 2 == 0 { Durability::Flushed } else { Durability::Buffered };
        match count(&database, committed, durability).await {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
        assert!(committed < 5000, "the disk never becomes full");
    };
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Full, true), "{error:?}");
    // One that takes many pages is refused for certain.
    let error = count(&database, 0, Durability::Buffered).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    let error = database
        .ingest(vec![forge.entry(&[&chain[1]], "big", "x".repeat(100_000)).to_raw(), chain[1].to_raw()], "peer")
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Full);
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(notes.get("count").await.unwrap(), Value::Int(committed as i64 - 1), "reading goes on");
    let entries = committed as u64 + 2;
    assert_eq!(check(&database).await.entries, entries);

    std::fs::remove_file(filler).unwrap();
    count(&database, committed, Durability::Flushed).await.expect("after making room it works on");
    assert_eq!(hand_in(&database, chain[1].to_raw()).await, Outcome::Accepted);
    assert_eq!(check(&database).await.entries, entries + 3, "what waited for a parent must not be lost");
    drop((notes, database, instance));
    let instance = open(&path).await;
    let database = instance.open_database_with_key(&forge.root.id(), None).await.unwrap();
    assert_eq!(check(&database).await.entries, entries + 3);
    instance.close().await.unwrap();
}

/// Seen from outside: a commit that is reported as flushed has waited for the disk.
#[test]
fn a_flushed_commit_reaches_the_disk_before_it_returns() {
    let directory = tempfile::tempdir().unwrap();
    let Some(trace) = trace("local::disk::child_commits", directory.path()) else { return };
    let of_the_log = |line: &&String| line.contains("store.db-wal>") && syncs(std::slice::from_ref(*line)) == 1;
    for round in 0..5 {
        let flushed = between(&trace, &format!("flushed {round}"), &format!("flushed end {round}"));
        assert!(flushed.iter().filter(of_the_log).count() >= 1, "round {round}: {flushed:#?}");
    }
    let together = between(&trace, "together", "together end");
    let shared = together.iter().filter(of_the_log).count();
    assert!((1..=8).contains(&shared), "64 commits at once share flushes: {shared}");
    let closing = between(&trace, "closing", "closing end");
    assert!(syncs(closing) >= 1, "closing makes durable what was buffered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by a_flushed_commit_reaches_the_disk_before_it_returns"]
async fn child_commits() {
    let Some(path) = crate::backend::children::store() else { return };
    let instance = open(&path).await;
    let database = Forge::new(1).adopt(&instance).await;
    for round in 0..5 {
        count(&database, round, Durability::Buffered).await.unwrap();
        mark(&format!("flushed {round}"));
        count(&database, 100 + round, Durability::Flushed).await.unwrap();
        mark(&format!("flushed end {round}"));
    }
    mark("together");
    let mut commits = tokio::task::JoinSet::new();
    for number in 0..64 {
        let database = database.clone();
        commits.spawn(async move { count(&database, 200 + number, Durability::Flushed).await.unwrap() });
    }
    commits.join_all().await;
    mark("together end");
    count(&database, 300, Durability::Buffered).await.unwrap();
    mark("closing");
    instance.close().await.unwrap();
    mark("closing end");
}
