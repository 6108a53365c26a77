//! The open database: what commits, flushes and reads through it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use eidetica_contract::{Result, WriteBatch};
use redb::{Database, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, TransactionError};

use crate::disk::Disk;
use crate::error::{read_only, sheltered, translate, translate_io};
use crate::worker::closed;
use crate::writer::{self, Failed};

/// What redb has opened.
pub(crate) enum Kind {
    Writable(Database),
    Readable(ReadOnlyDatabase),
}

/// The database. Everything here may block, apart from the methods that begin with `try_`.
pub(crate) struct Engine {
    pub(crate) path: PathBuf,
    pub(crate) disk: Arc<Disk>,
    // `None` once it is closed. Compaction alone holds it for writing, and `close`.
    kind: RwLock<Option<Kind>>,
    closed: AtomicBool,
    /// How many batches have been committed.
    committed: AtomicU64,
    /// How many flushes have begun.
    begun: AtomicU64,
    durable: Mutex<Durable>,
    /// Held by whoever has redb sync.
    flushing: Mutex<()>,
}

/// What is known to be on the disk.
#[derive(Default)]
struct Durable {
    /// How many batches.
    batches: u64,
    /// The number of the last flush that succeeded.
    flush: u64,
}

/// What became of something that was to be done without waiting.
pub(crate) enum Attempt<T, Back> {
    Done(Result<T>),
    /// It would have to wait; here is what it was about.
    Busy(Back),
}

impl Engine {
    pub(crate) fn new(path: PathBuf, kind: Kind, disk: Arc<Disk>) -> Engine {
        Engine {
            path,
            disk,
            kind: RwLock::new(Some(kind)),
            closed: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            durable: Mutex::default(),
            flushing: Mutex::default(),
        }
    }

    /// From now on nothing begins any more.
    pub(crate) fn shut(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The error if the store has been closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(closed()),
            false => Ok(()),
        }
    }

    pub(crate) fn translate(&self, error: impl Into<redb::Error>) -> eidetica_contract::Error {
        translate(&self.path, error)
    }

    /// Applies a batch right here, if nobody else is writing and there is room. A commit without durability ends in memory.
    pub(crate) fn try_commit(&self, batch: WriteBatch) -> Attempt<(), WriteBatch> {
        if self.disk.is_full() || !writer::is_small(&batch) {
            return Attempt::Busy(batch);
        }
        let guard = match self.kind.try_read() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Attempt::Busy(batch),
        };
        let database = match self.database(&guard) {
            Ok(database) => database,
            Err(error) => return Attempt::Done(Err(error)),
        };
        let mut busy = false;
        let done = sheltered(&self.path, || match database.try_begin_write() {
            Err(TransactionError::WouldBlock) => {
                busy = true;
                Ok(())
            }
            begun => self.finish(begun, &batch),
        });
        if busy { Attempt::Busy(batch) } else { Attempt::Done(done) }
    }

    /// Applies a batch.
    pub(crate) fn commit(&self, batch: &WriteBatch) -> Result<()> {
        let guard = self.read();
        let database = self.database(&guard)?;
        // What is refused for want of room must be refused before it is visible.
        if self.disk.is_full() {
            self.settle()?;
        }
        sheltered(&self.path, || self.finish(database.begin_write(), batch))
    }

    fn finish(
        &self,
        begun: std::result::Result<redb::WriteTransaction, TransactionError>,
        batch: &WriteBatch,
    ) -> Result<()> {
        let _span = tracing::debug_span!("redb commit", operations = batch.operations.len()).entered();
        let transaction = begun.map_err(|error| self.translate(error))?;
        writer::apply(transaction, batch).map_err(|failed| match failed {
            Failed::Expected(conflict) => conflict,
            Failed::Redb(error) => self.translate(error),
        })?;
        self.committed.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// The number of a flush that would begin now; a later one covers all that has been committed by now.
    pub(crate) fn flushes(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// True if nothing has been committed since what is durable.
    pub(crate) fn is_up_to_date(&self) -> bool {
        let committed = self.committed.load(Ordering::Acquire);
        self.durable().batches == committed && !self.disk.is_full()
    }

    /// Makes durable what has been committed, unless a flush with a greater number than `before` has done so: of those that
    /// wait together, the first does the work.
    pub(crate) fn flush_after(&self, before: u64) -> Result<()> {
        if self.durable().flush > before || self.is_up_to_date() {
            return Ok(());
        }
        self.flush()
    }

    /// Makes durable what has been committed.
    pub(crate) fn flush(&self) -> Result<()> {
        let flushing = self.flushing();
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let _span = tracing::debug_span!("redb flush", number).entered();
        let batches = self.committed.load(Ordering::Acquire);
        // What an earlier flush has found no room for comes first.
        self.settle()?;
        {
            let guard = self.read();
            let database = self.database(&guard)?;
            self.disk.owe();
            // Without waiting for the disk, so that the next commits can begin; that is done below.
            if let Err(error) = sheltered(&self.path, || self.write_durably(database)) {
                let _ = self.settle();
                return Err(error);
            }
        }
        self.settle()?;
        drop(flushing);
        let mut durable = self.durable();
        durable.batches = durable.batches.max(batches);
        durable.flush = durable.flush.max(number);
        Ok(())
    }

    /// What was committed without durability becomes durable together with the next transaction that has it.
    pub(crate) fn write_durably(&self, database: &Database) -> Result<()> {
        let mut transaction = database.begin_write().map_err(|error| self.translate(error))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| self.translate(error))?;
        transaction.commit().map_err(|error| self.translate(error))
    }

    /// Carries out what redb has been promised.
    pub(crate) fn settle(&self) -> Result<()> {
        self.disk.settle().map_err(|error| translate_io(&self.path, error))
    }

    /// A view of the store as it is now, without waiting.
    pub(crate) fn try_begin_read(&self) -> Attempt<ReadTransaction, ()> {
        match self.kind.try_read() {
            Ok(guard) => Attempt::Done(self.begin(&guard)),
            Err(TryLockError::Poisoned(poisoned)) => Attempt::Done(self.begin(&poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => Attempt::Busy(()),
        }
    }

    /// A view of the store as it is now.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction> {
        self.begin(&self.read())
    }

    fn begin(&self, kind: &Option<Kind>) -> Result<ReadTransaction> {
        let begun = match kind {
            None => return Err(closed()),
            Some(Kind::Writable(database)) => sheltered(&self.path, || Ok(database.begin_read()))?,
            Some(Kind::Readable(database)) => sheltered(&self.path, || Ok(database.begin_read()))?,
        };
        begun.map_err(|error| self.translate(error))
    }

    /// Closes the database, which flushes it.
    pub(crate) fn close(&self) -> Result<()> {
        if self.read().is_none() {
            return Ok(());
        }
        let flushed = if self.is_up_to_date() { Ok(()) } else { self.flush() };
        let _flushing = self.flushing();
        let kind = self.write().take();
        let closed = sheltered(&self.path, || match kind {
            None => Ok(()),
            Some(Kind::Writable(database)) => database.close().map_err(|error| self.translate(error)),
            Some(Kind::Readable(database)) => database.close().map_err(|error| self.translate(error)),
        });
        flushed.and(closed)
    }

    /// The database, if it may be written.
    pub(crate) fn database<'a>(&self, kind: &'a Option<Kind>) -> Result<&'a Database> {
        match kind {
            None => Err(closed()),
            Some(Kind::Writable(database)) => Ok(database),
            Some(Kind::Readable(_)) => Err(read_only(&self.path)),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Option<Kind>> {
        self.kind.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Option<Kind>> {
        self.kind.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn flushing(&self) -> MutexGuard<'_, ()> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
