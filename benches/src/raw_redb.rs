//! redb by itself, with the rows of a store in tables of its own.

use std::path::Path;

use bytes::Bytes;
use eidetica::backend::{Backend, Keyspace, Operation, Scan, WriteBatch};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::{PAGE_CACHE, Result};

const NAMES: [&str; 16] =
    ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10", "k11", "k12", "k13", "k14", "k15"];

/// redb by itself: no thread, no queue, no expectation. A file of the redb backend has a page of its own at its head, so this is
/// another file, with the same rows.
pub struct RawRedb {
    database: Database,
    durability: Durability,
}

impl RawRedb {
    /// A new file with the rows of a store. Each commit waits for the disk, or none does.
    pub async fn copy_of(store: &dyn Backend, path: &Path, flushed: bool) -> Result<RawRedb> {
        let database = Database::builder().set_cache_size(PAGE_CACHE).create(path)?;
        let rows = store.snapshot().await?;
        let write = database.begin_write()?;
        for keyspace in Keyspace::all() {
            let mut table = write.open_table(table(keyspace))?;
            let mut next = Some(Scan::new(keyspace));
            while let Some(scan) = next.take() {
                let page = rows.scan(scan.clone()).await?;
                for (key, value) in &page.rows {
                    table.insert(&key[..], &value[..])?;
                }
                next = page.rows.last().filter(|_| page.more).map(|(last, _)| scan.after(last));
            }
        }
        write.commit()?;
        let durability = if flushed { Durability::Immediate } else { Durability::None };
        Ok(RawRedb { database, durability })
    }

    /// Writes the rows of a batch in one transaction.
    pub fn commit(&self, batch: &WriteBatch) -> Result<()> {
        let mut write = self.database.begin_write()?;
        write.set_durability(self.durability)?;
        for operation in &batch.operations {
            match operation {
                Operation::Put { keyspace, key, value } => {
                    write.open_table(table(*keyspace))?.insert(&key[..], &value[..])?;
                }
                Operation::Delete { keyspace, key } => drop(write.open_table(table(*keyspace))?.remove(&key[..])?),
                other => return Err(format!("no bench deletes ranges: {other:?}").into()),
            }
        }
        Ok(write.commit()?)
    }

    /// Reads the value of one key.
    pub fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.database.begin_read()?.open_table(table(keyspace))?.get(key)?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }
}

fn table(keyspace: Keyspace) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(NAMES[usize::from(keyspace.number())])
}
