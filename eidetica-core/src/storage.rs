//! A backend with what all databases in it share: the epoch, the flusher, the environment.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Backend, Error, ErrorKind, Keyspace, Result, Scan, Snapshot, WriteBatch};
use tokio::task::JoinHandle;
use ulid::Ulid;

use crate::cbor::{Reader, Writer};
use crate::clock::Environment;
use crate::db::meta::Meta;
use crate::db::parking::Room;
use crate::engine::Options;
use crate::layout::{META, VERSION, epoch_key};
use crate::store::applier::scan_all;

/// Unflushed commits become durable after this long at most.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// Unflushed commits become durable after this many bytes at most.
const FLUSH_BYTES: usize = 8 << 20;

/// A backend, opened as a store of databases.
pub(crate) struct Storage {
    pub backend: Arc<dyn Backend>,
    pub options: Options,
    /// Raised with every opening of the store.
    pub epoch: u64,
    /// True if other processes may commit, too.
    pub shared: bool,
    /// Kinds of outsiders that this process has been asked to open; all of them are made of cells.
    pub custom_kinds: Mutex<BTreeSet<String>>,
    /// The room for entries that wait for something, whatever database they are of.
    pub parked: Arc<Room>,
    /// The last key that was made for a row.
    last_key: Mutex<Ulid>,
    durable: Arc<Durable>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

impl Storage {
    /// Opens a store, or creates it in an empty backend, and begins its next epoch.
    pub async fn open(backend: Box<dyn Backend>, options: Options) -> Result<Storage> {
        let backend: Arc<dyn Backend> = Arc::from(backend);
        let epoch = begin_epoch(&*backend).await.map_err(even_to_read)?;
        let shared = backend.info().capabilities.shared;
        let durable = Arc::new(Durable::default());
        let flusher = Mutex::new(Some(tokio::spawn(flush_soon(backend.clone(), durable.clone()))));
        let (custom_kinds, parked, last_key) = Default::default();
        Ok(Storage { backend, options, epoch, shared, custom_kinds, parked, last_key, durable, flusher })
    }

    pub fn environment(&self) -> &dyn Environment {
        &*self.options.environment
    }

    /// A key for a new row, greater than all that were made before.
    pub fn new_key(&self) -> Result<String> {
        let mut random = [0; 16];
        self.environment().random(&mut random[6..])?;
        let random = u128::from_be_bytes(random);
        let now = Ulid::from_parts(self.environment().now().millis(), random);
        let mut last = self.last_key.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // In the same millisecond it is the last one plus one; when these have run out, one of the next millisecond.
        let next = || last.increment().unwrap_or_else(|_| Ulid::from_parts(last.timestamp_ms() + 1, random));
        *last = if now.timestamp_ms() > last.timestamp_ms() { now } else { next() };
        Ok(last.to_string())
    }

    pub async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.backend.snapshot().await
    }

    /// Commits a batch: visible on return, durable soon.
    pub async fn commit(&self, batch: WriteBatch, bytes: usize) -> Result<()> {
        self.backend.commit(batch).await?;
        self.durable.wrote(bytes);
        Ok(())
    }

    /// Returns when everything that was committed before this call is durable.
    pub async fn flush(&self) -> Result<()> {
        self.durable.flush(&*self.backend).await
    }

    /// True while somebody flushes, for whom others may be waiting.
    pub fn is_flushing(&self) -> bool {
        self.durable.busy.load(Ordering::Acquire)
    }

    /// Flushes, ends the flusher, and closes the backend.
    pub async fn close(&self) -> Result<()> {
        let last = self.flush().await;
        let task = self.flusher.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // Aborted is what it was meant to be.
            let _ = task.await;
        }
        let closed = self.backend.close().await;
        match last {
            Err(error) if error.kind() != ErrorKind::Closed => Err(error),
            _ => closed,
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(task) = self.flusher.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Opening a store writes to it, so one that cannot be written cannot be read either. The error says what helps.
fn even_to_read(error: Error) -> Error {
    if error.kind() != ErrorKind::ReadOnly {
        return error;
    }
    let message = "the store cannot be written, and even reading it takes the right to write here, since every opening \
                   counts; make it writable, or copy it elsewhere and open the copy";
    let pairs: Vec<(String, String)> =
        error.context_pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let said = Error::new(ErrorKind::ReadOnly, message);
    pairs.into_iter().fold(said, |said, (name, value)| said.with(name, value)).caused_by(error)
}

/// Reads the epoch row, checks the version of the layout, and raises the epoch, durably: a number that was given out in an
/// epoch is thus never given out again in another one.
async fn begin_epoch(backend: &dyn Backend) -> Result<u64> {
    loop {
        let row = backend.snapshot().await?.get(META, &epoch_key()).await?;
        let mut batch = WriteBatch::new();
        let epoch = match &row {
            Some(row) => {
                batch.expect_value(META, epoch_key(), row.clone());
                let (version, epoch) = parse_epoch(row)?;
                if version < JUDGED_SINCE {
                    rebuild_all(backend, &mut batch).await?;
                }
                epoch.checked_add(1).ok_or_else(unreadable)?
            }
            None => {
                refuse_remains(backend).await?;
                batch.expect_absent(META, epoch_key());
                1
            }
        };
        let mut out = Writer::new();
        out.list(2).uint(VERSION).uint(epoch);
        batch.put(META, epoch_key(), out.finish());
        match backend.commit(batch).await {
            Ok(()) => {
                backend.flush().await?;
                return Ok(epoch);
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}

/// Before this version of the layout nobody asked which entries count.
const JUDGED_SINCE: u64 = 4;

/// Has every database rebuilt when it is opened next.
async fn rebuild_all(backend: &dyn Backend, batch: &mut WriteBatch) -> Result<()> {
    let rows = backend.snapshot().await?;
    for (key, row) in scan_all(&*rows, Scan::prefix(META, b"d")).await? {
        // One that cannot be read is found when its database is opened.
        let Ok(meta) = Meta::parse(&row) else { continue };
        let meta = Meta { rebuilding: true, ..meta };
        batch.expect_value(META, key.clone(), row);
        batch.put(META, key, meta.to_bytes());
    }
    Ok(())
}

/// A store begins with its first row. Others without it are what is left of a copy that was cut off.
async fn refuse_remains(backend: &dyn Backend) -> Result<()> {
    let rows = backend.snapshot().await?;
    for keyspace in Keyspace::all() {
        if !rows.scan(Scan::new(keyspace).rows(1)).await?.rows.is_empty()
            && rows.get(META, &epoch_key()).await?.is_none()
        {
            let message =
                "the store is incomplete, as a backup is that was cut off; it was left as it is; copy it again";
            return Err(Error::new(ErrorKind::Corrupted, message).with("location", backend.info().location));
        }
    }
    Ok(())
}

/// The epoch of the last opening, by this process or another one.
pub(crate) async fn epoch_now(rows: &dyn Snapshot) -> Result<u64> {
    Ok(parse_epoch(&rows.get(META, &epoch_key()).await?.ok_or_else(unreadable)?)?.1)
}

/// The version of the layout, and the epoch.
fn parse_epoch(row: &Bytes) -> Result<(u64, u64)> {
    let mut input = Reader::new(row);
    let mut read = || input.list(usize::MAX).and_then(|_| input.uint());
    let version = read().map_err(|_| unreadable())?;
    if version > VERSION {
        let message =
            "the store was written by a newer version of this program; it was left as it is; update the program";
        return Err(Error::new(ErrorKind::NewerFormat, message).with("layout", version).with("known", VERSION));
    }
    Ok((version, input.uint().map_err(|_| unreadable())?))
}

/// Which version has written the store does not follow from anything else in it.
fn unreadable() -> Error {
    let message = "the first row of the store, which says which version has written it, cannot be read, and is not to be had \
                   from the rest; restore the store from a backup, or take up its histories from peers or exports in another \
                   one";
    Error::new(ErrorKind::Corrupted, message).with("damaged", "the first row of the store")
}

/// How far commits are durable. Whoever waits while a flush is under way shares the next one.
#[derive(Default)]
struct Durable {
    /// How many commits there have been.
    committed: AtomicU64,
    /// How many of them are durable.
    flushed: AtomicU64,
    /// True while somebody flushes.
    busy: AtomicBool,
    /// Told when a flush has ended, well or not.
    ended: tokio::sync::Notify,
    bytes: AtomicUsize,
    full: tokio::sync::Notify,
}

impl Durable {
    fn wrote(&self, bytes: usize) {
        self.committed.fetch_add(1, Ordering::AcqRel);
        if self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes >= FLUSH_BYTES {
            self.full.notify_one();
        }
    }

    async fn flush(&self, backend: &dyn Backend) -> Result<()> {
        let wanted = self.committed.load(Ordering::Acquire);
        loop {
            // Before looking, so that no end is missed.
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.flushed.load(Ordering::Acquire) >= wanted {
                return Ok(());
            }
            // One flushes for all who have committed by then. The others are woken together, so that what they commit next
            // comes together, too. If it fails or is dropped, another one flushes.
            let Some(_turn) = Turn::take(self) else {
                ended.await;
                continue;
            };
            let now = self.committed.load(Ordering::Acquire);
            self.bytes.store(0, Ordering::Release);
            backend.flush().await?;
            self.flushed.fetch_max(now, Ordering::AcqRel);
            return Ok(());
        }
    }
}

/// The right to flush.
struct Turn<'a>(&'a Durable);

impl<'a> Turn<'a> {
    fn take(durable: &'a Durable) -> Option<Turn<'a>> {
        let taken = durable.busy.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        // Not `then_some`: a turn that was never had must not be given back.
        taken.is_ok().then(|| Turn(durable))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.ended.notify_waiters();
    }
}

/// Flushes what nobody waits for.
async fn flush_soon(backend: Arc<dyn Backend>, durable: Arc<Durable>) {
    let mut interval = tokio::time::interval(FLUSH_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Either does; in a fixed order a run can be repeated.
            biased;
            _ = durable.full.notified() => {}
            _ = interval.tick() => {}
        }
        if let Err(error) = durable.flush(&*backend).await {
            tracing::warn!(%error, "flushing failed; it is tried again");
        }
    }
}

/// The same error for one more waiter.
pub(crate) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message().to_owned()).retry(error.retry_hint());
    error.context_pairs().fold(copy, |copy, (name, value)| copy.with(name.to_owned(), value))
}
