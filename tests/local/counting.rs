//! A backend that counts what is asked of it, around another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::Result;
use eidetica::backend::{Backend, BackendInfo, Keyspace, Maintenance, Operation, Page, Scan, Snapshot, WriteBatch};

/// What has been asked of a backend.
#[derive(Debug, Default)]
pub struct Counts {
    read: AtomicU64,
    written: AtomicU64,
    commits: AtomicU64,
    flushes: AtomicU64,
    /// Bytes of values that were read since the last commit.
    since: AtomicU64,
    largest_step: AtomicU64,
    largest_batch: AtomicU64,
}

/// What was asked between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Rows: every key that was looked up, there or not, and every row of a page; an empty page counts as one.
    pub read: u64,
    /// Puts, deletes, and ranges deleted.
    pub written: u64,
    pub commits: u64,
    pub flushes: u64,
}

impl Counts {
    fn now(&self) -> Asked {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Asked {
            read: read(&self.read),
            written: read(&self.written),
            commits: read(&self.commits),
            flushes: read(&self.flushes),
        }
    }

    /// The most bytes of values that were read and written for one commit since this was asked last: who works in steps
    /// holds no more.
    pub fn largest_step(&self) -> u64 {
        self.since.store(0, Ordering::SeqCst);
        self.largest_step.swap(0, Ordering::SeqCst)
    }

    /// The most bytes of values that one commit had to write, ever.
    pub fn largest_batch(&self) -> u64 {
        self.largest_batch.load(Ordering::SeqCst)
    }

    fn has_read(&self, row: &Bytes) {
        self.since.fetch_add(row.len() as u64, Ordering::SeqCst);
    }

    /// What a piece of work asks for.
    pub async fn of<T>(&self, work: impl Future<Output = T>) -> (T, Asked) {
        let before = self.now();
        let result = work.await;
        let after = self.now();
        let asked = Asked {
            read: after.read - before.read,
            written: after.written - before.written,
            commits: after.commits - before.commits,
            flushes: after.flushes - before.flushes,
        };
        (result, asked)
    }
}

/// The backend.
pub struct Counting<B> {
    inner: B,
    counts: Arc<Counts>,
    flush: Duration,
}

impl<B: Backend> Counting<B> {
    pub fn new(inner: B) -> (Counting<B>, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        (Counting { inner, counts: counts.clone(), flush: Duration::ZERO }, counts)
    }

    /// Lets every flush take at least so long, as a disk would.
    pub fn flush_takes(mut self, time: Duration) -> Counting<B> {
        self.flush = time;
        self
    }
}

#[async_trait]
impl<B: Backend> Backend for Counting<B> {
    fn info(&self) -> BackendInfo {
        self.inner.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.counts.commits.fetch_add(1, Ordering::SeqCst);
        self.counts.written.fetch_add(batch.operations.len() as u64, Ordering::SeqCst);
        let value = |operation: &Operation| if let Operation::Put { value, .. } = operation { value.len() } else { 0 };
        let written: usize = batch.operations.iter().map(value).sum();
        let step = self.counts.since.swap(0, Ordering::SeqCst) + written as u64;
        self.counts.largest_step.fetch_max(step, Ordering::SeqCst);
        self.counts.largest_batch.fetch_max(written as u64, Ordering::SeqCst);
        self.inner.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.counts.flushes.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.flush).await;
        self.inner.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(CountingSnapshot { inner: self.inner.snapshot().await?, counts: self.counts.clone() }))
    }

    async fn changed(&self) -> Result<u64> {
        self.inner.changed().await
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.inner.maintain(job).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct CountingSnapshot {
    inner: Box<dyn Snapshot>,
    counts: Arc<Counts>,
}

#[async_trait]
impl Snapshot for CountingSnapshot {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        self.counts.read.fetch_add(keys.len() as u64, Ordering::SeqCst);
        let found = self.inner.get_many(keyspace, keys).await?;
        found.iter().flatten().for_each(|row| self.counts.has_read(row));
        Ok(found)
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        let page = self.inner.scan(scan).await?;
        self.counts.read.fetch_add(page.rows.len().max(1) as u64, Ordering::SeqCst);
        page.rows.iter().for_each(|(_, row)| self.counts.has_read(row));
        Ok(page)
    }
}

/// A row: its keyspace, key and value.
pub type Row = (Keyspace, Bytes, Bytes);

/// All rows of a backend.
pub async fn dump(rows: &dyn Snapshot) -> Vec<Row> {
    let mut all = Vec::new();
    for keyspace in Keyspace::all() {
        let mut next = Some(Scan::new(keyspace).bytes(4 << 20).rows(65_536));
        while let Some(scan) = next.take() {
            let page = rows.scan(scan.clone()).await.unwrap();
            if let (true, Some((last, _))) = (page.more, page.rows.last()) {
                next = Some(scan.after(last));
            }
            all.extend(page.rows.into_iter().map(|(key, value)| (keyspace, key, value)));
        }
    }
    all
}

/// Fills an empty backend with rows.
pub async fn load(backend: &dyn Backend, rows: &[Row]) {
    for part in rows.chunks(20_000) {
        let mut batch = WriteBatch::new();
        part.iter().for_each(|(keyspace, key, value)| batch.put(*keyspace, key.clone(), value.clone()));
        backend.commit(batch).await.unwrap();
    }
}

/// A backend that several hold at once, as several processes hold one store.
#[derive(Clone)]
pub struct Shared {
    inner: Arc<dyn Backend>,
    says_so: bool,
}

impl Shared {
    /// Only one of the holders uses it at a time.
    pub fn in_turns(inner: impl Backend) -> Shared {
        Shared { inner: Arc::new(inner), says_so: false }
    }

    /// All holders use it at the same time.
    pub fn at_once(inner: impl Backend) -> Shared {
        Shared { inner: Arc::new(inner), says_so: true }
    }
}

#[async_trait]
impl Backend for Shared {
    fn info(&self) -> BackendInfo {
        let mut info = self.inner.info();
        info.capabilities.shared |= self.says_so;
        info
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.inner.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot().await
    }

    async fn changed(&self) -> Result<u64> {
        self.inner.changed().await
    }

    async fn close(&self) -> Result<()> {
        // The others still use it.
        self.inner.flush().await
    }
}
