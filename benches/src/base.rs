//! Stores with `n` commits of one key each, made once in a run, and copied for each measurement.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eidetica::backend::Backend;
use eidetica::backend::database::{Memory, Redb, Sqlite};
use eidetica::crdt::Doc;
use eidetica::entry::RawEntry;
use eidetica::store::DocStore;
use eidetica::{Database, Durability, Id, Instance, SecretKey};
use tempfile::TempDir;

use crate::recorder::Recorder;
use crate::workloads::{self, NEAR, Put};
use crate::{PAGE_CACHE, Result};

/// The store that the commits write to.
pub const STORE: &str = "map";

/// The key that all benches sign with.
pub fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

/// A SQLite file with the page cache of the benches.
pub async fn sqlite(path: &Path) -> Result<Sqlite> {
    Ok(Sqlite::builder().path(path).page_cache(PAGE_CACHE).open().await?)
}

/// A file of redb with the page cache of the benches.
pub async fn redb(path: &Path) -> Result<Redb> {
    Ok(Redb::builder(path).page_cache(PAGE_CACHE).open().await?)
}

/// Sets keys in one commit.
pub async fn commit(database: &Database, puts: &[Put], durability: Durability) -> Result<Id> {
    let transaction = database.new_transaction().await?;
    let store = transaction.get_store::<DocStore>(STORE).await?;
    for (key, value) in puts {
        store.set(key, value.as_str()).await?;
    }
    Ok(transaction.commit_with(durability).await?.id)
}

/// Stores with growing histories, in one directory that is removed in the end.
pub struct Bases {
    directory: TempDir,
    sizes: Vec<u64>,
    id: Id,
    copies: AtomicU64,
}

/// An instance with a database that has a history, and what it writes.
pub struct Open {
    /// What the backend is asked.
    pub recorder: Recorder,
    /// The instance.
    pub instance: Instance,
    /// Its database.
    pub database: Database,
}

impl Bases {
    /// Makes stores with as many commits as each of `sizes`, which ascend.
    pub async fn build(sizes: &[u64]) -> Result<Bases> {
        let directory = tempfile::Builder::new().prefix("eidetica-benches-").tempdir()?;
        let growing = directory.path().join("growing.db");
        let instance = Instance::open(Box::new(sqlite(&growing).await?)).await?;
        let database = instance.create_database_with_key(Doc::new(), &key()).await?;
        let id = *database.root_id();
        commit(&database, &workloads::base(), Durability::Flushed).await?;
        drop(database);
        instance.close().await?;
        let bases = Bases { directory, sizes: sizes.to_vec(), id, copies: AtomicU64::new(0) };
        let mut done = 0;
        for &size in sizes {
            let open = bases.open(sqlite(&growing).await?).await?;
            for turn in done..size {
                commit(&open.database, &workloads::puts(NEAR, turn..turn + 1), Durability::Buffered).await?;
            }
            open.close().await?;
            done = size;
            std::fs::copy(&growing, bases.path(size))?;
        }
        Ok(bases)
    }

    /// The sizes there are.
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// The id of the database, the same in all of them.
    pub fn id(&self) -> Id {
        self.id
    }

    /// A new path in the directory of these stores.
    pub fn fresh(&self) -> PathBuf {
        let copy = self.copies.fetch_add(1, Ordering::Relaxed);
        self.directory.path().join(format!("copy-{copy}.db"))
    }

    /// The file with `n` commits. Not to be written to.
    pub fn path(&self, n: u64) -> PathBuf {
        self.directory.path().join(format!("base-{n}.db"))
    }

    /// A file of its own with `n` commits.
    pub fn copy(&self, n: u64) -> Result<PathBuf> {
        let copy = self.fresh();
        std::fs::copy(self.path(n), &copy)?;
        Ok(copy)
    }

    /// A store in memory with `n` commits.
    pub async fn memory(&self, n: u64) -> Result<Arc<Memory>> {
        let memory = Arc::new(Memory::new());
        self.fill(n, memory.clone()).await?;
        Ok(memory)
    }

    /// A file of redb of its own with `n` commits.
    pub async fn redb(&self, n: u64) -> Result<PathBuf> {
        let base = self.directory.path().join(format!("base-{n}.redb"));
        if !base.exists() {
            let store = Arc::new(redb(&base).await?);
            self.fill(n, store.clone()).await?;
            store.close().await?;
        }
        let copy = self.fresh();
        std::fs::copy(&base, &copy)?;
        Ok(copy)
    }

    async fn fill(&self, n: u64, store: Arc<dyn Backend>) -> Result<()> {
        let instance = Instance::open(Box::new(sqlite(&self.path(n)).await?)).await?;
        instance.backup(Box::new(Recorder::beside(store))).await?;
        Ok(instance.close().await?)
    }

    /// Opens the database in a backend that holds one of these stores.
    pub async fn open(&self, backend: impl Backend) -> Result<Open> {
        self.open_recorder(Recorder::new(Arc::new(backend))).await
    }

    /// The same with a recorder of one's own.
    pub async fn open_recorder(&self, recorder: Recorder) -> Result<Open> {
        let instance = Instance::open(Box::new(recorder.clone())).await?;
        let database = instance.open_database_with_key(&self.id, Some(key())).await?;
        Ok(Open { recorder, instance, database })
    }

    /// All entries of the store with `n` commits as they travel, parents first.
    pub async fn entries(&self, n: u64) -> Result<Vec<RawEntry>> {
        let open = self.open_recorder(Recorder::beside(self.memory(n).await?)).await?;
        let ids = open.database.difference(&open.database.get_tips().await?, &[]).await?;
        let mut entries = Vec::with_capacity(ids.len());
        for id in ids {
            entries.push(open.database.get_entry(&id).await?.to_raw());
        }
        open.close().await?;
        Ok(entries)
    }
}

impl Open {
    /// Closes the instance.
    pub async fn close(self) -> Result<()> {
        drop(self.database);
        Ok(self.instance.close().await?)
    }
}
