//! Rebuilds that are interrupted, or that another process looks at: nobody may take a part of a database for the whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eidetica::backend::database::Memory;
use eidetica::backend::{Backend, BackendInfo, Operation, Scan, Snapshot, WriteBatch};
use eidetica::crdt::Doc;
use eidetica::store::{DocStore, Table};
use eidetica::{Database, Durability, Error, ErrorKind, Instance, Options, Result};
use tokio::sync::Semaphore;

use super::bounds::{groups, wide};
use super::kit::{Forge, check, until};

const ROWS: i64 = 1_200;
const MANY: usize = 1 << 20;

/// A store whose disk becomes full after so many commits.
#[derive(Clone)]
struct Filling {
    inner: Arc<dyn Backend>,
    left: Arc<AtomicI64>,
    shared: bool,
    /// Commits wait for a permit each.
    turns: Arc<Semaphore>,
    /// Commits of all processes, and of this one.
    commits: Arc<AtomicU64>,
    own: Arc<AtomicU64>,
    /// The most rows that one commit has taken away.
    most_gone: Arc<AtomicUsize>,
}

impl Filling {
    fn full_after(&self, commits: i64) {
        self.left.store(commits, Ordering::SeqCst);
    }

    /// The same store, as another process has it open.
    fn elsewhere(&self) -> Filling {
        Filling { own: Arc::default(), turns: Arc::new(Semaphore::new(MANY)), ..self.clone() }
    }

    /// Lets only so many more commits happen for now.
    fn stops_after(&self, commits: usize) {
        let all = self.turns.available_permits();
        self.turns.forget_permits(all - commits);
    }

    fn has_room(&self) {
        self.full_after(i64::MAX);
    }
}

#[async_trait]
impl Backend for Filling {
    fn info(&self) -> BackendInfo {
        let mut info = self.inner.info();
        info.capabilities.shared |= self.shared;
        info
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Error::new(ErrorKind::Full, "no room"));
        }
        self.turns.acquire().await.unwrap().forget();
        let rows = self.inner.snapshot().await?;
        let mut gone = 0;
        for operation in &batch.operations {
            if let Operation::DeleteRange { keyspace, start, end } = operation {
                let range = Scan::range(*keyspace, start.clone(), end.clone()).rows(MANY).bytes(MANY << 10);
                gone += rows.scan(range).await?.rows.len();
            }
        }
        self.most_gone.fetch_max(gone, Ordering::SeqCst);
        self.inner.commit(batch).await?;
        self.own.fetch_add(1, Ordering::SeqCst);
        self.commits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot().await
    }

    async fn changed(&self) -> Result<u64> {
        Ok(self.commits.load(Ordering::SeqCst) - self.own.load(Ordering::SeqCst))
    }

    async fn close(&self) -> Result<()> {
        self.inner.flush().await
    }
}

async fn with_table(shared: bool) -> (Forge, Filling, Instance, Database) {
    let forge = Forge::new(1);
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let (commits, own, most_gone) = Default::default();
    let turns = Arc::new(Semaphore::new(MANY));
    let backend = Filling { inner: Arc::new(Memory::new()), left, shared, turns, commits, own, most_gone };
    let (instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    for number in 0..ROWS {
        let transaction = database.new_transaction().await.unwrap();
        let row: Doc = [("f", number % 7)].into_iter().collect();
        let table = transaction.get_store::<Table<Doc>>("t").await.unwrap();
        table.set(&format!("r{number}"), &row).await.unwrap();
        transaction.commit_with(Durability::Buffered).await.unwrap();
    }
    database.ensure_index("t", "f").await.unwrap();
    (forge, backend, instance, database)
}

async fn interrupt(backend: &Filling, database: &Database, after: i64) {
    backend.full_after(after);
    assert_eq!(database.reindex().await.unwrap_err().kind(), ErrorKind::Full);
    backend.has_room();
}

/// The table is whole and keeps its index.
async fn is_whole(database: &Database) {
    let stores = database.stores().await.unwrap();
    assert_eq!(stores.iter().find(|store| store.name == "t").unwrap().indexes, ["f"]);
    let table = database.get_store_viewer::<Table<Doc>>("t").await.unwrap();
    assert_eq!(table.count().await.unwrap(), ROWS as usize);
    assert_eq!(table.find("f", 3i64).await.unwrap().len(), (0..ROWS).filter(|number| number % 7 == 3).count());
    check(database).await;
}

/// Everything but a rebuild answers that the database is being rebuilt.
async fn is_locked(database: &Database, view: &Table<Doc>) {
    let locked = |error: Error| assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    locked(view.get("r1").await.unwrap_err());
    locked(view.get(&format!("r{}", ROWS - 1)).await.unwrap_err());
    locked(view.count().await.unwrap_err());
    locked(database.verify().await.unwrap_err());
    locked(database.snapshot().await.map(drop).unwrap_err());
    let writing = async {
        let transaction = database.new_transaction().await?;
        transaction.get_store::<DocStore>("x").await?.set("a", 1i64).await?;
        transaction.commit().await
    };
    locked(writing.await.unwrap_err());
}

#[tokio::test]
async fn an_interrupted_rebuild_locks_until_it_is_done_again() {
    let (_forge, backend, _instance, database) = with_table(false).await;
    let view = database.get_store_viewer::<Table<Doc>>("t").await.unwrap();
    // The first commit says who rebuilds, the second that what is there counts for nothing; further ones take it away.
    for after in 2..7 {
        interrupt(&backend, &database, after).await;
        is_locked(&database, &view).await;
    }
    database.reindex().await.unwrap();
    is_whole(&database).await;
    // What there was is more than one of them may take away.
    let gone = backend.most_gone.load(Ordering::SeqCst);
    assert!((1_000..=4_096).contains(&gone), "{gone} rows in one commit");
}

/// Closing the store ends a rebuild with its step, and gives the lease back: whoever opens the store next goes on at once.
#[tokio::test(start_paused = true)]
async fn closing_stops_a_rebuild_which_goes_on_at_the_next_opening() {
    for steps in 2..6 {
        let (forge, backend, instance, database) = with_table(true).await;
        backend.stops_after(steps);
        let rebuilding = tokio::spawn(async move { database.reindex().await });
        until("it has come so far", async || backend.turns.available_permits() == 0).await;
        let closing = tokio::spawn(instance.close());
        pass(1).await;
        // The step that is under way, and the one that gives the lease back.
        backend.turns.add_permits(2);
        assert_eq!(rebuilding.await.unwrap().unwrap_err().kind(), ErrorKind::Closed, "after {steps} steps");
        closing.await.unwrap().unwrap();
        let begun = tokio::time::Instant::now();
        is_whole(&opening(&backend, &forge).await.unwrap().unwrap()).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody is waited for");
    }
}

#[tokio::test]
async fn opening_again_resumes_a_rebuild() {
    let (forge, backend, instance, database) = with_table(false).await;
    interrupt(&backend, &database, 2).await;
    let again = instance.open_database_with_key(&forge.root.id(), Some(forge.key.clone())).await.unwrap();
    is_whole(&again).await;

    interrupt(&backend, &database, 2).await;
    instance.close().await.unwrap();
    let (_instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
    is_whole(&database).await;
}

#[tokio::test]
async fn another_process_never_sees_half_a_rebuild() {
    let (forge, backend, _instance, database) = with_table(true).await;
    let (_other_instance, other) = forge.database_with(Box::new(backend.elsewhere()), Options::default()).await;
    let view = other.get_store_viewer::<Table<Doc>>("t").await.unwrap();
    view.get("r1").await.unwrap();
    let transaction = other.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("x").await.unwrap().set("a", 1i64).await.unwrap();
    interrupt(&backend, &database, 2).await;
    is_locked(&other, &view).await;
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::Locked, "begun before, committed during");
    database.reindex().await.unwrap();
    is_whole(&database).await;
    is_whole(&other).await;
}

/// Opens the store as another process, as long as a rebuild that goes on elsewhere takes.
fn opening(backend: &Filling, forge: &Forge) -> tokio::task::JoinHandle<Result<Database>> {
    let (backend, forge) = (backend.elsewhere(), forge.clone());
    tokio::spawn(async move {
        let instance = Instance::open(Box::new(backend)).await?;
        instance.open_database_with_key(&forge.root.id(), Some(forge.key.clone())).await
    })
}

/// The clock of these tests stands still while anybody has something to do, and leaps when all wait.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_goes_on_is_not_taken_over() {
    let (forge, backend, _instance, database) = with_table(true).await;
    backend.stops_after(2);
    let rebuilding = tokio::spawn({
        let database = database.clone();
        async move { database.reindex().await }
    });
    until("it has begun", async || backend.turns.available_permits() == 0).await;
    for _ in 0..2 {
        let other = opening(&backend, &forge);
        // Slow, and not as slow as somebody who is gone.
        pass(9).await;
        assert!(!other.is_finished());
        // Two steps, of which one may fail, since the opening has raised the epoch, and happen again.
        backend.turns.add_permits(2);
        let error = other.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.is_retryable() && !rebuilding.is_finished());
    }
    backend.turns.add_permits(MANY);
    rebuilding.await.unwrap().unwrap();
    is_whole(&database).await;
    is_whole(&opening(&backend, &forge).await.unwrap().unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_stands_still_is_taken_over_and_writes_nothing_more() {
    for by_opening in [true, false] {
        let (forge, backend, _instance, database) = with_table(true).await;
        let (_other, open) = forge.database_with(Box::new(backend.elsewhere()), Options::default()).await;
        backend.stops_after(2);
        let rebuilding = tokio::spawn({
            let database = database.clone();
            async move { database.reindex().await }
        });
        until("it has begun", async || backend.turns.available_permits() == 0).await;
        let other = match by_opening {
            true => opening(&backend, &forge).await.unwrap().unwrap(),
            false => {
                open.reindex().await.unwrap();
                open
            }
        };
        is_whole(&other).await;
        assert!(!rebuilding.is_finished());
        backend.turns.add_permits(MANY);
        assert_eq!(rebuilding.await.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
        is_whole(&database).await;
        is_whole(&other).await;
    }
}

/// Who opens the store while it is being rebuilt knows of a part of it; that must not stick.
#[tokio::test(start_paused = true)]
async fn what_was_known_of_a_part_is_not_taken_for_the_whole() {
    let (forge, backend, _instance, database) = with_table(true).await;
    let friend = super::kit::key(7);
    let settings = async |transaction: &eidetica::Transaction| {
        transaction.get_store::<eidetica::store::SettingsStore>("_settings").await.unwrap()
    };
    let transaction = database.new_transaction().await.unwrap();
    let permission = eidetica::auth::Permission::Write;
    settings(&transaction).await.set_auth_key(&friend.public(), permission, 0).await.unwrap();
    transaction.commit().await.unwrap();
    let instance = Instance::open(Box::new(backend.elsewhere())).await.unwrap();
    // Enough of them to have taken everything away, and to have begun with the entries.
    backend.stops_after(5);
    let rebuilding = tokio::spawn(async move { database.reindex().await });
    until("it has done a step", async || backend.turns.available_permits() == 0).await;
    let id = forge.root.id();
    let opening = tokio::spawn({
        let instance = instance.clone();
        async move { instance.open_database_with_key(&id, None).await }
    });
    pass(5).await;
    backend.turns.add_permits(2);
    assert!(opening.await.unwrap().is_err_and(|error| error.kind() == ErrorKind::Locked));
    backend.turns.add_permits(MANY);
    rebuilding.await.unwrap().unwrap();
    let database = instance.open_database_with_key(&id, Some(friend)).await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("x").await.unwrap().set("a", 1i64).await.unwrap();
    transaction.commit().await.unwrap();
}

/// An index that is built in part is not read, is kept up for the rows that it has, and is built to its end the next time.
#[tokio::test]
async fn an_interrupted_index_is_completed() {
    for rebuilt in [false, true] {
        let (_forge, backend, _instance, database) = with_table(false).await;
        wide(&database, 0..300).await;
        backend.full_after(2);
        assert_eq!(database.ensure_index("wide", "group").await.unwrap_err().kind(), ErrorKind::Full);
        backend.has_room();
        let indexes = async || {
            let stores = database.stores().await.unwrap();
            stores.iter().find(|store| store.name == "wide").unwrap().indexes.clone()
        };
        assert!(indexes().await.is_empty());
        assert_eq!(groups(&database).await, [43, 43, 42]);
        check(&database).await;
        // On both sides of where it has come to.
        let transaction = database.new_transaction().await.unwrap();
        let table = transaction.get_store::<Table<Doc>>("wide").await.unwrap();
        for key in ["r0000", "r0003", "r0294", "r0297", "r0298"] {
            table.delete(key).await.unwrap();
        }
        table.set("r0006", &[("group", 0i64)].into_iter().collect()).await.unwrap();
        table.set("r0299", &[("group", 6i64)].into_iter().collect()).await.unwrap();
        transaction.commit().await.unwrap();
        check(&database).await;
        if rebuilt {
            database.reindex().await.unwrap();
        } else {
            database.ensure_index("wide", "group").await.unwrap();
        }
        assert_eq!(indexes().await, ["group"]);
        assert_eq!(groups(&database).await, [42, 41, 42]);
        check(&database).await;
    }
}
