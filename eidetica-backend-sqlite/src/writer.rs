//! The one connection that writes, and what it executes.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Expectation, Operation, Result, WriteBatch};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::open::Site;
use crate::statements;
use crate::worker::closed;

/// The connection that writes. All methods but [`try_foreign`](Writer::try_foreign) are for the writing thread.
pub(crate) struct Writer {
    site: Site,
    // `None` once it is closed. Only the writing thread holds the lock for long.
    connection: Mutex<Option<Connection>>,
}

impl Writer {
    pub(crate) fn new(site: Site, connection: Connection) -> Writer {
        Writer { site, connection: Mutex::new(Some(connection)) }
    }

    /// Applies a batch in one transaction.
    pub(crate) fn commit(&self, batch: &WriteBatch) -> Result<()> {
        let _span = tracing::debug_span!("sqlite commit", operations = batch.operations.len()).entered();
        let guard = self.lock();
        let connection = guard.as_ref().ok_or_else(closed)?;
        // The right to write is taken before the expectations are read, or another process could come in between.
        execute(connection, "BEGIN IMMEDIATE").map_err(|error| self.site.translate(error))?;
        let done = self
            .apply(connection, batch)
            .and_then(|()| execute(connection, "COMMIT").map_err(|error| self.site.translate(error)));
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
        for operation in &batch.operations {
            if !perform(connection, operation).map_err(|error| self.site.translate(error))? {
                let message = "this backend is older than the operation; update it";
                return Err(Error::new(ErrorKind::Unsupported, message).with("operation", format!("{operation:?}")));
            }
        }
        Ok(())
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

/// Performs one operation; false if it is not known here.
fn perform(connection: &Connection, operation: &Operation) -> rusqlite::Result<bool> {
    match operation {
        Operation::Put { keyspace, key, value } => {
            let sql = &statements::of(*keyspace).put;
            connection.prepare_cached(sql)?.execute([&key[..], &value[..]])?;
        }
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
