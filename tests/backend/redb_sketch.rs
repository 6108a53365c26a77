//! The contract over redb, as small as it gets: proof that it fits an engine of quite another kind. Not for use: it calls
//! the engine where it is called, and knows no error but `Io` and `Corrupted`.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Backend, BackendInfo, Capabilities, Direction, Error, ErrorKind, Keyspace, Operation, Page, Result, Scan, Snapshot,
    WriteBatch,
};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

const NAMES: [&str; Keyspace::COUNT as usize] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];

fn table(keyspace: Keyspace) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(NAMES[keyspace.number() as usize])
}

pub struct Redb {
    database: RwLock<Option<Arc<Database>>>,
    location: String,
}

impl Redb {
    pub fn open(path: &Path) -> Result<Redb> {
        let database = Database::create(path).map_err(failed)?;
        let create = database.begin_write().map_err(failed)?;
        for keyspace in Keyspace::all() {
            create.open_table(table(keyspace)).map_err(failed)?;
        }
        create.commit().map_err(failed)?;
        Ok(Redb { database: RwLock::new(Some(Arc::new(database))), location: path.display().to_string() })
    }

    fn database(&self) -> Result<Arc<Database>> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.clone().ok_or_else(|| Error::new(ErrorKind::Closed, "this redb store has been closed"))
    }
}

#[async_trait]
impl Backend for Redb {
    fn info(&self) -> BackendInfo {
        let mut info = BackendInfo::new("redb", self.location.clone());
        info.capabilities = Capabilities::default().durable();
        info
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        let database = self.database()?;
        batch.check(&self.info().limits)?;
        let mut transaction = database.begin_write().map_err(failed)?;
        transaction.set_durability(Durability::None).map_err(failed)?;
        // A transaction that is dropped is as if it had never been.
        apply(&transaction, &batch)?;
        transaction.commit().map_err(failed)
    }

    async fn flush(&self) -> Result<()> {
        // What was committed without durability becomes durable together with the next commit that has it.
        let database = self.database()?;
        database.begin_write().map_err(failed)?.commit().map_err(failed)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(View(self.database()?.begin_read().map_err(failed)?)))
    }

    async fn close(&self) -> Result<()> {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        match database {
            Some(database) => database.begin_write().map_err(failed)?.commit().map_err(failed),
            None => Ok(()),
        }
    }
}

fn apply(transaction: &WriteTransaction, batch: &WriteBatch) -> Result<()> {
    for expectation in &batch.expectations {
        let table = transaction.open_table(table(expectation.keyspace)).map_err(failed)?;
        let found = table.get(&expectation.key[..]).map_err(failed)?;
        if found.as_ref().map(|value| value.value()) != expectation.value.as_deref() {
            return Err(expectation.failed());
        }
    }
    for operation in &batch.operations {
        match operation {
            Operation::Put { keyspace, key, value } => {
                let mut table = transaction.open_table(table(*keyspace)).map_err(failed)?;
                table.insert(&key[..], &value[..]).map_err(failed)?;
            }
            Operation::Delete { keyspace, key } => {
                transaction.open_table(table(*keyspace)).map_err(failed)?.remove(&key[..]).map_err(failed)?;
            }
            Operation::DeleteRange { keyspace, start, end } => {
                let mut table = transaction.open_table(table(*keyspace)).map_err(failed)?;
                match end {
                    Some(end) if start >= end => {}
                    Some(end) => table.retain_in::<&[u8], _>(&start[..]..&end[..], |_, _| false).map_err(failed)?,
                    None => table.retain_in::<&[u8], _>(&start[..].., |_, _| false).map_err(failed)?,
                }
            }
            unknown => return Err(Error::new(ErrorKind::Unsupported, format!("{unknown:?}"))),
        }
    }
    Ok(())
}

struct View(ReadTransaction);

#[async_trait]
impl Snapshot for View {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let table = self.0.open_table(table(keyspace)).map_err(failed)?;
        let get = |key: &&[u8]| Ok(table.get(*key)?.map(|value| Bytes::copy_from_slice(value.value())));
        keys.iter().map(get).collect::<Result<_, redb::StorageError>>().map_err(failed)
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        scan.check()?;
        let mut page = Page::default();
        if scan.is_empty_range() {
            return Ok(page);
        }
        let table = self.0.open_table(table(scan.keyspace)).map_err(failed)?;
        let mut range = match &scan.end {
            Some(end) => table.range::<&[u8]>(&scan.start[..]..&end[..]),
            None => table.range::<&[u8]>(&scan.start[..]..),
        }
        .map_err(failed)?;
        let mut bytes = 0;
        loop {
            let row = match scan.direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            let Some(row) = row else { return Ok(page) };
            if !page.rows.is_empty() && (page.rows.len() == scan.max_rows || bytes >= scan.max_bytes) {
                page.more = true;
                return Ok(page);
            }
            let (key, value) = row.map_err(failed)?;
            let row = (Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value()));
            bytes += row.0.len() + row.1.len();
            page.rows.push(row);
        }
    }
}

fn failed(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let kind = if matches!(error, redb::Error::Corrupted(_)) { ErrorKind::Corrupted } else { ErrorKind::Io };
    Error::new(kind, "redb failed").caused_by(error)
}
