//! Rebuilds that are interrupted, or that another process looks at: nobody may take a part of a database for the whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use eidetica::backend::database::Memory;
use eidetica::backend::{Backend, BackendInfo, Snapshot, WriteBatch};
use eidetica::crdt::Doc;
use eidetica::store::{DocStore, Table};
use eidetica::{Database, Durability, Error, ErrorKind, Instance, Options, Result};

use super::kit::{Forge, check};

const ROWS: i64 = 1_200;

/// A store whose disk becomes full after so many commits.
#[derive(Clone)]
struct Filling {
    inner: Arc<dyn Backend>,
    left: Arc<AtomicI64>,
    shared: bool,
    /// Commits of all processes, and of this one.
    commits: Arc<AtomicU64>,
    own: Arc<AtomicU64>,
}

impl Filling {
    fn full_after(&self, commits: i64) {
        self.left.store(commits, Ordering::SeqCst);
    }

    /// The same store, as another process has it open.
    fn elsewhere(&self) -> Filling {
        Filling { own: Arc::default(), ..self.clone() }
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
    let (commits, own) = Default::default();
    let backend = Filling { inner: Arc::new(Memory::new()), left, shared, commits, own };
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
    for after in 1..4 {
        interrupt(&backend, &database, after).await;
        is_locked(&database, &view).await;
    }
    database.reindex().await.unwrap();
    is_whole(&database).await;
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
