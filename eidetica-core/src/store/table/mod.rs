//! Tables: rows with fields that merge one by one (rule 27), ordered by key, with secondary indexes.

mod conflicts;
mod convert;
mod delta;
mod index;
mod range;
mod rows;
mod store;

use bytes::Bytes;
use eidetica_contract::Result;

pub use conflicts::RowConflict;
pub(crate) use delta::TableOperations;
pub use delta::{Fields, RowAction, TableDelta};
pub(crate) use index::{IndexDefinition, IndexWriter, index_rows};
pub use range::RowRange;
pub use store::Table;

use super::applier::Applier;
use super::cell::{self, Cell};
use super::events::{Moment, ReadEntry};
use super::live;
use super::past::Past;
use super::row::{Ended, RowCell};
use super::row_replay::{self, RowOperation};
use crate::error::damaged;
use crate::store::algebra::Delta;

/// The name of this store kind.
pub const KIND: &str = "table";

/// How many rows of a delta are looked up at once.
const LOOK_AHEAD: usize = 256;

/// Applies the delta of an entry to the rows of a store.
pub(crate) async fn apply(
    applier: &mut Applier<'_>,
    delta: &TableOperations,
    indexes: &mut IndexWriter<'_>,
) -> Result<()> {
    let mut rows = delta.iter();
    loop {
        // A delta has one action for each row, so no action changes what another one of it reads.
        let rows: Vec<(String, RowAction)> = rows.by_ref().take(LOOK_AHEAD).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let cells: Vec<Cell> = rows.iter().map(|(key, _)| cell::single(key.as_bytes())).collect();
        let records = live::get_many(applier.rows, applier.store, &cells).await?;
        for (((_, action), cell), record) in rows.iter().zip(cells).zip(records) {
            apply_row(applier, cell, record, action, indexes).await?;
        }
    }
}

async fn apply_row(
    applier: &mut Applier<'_>,
    cell: Cell,
    record: Option<Bytes>,
    action: &RowAction,
    indexes: &mut IndexWriter<'_>,
) -> Result<()> {
    if let (None, RowAction::Insert(fields), []) = (&record, action, indexes.indexes) {
        applier.put_record(&cell, None, Some(RowCell::bytes_of_one(&applier.stamp, fields)));
        applier.touch(cell);
        return Ok(());
    }
    let before = parse(record.as_ref())?;
    let mut after = before.clone();
    let ended = match action {
        RowAction::Delete => {
            applier.put_past(&cell, applier.stamp.number, Past::Delete);
            after.end_seen(applier.seen)
        }
        RowAction::Insert(fields) => {
            let ended = after.end_seen(applier.seen);
            after.begin(applier.stamp, fields.clone());
            ended
        }
        RowAction::Write { identity, fields } => {
            let Some(number) = applier.number_below(identity).await? else { return Ok(()) };
            match after.identity_mut(*identity) {
                Some(identity) => identity.write(applier.stamp, fields, applier.seen),
                None if applier.past(&cell, number).await? != Some(Past::Insert) => return Ok(()),
                // Too late: the row has ended for somebody who had not seen this.
                None => vec![Ended { number: applier.stamp.number, made: false }],
            }
        }
    };
    for ended in ended {
        applier.put_past(&cell, ended.number, ended.as_past());
    }
    if after != before {
        indexes.update(applier, &cell, before.shown(), after.shown())?;
        applier.put_record(&cell, record.as_ref(), (!after.identities.is_empty()).then(|| after.to_bytes()));
    }
    applier.touch(cell);
    Ok(())
}

/// The record of a row as it was at given heads.
pub(crate) async fn replay(moment: &Moment<'_>, cell: &Cell) -> Result<RowCell> {
    let key = cell::single_part(cell).ok_or_else(|| damaged("the key of a row"))?;
    let operation = |entry: &ReadEntry| {
        let Some(Delta::Table(delta)) = &entry.delta else { return None };
        match delta.find(&key)? {
            RowAction::Insert(fields) => Some(RowOperation::Insert(fields)),
            RowAction::Write { identity, fields } => Some(RowOperation::Write { identity, fields }),
            RowAction::Delete => None,
        }
    };
    row_replay::replay(moment, cell, operation).await
}

/// How many fields of a row the entry writes, if it does.
pub(crate) fn fields_of(entry: &ReadEntry, cell: &Cell) -> Option<usize> {
    let Some(Delta::Table(delta)) = &entry.delta else { return None };
    match delta.find(&cell::single_part(cell)?)? {
        RowAction::Write { fields, .. } => Some(fields.len()),
        _ => None,
    }
}

pub(crate) fn parse(record: Option<&Bytes>) -> Result<RowCell> {
    record.map_or(Ok(RowCell::default()), |record| RowCell::parse(record).map_err(|_| damaged("a live record")))
}
