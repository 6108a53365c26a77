//! Making durable what was committed.
//!
//! # Why one `fdatasync` of the WAL is enough
//!
//! Commits run under `synchronous = NORMAL`: SQLite writes their frames to the `-wal` file and does not wait for the
//! disk. At any time a committed frame is in one of two states.
//!
//! 1. **In the current WAL.** `fdatasync` of that file makes it durable, whichever descriptor or process wrote it: the
//!    call is about the inode. Frames carry a running checksum, so after a crash SQLite takes the longest intact prefix
//!    that ends with a commit: a prefix of the commit order that includes all that was synced.
//! 2. **In an earlier WAL, moved into the file by a checkpoint.** Under NORMAL (and FULL, which another process may use) a
//!    checkpoint syncs the WAL, writes the pages, and syncs the database file before the WAL may be started over. So the
//!    frame is durable already. When SQLite starts the WAL over it syncs the new header before it goes on, so old and new
//!    frames cannot be mixed up after a crash.
//!
//! **The file stays the same file.** SQLite deletes the `-wal` file, or leaves WAL mode, only under an exclusive lock on the
//! database, which nobody gets while our writing connection is open (in WAL mode it keeps its shared lock).
//!
//! **The descriptor does no harm.** Closing any descriptor of a file drops all POSIX locks that the process holds on that
//! file. SQLite locks the database file and the `-shm` file, never the `-wal` file. For the same reason nothing in this
//! crate opens the database file other than through SQLite.
//!
//! **The names.** The first flush also syncs the directory, in which the database and the WAL may just have been created.
//! (What a new database file holds SQLite has synced itself, when it was switched to WAL mode.)
//!
//! # When a sync fails
//!
//! The system may have dropped the pages that it could not write, and it tells so once: a further `fdatasync` succeeds,
//! though nothing of them is on the disk. So a flusher that has failed stays failed. Opening the store anew is no way around
//! it, since the pages may still be in the cache of the system and look written. The first flush of a handle that has found
//! something in the log therefore does not trust it: it writes the log once more, byte for byte, before it syncs it.
//!
//! The alternative, one tiny row under `synchronous = FULL`, does the same `fdatasync` after one more page and one more turn
//! of the writing thread, during which no commit can run.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eidetica_contract::{Error, ErrorKind, Result};
use rusqlite::Connection;

use crate::error::translate_io;
use crate::open::Site;
use crate::worker::Worker;
use crate::writer::data_version;

/// Memory for pages of the connection that only watches: it never reads any but the first.
const WATCH_CACHE: usize = 64 << 10;

/// Syncs the WAL, as seldom as possible.
pub(crate) struct Flusher {
    site: Site,
    /// An own descriptor of the WAL; `None` where there is nothing to sync.
    wal: Option<File>,
    /// A connection that sees whether anybody has committed: this handle, another one, or another process. `None` once it
    /// is closed. The lock is held for a few microseconds.
    watch: Mutex<Option<Connection>>,
    /// True if the log held something when it was opened, until that has been written anew.
    inherited: AtomicBool,
    /// How many syncs have begun.
    begun: AtomicU64,
    durable: Mutex<Durable>,
}

/// What is known to be on the disk.
#[derive(Default)]
struct Durable {
    /// The state of the store when the last sync that succeeded began.
    version: Option<u64>,
    /// The number of that sync.
    sync: u64,
    /// A sync has failed, with this error.
    failed: Option<String>,
}

impl Flusher {
    /// For a store where every flush has nothing to do.
    pub(crate) fn idle(site: Site) -> Flusher {
        Flusher {
            site,
            wal: None,
            watch: Mutex::default(),
            inherited: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            durable: Mutex::default(),
        }
    }

    /// For a store that has just been opened for writing, so that its WAL exists.
    pub(crate) fn new(site: Site) -> Result<Flusher> {
        let wal = File::open(site.wal()).map_err(|error| translate_io(&site.wal(), error))?;
        let bytes = wal.metadata().map_err(|error| translate_io(&site.wal(), error))?.len();
        let watch = site.connect_for_reading(WATCH_CACHE)?;
        let inherited = AtomicBool::new(bytes > 0);
        Ok(Flusher { wal: Some(wal), watch: Mutex::new(Some(watch)), inherited, ..Flusher::idle(site) })
    }

    /// True if what somebody else has left in the log must be written anew before anything counts as durable.
    pub(crate) fn has_inherited(&self) -> bool {
        self.inherited.load(Ordering::Acquire)
    }

    /// It has been.
    pub(crate) fn is_written_anew(&self) {
        self.inherited.store(false, Ordering::Release);
    }

    /// Makes durable what has been committed, unless it is already. The sync itself runs on `worker`.
    pub(crate) async fn flush(self: &Arc<Flusher>, worker: &Worker) -> Result<()> {
        // A sync that begins from now on covers all that the caller can mean, on whose behalf it may ever be.
        let before = self.begun.load(Ordering::Acquire);
        if self.wal.is_none() || self.is_up_to_date() {
            return Ok(());
        }
        let flusher = self.clone();
        worker.run(move || flusher.sync_after(before)).await
    }

    /// Syncs, unless a sync with a greater number than `before` has succeeded: of flushes that wait together, the first
    /// does the work.
    fn sync_after(&self, before: u64) -> Result<()> {
        if self.durable().sync > before || self.is_up_to_date() {
            return Ok(());
        }
        self.sync()
    }

    /// Syncs what has been committed. For the syncing thread, or when that has ended.
    pub(crate) fn sync(&self) -> Result<()> {
        let Some(wal) = &self.wal else { return Ok(()) };
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let _span = tracing::debug_span!("sqlite flush", number).entered();
        let version = self.version();
        self.check_never_failed()?;
        let first = self.durable().sync == 0;
        let synced = wal.sync_data().and_then(|()| match first {
            true => File::open(self.site.directory())?.sync_all(),
            false => Ok(()),
        });
        let mut durable = self.durable();
        match synced {
            Ok(()) => {
                durable.sync = number;
                durable.version = version;
                Ok(())
            }
            Err(error) => {
                durable.failed = Some(error.to_string());
                Err(translate_io(&self.site.wal(), error))
            }
        }
    }

    /// Closes the connection.
    pub(crate) fn release(&self) {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// True if nobody has committed since what is durable.
    fn is_up_to_date(&self) -> bool {
        let version = self.version();
        let durable = self.durable();
        durable.failed.is_none() && version.is_some() && durable.version == version
    }

    /// A number that changes with every state of the store; `None` if it cannot be told, and a sync is the safe choice.
    fn version(&self) -> Option<u64> {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        data_version(watch.as_ref()?).ok()
    }

    /// After a sync that failed, the system may have dropped what it could not write, and a further sync would report
    /// success all the same. So it is not asked again: the store has to be opened anew, which reads what is really there.
    fn check_never_failed(&self) -> Result<()> {
        match &self.durable().failed {
            None => Ok(()),
            Some(cause) => {
                let message = "a flush has failed, so what was committed since the one before it may be lost; \
                               close the store, check the disk, and open it again";
                let error = Error::new(ErrorKind::Io, message).with("path", self.site.path.display());
                Err(error.with("cause", cause))
            }
        }
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
