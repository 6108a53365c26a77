//! Opening the file: whose it is, which format it has, and how every connection to it is set up.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use eidetica_contract::{Error, ErrorKind, Keyspace, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::translate;
use crate::statements;

/// `PRAGMA application_id` of our files: "EiDB". It stands at a fixed place of the file, for `file` and the like.
const APPLICATION: i64 = 0x4569_4442;
/// `PRAGMA user_version` of the format that this version reads and writes.
const FORMAT: i64 = 1;

/// Pages that the WAL may hold before a commit moves them into the file: 64 MiB. Fewer would write often-changed pages
/// again and again, and make the disk wait more often.
const CHECKPOINT_PAGES: u32 = 16_384;

/// A store's place, and how it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Absolute, so that a later change of the working directory does no harm.
    pub(crate) path: PathBuf,
    /// Memory for pages in bytes, all connections together.
    pub(crate) page_cache: usize,
    /// How long to wait for other processes.
    pub(crate) lock_timeout: Duration,
    /// Nothing needs to survive the process: nothing is ever made durable.
    pub(crate) volatile: bool,
    /// What the file allows. Found out at opening.
    pub(crate) access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
    /// Read-only without even the files that SQLite needs for locking: the medium cannot be written by anybody.
    Immutable,
}

/// What the header of the file says.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Ours,
    Newer(i64),
    Foreign,
}

impl Site {
    /// Opens the store, creating it if there is nothing yet. Returns the connection for writing, and what is allowed.
    pub(crate) fn open(&self) -> Result<(Connection, Access)> {
        self.make_private();
        self.refuse_untouched()?;
        let (connection, access) = self.connect_for_writing()?;
        let found = self.found(&connection)?;
        match (self.accept(found)?, access) {
            (Found::Nothing, Access::ReadWrite) => self.create(&connection)?,
            (Found::Nothing, _) => {
                let message = "there is no store in this file yet, and it cannot be written";
                return Err(Error::new(ErrorKind::ReadOnly, message).with("path", self.path.display()));
            }
            (_, Access::ReadWrite) => self.enter_wal(&connection)?,
            _ => {}
        }
        self.check_tables(&connection)?;
        Ok((connection, access))
    }

    /// One more connection, for reading only.
    pub(crate) fn connect_for_reading(&self, page_cache: usize) -> Result<Connection> {
        let connection = match self.access {
            Access::Immutable => self.connect_immutable()?,
            _ => self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        self.set_up(&connection, page_cache)?;
        Ok(connection)
    }

    /// Makes the file of a new store, which nobody else may read: secret keys lie in it. SQLite gives the files that it
    /// puts beside it the same mode. One that is there keeps the mode that its owner has given it.
    ///
    /// If it cannot be made SQLite says why, when it does not find it.
    fn make_private(&self) {
        /// Closing a file ends all locks of the process on it, those of other connections included. Whoever opens a store
        /// passes here first, so while one makes the file nobody in this process can have it open.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.path.exists() {
            let _ = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path);
        }
    }

    /// Looks at the file without touching anything: a file of a newer version stays as it is, to the byte, and no other
    /// files appear beside it.
    ///
    /// What this cannot decide (no file, damage, changes that lie in the WAL only) is decided when it is really opened.
    fn refuse_untouched(&self) -> Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        match self.connect_immutable().and_then(|connection| self.found(&connection)) {
            Ok(found) => self.accept(found).map(drop),
            Err(_) => Ok(()),
        }
    }

    fn connect_for_writing(&self) -> Result<(Connection, Access)> {
        // SQLite itself must not make the file: its mode would be up to the umask.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        // Reading something is what really opens the file and its WAL.
        let opened = self.connect(flags).and_then(|connection| {
            self.set_up(&connection, self.page_cache / 2)?;
            self.found(&connection)?;
            Ok(connection)
        });
        match opened {
            // SQLite itself falls back to reading when the file cannot be opened for writing.
            Ok(connection) => match connection.is_readonly("main").map_err(|error| self.translate(error))? {
                false => Ok((connection, Access::ReadWrite)),
                true => Ok((connection, Access::ReadOnly)),
            },
            Err(error) if self.may_be_immutable(&error) => {
                let connection = self.connect_immutable()?;
                self.set_up(&connection, self.page_cache / 2)?;
                Ok((connection, Access::Immutable))
            }
            Err(error) => Err(error),
        }
    }

    /// On a read-only medium SQLite cannot create the WAL and its index, without which it does not open a file in WAL
    /// mode. If there is no WAL the file alone is the whole store, and nobody can change it.
    fn may_be_immutable(&self, error: &Error) -> bool {
        let refused = matches!(error.kind(), ErrorKind::Io | ErrorKind::ReadOnly | ErrorKind::PermissionDenied);
        let wal_is_empty = std::fs::metadata(self.wal()).map_or(true, |wal| wal.len() == 0);
        refused && wal_is_empty && self.path.is_file()
    }

    /// The path of the write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        name.into()
    }

    /// The directory in which the files of the store lie.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection> {
        // No mutex inside SQLite: a connection is always owned by one thread or lies behind a lock of ours.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        Connection::open_with_flags(&self.path, flags).map_err(|error| self.translate(error))
    }

    fn connect_immutable(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(immutable_uri(self.path.as_os_str()), flags).map_err(|error| self.translate(error))
    }

    fn set_up(&self, connection: &Connection, page_cache: usize) -> Result<()> {
        connection.set_prepared_statement_cache_capacity(statements::PREPARED);
        let kibibytes = i64::try_from(page_cache / 1024).unwrap_or(i64::MAX).clamp(64, 1 << 30);
        let set = || {
            connection.busy_timeout(self.lock_timeout)?;
            // Only `close` moves the WAL into the file. A handle that is merely dropped leaves the store as a crash
            // would, at once, and a reader never has to do the work of the writer.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.pragma_update(None, "cache_size", -kibibytes)?;
            connection.pragma_update(None, "synchronous", if self.volatile { "OFF" } else { "NORMAL" })?;
            // A commit must not have to wait for the disk, so checkpoints are jobs of their own. This one is the last resort.
            connection.pragma_update_and_check(None, "wal_autocheckpoint", 8 * CHECKPOINT_PAGES, |_| Ok(()))?;
            connection
                .pragma_update_and_check(None, "journal_size_limit", i64::from(CHECKPOINT_PAGES) * 4096, |_| Ok(()))
        };
        set().map_err(|error| self.translate(error))
    }

    /// Creates the tables, unless another process has just done so.
    fn create(&self, connection: &Connection) -> Result<()> {
        self.enter_wal(connection)?;
        let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
            .map_err(|error| self.translate(error))?;
        if self.accept(self.found(&transaction)?)? == Found::Nothing {
            let make = || {
                for keyspace in Keyspace::all() {
                    transaction.execute(&statements::of(keyspace).create, [])?;
                }
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", FORMAT)
            };
            make().map_err(|error| self.translate(error))?;
        }
        transaction.commit().map_err(|error| self.translate(error))?;
        // So that the file itself says what it is, and not only its WAL.
        self.empty_wal(connection)
    }

    /// Moves the WAL into the file and makes it as short as possible, as far as others do not hinder it.
    pub(crate) fn empty_wal(&self, connection: &Connection) -> Result<()> {
        let empty = || {
            // A snapshot that is held hinders it for as long as it is held. Then a later checkpoint does the work.
            connection.busy_timeout(Duration::ZERO)?;
            let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            connection.busy_timeout(self.lock_timeout)?;
            match emptied {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
                emptied => emptied,
            }
        };
        empty().map_err(|error| self.translate(error))
    }

    /// Switches to the write-ahead log. The file remembers it, so this does something only once.
    fn enter_wal(&self, connection: &Connection) -> Result<()> {
        let deadline = Instant::now() + self.lock_timeout;
        loop {
            let switched: rusqlite::Result<String> =
                connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
            match switched {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => {
                    let message =
                        "this file system does not offer what SQLite needs for its write-ahead log; use a local one";
                    return Err(Error::new(ErrorKind::Unsupported, message)
                        .with("path", self.path.display())
                        .with("mode", mode));
                }
                // Two processes that create the same store meet here, and SQLite does not wait by itself.
                Err(error) => {
                    let error = self.translate(error);
                    if error.kind() != ErrorKind::Locked || Instant::now() >= deadline {
                        return Err(error);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    fn found(&self, connection: &Connection) -> Result<Found> {
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let read = || {
            // All three of one moment: another process may just be making the store, and half of its numbers are nobody's.
            let _moment = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose()?;
            Ok((number("application_id")?, number("user_version")?, number("schema_version")?))
        };
        Ok(match read().map_err(|error| self.translate(error))? {
            (APPLICATION, FORMAT, _) => Found::Ours,
            (APPLICATION, version, _) if version > FORMAT => Found::Newer(version),
            (0, 0, 0) => Found::Nothing,
            _ => Found::Foreign,
        })
    }

    /// Lets pass what may be opened.
    fn accept(&self, found: Found) -> Result<Found> {
        match found {
            Found::Nothing | Found::Ours => Ok(found),
            Found::Newer(version) => {
                let message = "the SQLite store was written by a newer version of this program, and was left untouched; update this program";
                let error = Error::new(ErrorKind::NewerFormat, message).with("path", self.path.display());
                Err(error.with("format", version).with("known", FORMAT))
            }
            Found::Foreign => {
                let message = "the SQLite file belongs to another program, and was left untouched; name another file";
                Err(Error::new(ErrorKind::InvalidInput, message).with("path", self.path.display()))
            }
        }
    }

    fn check_tables(&self, connection: &Connection) -> Result<()> {
        let names = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name GLOB 'k[0-9]*'";
        let tables: i64 = connection.query_row(names, [], |row| row.get(0)).map_err(|error| self.translate(error))?;
        match tables == i64::from(Keyspace::COUNT) {
            true => Ok(()),
            false => {
                let message = "tables of the SQLite store are missing; restore it from a backup";
                Err(Error::new(ErrorKind::Corrupted, message).with("path", self.path.display()).with("tables", tables))
            }
        }
    }

    pub(crate) fn translate(&self, error: rusqlite::Error) -> Error {
        translate(&self.path, error)
    }
}

/// The address under which SQLite reads a file without locks, and without looking for a WAL.
fn immutable_uri(path: &OsStr) -> PathBuf {
    let mut uri = b"file:".to_vec();
    for byte in path.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(*byte),
            _ => uri.extend(format!("%{byte:02x}").into_bytes()),
        }
    }
    uri.extend(b"?immutable=1");
    PathBuf::from(OsStr::from_bytes(&uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_uri() {
        let uri = immutable_uri(OsStr::from_bytes(b"/a b/\xff?#%.db"));
        assert_eq!(uri, Path::new("file:/a%20b/%ff%3f%23%25.db?immutable=1"));
    }
}
