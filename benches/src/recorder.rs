//! A backend that passes everything on, keeps what is written, and counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::backend::{Backend, BackendInfo, Keyspace, Maintenance, Page, Scan, Snapshot, WriteBatch};

/// Passes everything on to a backend. Cheap to clone; clones share what they keep.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    keeps: AtomicBool,
    batches: Mutex<Vec<WriteBatch>>,
    commits: AtomicU64,
    flushes: AtomicU64,
    snapshots: AtomicU64,
    /// Whether reads are counted.
    watches: AtomicBool,
    read: Arc<Read>,
    /// False where the backend outlives the instance.
    closes: bool,
}

#[derive(Default)]
struct Read {
    calls: AtomicU64,
    rows: AtomicU64,
}

/// How often a backend was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// For a commit.
    pub commits: u64,
    /// For a flush.
    pub flushes: u64,
    /// For a snapshot.
    pub snapshots: u64,
    /// For rows of a snapshot, while reads were counted.
    pub reads: u64,
    /// Keys asked for, whether there or not, and rows of scans, in these.
    pub rows: u64,
}

impl Recorder {
    /// Around a backend that is closed with the instance.
    pub fn new(backend: Arc<dyn Backend>) -> Recorder {
        Recorder::around(backend, true)
    }

    /// Around a backend that stays open when the instance is closed.
    pub fn beside(backend: Arc<dyn Backend>) -> Recorder {
        Recorder::around(backend, false)
    }

    fn around(backend: Arc<dyn Backend>, closes: bool) -> Recorder {
        let (commits, flushes, snapshots) = Default::default();
        let (keeps, batches, watches, read) = Default::default();
        Recorder(Arc::new(Inner { backend, keeps, batches, commits, flushes, snapshots, watches, read, closes }))
    }

    /// Keeps the batches that are written from now on.
    pub fn keep(&self) {
        self.0.keeps.store(true, Ordering::Release);
    }

    /// The batches kept since the last call.
    pub fn take(&self) -> Vec<WriteBatch> {
        std::mem::take(&mut *self.0.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the backend was asked so far.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        Counts {
            commits: read(&self.0.commits),
            flushes: read(&self.0.flushes),
            snapshots: read(&self.0.snapshots),
            reads: read(&self.0.read.calls),
            rows: read(&self.0.read.rows),
        }
    }

    /// Counts what is read in snapshots that are taken from now on, or no longer. This costs time, so no time is taken
    /// meanwhile.
    pub fn watch_reads(&self, on: bool) {
        self.0.watches.store(on, Ordering::Release);
    }
}

#[async_trait]
impl Backend for Recorder {
    fn info(&self) -> BackendInfo {
        self.0.backend.info()
    }

    async fn commit(&self, batch: WriteBatch) -> eidetica::Result<()> {
        self.0.commits.fetch_add(1, Ordering::AcqRel);
        if self.0.keeps.load(Ordering::Acquire) {
            self.0.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch.clone());
        }
        self.0.backend.commit(batch).await
    }

    async fn flush(&self) -> eidetica::Result<()> {
        self.0.flushes.fetch_add(1, Ordering::AcqRel);
        self.0.backend.flush().await
    }

    async fn snapshot(&self) -> eidetica::Result<Box<dyn Snapshot>> {
        self.0.snapshots.fetch_add(1, Ordering::AcqRel);
        let snapshot = self.0.backend.snapshot().await?;
        Ok(match self.0.watches.load(Ordering::Acquire) {
            true => Box::new(Watched { snapshot, read: self.0.read.clone() }),
            false => snapshot,
        })
    }

    async fn changed(&self) -> eidetica::Result<u64> {
        self.0.backend.changed().await
    }

    async fn maintain(&self, job: Maintenance) -> eidetica::Result<()> {
        self.0.backend.maintain(job).await
    }

    async fn close(&self) -> eidetica::Result<()> {
        match self.0.closes {
            true => self.0.backend.close().await,
            false => Ok(()),
        }
    }
}

struct Watched {
    snapshot: Box<dyn Snapshot>,
    read: Arc<Read>,
}

impl Watched {
    fn count(&self, rows: usize) {
        self.read.calls.fetch_add(1, Ordering::AcqRel);
        self.read.rows.fetch_add(rows as u64, Ordering::AcqRel);
    }
}

#[async_trait]
impl Snapshot for Watched {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> eidetica::Result<Vec<Option<Bytes>>> {
        self.count(keys.len());
        self.snapshot.get_many(keyspace, keys).await
    }

    async fn scan(&self, scan: Scan) -> eidetica::Result<Page> {
        let page = self.snapshot.scan(scan).await?;
        self.count(page.rows.len());
        Ok(page)
    }

    async fn get(&self, keyspace: Keyspace, key: &[u8]) -> eidetica::Result<Option<Bytes>> {
        self.count(1);
        self.snapshot.get(keyspace, key).await
    }
}
