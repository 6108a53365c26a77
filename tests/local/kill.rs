//! A writer is killed again and again, at any moment. What it has reported stays, and nothing else appears.
//!
//! `EIDETICA_CRASHES=1000 cargo test -p eidetica --test main local::kill` by hand; a failure prints its seed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::sync::mpsc;
use std::time::Duration;

use eidetica::backend::Backend;
use eidetica::backend::database::Sqlite;
use eidetica::entry::VerifiedEntry;
use eidetica::store::{DocStore, Table};
use eidetica::{Cursor, Database, Durability, Id, Instance, Outcome};
use eidetica_backend_redb::Redb;

use super::kit::{Forge, check, raw, seed, splitmix};
use crate::backend::children;

const CHILD: &str = "local::kill::child_writes";
/// So often without being asked for more.
const CRASHES: usize = 100;

#[derive(serde::Serialize, serde::Deserialize)]
struct Row {
    writer: u64,
    round: u64,
}

/// What somebody who follows the database has written down.
struct Follower {
    cursor: Cursor,
    ids: Vec<Id>,
}

impl Follower {
    /// Takes up what is new. The numbers go on without a gap.
    async fn catch_up(&mut self, database: &Database) {
        // It is kept as text.
        self.cursor = self.cursor.to_string().parse().unwrap();
        loop {
            let (changes, cursor) = database.changes_since(self.cursor, 100).await.unwrap();
            if changes.is_empty() {
                return;
            }
            for change in changes {
                assert_eq!(change.log.number, self.ids.len() as u64, "a gap, or a number that was used before");
                self.ids.push(change.log.id);
            }
            self.cursor = cursor;
        }
    }
}

/// The store in a file, whose name says which backend it is of.
async fn store(path: &Path) -> Instance {
    let backend: Box<dyn Backend> = match is_redb(path) {
        true => Box::new(Redb::open(path).await.unwrap()),
        false => Box::new(Sqlite::open(path).await.unwrap()),
    };
    Instance::open(backend).await.unwrap()
}

fn is_redb(path: &Path) -> bool {
    path.extension().unwrap() == "redb"
}

async fn open(path: &Path) -> (Instance, Database) {
    let instance = store(path).await;
    let forge = Forge::new(1);
    let database = instance.open_database_with_key(&forge.root.id(), Some(forge.key)).await.unwrap();
    (instance, database)
}

/// What the children have reported.
#[derive(Default)]
struct Reported {
    flushed: usize,
    buffered: usize,
    ingested: usize,
    /// How many died before they said anything.
    early: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reported_survives_every_kill() {
    kill_writers("store.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reported_survives_every_kill_over_redb() {
    kill_writers("store.redb").await;
}

async fn kill_writers(name: &str) {
    let crashes = std::env::var("EIDETICA_CRASHES").map_or(CRASHES, |count| count.parse().unwrap());
    let mut random = seed();
    let mut reported = Reported::default();
    // Each kill is followed by a whole `verify`, so a store takes no more kills than leave that affordable.
    for first in (0..crashes).step_by(CRASHES) {
        kill_writers_of_one_store(name, CRASHES.min(crashes - first), &mut random, &mut reported).await;
    }
    let Reported { flushed, buffered, ingested, early } = reported;
    println!("{crashes} crashes ({early} early): {flushed} flushed, {buffered} buffered, {ingested} ingested");
    assert!(flushed > crashes && buffered > crashes && ingested > crashes, "the child hardly does anything");
    assert!(early < crashes * 3 / 4);
}

async fn kill_writers_of_one_store(name: &str, crashes: usize, random: &mut u64, reported: &mut Reported) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let instance = store(&path).await;
    Forge::new(1).adopt(&instance).await;
    instance.close().await.unwrap();
    let mut follower = Follower { cursor: Cursor::START, ids: Vec::new() };
    for crash in 0..crashes {
        let lines = killed(&path, random);
        let (instance, database) = open(&path).await;
        follower.catch_up(&database).await;
        assert_eq!(database.entry_count().await.unwrap(), follower.ids.len() as u64);
        reported.early += usize::from(lines.is_empty());
        for line in lines {
            let parts: Vec<&str> = line.split(' ').collect();
            let id: Id = parts[parts.len() - 1].parse().unwrap();
            // What SQLite has committed has reached the system, and is not lost when a process dies. So even what was only
            // visible is there. What redb has committed may be in the memory of the process until it is flushed.
            let may_be_lost = is_redb(&path) && parts[0] != "flushed";
            match parts[0] {
                "flushed" => reported.flushed += 1,
                "buffered" => reported.buffered += 1,
                "ingested" => reported.ingested += 1,
                "seen" => {
                    let number: usize = parts[1].parse().unwrap();
                    let found = follower.ids.get(number);
                    let is_lost = may_be_lost && found.is_none();
                    assert!(is_lost || found == Some(&id), "the child saw another entry as number {number}");
                    continue;
                }
                other => panic!("the child says {other}"),
            }
            assert!(may_be_lost || database.get_entry(&id).await.is_ok(), "after crash {crash}: {line} is lost");
        }
        assert_eq!(check(&database).await.entries, follower.ids.len() as u64, "after crash {crash}");
        // A store that is closed has an empty log; one that is dropped is found as after a crash. A file of redb is locked
        // until it is closed.
        if splitmix(random).is_multiple_of(2) || is_redb(&path) {
            instance.close().await.unwrap();
        }
    }
    // From the start the numbers are the same as those that were followed step by step.
    let (instance, database) = open(&path).await;
    let mut afresh = Follower { cursor: Cursor::START, ids: Vec::new() };
    afresh.catch_up(&database).await;
    assert!(afresh.ids == follower.ids);
    instance.close().await.unwrap();
}

/// Starts a child and kills it; returns what it has said.
fn killed(path: &Path, random: &mut u64) -> Vec<String> {
    let mut command = children::command(CHILD, path);
    command.env("EIDETICA_SEED", splitmix(random).to_string());
    let mut child: Child = command.spawn().unwrap();
    let (lines, said) = mpsc::channel();
    let out: ChildStdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        // The last line may be cut off.
        let whole = BufReader::new(out).split(b'\n').map_while(Result::ok);
        for line in whole.filter_map(|line| String::from_utf8(line).ok()) {
            let _ = lines.send(line);
        }
    });
    let mut all = Vec::new();
    // Every fourth dies while it starts or opens the store; the others while they write.
    let pause = if splitmix(random).is_multiple_of(4) {
        Duration::from_micros(splitmix(random) % 60_000)
    } else {
        loop {
            match said.recv_timeout(super::kit::PATIENCE) {
                Ok(line) if line == "ready" => break,
                Ok(line) => all.push(line),
                Err(error) => panic!("the child does not get ready: {error}, {all:?}"),
            }
        }
        Duration::from_micros(splitmix(random) % 100_000)
    };
    std::thread::sleep(pause);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        None,
        "the child has ended by itself: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    reader.join().unwrap();
    all.extend(said.try_iter());
    all.retain(|line| ["flushed ", "buffered ", "ingested ", "seen "].iter().any(|word| line.starts_with(word)));
    // A line whose end is missing says nothing.
    all.retain(|line| line.rsplit(' ').next().is_some_and(|id| id.parse::<Id>().is_ok()));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started and killed by what_was_reported_survives_every_kill"]
async fn child_writes() {
    let Some(path) = children::store() else { return };
    let mut random = seed();
    let (_instance, database) = open(&path).await;
    let mut watch = database.watch().await.unwrap();
    println!("ready");
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..3 {
        tasks.spawn(write(database.clone(), writer, splitmix(&mut random)));
    }
    tasks.spawn(ingest(database.clone(), splitmix(&mut random)));
    tasks.spawn(async move {
        loop {
            let change = watch.next().await.unwrap();
            println!("seen {} {}", change.log.number, change.log.id);
        }
    });
    // Nobody waits for a child that is not killed.
    let ended = tokio::time::timeout(super::kit::PATIENCE, tasks.join_next()).await;
    panic!("nobody has killed this child, or a task of it has ended: {ended:?}");
}

/// Commits to several stores, mostly without waiting for the disk.
async fn write(database: Database, writer: u64, mut random: u64) {
    for round in 0.. {
        let transaction = database.new_transaction().await.unwrap();
        let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
        notes.set(&format!("key {}", splitmix(&mut random) % 50), round as i64).await.unwrap();
        if round % 3 == 0 {
            let rows = transaction.get_store::<Table<Row>>("rows").await.unwrap();
            rows.set(&format!("row {}", splitmix(&mut random) % 50), &Row { writer, round }).await.unwrap();
        }
        if round % 7 == 0 {
            transaction.get_store::<DocStore>("count").await.unwrap().increment("all", 1).await.unwrap();
        }
        let durability =
            if splitmix(&mut random).is_multiple_of(3) { Durability::Flushed } else { Durability::Buffered };
        let committed = transaction.commit_with(durability).await.unwrap();
        let word = if durability == Durability::Flushed { "flushed" } else { "buffered" };
        println!("{word} {}", committed.id);
    }
}

/// Hands in short pages of entries of somebody else, beside and above what is here.
async fn ingest(database: Database, mut random: u64) {
    let forge = Forge::new(1);
    loop {
        let tips = database.get_tips().await.unwrap();
        let below = database.get_entry(&tips[splitmix(&mut random) as usize % tips.len()]).await.unwrap();
        let length = 1 + splitmix(&mut random) as usize % 8;
        let page: Vec<VerifiedEntry> = forge.chain(&below, length, |n| format!("foreign {n}"));
        let outcomes = database.ingest(raw(&page), "peer").await.unwrap();
        for (entry, outcome) in page.iter().zip(outcomes) {
            assert_eq!(outcome, Outcome::Accepted);
            println!("ingested {}", entry.id());
        }
        tokio::time::sleep(Duration::from_millis(splitmix(&mut random) % 5)).await;
    }
}
