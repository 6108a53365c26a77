//! The store: what the threads are for, and who ends them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use eidetica_contract::{
    Backend, BackendEntry, BackendInfo, Capabilities, Error, ErrorKind, Maintenance, Result, Snapshot, WriteBatch,
    inventory,
};
use tracing::Instrument as _;

use crate::engine::{Attempt, Engine};
use crate::error::translate_io;
use crate::place::Place;
use crate::reader::{SharedView, View};
use crate::worker::Worker;
use crate::writer::check_known;

inventory::submit! {
    BackendEntry::new("redb", concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")), |rest| {
        let rest = rest.to_owned();
        Box::pin(async move {
            if rest.is_empty() {
                return Err(Error::new(ErrorKind::InvalidInput, "the URL names no file; write `redb:notes.redb`"));
            }
            Ok(Box::new(Redb::open(rest).await?) as Box<dyn Backend>)
        })
    })
    .with_capabilities(CAPABILITIES)
}

const CAPABILITIES: Capabilities = Capabilities::none().durable().compact().check();

/// A store in a redb file.
///
/// It is open once at a time: whoever comes second, in this process or another, is answered [`ErrorKind::Locked`]. Dropping
/// a value without [`close`](Backend::close) closes it as well, as far as that goes without an error, and waits for the
/// disk while it does so.
///
/// Snapshots that are held when it is closed answer [`ErrorKind::Closed`].
///
/// ```
/// use eidetica_backend_redb::Redb;
/// use eidetica_contract::Backend;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("notes.redb");
/// let store = Redb::open(&path).await?;
/// assert!(store.info().capabilities.durable && !store.info().capabilities.shared);
/// store.close().await?;
///
/// let store = Redb::builder(&path).page_cache(16 << 20).open().await?;
/// store.close().await
/// # }
/// ```
pub struct Redb {
    // The threads stand first: they are dropped first, and have ended before the engine goes.
    writing: Worker,
    syncing: Arc<Worker>,
    reading: Arc<Worker>,
    engine: Arc<Engine>,
    info: BackendInfo,
}

impl Redb {
    /// Opens the store in this file, and creates it if there is none. Its directory must exist.
    ///
    /// A file that may only be read is opened for reading: commits then answer [`ErrorKind::ReadOnly`]. One that was not
    /// closed when it was last used is read and written from its beginning to its end first, which takes a while if it is
    /// large.
    ///
    /// Errors: [`ErrorKind::NotFound`] if the directory does not exist; [`ErrorKind::InvalidInput`] for a directory, or a
    /// redb file of another program; [`ErrorKind::Corrupted`] for a file that is damaged or is none of this backend;
    /// [`ErrorKind::NewerFormat`]; [`ErrorKind::Locked`] if it is open already; [`ErrorKind::ReadOnly`] for one that may
    /// only be read and was not closed; [`ErrorKind::PermissionDenied`]; [`ErrorKind::Full`]; [`ErrorKind::Unsupported`] on a
    /// file system without locks; [`ErrorKind::Io`]. Files that are not ours, or newer, are left as they are.
    ///
    /// Cancellation: the file may or may not be created.
    pub async fn open(path: impl AsRef<Path>) -> Result<Redb> {
        Redb::builder(path.as_ref()).open().await
    }

    /// Settings for opening a store.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("notes.redb");
    /// use eidetica_backend_redb::Redb;
    ///
    /// let store = Redb::builder(&path).page_cache(256 << 20).open().await?;
    /// # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
    /// ```
    pub fn builder(path: impl Into<PathBuf>) -> Builder {
        Builder { path: path.into(), page_cache: 64 << 20 }
    }
}

/// How a store is to be opened. Made by [`Redb::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `open`"]
pub struct Builder {
    path: PathBuf,
    page_cache: usize,
}

impl Builder {
    /// How many bytes of memory hold pages of the file; 64 MiB unless set. What was committed since the last flush lies in up
    /// to one half of it. On a full disk, what could not be written takes as much again, and 64 MiB more at most.
    pub fn page_cache(mut self, bytes: usize) -> Builder {
        self.page_cache = bytes;
        self
    }

    /// Opens the store. Errors and cancellation as in [`Redb::open`].
    pub async fn open(self) -> Result<Redb> {
        let span = tracing::info_span!("redb open", path = tracing::field::display(self.path.display()));
        let writing = Worker::start("redb-write")?;
        let opening = move || {
            let path = std::path::absolute(&self.path).map_err(|error| translate_io(&self.path, error))?;
            let place = Place { path, page_cache: self.page_cache };
            let (kind, disk) = place.open()?;
            Ok(Engine::new(place.path, kind, disk))
        };
        let engine = writing.run(opening).instrument(span).await?;
        let mut info = BackendInfo::new("redb", engine.path.display().to_string());
        info.capabilities = CAPABILITIES;
        Ok(Redb {
            writing,
            syncing: Arc::new(Worker::start("redb-sync")?),
            reading: Arc::new(Worker::start("redb-read")?),
            engine: Arc::new(engine),
            info,
        })
    }
}

#[async_trait]
impl Backend for Redb {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.engine.check_open()?;
        batch.check(&self.info.limits)?;
        check_known(&batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        match self.engine.try_commit(batch) {
            Attempt::Done(done) => done,
            Attempt::Busy(batch) => {
                let engine = self.engine.clone();
                self.writing.run(move || engine.commit(&batch)).await
            }
        }
    }

    async fn flush(&self) -> Result<()> {
        self.engine.check_open()?;
        // A flush that begins from now on covers all that the caller can mean, on whose behalf it may ever be.
        let before = self.engine.flushes();
        if self.engine.is_up_to_date() {
            return Ok(());
        }
        let engine = self.engine.clone();
        self.syncing.run(move || engine.flush_after(before)).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.engine.check_open()?;
        let transaction = match self.engine.try_begin_read() {
            Attempt::Done(begun) => begun?,
            Attempt::Busy(()) => {
                let engine = self.engine.clone();
                self.reading.run(move || engine.begin_read()).await?
            }
        };
        Ok(Box::new(SharedView::new(View::new(self.engine.clone(), transaction), self.reading.clone())))
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.engine.check_open()?;
        let engine = self.engine.clone();
        match job {
            Maintenance::Compact => self.writing.run(move || engine.compact()).await,
            Maintenance::Check => self.writing.run(move || engine.check()).await,
            unknown => {
                let message = "this backend has no such maintenance job";
                Err(Error::new(ErrorKind::Unsupported, message).with("job", format!("{unknown:?}")))
            }
        }
    }

    async fn close(&self) -> Result<()> {
        self.engine.shut();
        let (syncing, reading, engine) = (self.syncing.clone(), self.reading.clone(), self.engine.clone());
        // As the last job of the writing thread: behind all commits that were accepted.
        let last = move || {
            let _span = tracing::info_span!("redb close").entered();
            syncing.stop();
            reading.stop();
            engine.close()
        };
        match self.writing.run_last(last).await {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()), // by an earlier call
            closed => closed,
        }
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        // Snapshots may still hold the engine. The lock on the file must not wait for them.
        self.engine.shut();
        if let Err(error) = self.engine.close() {
            tracing::warn!(%error, "a redb store was dropped without being closed, and closing it has failed");
        }
    }
}
