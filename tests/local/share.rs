//! Several instances on one store at the same time: as processes, and as what processes are to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::backend::{Backend, BackendInfo, Snapshot, WriteBatch};
use eidetica::crdt::Value;
use eidetica::store::DocStore;
use eidetica::{Cursor, Database, Durability, Instance, Result};
use tokio::sync::Notify;

use super::counting::Shared;
use super::kit::{Forge, PATIENCE, check, hand_in_all, until};
use crate::backend::children;

const PROCESSES: usize = 2;
const EACH: usize = 60;
/// How long a history is rebuilt, and how often by each process.
const LONG: usize = 1500;
const REBUILDS: usize = 3;

async fn open(backend: impl Backend, forge: &Forge) -> (Instance, Database) {
    let instance = Instance::open(Box::new(backend)).await.unwrap();
    let key = Some(forge.key.clone());
    let database = instance.open_database_with_key(&forge.root.id(), key).await.unwrap();
    (instance, database)
}

async fn count(database: &Database) {
    for round in 0..EACH {
        let transaction = database.new_transaction().await.unwrap();
        transaction.get_store::<DocStore>("count").await.unwrap().increment("all", 1).await.unwrap();
        let durability = if round % 4 == 0 { Durability::Flushed } else { Durability::Buffered };
        transaction.commit_with(durability).await.unwrap();
    }
}

async fn counted(database: &Database) -> Option<i64> {
    database.get_store_viewer::<DocStore>("count").await.unwrap().get("all").await.ok()?.as_int()
}

/// All commit at once; none loses anything, each sees what the others do, and who follows misses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let forge = Forge::new(1);
    let instance = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    let database = forge.adopt(&instance).await;
    let mut watch = database.watch_from(Cursor::START);
    let start = |_| children::command("local::share::child_counts", &path).spawn().unwrap();
    let running: Vec<_> = (0..PROCESSES).map(start).collect();
    count(&database).await;
    for child in running {
        tokio::task::spawn_blocking(|| children::finish(child)).await.unwrap();
    }
    let all = (PROCESSES + 1) * EACH;
    assert_eq!(counted(&database).await, Some(all as i64));
    for number in 0..=all as u64 {
        let change = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
        assert_eq!(change.log.number, number);
    }
    assert_eq!(check(&database).await.entries, all as u64 + 1);
    instance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by processes_share_a_database"]
async fn child_counts() {
    let Some(path) = children::store() else { return };
    let (instance, database) = open(Sqlite::open(path).await.unwrap(), &Forge::new(1)).await;
    count(&database).await;
    assert!(counted(&database).await >= Some(EACH as i64));
    instance.close().await.unwrap();
}

/// Processes that rebuild, open and read all at once: one rebuilds, the others are told so.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_processes_one_rebuilds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let forge = Forge::new(1);
    let instance = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    let database = forge.adopt(&instance).await;
    hand_in_all(&database, &forge.chain(&forge.root, LONG, |n| format!("key {}", n % 50))).await;
    instance.close().await.unwrap();
    let start = |_| children::command("local::share::child_rebuilds", &path).spawn().unwrap();
    let running: Vec<_> = (0..PROCESSES).map(start).collect();
    rebuild_again_and_again(&path).await;
    for child in running {
        tokio::task::spawn_blocking(|| children::finish(child)).await.unwrap();
    }
    let (instance, database) = open(Sqlite::open(&path).await.unwrap(), &forge).await;
    assert_eq!(check(&database).await.entries, LONG as u64 + 1);
    instance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by of_several_processes_one_rebuilds"]
async fn child_rebuilds() {
    let Some(path) = children::store() else { return };
    rebuild_again_and_again(&path).await;
}

async fn rebuild_again_and_again(path: &std::path::Path) {
    let forge = Forge::new(1);
    let (mut rebuilt, mut locked) = (0, 0);
    while rebuilt < REBUILDS {
        let instance = Instance::open(Box::new(Sqlite::open(path).await.unwrap())).await.unwrap();
        let done = async {
            let database = instance.open_database_with_key(&forge.root.id(), None).await?;
            database.get_store_viewer::<DocStore>("notes").await?.get("key 7").await?;
            database.reindex().await
        };
        match done.await {
            Ok(()) => rebuilt += 1,
            Err(error) if error.kind() == eidetica::ErrorKind::Locked => locked += 1,
            Err(error) => panic!("after {rebuilt} rebuilds: {error:?}"),
        }
        instance.close().await.unwrap();
    }
    println!("{rebuilt} times rebuilt, {locked} times told that another process does");
}

/// What one instance has in memory follows what the other commits: stores, rights, heads, streams.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_follows_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let forge = Forge::new(1);
    let creator = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    let one = forge.adopt(&creator).await;
    let (other_instance, other) = open(Sqlite::open(&path).await.unwrap(), &forge).await;
    let friend = super::kit::key(7);
    let mut watch = one.watch().await.unwrap();

    let transaction = other.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("new").await.unwrap().set("key", "value").await.unwrap();
    let settings = transaction.get_store::<eidetica::store::SettingsStore>("_settings").await.unwrap();
    settings.set_auth_key(&friend.public(), eidetica::auth::Permission::Write, 0).await.unwrap();
    let id = transaction.commit().await.unwrap();

    assert_eq!(one.get_tips().await.unwrap(), [id]);
    let new = one.get_store_viewer::<DocStore>("new").await.unwrap();
    assert_eq!(new.get_string("key").await.unwrap(), "value");
    let seen = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    assert_eq!(seen.log.id, id);

    // The friend was let in through one and writes through the other; then is put out the other way.
    let by_friend = one.with_key(Some(friend.clone()));
    let transaction = by_friend.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("new").await.unwrap().set("key", "by a friend").await.unwrap();
    transaction.commit().await.unwrap();
    let transaction = one.new_transaction().await.unwrap();
    let settings = transaction.get_store::<eidetica::store::SettingsStore>("_settings").await.unwrap();
    settings.revoke_auth_key(&friend.public()).await.unwrap();
    transaction.commit().await.unwrap();
    let transaction = other.with_key(Some(friend)).new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("new").await.unwrap().set("key", "too late").await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.kind(), eidetica::ErrorKind::PermissionDenied, "{error:?}");
    for database in [&one, &other] {
        let new = database.get_store_viewer::<DocStore>("new").await.unwrap();
        assert_eq!(new.get("key").await.unwrap(), Value::from("by a friend"));
        check(database).await;
    }
    other_instance.close().await.unwrap();
    creator.close().await.unwrap();
}

/// Holds back one commit, or the word that it has happened.
struct Gate {
    inner: Shared,
    /// True: it has happened, and its caller does not know yet.
    after: bool,
    armed: Arc<AtomicBool>,
    reached: Arc<AtomicBool>,
    open: Arc<Notify>,
}

#[async_trait]
impl Backend for Gate {
    fn info(&self) -> BackendInfo {
        self.inner.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        let held = self.armed.swap(false, Ordering::SeqCst);
        let hold = async || {
            self.reached.store(true, Ordering::SeqCst);
            self.open.notified().await;
        };
        if held && !self.after {
            hold().await;
        }
        let done = self.inner.commit(batch).await;
        if held && self.after {
            hold().await;
        }
        done
    }

    async fn changed(&self) -> Result<u64> {
        self.inner.changed().await
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A commit that another process overtakes has given its entry a number in vain. A reader who asks about that number at
/// this moment means the entry of the other.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_given_in_vain_are_not_remembered() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 2, |n| format!("key {n}"));
    let shared = Shared::at_once(Memory::new());
    let (_creator, other) = forge.database_with(Box::new(shared.clone()), Default::default()).await;
    hand_in_all(&other, &chain).await;
    let (armed, reached, gate) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let backend =
        Gate { inner: shared, after: false, armed: armed.clone(), reached: reached.clone(), open: gate.clone() };
    let (_instance, one) = open(backend, &forge).await;

    // Directly above the root: it has not seen the chain.
    let transaction = one.new_transaction_with_tips(&[forge.root.id()]).await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set("beside", 1i64).await.unwrap();
    armed.store(true, Ordering::SeqCst);
    let commit = tokio::spawn(transaction.commit_with(Durability::Buffered));
    until("the commit is held back", async || reached.load(Ordering::SeqCst)).await;

    let transaction = other.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set("above", 1i64).await.unwrap();
    let above = transaction.commit_with(Durability::Buffered).await.unwrap().id;
    let expected = vec![chain[0].id(), chain[1].id(), above];
    let found = one.difference(&[above], &[forge.root.id()]).await;
    let view = one.at_heads(&[above]).await.unwrap();
    let seen = view.get_store_viewer::<DocStore>("notes").await.unwrap().contains_key("key 0").await;
    gate.notify_one();
    assert_eq!(found.unwrap(), expected);
    assert!(seen.unwrap());
    commit.await.unwrap().unwrap();
    assert_eq!(one.difference(&[above], &[forge.root.id()]).await.unwrap(), expected);
    assert_eq!(one.get_tips().await.unwrap().len(), 2);
    check(&one).await;
}

/// A commit of this process, one of another above it, a look, and only then the word of the first: it must not make forgotten
/// what the look has found.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_told_late_hides_nothing() {
    let forge = Forge::new(1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let creator = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    let other = forge.adopt(&creator).await;
    let (armed, reached, gate) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    // A handle of its own, to which what the other one commits is foreign.
    let inner = Shared::at_once(Sqlite::open(&path).await.unwrap());
    let backend = Gate { inner, after: true, armed: armed.clone(), reached: reached.clone(), open: gate.clone() };
    let (instance, one) = open(backend, &forge).await;
    let write = async |database: &Database, key: &str| {
        let transaction = database.new_transaction().await?;
        transaction.get_store::<DocStore>("notes").await?.set(key, 1i64).await?;
        transaction.commit_with(Durability::Buffered).await
    };
    armed.store(true, Ordering::SeqCst);
    let writer = one.clone();
    let transaction = writer.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set("first", 1i64).await.unwrap();
    let commit = tokio::spawn(transaction.commit_with(Durability::Buffered));
    until("it has happened, and is not told", async || reached.load(Ordering::SeqCst)).await;
    let above = write(&other, "above").await.unwrap().id;
    assert_eq!(one.get_tips().await.unwrap(), [above], "a look finds it");
    gate.notify_one();
    commit.await.unwrap().unwrap();
    assert_eq!(one.get_tips().await.unwrap(), [above], "and it stays found");
    assert_eq!(one.entry_count().await.unwrap(), 3);
    instance.close().await.unwrap();
    creator.close().await.unwrap();
}
