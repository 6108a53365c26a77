//! A backend that crashes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Held, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Backend, BackendInfo, Error, ErrorKind, Keyspace, Maintenance, Page, Result, Scan, Snapshot, WriteBatch,
};
use eidetica_core::Memory;
use tokio::sync::{Mutex, watch};

use super::conditions::Delay;
use super::dice::Dice;

/// How many rows are copied in one batch.
const COPIED: usize = 512;

type Restoring<B> = Pin<Box<dyn Future<Output = Result<B>> + Send>>;
type Restore<B> = Arc<dyn Fn(Memory) -> Restoring<B> + Send + Sync>;

/// A backend that can crash: what was not flushed is then lost, but for a part that the seed decides on. Cheap to clone;
/// all clones are the same open store.
///
/// A crash leaves a prefix of the commit order that holds at least all that was flushed, as the contract says, and any such
/// prefix may be the one. Every later call on the store answers [`ErrorKind::Closed`];
/// [`reopen`](Crashing::reopen) opens what has survived.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use eidetica_contract::{Backend, Keyspace, WriteBatch};
/// use eidetica_sync::sim::Crashing;
///
/// const NOTES: Keyspace = Keyspace::new(0);
/// let store = Crashing::memory(7);
/// let mut batch = WriteBatch::new();
/// batch.put(NOTES, "greeting", "hello");
/// store.commit(batch).await?;
/// store.flush().await?;
/// store.crash();
/// assert!(store.snapshot().await.is_err());
/// let store = store.reopen().await?;
/// assert_eq!(store.snapshot().await?.get(NOTES, b"greeting").await?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
/// ```
pub struct Crashing<B> {
    inner: Arc<Inner<B>>,
}

struct Inner<B> {
    live: B,
    info: BackendInfo,
    restore: Restore<B>,
    flush: Delay,
    /// Held while a batch is committed, since that decides on its place in the order.
    disk: Mutex<Disk>,
    dice: Held<Dice>,
    /// True once it has crashed or was closed.
    ended: watch::Sender<bool>,
    /// How many commits are left until it crashes by itself; 0: it does not.
    left: AtomicU64,
}

/// What is on the disk, and what is on its way there.
struct Disk {
    /// What was flushed.
    flushed: Memory,
    /// The commits since then, oldest first.
    unflushed: Vec<WriteBatch>,
    /// How many commits have been flushed.
    count: u64,
    /// True once what has survived was taken.
    taken: bool,
    survived: Option<Survived>,
}

/// What a crash has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survived {
    /// Commits that were not flushed and are there all the same.
    pub kept: usize,
    /// Commits that are lost.
    pub lost: usize,
}

impl Crashing<Memory> {
    /// An empty store in memory.
    pub fn memory(seed: u64) -> Crashing<Memory> {
        Crashing::begin(
            Memory::new(),
            Memory::new(),
            Arc::new(|image| Box::pin(async { Ok(image) })),
            Dice::named(seed, "crash"),
        )
    }
}

impl<B: Backend> Crashing<B> {
    /// An empty store. `restore` makes a backend that holds the rows of an image, and nothing else; [`copy_rows`] helps.
    ///
    /// Errors: those of `restore`.
    pub async fn new<F>(seed: u64, restore: impl Fn(Memory) -> F + Send + Sync + 'static) -> Result<Crashing<B>>
    where
        F: Future<Output = Result<B>> + Send + 'static,
    {
        let restore: Restore<B> = Arc::new(move |image| Box::pin(restore(image)));
        let live = restore(Memory::new()).await?;
        Ok(Crashing::begin(live, Memory::new(), restore, Dice::named(seed, "crash")))
    }

    fn begin(live: B, flushed: Memory, restore: Restore<B>, dice: Dice) -> Crashing<B> {
        let mut info = BackendInfo::new("crashing", live.info().location);
        info.limits = live.info().limits;
        info.capabilities = info.capabilities.durable();
        let disk = Disk { flushed, unflushed: Vec::new(), count: 0, taken: false, survived: None };
        let inner = Inner {
            live,
            info,
            restore,
            flush: Delay::millis(0),
            disk: Mutex::new(disk),
            dice: Held::new(dice),
            ended: watch::channel(false).0,
            left: AtomicU64::new(0),
        };
        Crashing { inner: Arc::new(inner) }
    }

    /// Lets a flush take so long, and only what was committed before it begins is durable when it ends. Default: no time.
    ///
    /// # Panics
    ///
    /// If there are clones already.
    #[must_use]
    pub fn flush_takes(mut self, delay: Delay) -> Crashing<B> {
        let inner = Arc::get_mut(&mut self.inner).expect("it is set before the store is shared");
        inner.flush = delay;
        self
    }

    /// Crashes now.
    pub fn crash(&self) {
        self.inner.ended.send_replace(true);
    }

    /// Crashes with the commit after so many more: it may or may not be the last one of the order, and answers `Closed`.
    pub fn crash_after(&self, commits: u64) {
        self.inner.left.store(commits.saturating_add(1), Ordering::SeqCst);
    }

    /// True if it has crashed, or was closed.
    pub fn has_ended(&self) -> bool {
        *self.inner.ended.borrow()
    }

    /// Returns when it has crashed, or was closed.
    pub async fn ended(&self) {
        // The sender lives as long as this handle.
        let _ = self.inner.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// How many commits a crash now could lose.
    pub async fn unflushed(&self) -> usize {
        self.inner.disk.lock().await.unflushed.len()
    }

    /// What has survived the crash, once it was opened anew.
    pub async fn survived(&self) -> Option<Survived> {
        self.inner.disk.lock().await.survived
    }

    /// Opens what has survived, once.
    ///
    /// Errors: [`ErrorKind::Locked`] while it is open, or when this was done before; those of `restore`.
    pub async fn reopen(&self) -> Result<Crashing<B>> {
        let inner = &self.inner;
        let mut disk = inner.disk.lock().await;
        if !self.has_ended() || std::mem::replace(&mut disk.taken, true) {
            return Err(Error::new(ErrorKind::Locked, "the store is open; it crashes or is closed first"));
        }
        let mut dice = inner.dice().clone();
        let unflushed = std::mem::take(&mut disk.unflushed);
        // Nothing and all are what goes wrong most easily.
        let kept = match dice.below(4) {
            0 => 0,
            1 => unflushed.len(),
            _ => dice.below(unflushed.len() as u64 + 1) as usize,
        };
        disk.survived = Some(Survived { kept, lost: unflushed.len() - kept });
        let image = disk.flushed.fork();
        for batch in unflushed.into_iter().take(kept) {
            image.commit(batch).await?;
        }
        let live = (inner.restore)(image.fork()).await?;
        let mut anew = Crashing::begin(live, image, inner.restore.clone(), dice);
        if let Some(fresh) = Arc::get_mut(&mut anew.inner) {
            fresh.flush = inner.flush;
        }
        Ok(anew)
    }
}

impl<B> Inner<B> {
    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<()> {
        match *self.ended.borrow() {
            true => Err(Error::new(ErrorKind::Closed, "this store has crashed or was closed; open what has survived")),
            false => Ok(()),
        }
    }
}

impl<B: Backend> Inner<B> {
    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        let mut disk = self.disk.lock().await;
        self.open()?;
        let last = match self.left.load(Ordering::SeqCst) {
            0 => false,
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                left == 1
            }
        };
        if last && self.dice().chance(0.5) {
            self.ended.send_replace(true);
            return self.open();
        }
        let mut kept = batch.clone();
        kept.expectations.clear();
        self.live.commit(batch).await?;
        if !kept.is_empty() {
            disk.unflushed.push(kept);
        }
        if last {
            self.ended.send_replace(true);
        }
        self.open()
    }

    async fn flush(&self) -> Result<()> {
        let (before, delay) = {
            let disk = self.disk.lock().await;
            self.open()?;
            self.live.flush().await?;
            (disk.count + disk.unflushed.len() as u64, self.flush.of(self.dice().number()))
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut disk = self.disk.lock().await;
        // A crash meanwhile: then it is as if it had not come to its end.
        self.open()?;
        let durable = before.saturating_sub(disk.count) as usize;
        let durable: Vec<WriteBatch> = disk.unflushed.drain(..durable).collect();
        for batch in durable {
            disk.count += 1;
            disk.flushed.commit(batch).await?;
        }
        Ok(())
    }
}

/// Runs to its end whether or not the caller stays: a commit that is dropped halfway would leave the order unknown.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let failed = |error| Error::new(ErrorKind::Internal, "a call of the backend has panicked").caused_by(error);
    tokio::spawn(work).await.map_err(failed)?
}

#[async_trait]
impl<B: Backend> Backend for Crashing<B> {
    fn info(&self) -> BackendInfo {
        self.inner.info.clone()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        let inner = self.inner.clone();
        to_the_end(async move { inner.commit(batch).await }).await
    }

    async fn flush(&self) -> Result<()> {
        let inner = self.inner.clone();
        to_the_end(async move { inner.flush().await }).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.open()?;
        let view = self.inner.live.snapshot().await?;
        Ok(Box::new(View { inner: self.inner.clone(), view }))
    }

    async fn changed(&self) -> Result<u64> {
        self.inner.open()?;
        self.inner.live.changed().await
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.inner.open()?;
        Err(Error::new(ErrorKind::Unsupported, "this backend has no such maintenance job")
            .with("job", format!("{job:?}")))
    }

    async fn close(&self) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        let flushed = self.flush().await;
        self.inner.ended.send_replace(true);
        let closed = self.inner.live.close().await;
        flushed.and(closed)
    }
}

/// A snapshot that is gone with its store.
struct View<B> {
    inner: Arc<Inner<B>>,
    view: Box<dyn Snapshot>,
}

#[async_trait]
impl<B: Backend> Snapshot for View<B> {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        self.inner.open()?;
        self.view.get_many(keyspace, keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.inner.open()?;
        self.view.scan(scan).await
    }

    async fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.open()?;
        self.view.get(keyspace, key).await
    }
}

impl<B> Clone for Crashing<B> {
    fn clone(&self) -> Crashing<B> {
        Crashing { inner: self.inner.clone() }
    }
}

impl<B> fmt::Debug for Crashing<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crashing").field("ended", &*self.inner.ended.borrow()).finish_non_exhaustive()
    }
}

/// Copies all rows of one backend into another, which is empty, and makes them durable there.
///
/// Errors: those of reading and of writing, and then a part has been copied. Cancellation: likewise.
pub async fn copy_rows(from: &dyn Backend, to: &dyn Backend) -> Result<()> {
    let rows = from.snapshot().await?;
    for keyspace in Keyspace::all() {
        let mut scan = Scan::new(keyspace).rows(COPIED);
        loop {
            let page = rows.scan(scan.clone()).await?;
            let mut batch = WriteBatch::new();
            page.rows.iter().for_each(|(key, value)| batch.put(keyspace, key.clone(), value.clone()));
            to.commit(batch).await?;
            match page.rows.last() {
                Some((key, _)) if page.more => scan = scan.after(key),
                _ => break,
            }
        }
    }
    to.flush().await
}
