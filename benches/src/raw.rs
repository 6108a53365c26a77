//! The limits of an engine: the same rows without Eidetica.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use eidetica::backend::database::Memory;
use eidetica::backend::{Backend as _, Keyspace, Operation, WriteBatch};
use rusqlite::Connection;

use crate::base::{self, Bases};
use crate::raw_redb::RawRedb;
use crate::work::ingest::Engine;
use crate::{PAGE_CACHE, Result};

/// An engine by itself.
pub enum Raw {
    /// SQLite.
    Sqlite(RawSqlite),
    /// redb.
    Redb(RawRedb),
}

impl Raw {
    /// A new store of this engine with no rows; `None` in memory, where there is nothing below.
    pub async fn fresh(bases: &Bases, engine: Engine) -> Result<Option<Raw>> {
        let path = bases.fresh();
        Ok(match engine {
            Engine::Memory => None,
            Engine::Sqlite => {
                base::sqlite(&path).await?.close().await?;
                Some(Raw::Sqlite(RawSqlite::open(&path, "NORMAL")?))
            }
            Engine::Redb => Some(Raw::Redb(RawRedb::copy_of(&Memory::new(), &path, false).await?)),
        })
    }

    /// Writes the rows of a batch in one transaction.
    pub fn commit(&self, batch: &WriteBatch) -> Result<()> {
        match self {
            Raw::Sqlite(raw) => raw.commit(batch),
            Raw::Redb(raw) => raw.commit(batch),
        }
    }

    /// Reads the value of one key.
    pub fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        match self {
            Raw::Sqlite(raw) => raw.get(keyspace, key),
            Raw::Redb(raw) => raw.get(keyspace, key),
        }
    }
}

/// SQLite by itself, on a file that the SQLite backend has made: no thread, no queue, no expectation.
pub struct RawSqlite {
    connection: Connection,
    put: Vec<String>,
    get: Vec<String>,
    delete: Vec<String>,
}

impl RawSqlite {
    /// Opens a file. `synchronous` as SQLite calls it: `NORMAL` or `FULL`.
    pub fn open(path: &Path, synchronous: &str) -> Result<RawSqlite> {
        let connection = Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "cache_size", -((PAGE_CACHE / 2 / 1024) as i64))?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 16_384, |_| Ok(()))?;
        let each = |text: fn(u8) -> String| Keyspace::all().map(|keyspace| text(keyspace.number())).collect();
        Ok(RawSqlite {
            connection,
            put: each(|n| format!("REPLACE INTO k{n} (k, v) VALUES (?1, ?2)")),
            get: each(|n| format!("SELECT v FROM k{n} WHERE k = ?1")),
            delete: each(|n| format!("DELETE FROM k{n} WHERE k = ?1")),
        })
    }

    /// Writes the rows of a batch in one transaction.
    pub fn commit(&self, batch: &WriteBatch) -> Result<()> {
        self.execute("BEGIN IMMEDIATE")?;
        for operation in &batch.operations {
            match operation {
                Operation::Put { keyspace, key, value } => {
                    let mut put = self.connection.prepare_cached(&self.put[usize::from(keyspace.number())])?;
                    put.execute([&key[..], &value[..]])?;
                }
                Operation::Delete { keyspace, key } => {
                    let mut delete = self.connection.prepare_cached(&self.delete[usize::from(keyspace.number())])?;
                    delete.execute([&key[..]])?;
                }
                other => return Err(format!("no bench deletes ranges: {other:?}").into()),
            }
        }
        self.execute("COMMIT")
    }

    /// Reads the value of one key.
    pub fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        let mut get = self.connection.prepare_cached(&self.get[usize::from(keyspace.number())])?;
        let mut rows = get.query([key])?;
        Ok(match rows.next()? {
            Some(row) => Some(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?)),
            None => None,
        })
    }

    fn execute(&self, sql: &str) -> Result<()> {
        Ok(self.connection.prepare_cached(sql)?.execute([]).map(drop)?)
    }
}

/// The batch without what it expects.
pub fn rows_of(batch: &WriteBatch) -> WriteBatch {
    let mut rows = WriteBatch::new();
    rows.operations.clone_from(&batch.operations);
    rows
}

/// The same rows in as few batches as `operations` in each allow, each key once in a batch, in the order of the keys: what
/// a bulk writer would write.
pub fn in_bulk(batches: &[WriteBatch], operations: usize) -> Vec<WriteBatch> {
    let mut bulk = Vec::new();
    let mut rows = BTreeMap::new();
    let pour = |rows: &mut BTreeMap<(Keyspace, Bytes), Operation>, bulk: &mut Vec<WriteBatch>| {
        let mut batch = WriteBatch::new();
        batch.operations.extend(std::mem::take(rows).into_values());
        bulk.push(batch);
    };
    for operation in batches.iter().flat_map(|batch| &batch.operations) {
        let place = match operation {
            Operation::Put { keyspace, key, .. } | Operation::Delete { keyspace, key } => (*keyspace, key.clone()),
            _ => continue,
        };
        rows.insert(place, operation.clone());
        if rows.len() >= operations {
            pour(&mut rows, &mut bulk);
        }
    }
    if !rows.is_empty() {
        pour(&mut rows, &mut bulk);
    }
    bulk
}
