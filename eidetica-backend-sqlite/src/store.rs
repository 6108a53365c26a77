//! The store: what the threads and connections are for, and who ends them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{
    Backend, BackendEntry, BackendInfo, Capabilities, Error, ErrorKind, Maintenance, Result, Snapshot, WriteBatch,
    inventory,
};
use tempfile::TempDir;
use tracing::Instrument as _;

use crate::error::translate_io;
use crate::flush::Flusher;
use crate::open::{Access, Site};
use crate::reader::{Readers, SharedView};
use crate::worker::Worker;
use crate::writer::{Attempt, Writer};

inventory::submit! {
    BackendEntry::new("sqlite", concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")), |rest| {
        let rest = rest.to_owned();
        Box::pin(async move {
            let store = match rest.as_str() {
                "" => return Err(Error::new(ErrorKind::InvalidInput, "the URL names no file; write `sqlite:notes.db`")),
                ":memory:" => Sqlite::in_memory().await?,
                path => Sqlite::open(path).await?,
            };
            Ok(Box::new(store) as Box<dyn Backend>)
        })
    })
    .with_capabilities(IN_A_FILE)
}

/// In memory there is nothing that lasts, and nobody to share it with.
const IN_MEMORY: Capabilities = Capabilities::none().compact().check();
const IN_A_FILE: Capabilities = IN_MEMORY.durable().shared();

/// A store in a SQLite file.
///
/// Several processes, and several values in one process, may have the same file open. Dropping a value without
/// [`close`](Backend::close) leaves the file as a crash would; what was flushed is there when it is opened again.
///
/// Snapshots that are held when it is closed answer [`ErrorKind::Closed`].
///
/// ```
/// use eidetica_backend_sqlite::Sqlite;
/// use eidetica_contract::Backend;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("notes.db");
/// let store = Sqlite::open(&path).await?;
/// assert!(store.info().capabilities.durable && store.info().capabilities.shared);
/// store.close().await?;
///
/// let store = Sqlite::builder().path(&path).page_cache(16 << 20).open().await?;
/// store.close().await
/// # }
/// ```
pub struct Sqlite {
    // The threads stand first: they are dropped first, and have ended before anything that they use goes.
    writing: Worker,
    syncing: Arc<Worker>,
    reading: Arc<Worker>,
    writer: Arc<Writer>,
    flusher: Arc<Flusher>,
    readers: Arc<Readers>,
    info: BackendInfo,
    // The directory of a store in memory; `None` once it is removed.
    private: Arc<Mutex<Option<TempDir>>>,
}

impl Sqlite {
    /// Opens the store in this file, and creates it if there is none. Its directory must exist.
    ///
    /// A file that may only be read is opened for reading: commits then answer [`ErrorKind::ReadOnly`].
    ///
    /// Errors: [`ErrorKind::NotFound`] if the directory does not exist; [`ErrorKind::InvalidInput`] for a directory, or a
    /// SQLite file of another program; [`ErrorKind::Corrupted`] for a file that is damaged or is none of SQLite;
    /// [`ErrorKind::NewerFormat`]; [`ErrorKind::Locked`] if another process keeps it locked for more than
    /// [`Builder::lock_timeout`]; [`ErrorKind::PermissionDenied`]; [`ErrorKind::Full`]; [`ErrorKind::Io`]. Files that are not
    /// ours, or newer, are left as they are.
    ///
    /// Cancellation: the file may or may not be created.
    pub async fn open(path: impl AsRef<Path>) -> Result<Sqlite> {
        Sqlite::builder().path(path.as_ref()).open().await
    }

    /// A new, empty store that is gone when it is closed or dropped.
    ///
    /// It lies in a private directory below the system's directory for temporary files, since SQLite in memory can
    /// neither read and write at once nor keep a snapshot. Nothing is ever made durable, so it is as fast as memory
    /// while it fits into the system's cache.
    ///
    /// Errors: [`ErrorKind::Full`], [`ErrorKind::PermissionDenied`] and [`ErrorKind::Io`] if the directory cannot be made.
    pub async fn in_memory() -> Result<Sqlite> {
        Sqlite::builder().open().await
    }

    /// Settings for opening a store.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("notes.db");
    /// use eidetica_backend_sqlite::Sqlite;
    ///
    /// let store = Sqlite::builder().path(&path).page_cache(256 << 20).open().await?;
    /// # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
    /// ```
    pub fn builder() -> Builder {
        Builder { path: None, page_cache: 64 << 20, lock_timeout: Duration::from_secs(5) }
    }
}

/// How a store is to be opened. Made by [`Sqlite::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `open`"]
pub struct Builder {
    path: Option<PathBuf>,
    page_cache: usize,
    lock_timeout: Duration,
}

impl Builder {
    /// The file. Without one, the store is as with [`Sqlite::in_memory`].
    pub fn path(mut self, path: impl Into<PathBuf>) -> Builder {
        self.path = Some(path.into());
        self
    }

    /// How many bytes of memory hold pages of the file; 64 MiB unless set. Writing has one half, reading the other. Writes
    /// to a store that is much larger than this become slower.
    pub fn page_cache(mut self, bytes: usize) -> Builder {
        self.page_cache = bytes;
        self
    }

    /// How long to wait while another process writes, before answering [`ErrorKind::Locked`]; 5 seconds unless set.
    pub fn lock_timeout(mut self, timeout: Duration) -> Builder {
        self.lock_timeout = timeout;
        self
    }

    /// Opens the store. Errors and cancellation as in [`Sqlite::open`].
    pub async fn open(self) -> Result<Sqlite> {
        let span = tracing::info_span!(
            "sqlite open",
            path = self.path.as_ref().map(|path| tracing::field::display(path.display()))
        );
        let writing = Worker::start("sqlite-write")?;
        let opened = writing.run(move || self.open_here()).instrument(span).await?;
        Ok(Sqlite {
            writing,
            syncing: Arc::new(Worker::start("sqlite-sync")?),
            reading: Arc::new(Worker::start("sqlite-read")?),
            writer: opened.writer,
            flusher: opened.flusher,
            readers: opened.readers,
            info: opened.info,
            private: Arc::new(Mutex::new(opened.private)),
        })
    }

    /// What of opening may wait for the disk or for other processes.
    fn open_here(self) -> Result<Opened> {
        let (path, private) = match self.path {
            Some(path) => (std::path::absolute(&path).map_err(|error| translate_io(&path, error))?, None),
            None => {
                let directory = tempfile::Builder::new().prefix("eidetica-").tempdir();
                let directory = directory.map_err(|error| translate_io(&std::env::temp_dir(), error))?;
                (directory.path().join("memory.db"), Some(directory))
            }
        };
        let volatile = private.is_some();
        let (page_cache, lock_timeout) = (self.page_cache, self.lock_timeout);
        let mut site = Site { path, page_cache, lock_timeout, volatile, access: Access::ReadWrite };
        let (connection, access) = site.open()?;
        site.access = access;

        let writer = Arc::new(Writer::new(site.clone(), connection));
        let flusher = match volatile || access != Access::ReadWrite {
            true => Flusher::idle(site.clone()),
            false => Flusher::new(site.clone())?,
        };
        let info = match volatile {
            true => BackendInfo::new("sqlite", "memory"),
            false => BackendInfo::new("sqlite", site.path.display().to_string()),
        };
        let capabilities = if volatile { IN_MEMORY } else { IN_A_FILE };
        Ok(Opened {
            writer,
            flusher: Arc::new(flusher),
            readers: Arc::new(Readers::new(site)),
            info: with_capabilities(info, capabilities),
            private,
        })
    }
}

struct Opened {
    writer: Arc<Writer>,
    flusher: Arc<Flusher>,
    readers: Arc<Readers>,
    info: BackendInfo,
    private: Option<TempDir>,
}

fn with_capabilities(mut info: BackendInfo, capabilities: Capabilities) -> BackendInfo {
    info.capabilities = capabilities;
    info
}

impl Sqlite {
    /// Lets the writing thread move the WAL into the file when it has become long. Commits meanwhile wait for that thread.
    fn checkpoint_if_due(&self) {
        if self.writer.is_checkpoint_due() {
            let writer = self.writer.clone();
            self.writing.post(move || writer.checkpoint());
        }
    }
}

fn write_anew(writer: &Writer, flusher: &Flusher) -> Result<()> {
    writer.write_anew()?;
    flusher.is_written_anew();
    Ok(())
}

#[async_trait]
impl Backend for Sqlite {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.readers.check_open()?;
        batch.check(&self.info.limits)?;
        if batch.is_empty() {
            return Ok(());
        }
        let batch = match self.writer.try_commit(batch) {
            Attempt::Done(done) => {
                self.checkpoint_if_due();
                return done;
            }
            Attempt::Busy(batch) => batch,
        };
        let writer = self.writer.clone();
        let done = self.writing.run(move || writer.commit(&batch)).await;
        self.checkpoint_if_due();
        done
    }

    async fn flush(&self) -> Result<()> {
        self.readers.check_open()?;
        if self.flusher.has_inherited() {
            let (writer, flusher) = (self.writer.clone(), self.flusher.clone());
            self.writing.run(move || write_anew(&writer, &flusher)).await?;
        }
        self.flusher.flush(&self.syncing).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let view = self.readers.begin()?;
        Ok(Box::new(SharedView::new(view, self.reading.clone())))
    }

    async fn changed(&self) -> Result<u64> {
        self.readers.check_open()?;
        if let Some(answer) = self.writer.try_foreign() {
            return answer;
        }
        let writer = self.writer.clone();
        self.writing.run(move || writer.foreign()).await
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.readers.check_open()?;
        match job {
            Maintenance::Compact => {
                let writer = self.writer.clone();
                self.writing.run(move || writer.compact()).await
            }
            // It only reads, so commits go on meanwhile.
            Maintenance::Check => {
                let readers = self.readers.clone();
                self.reading.run(move || readers.check_structures()).await
            }
            unknown => {
                let message = "this backend has no such maintenance job";
                Err(Error::new(ErrorKind::Unsupported, message).with("job", format!("{unknown:?}")))
            }
        }
    }

    async fn close(&self) -> Result<()> {
        self.readers.close();
        let (syncing, reading) = (self.syncing.clone(), self.reading.clone());
        let (writer, flusher, readers) = (self.writer.clone(), self.flusher.clone(), self.readers.clone());
        let private = self.private.clone();
        // As the last job of the writing thread: behind all commits that were accepted.
        let last = move || {
            let _span = tracing::info_span!("sqlite close").entered();
            syncing.stop();
            reading.stop();
            readers.release();
            let anew = if flusher.has_inherited() { write_anew(&writer, &flusher) } else { Ok(()) };
            let flushed = anew.and_then(|()| flusher.sync());
            flusher.release();
            writer.close();
            drop(private.lock().unwrap_or_else(PoisonError::into_inner).take());
            flushed
        };
        match self.writing.run_last(last).await {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()), // by an earlier call
            closed => closed,
        }
    }
}
