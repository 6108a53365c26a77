//! Compaction, and the check of the file.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use eidetica_contract::Result;
use redb::{
    BackendError, CompactionError, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
};

use crate::disk::{Disk, Handle};
use crate::engine::{Engine, Kind};
use crate::error::{damaged, sheltered};
use crate::overlay::Overlay;
use crate::tables::{self, CHECKS};

/// The memory that a check uses for pages.
const CHECK_CACHE: usize = 16 << 20;

/// How often the end of the file is cut off at most, where there are snapshots: each time half of what is free there goes.
const CUTS: usize = 24;

impl Engine {
    /// Gives unused space back. All of it, if no snapshot is held; else what lies free at the end of the file.
    pub(crate) fn compact(&self) -> Result<()> {
        let _span = tracing::info_span!("redb compact").entered();
        self.flush()?;
        let _flushing = self.flushing();
        let mut guard = self.write();
        let database = match guard.as_mut() {
            Some(Kind::Writable(database)) => database,
            _ => return self.database(&guard).map(drop),
        };
        sheltered(&self.path, || match database.compact() {
            Ok(_) => Ok(()),
            // Somebody holds a snapshot, whose pages must stay where they are.
            Err(CompactionError::TransactionInProgress) => self.cut_off(database),
            Err(error) => Err(self.translate(error)),
        })?;
        drop(guard);
        self.settle()
    }

    fn cut_off(&self, database: &Database) -> Result<()> {
        let mut length = self.disk.length();
        for _ in 0..CUTS {
            self.write_durably(database)?;
            let now = self.disk.length();
            if now >= length {
                break;
            }
            length = now;
        }
        Ok(())
    }

    /// Has redb read the whole file and compare all checksums: a second redb, which sees the file and writes to memory, so
    /// that nothing is repaired silently, and snapshots may be held. Nobody commits meanwhile.
    pub(crate) fn check(&self) -> Result<()> {
        let _span = tracing::info_span!("redb check").entered();
        let _flushing = self.flushing();
        let guard = self.read();
        let counted = match &*guard {
            Some(Kind::Writable(database)) => Some(self.count_check(database)?),
            _ => None,
        };
        let lengths = self.lengths(&guard)?;
        // Nothing is written to the file from here on: what redb has to write it has written.
        let _writing = match &*guard {
            Some(Kind::Writable(database)) => Some(database.begin_write().map_err(|error| self.translate(error))?),
            _ => None,
        };
        sheltered(&self.path, || {
            let twin =
                Twin { disk: self.disk.clone(), length: Mutex::new(self.disk.length()), written: Mutex::default() };
            let mut redb = Database::builder();
            let opened = redb.set_cache_size(CHECK_CACHE).set_check_integrity_on_open(true).create_with_backend(twin);
            let twin = opened.map_err(|error| self.translate(error))?;
            // Where the latest state is damaged redb falls back to the one before. That is not what was asked.
            let view = twin.begin_read().map_err(|error| self.translate(error))?;
            let found = read_checks(&view).map_err(|error| self.translate(error))?;
            if counted.is_some_and(|counted| found != counted) {
                return Err(damaged(&self.path, "the latest state of the file"));
            }
            let count = || -> std::result::Result<Vec<u64>, redb::Error> { count_rows(&view) };
            if counted.is_none() && count().map_err(|error| self.translate(error))? != lengths {
                return Err(damaged(&self.path, "the latest state of the file"));
            }
            Ok(())
        })
    }

    /// Leaves a number in the latest state of the file.
    fn count_check(&self, database: &Database) -> Result<u64> {
        let count = || -> std::result::Result<u64, redb::Error> {
            let transaction = database.begin_write()?;
            let number = {
                let mut checks = transaction.open_table(CHECKS)?;
                let number = checks.get(())?.map_or(0, |number| number.value()) + 1;
                checks.insert((), number)?;
                number
            };
            transaction.commit()?;
            Ok(number)
        };
        let number = sheltered(&self.path, || count().map_err(|error| self.translate(error)))?;
        self.settle()?;
        Ok(number)
    }

    fn lengths(&self, kind: &Option<Kind>) -> Result<Vec<u64>> {
        match kind {
            Some(Kind::Readable(database)) => {
                let count = || -> std::result::Result<Vec<u64>, redb::Error> { count_rows(&database.begin_read()?) };
                sheltered(&self.path, || count().map_err(|error| self.translate(error)))
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn read_checks(view: &redb::ReadTransaction) -> std::result::Result<u64, redb::Error> {
    Ok(view.open_table(CHECKS)?.get(())?.map_or(0, |number| number.value()))
}

fn count_rows(view: &redb::ReadTransaction) -> std::result::Result<Vec<u64>, redb::Error> {
    eidetica_contract::Keyspace::all().map(|keyspace| Ok(view.open_table(tables::of(keyspace))?.len()?)).collect()
}

/// The file, with writes that go to memory and are forgotten.
#[derive(Debug)]
struct Twin {
    disk: Arc<Disk>,
    length: Mutex<u64>,
    written: Mutex<Overlay>,
}

impl StorageBackend for Twin {
    fn len(&self) -> io::Result<u64> {
        Ok(*self.length.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_below(offset, out)?;
        self.written.lock().unwrap_or_else(PoisonError::into_inner).cover(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        *self.length.lock().unwrap_or_else(PoisonError::into_inner) = len;
        self.written.lock().unwrap_or_else(PoisonError::into_inner).truncate(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.put(offset, data, |at, out| self.read_below(at, out))
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> std::result::Result<(), BackendError> {
        Ok(())
    }
}

impl Twin {
    /// Reads what the file has, and zeros behind its end, where only the twin has made it longer.
    fn read_below(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.disk.length().saturating_sub(offset).min(out.len() as u64) as usize;
        let (file, behind) = out.split_at_mut(there);
        behind.fill(0);
        if file.is_empty() {
            return Ok(());
        }
        StorageBackend::read(&Handle(self.disk.clone()), offset, file)
    }
}
