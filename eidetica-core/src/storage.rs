//! A backend with what all databases in it share: the epoch, the flusher, the environment.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Backend, Error, ErrorKind, Result, Snapshot, WriteBatch};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::cbor::{Reader, Writer};
use crate::clock::Environment;
use crate::engine::Options;
use crate::error::{closed, damaged};
use crate::layout::{META, VERSION, epoch_key};

/// Unflushed commits become durable after this long at most.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// Unflushed commits become durable after this many bytes at most.
const FLUSH_BYTES: usize = 8 << 20;
/// How many commits may wait for a flush at once; more wait for a place.
const FLUSH_QUEUE: usize = 4096;

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
    flusher: Flusher,
}

impl Storage {
    /// Opens a store, or creates it in an empty backend, and begins its next epoch.
    pub async fn open(backend: Box<dyn Backend>, options: Options) -> Result<Storage> {
        let backend: Arc<dyn Backend> = Arc::from(backend);
        let epoch = begin_epoch(&*backend).await?;
        let shared = backend.info().capabilities.shared;
        let flusher = Flusher::start(backend.clone());
        Ok(Storage { backend, options, epoch, shared, custom_kinds: Mutex::default(), flusher })
    }

    pub fn environment(&self) -> &dyn Environment {
        &*self.options.environment
    }

    pub async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.backend.snapshot().await
    }

    /// Commits a batch: visible on return, durable soon.
    pub async fn commit(&self, batch: WriteBatch, bytes: usize) -> Result<()> {
        self.backend.commit(batch).await?;
        self.flusher.wrote(bytes);
        Ok(())
    }

    /// Answers when everything that was committed before this call is durable.
    pub async fn flush(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.flush_then(reply).await?;
        answer.await.map_err(|_| closed())?
    }

    /// Queues an answer that is given when everything that was committed before this call is durable.
    pub async fn flush_then(&self, reply: oneshot::Sender<Result<()>>) -> Result<()> {
        self.flusher.waiting.send(reply).await.map_err(|_| closed())
    }

    /// Flushes, ends the flusher, and closes the backend.
    pub async fn close(&self) -> Result<()> {
        let last = self.flush().await;
        let task = self.flusher.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
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
        if let Some(task) = self.flusher.task.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            task.abort();
        }
    }
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
                parse_epoch(row)? + 1
            }
            None => {
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

fn parse_epoch(row: &Bytes) -> Result<u64> {
    let mut input = Reader::new(row);
    let mut read = || input.list(usize::MAX).and_then(|_| input.uint());
    let version = read().map_err(|_| damaged("the first row of the store"))?;
    if version > VERSION {
        let message =
            "the store was written by a newer version of this program; it was left as it is; update the program";
        return Err(Error::new(ErrorKind::NewerFormat, message).with("layout", version).with("known", VERSION));
    }
    input.uint().map_err(|_| damaged("the first row of the store"))
}

/// Makes commits durable: at once when somebody waits, else soon. Whoever asks while a flush is under way shares the next.
struct Flusher {
    waiting: mpsc::Sender<oneshot::Sender<Result<()>>>,
    pressure: Arc<Pressure>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Pressure {
    dirty: AtomicBool,
    bytes: AtomicUsize,
    full: tokio::sync::Notify,
}

impl Flusher {
    fn start(backend: Arc<dyn Backend>) -> Flusher {
        let (waiting, queue) = mpsc::channel(FLUSH_QUEUE);
        let pressure = Arc::new(Pressure::default());
        let task = tokio::spawn(flush_loop(backend, queue, pressure.clone()));
        Flusher { waiting, pressure, task: Mutex::new(Some(task)) }
    }

    fn wrote(&self, bytes: usize) {
        self.pressure.dirty.store(true, Ordering::Release);
        if self.pressure.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes >= FLUSH_BYTES {
            self.pressure.full.notify_one();
        }
    }
}

async fn flush_loop(
    backend: Arc<dyn Backend>,
    mut queue: mpsc::Receiver<oneshot::Sender<Result<()>>>,
    pressure: Arc<Pressure>,
) {
    let mut interval = tokio::time::interval(FLUSH_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            received = queue.recv_many(&mut waiting, FLUSH_QUEUE) => if received == 0 { return },
            _ = pressure.full.notified() => {}
            _ = interval.tick() => if !pressure.dirty.load(Ordering::Acquire) { continue },
        }
        // Cleared first: what is committed while the flush runs may not be part of it.
        pressure.dirty.store(false, Ordering::Release);
        pressure.bytes.store(0, Ordering::Release);
        let result = backend.flush().await;
        if let Err(error) = &result {
            tracing::warn!(%error, "flushing failed; it is tried again");
            pressure.dirty.store(true, Ordering::Release);
        }
        for reply in waiting.drain(..) {
            // Who dropped the future does not want the answer.
            let _ = reply.send(result.as_ref().map(drop).map_err(again));
        }
    }
}

/// The same error for one more waiter.
pub(crate) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message().to_owned()).retry(error.retry_hint());
    error.context_pairs().fold(copy, |copy, (name, value)| copy.with(name.to_owned(), value))
}
