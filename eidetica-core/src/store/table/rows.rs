//! Going through the rows of a range.

use std::collections::BTreeMap;

use bytes::Bytes;
use eidetica_contract::{Direction, Result};

use super::delta::{Fields, RowAction};
use super::parse;
use super::range::RowRange;
use super::store::staged_row;
use crate::error::damaged;
use crate::store::cell::{self, Cell};
use crate::store::handle::{Cells, Opened, PAGE_CELLS, StoreHandle};

/// Rows in order, page by page, with what is staged among them.
pub(super) struct Rows<'a> {
    handle: &'a StoreHandle,
    staged: BTreeMap<Cell, RowAction>,
    direction: Direction,
    page: std::vec::IntoIter<(Cell, Bytes)>,
    pending: Option<(Cell, Bytes)>,
    left: Option<Cells>,
    /// One snapshot for all pages, or a transaction that touches several rows would be seen half.
    opened: Option<Opened<'a>>,
    /// How many rows the next page may have: first as many as are wanted, then twice as many as before.
    rows: usize,
}

impl<'a> Rows<'a> {
    pub fn new(handle: &'a StoreHandle, staged: BTreeMap<Cell, RowAction>, range: &RowRange) -> Rows<'a> {
        let left = Some(Cells { start: range.start.clone(), end: range.end.clone() });
        let (direction, page) = (range.direction, Vec::new().into_iter());
        Rows { handle, staged, direction, page, pending: None, left, opened: None, rows: range.limit }
    }

    pub async fn next(&mut self) -> Result<Option<(String, Fields)>> {
        loop {
            if self.pending.is_none() {
                self.pending = self.read().await?;
            }
            let (cell, record, action) = match self.take_staged() {
                Some((cell, action)) => {
                    let record = self.pending.take_if(|(at, _)| *at == cell).map(|(_, record)| record);
                    (cell, record, Some(action))
                }
                None => match self.pending.take() {
                    Some((cell, record)) => (cell, Some(record), None),
                    None => return Ok(None),
                },
            };
            let row = parse(record.as_ref())?;
            if let Some(shown) = staged_row(row.shown(), action.as_ref()) {
                return Ok(Some((key_of(&cell)?, shown.fields)));
            }
        }
    }

    /// The staged action that comes next, if it does not come behind the row that was read.
    fn take_staged(&mut self) -> Option<(Cell, RowAction)> {
        let next = match self.direction {
            Direction::Forward => self.staged.first_entry()?,
            Direction::Backward => self.staged.last_entry()?,
        };
        let comes = self.pending.as_ref().is_none_or(|(cell, _)| match self.direction {
            Direction::Forward => next.key() <= cell,
            Direction::Backward => next.key() >= cell,
        });
        comes.then(|| next.remove_entry())
    }

    async fn read(&mut self) -> Result<Option<(Cell, Bytes)>> {
        loop {
            if let Some(row) = self.page.next() {
                return Ok(Some(row));
            }
            let Some(cells) = self.left.take() else { return Ok(None) };
            if self.opened.is_none() {
                self.opened = self.handle.open().await?;
            }
            let Some(opened) = &self.opened else { return Ok(None) };
            let page;
            (page, self.left) = opened.records(cells, self.direction, self.rows).await?;
            self.page = page.into_iter();
            self.rows = self.rows.min(PAGE_CELLS) * 2;
        }
    }
}

pub(super) fn key_of(cell: &Cell) -> Result<String> {
    let part = cell::single_part(cell).ok_or_else(|| damaged("the key of a row"))?;
    String::from_utf8(part.into_owned()).map_err(|_| damaged("the key of a row"))
}
