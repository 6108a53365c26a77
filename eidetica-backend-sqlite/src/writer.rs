//! The one connection that writes, and what it executes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Expectation, Keyspace, Operation, Result, WriteBatch};
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, ErrorCode};

use crate::error::translate_io;
use crate::open::Site;
use crate::statements;
use crate::worker::closed;

/// The connection that writes. The methods that begin with `try_` never wait; all others are for the writing thread.
pub(crate) struct Writer {
    site: Site,
    // `None` once it is closed. Only the writing thread waits for the lock, or holds it for long.
    connection: Mutex<Option<Connection>>,
    /// About how many pages have been written since the WAL was moved into the file.
    since_checkpoint: AtomicU64,
}

/// What became of a batch that was to be applied without waiting.
pub(crate) enum Attempt {
    Done(Result<()>),
    /// It would have to wait; here it is back.
    Busy(WriteBatch),
}

/// What is written where it is called.
const INLINE_BYTES: usize = 256 << 10;
const INLINE_OPERATIONS: usize = 1024;
/// About how many pages of 4 KiB the WAL may hold before it is moved into the file.
const CHECKPOINT_PAGES: u64 = 16_384;

fn size(operation: &Operation) -> usize {
    match operation {
        Operation::Put { key, value, .. } => key.len() + value.len(),
        Operation::Delete { key, .. } => key.len(),
        // Nobody knows how many rows a range has.
        _ => INLINE_BYTES + 1,
    }
}

impl Writer {
    pub(crate) fn new(site: Site, connection: Connection) -> Writer {
        Writer { site, connection: Mutex::new(Some(connection)), since_checkpoint: AtomicU64::new(0) }
    }

    /// Applies a small batch right here, if that needs no waiting: neither for this process, nor for another one, nor for
    /// the disk, since a commit under NORMAL syncs nothing. Waking the writing thread would cost more than the work.
    pub(crate) fn try_commit(&self, batch: WriteBatch) -> Attempt {
        let expected = batch.expectations.iter().filter_map(|expectation| expectation.value.as_ref());
        let bytes = batch.operations.iter().map(size).chain(expected.map(|value| value.len())).sum::<usize>();
        if bytes > INLINE_BYTES || batch.operations.len() > INLINE_OPERATIONS {
            return Attempt::Busy(batch);
        }
        let Ok(guard) = self.connection.try_lock() else { return Attempt::Busy(batch) };
        let Some(connection) = guard.as_ref() else { return Attempt::Done(Err(closed())) };
        let begin = || {
            connection.busy_timeout(Duration::ZERO)?;
            let begun = execute(connection, "BEGIN IMMEDIATE");
            connection.busy_timeout(self.site.lock_timeout)?;
            begun
        };
        match begin() {
            Ok(()) => Attempt::Done(self.finish(connection, &batch)),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Attempt::Busy(batch),
            Err(error) => Attempt::Done(Err(self.site.translate(error))),
        }
    }

    /// Applies a batch in one transaction.
    pub(crate) fn commit(&self, batch: &WriteBatch) -> Result<()> {
        let guard = self.lock();
        let connection = guard.as_ref().ok_or_else(closed)?;
        // The right to write is taken before the expectations are read, or another process could come in between.
        execute(connection, "BEGIN IMMEDIATE").map_err(|error| self.site.translate(error))?;
        self.finish(connection, batch)
    }

    /// Applies a batch in a transaction that has begun, and ends it.
    fn finish(&self, connection: &Connection, batch: &WriteBatch) -> Result<()> {
        let _span = tracing::debug_span!("sqlite commit", operations = batch.operations.len()).entered();
        let done = self
            .apply(connection, batch)
            .and_then(|()| execute(connection, "COMMIT").map_err(|error| self.site.translate(error)));
        let pages: usize = batch.operations.iter().map(|operation| size(operation) / 4096 + 1).sum();
        self.since_checkpoint.fetch_add(pages as u64, Ordering::Relaxed);
        // After some errors SQLite has rolled back by itself.
        if done.is_err() && !connection.is_autocommit() {
            execute(connection, "ROLLBACK").map_err(|error| self.site.translate(error))?;
        }
        done
    }

    fn apply(&self, connection: &Connection, batch: &WriteBatch) -> Result<()> {
        for expectation in &batch.expectations {
            if !holds(connection, expectation).map_err(|error| self.site.translate(error))? {
                return Err(expectation.failed());
            }
        }
        // What is written lies keyspace by keyspace, so that one statement mostly serves the next operation, too.
        let mut put: Option<(Keyspace, CachedStatement<'_>)> = None;
        for operation in &batch.operations {
            if let Operation::Put { keyspace, key, value } = operation {
                let again = put
                    .take()
                    .filter(|(of, _)| of == keyspace)
                    .map_or_else(|| Ok((*keyspace, connection.prepare_cached(&statements::of(*keyspace).put)?)), Ok);
                let done = again.and_then(|(of, mut statement)| {
                    statement.execute([&key[..], &value[..]])?;
                    Ok((of, statement))
                });
                put = Some(done.map_err(|error| self.site.translate(error))?);
                continue;
            }
            if !perform(connection, operation).map_err(|error| self.site.translate(error))? {
                let message = "this backend is older than the operation; update it";
                return Err(Error::new(ErrorKind::Unsupported, message).with("operation", format!("{operation:?}")));
            }
        }
        Ok(())
    }

    /// True while the WAL is long.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        self.since_checkpoint.load(Ordering::Relaxed) >= CHECKPOINT_PAGES
    }

    /// Moves what it can of the WAL into the file, so that the WAL can start over. For the writing thread: no commit runs
    /// meanwhile, so that nothing is left over but what snapshots still need.
    pub(crate) fn checkpoint(&self) {
        if !self.is_checkpoint_due() {
            // Ordered twice; the first one has done it.
            return;
        }
        let _span = tracing::debug_span!("sqlite checkpoint").entered();
        self.since_checkpoint.store(0, Ordering::Relaxed);
        if let Some(connection) = self.lock().as_ref()
            && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        {
            // Nothing is lost: the WAL grows until a later one succeeds.
            tracing::warn!(%error, "moving the WAL into the file failed; it is tried again");
        }
    }

    /// Writes the WAL once more, byte for byte where it is. A system that has failed to write a page, and takes it for written,
    /// writes it with the next sync then.
    ///
    /// The right to write is held meanwhile, without which nobody appends to the WAL or starts it over. Readers see the same
    /// bytes all the time.
    pub(crate) fn write_anew(&self) -> Result<()> {
        const STEP: usize = 1 << 20;
        let _span = tracing::info_span!("sqlite write anew").entered();
        let guard = self.lock();
        let connection = guard.as_ref().ok_or_else(closed)?;
        execute(connection, "BEGIN IMMEDIATE").map_err(|error| self.site.translate(error))?;
        let path = self.site.wal();
        let write = || {
            let wal = File::options().read(true).write(true).open(&path)?;
            let (bytes, mut at) = (wal.metadata()?.len(), 0);
            let mut step = vec![0; STEP];
            while at < bytes {
                let step = &mut step[..usize::try_from(bytes - at).unwrap_or(STEP).min(STEP)];
                wal.read_exact_at(step, at)?;
                wal.write_all_at(step, at)?;
                at += step.len() as u64;
            }
            Ok(())
        };
        let written = write().map_err(|error| translate_io(&path, error));
        // There is nothing to roll back but the right to write.
        execute(connection, "ROLLBACK").map_err(|error| self.site.translate(error))?;
        written
    }

    /// A number that changes when somebody else has committed: another process, or another handle of this one.
    pub(crate) fn foreign(&self) -> Result<u64> {
        self.read_foreign(&self.lock())
    }

    /// The same without waiting: `None` while the writing thread is at work.
    pub(crate) fn try_foreign(&self) -> Option<Result<u64>> {
        match self.connection.try_lock() {
            Ok(guard) => Some(self.read_foreign(&guard)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.read_foreign(&poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn read_foreign(&self, connection: &Option<Connection>) -> Result<u64> {
        let connection = connection.as_ref().ok_or_else(closed)?;
        data_version(connection).map_err(|error| self.site.translate(error))
    }

    /// Rewrites the file without its free pages.
    pub(crate) fn compact(&self) -> Result<()> {
        let _span = tracing::info_span!("sqlite compact").entered();
        let guard = self.lock();
        let connection = guard.as_ref().ok_or_else(closed)?;
        connection.execute_batch("VACUUM").map_err(|error| self.site.translate(error))?;
        // VACUUM writes through the WAL; only this makes the file itself shorter.
        self.site.empty_wal(connection)
    }

    /// Moves the WAL into the file and lets go of it.
    pub(crate) fn close(&self) {
        if let Some(connection) = self.lock().take() {
            // The last connection that closes does it. What fails here is done by the next one that opens. For files
            // that are about to be removed it would be work for nothing.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, self.site.volatile);
            drop(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A job that panicked has left at worst an open transaction, which `commit` would report.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Executes a statement that has no parameters, such as `BEGIN`, from the cache.
pub(crate) fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// A number that changes for this connection when another one has committed, of whichever process.
pub(crate) fn data_version(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("PRAGMA data_version")?;
    statement.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

fn holds(connection: &Connection, expectation: &Expectation) -> rusqlite::Result<bool> {
    let mut get = connection.prepare_cached(&statements::of(expectation.keyspace).get)?;
    let mut rows = get.query([&expectation.key[..]])?;
    Ok(match (rows.next()?, &expectation.value) {
        (Some(row), Some(value)) => row.get_ref(0)?.as_blob()? == value,
        (None, None) => true,
        _ => false,
    })
}

/// Performs an operation that puts nothing; false if it is not known here.
fn perform(connection: &Connection, operation: &Operation) -> rusqlite::Result<bool> {
    match operation {
        Operation::Delete { keyspace, key } => {
            connection.prepare_cached(&statements::of(*keyspace).delete)?.execute([&key[..]])?;
        }
        Operation::DeleteRange { keyspace, start, end: Some(end) } => {
            let sql = &statements::of(*keyspace).delete_range;
            connection.prepare_cached(sql)?.execute([&start[..], &end[..]])?;
        }
        Operation::DeleteRange { keyspace, start, end: None } => {
            connection.prepare_cached(&statements::of(*keyspace).delete_from)?.execute([&start[..]])?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The bytes of a column, copied out of the page.
pub(crate) fn blob(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}
