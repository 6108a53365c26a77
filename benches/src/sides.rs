//! Two sides that have written without knowing of each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eidetica::backend::Backend;
use eidetica::backend::database::Memory;
use eidetica::crdt::Doc;
use eidetica::entry::RawEntry;
use eidetica::store::DocStore;
use eidetica::{Durability, Id, Instance};
use tempfile::TempDir;

use crate::base::{Open, STORE, commit, key, redb, sqlite};
use crate::work::ingest::Engine;
use crate::workloads::{self, FAR, NEAR, Work};
use crate::{Recorder, Result};

/// The near side as a file, and what the far side did, as it travels.
pub struct Sides {
    directory: TempDir,
    id: Id,
    copies: AtomicU64,
    /// A key that the far side has set, and its value there.
    set: workloads::Put,
    far: Vec<RawEntry>,
    keys: u64,
}

impl Sides {
    /// Makes the histories of both sides, and sees to it that merging them either way gives the same.
    pub async fn build(work: Work, n: u64) -> Result<Sides> {
        let directory = tempfile::Builder::new().prefix("eidetica-benches-").tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let instance = Instance::open(Box::new(sqlite(&path("near.db")).await?)).await?;
        let database = instance.create_database_with_key(Doc::new(), &key()).await?;
        let id = *database.root_id();
        commit(&database, &workloads::base(), Durability::Flushed).await?;
        drop(database);
        instance.close().await?;
        std::fs::copy(path("near.db"), path("far.db"))?;

        let near = write(&path("near.db"), id, work, n, NEAR).await?;
        let far = write(&path("far.db"), id, work, n, FAR).await?;
        let commits = workloads::history(work, n, FAR);
        let set = commits.iter().flatten().next_back().cloned().ok_or("the far side does nothing")?;
        let keys = commits.iter().map(|puts| puts.len() as u64).sum();
        let sides = Sides { directory, id, copies: AtomicU64::new(0), set, far, keys };
        sides.compare(work, n, &near).await?;
        Ok(sides)
    }

    /// What the far side did, parents first.
    pub fn far(&self) -> &[RawEntry] {
        &self.far
    }

    /// How many keys the far side has set.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// A key that the far side has set last.
    pub fn last_key(&self) -> &str {
        &self.set.0
    }

    /// A copy of the near side's file.
    pub fn copy(&self) -> Result<PathBuf> {
        self.copy_of("near.db")
    }

    fn copy_of(&self, name: &str) -> Result<PathBuf> {
        let copy = self.fresh();
        std::fs::copy(self.directory.path().join(name), &copy)?;
        Ok(copy)
    }

    /// A new path, which `sweep` removes.
    fn fresh(&self) -> PathBuf {
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        self.directory.path().join(format!("copy-{number}.db"))
    }

    /// A backend that holds the near side.
    pub async fn backend(&self, engine: Engine) -> Result<Arc<dyn Backend>> {
        let file = sqlite(&self.copy()?).await?;
        let other: Arc<dyn Backend> = match engine {
            Engine::Sqlite => return Ok(Arc::new(file)),
            Engine::Redb => Arc::new(redb(&self.fresh()).await?),
            Engine::Memory => Arc::new(Memory::new()),
        };
        let instance = Instance::open(Box::new(file)).await?;
        instance.backup(Box::new(Recorder::beside(other.clone()))).await?;
        instance.close().await?;
        Ok(other)
    }

    /// Opens the near side. It has read a key already, so that nothing is put off.
    pub async fn open(&self, engine: Engine) -> Result<Open> {
        let open = open(Recorder::new(self.backend(engine).await?), self.id).await?;
        let view = open.database.get_store_viewer::<DocStore>(STORE).await?;
        view.get_string(workloads::BASE_KEY).await?;
        Ok(open)
    }

    /// Removes the copies made so far. Call it when none of them is open.
    pub fn sweep(&self) -> Result<()> {
        for file in std::fs::read_dir(self.directory.path())? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with("copy-") {
                std::fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Merges both ways and compares key by key.
    async fn compare(&self, work: Work, n: u64, near: &[RawEntry]) -> Result<()> {
        let first = self.open(Engine::Sqlite).await?;
        let second = open(Recorder::new(Arc::new(sqlite(&self.copy_of("far.db")?).await?)), self.id).await?;
        first.database.ingest(self.far.clone(), "bench").await?;
        second.database.ingest(near.to_vec(), "bench").await?;
        if first.database.heads_digest().await? != second.database.heads_digest().await? {
            return Err("the two sides do not hold the same entries".into());
        }
        let one = first.database.get_store_viewer::<DocStore>(STORE).await?;
        let other = second.database.get_store_viewer::<DocStore>(STORE).await?;
        for (key, _) in [NEAR, FAR].into_iter().flat_map(|side| workloads::history(work, n, side)).flatten() {
            if one.get_string(&key).await? != other.get_string(&key).await? {
                return Err(format!("the two sides do not agree about {key}").into());
            }
        }
        drop((one, other));
        first.close().await?;
        second.close().await?;
        self.sweep()
    }
}

async fn open(recorder: Recorder, id: Id) -> Result<Open> {
    let instance = Instance::open(Box::new(recorder.clone())).await?;
    let database = instance.open_database_with_key(&id, Some(key())).await?;
    Ok(Open { recorder, instance, database })
}

/// Makes the commits of a side, and gives its entries.
async fn write(path: &Path, id: Id, work: Work, n: u64, side: u64) -> Result<Vec<RawEntry>> {
    let open = open(Recorder::new(Arc::new(sqlite(path).await?)), id).await?;
    let before = open.database.get_tips().await?;
    for puts in workloads::history(work, n, side) {
        commit(&open.database, &puts, Durability::Buffered).await?;
    }
    let mut entries = Vec::new();
    for id in open.database.difference(&open.database.get_tips().await?, &before).await? {
        entries.push(open.database.get_entry(&id).await?.to_raw());
    }
    open.close().await?;
    Ok(entries)
}
