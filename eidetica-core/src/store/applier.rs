//! What a store kind is given to apply one entry.

use bytes::Bytes;
use eidetica_contract::{Result, Scan, Snapshot};

use super::cell::Cell;
use super::live;
use super::past::Past;
use super::stamp::Stamp;
use crate::dag::{Numbers, Seen};
use crate::db::catalog::StoreInfo;
use crate::db::entries::number_of;
use crate::id::Id;
use crate::layout::{PAST, STATE, StoreNumber, within_store};
use crate::overlay::Overlay;

/// The rows of one store, and the entry that is applied to them.
pub(crate) struct Applier<'a> {
    pub rows: &'a mut Overlay,
    pub info: &'a StoreInfo,
    pub store: StoreNumber,
    pub stamp: Stamp,
    /// What is below the entry.
    pub seen: &'a Seen,
    /// Entries that do not count.
    pub void: &'a Numbers,
    /// Cells at which the entry names what a void entry would have made: they are evaluated anew.
    pub again: &'a mut Vec<Cell>,
    /// The cells at which the entry has an operation.
    pub touched: &'a mut Vec<(StoreNumber, Cell)>,
}

impl Applier<'_> {
    /// The live record of a cell.
    pub async fn record(&self, cell: &[u8]) -> Result<Option<Bytes>> {
        live::get(self.rows, self.store, cell).await
    }

    /// The live records of several cells.
    pub async fn record_of_each(&self, cells: &[Cell]) -> Result<Vec<Option<Bytes>>> {
        live::get_many(self.rows, self.store, cells).await
    }

    /// The live records of the cells whose keys begin so.
    pub async fn records_below(&self, prefix: &[u8]) -> Result<Vec<(Cell, Bytes)>> {
        let mut records = Vec::new();
        for (key, row) in scan_all(self.rows, Scan::prefix(STATE, &self.store.key(prefix))).await? {
            let cell = within_store(&key);
            let record = live::whole(self.rows, self.store, &cell, row).await?;
            records.push((cell, record));
        }
        Ok(records)
    }

    /// The first of the cells whose keys begin so that has a live record.
    pub async fn first_below(&self, prefix: &[u8]) -> Result<Option<Cell>> {
        let scan = Scan::prefix(STATE, &self.store.key(prefix)).rows(1);
        Ok(self.rows.scan(scan).await?.rows.first().map(|(key, _)| within_store(key)))
    }

    /// Replaces the live record of a cell by another one, or by nothing.
    pub fn put_record(&mut self, cell: &[u8], before: Option<&Bytes>, record: Option<Bytes>) {
        live::put(self.rows, self.store, cell, record, before.map_or(0, Bytes::len));
    }

    /// Says in the past what an operation was. Of a void entry it stands there already.
    pub fn put_past(&mut self, cell: &[u8], number: u64, past: Past) {
        if self.void.contains(number) {
            return;
        }
        self.rows.put(PAST, self.store.past_key(cell, number), past.to_bytes());
    }

    /// The operation of an entry at a cell, if it has left the live record.
    pub async fn past(&self, cell: &[u8], number: u64) -> Result<Option<Past>> {
        let row = self.rows.get(PAST, &self.store.past_key(cell, number)).await?;
        row.map(|row| Past::parse(&row).map_err(|_| crate::error::damaged("a row of the past"))).transpose()
    }

    /// The arrival number of an entry below this one; `None` if it is not below, or not known.
    pub async fn number_below(&self, id: &Id) -> Result<Option<u64>> {
        let number = number_of(self.rows, self.store.database, id).await?;
        Ok(number.filter(|number| self.seen.contains(*number)))
    }

    pub fn touch(&mut self, cell: Cell) {
        self.touched.push((self.store, cell));
    }
}

/// How many bytes of rows are held at once, about, where a range may be long.
const PAGE_BYTES: usize = 1 << 20;

/// The rows of a range page by page, for ranges of any length.
pub(crate) struct Pages<'a> {
    rows: &'a dyn Snapshot,
    left: Option<Scan>,
}

impl<'a> Pages<'a> {
    pub fn new(rows: &'a dyn Snapshot, scan: Scan) -> Pages<'a> {
        Pages { rows, left: Some(scan.bytes(PAGE_BYTES)) }
    }

    /// The next page; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>> {
        let Some(scan) = self.left.take() else { return Ok(None) };
        let page = self.rows.scan(scan.clone()).await?;
        if let (true, Some((last, _))) = (page.more, page.rows.last()) {
            self.left = Some(scan.after(last));
        }
        Ok(Some(page.rows))
    }
}

/// All rows of a range, page by page. For ranges whose size is that of what is worked on.
pub(crate) async fn scan_all(rows: &dyn Snapshot, scan: Scan) -> Result<Vec<(Bytes, Bytes)>> {
    let (mut all, mut pages) = (Vec::new(), Pages::new(rows, scan));
    while let Some(page) = pages.next().await? {
        all.extend(page);
    }
    Ok(all)
}
