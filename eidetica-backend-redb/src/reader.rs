//! Snapshots: read transactions of redb.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Direction, Keyspace, Page, Result, Scan, Snapshot};
use redb::{ReadOnlyTable, ReadTransaction};

use crate::engine::Engine;
use crate::error::sheltered;
use crate::tables;
use crate::worker::Worker;

/// What is read where it is called: a hop to another thread would cost more than this much reading.
const INLINE_BYTES: usize = 64 << 10;
const INLINE_ROWS: usize = 4096;
const INLINE_KEYS: usize = 256;

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A read transaction. While it lives, redb keeps every page that it can see: what is deleted or overwritten meanwhile takes
/// up room in the file.
pub(crate) struct View {
    engine: Arc<Engine>,
    // Finding a table in the file is a search of its own, so it is done once.
    tables: [OnceLock<Table>; Keyspace::COUNT as usize],
    transaction: ReadTransaction,
}

impl View {
    pub(crate) fn new(engine: Arc<Engine>, transaction: ReadTransaction) -> View {
        View { engine, tables: [const { OnceLock::new() }; Keyspace::COUNT as usize], transaction }
    }

    fn table(&self, keyspace: Keyspace) -> Result<&Table> {
        let place = &self.tables[keyspace.number() as usize];
        if let Some(table) = place.get() {
            return Ok(table);
        }
        let table = self.transaction.open_table(tables::of(keyspace)).map_err(|error| self.engine.translate(error))?;
        Ok(place.get_or_init(|| table))
    }

    fn get_many<'a>(&self, keyspace: Keyspace, mut keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Option<Bytes>>> {
        self.engine.check_open()?;
        sheltered(&self.engine.path, || {
            let table = self.table(keyspace)?;
            let value = |key: &[u8]| Ok(table.get(key)?.map(|value| Bytes::copy_from_slice(value.value())));
            let values: std::result::Result<_, redb::StorageError> = keys.by_ref().map(value).collect();
            values.map_err(|error| self.engine.translate(error))
        })
    }

    fn scan(&self, scan: &Scan) -> Result<Page> {
        self.engine.check_open()?;
        // redb panics over a range whose end comes before its start.
        if scan.is_empty_range() {
            return Ok(Page::default());
        }
        sheltered(&self.engine.path, || {
            let table = self.table(scan.keyspace)?;
            page(table, scan).map_err(|error| self.engine.translate(error))
        })
    }
}

fn page(table: &Table, scan: &Scan) -> std::result::Result<Page, redb::StorageError> {
    let mut range = match &scan.end {
        Some(end) => table.range::<&[u8]>(&scan.start[..]..&end[..])?,
        None => table.range::<&[u8]>(&scan.start[..]..)?,
    };
    let mut page = Page::default();
    let mut bytes = 0;
    loop {
        let row = match scan.direction {
            Direction::Forward => range.next(),
            Direction::Backward => range.next_back(),
        };
        let Some(row) = row.transpose()? else { return Ok(page) };
        let full = page.rows.len() == scan.max_rows || bytes >= scan.max_bytes;
        if full && !page.rows.is_empty() {
            page.more = true;
            return Ok(page);
        }
        let (key, value) = (Bytes::copy_from_slice(row.0.value()), Bytes::copy_from_slice(row.1.value()));
        bytes += key.len() + value.len();
        page.rows.push((key, value));
    }
}

/// A view that may be read from any task.
pub(crate) struct SharedView {
    view: Arc<View>,
    worker: Arc<Worker>,
}

impl SharedView {
    pub(crate) fn new(view: View, worker: Arc<Worker>) -> SharedView {
        SharedView { view: Arc::new(view), worker }
    }
}

#[async_trait]
impl Snapshot for SharedView {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        if keys.len() <= INLINE_KEYS {
            return self.view.get_many(keyspace, keys.iter().copied());
        }
        let view = self.view.clone();
        let keys: Vec<Box<[u8]>> = keys.iter().map(|&key| key.into()).collect();
        self.worker
            .run(move || {
                let _span = tracing::debug_span!("redb get", keys = keys.len()).entered();
                view.get_many(keyspace, keys.iter().map(|key| &**key))
            })
            .await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        scan.check()?;
        if scan.max_bytes <= INLINE_BYTES && scan.max_rows <= INLINE_ROWS {
            return self.view.scan(&scan);
        }
        let view = self.view.clone();
        self.worker
            .run(move || {
                let _span = tracing::debug_span!("redb scan", rows = scan.max_rows, bytes = scan.max_bytes).entered();
                view.scan(&scan)
            })
            .await
    }
}
