//! The record of a row, or of a list element, as it was at given heads.

use std::collections::BTreeMap;

use bytes::Bytes;
use eidetica_contract::Result;

use super::cell::Cell;
use super::events::{Events, Moment, ReadEntry};
use super::past::Past;
use super::row::{FieldWrite, Identity, RowCell};
use crate::dag::Numbers;
use crate::error::damaged;
use crate::id::Id;
use crate::store::stamp::Stamp;
use crate::store::table::Fields;

/// An operation on an identity, as an entry states it.
pub(crate) enum RowOperation {
    Insert(Fields),
    Write { identity: Id, fields: Fields },
}

/// Evaluates rule 27 on the operations in the set. `operation` finds the operation of an entry at the cell.
///
/// Operations come latest arrival first. An insert or a delete ends what it has seen, so from then on only what is hidden
/// from it matters, which is mostly nothing; then there is no need to read on.
pub(crate) async fn replay(
    moment: &Moment<'_>,
    cell: &Cell,
    operation: impl Fn(&ReadEntry) -> Option<RowOperation>,
) -> Result<RowCell> {
    let record = moment.record(cell).await?;
    let live =
        record.as_ref().map(RowCell::parse).transpose().map_err(|_| damaged("a live record"))?.unwrap_or_default();
    if live.numbers().iter().all(|number| moment.set.contains(*number)) && moment.has_no_past(cell).await? {
        return Ok(live);
    }
    let in_record = live.identities.iter().flat_map(Identity::operations);
    let mut events =
        Events::new(cell.clone(), in_record.map(|operation| (operation.number, operation.as_past())).collect());
    let mut range = moment.set.numbers();
    // Those of each identity together, so that many identities with many writes are not gone through for each other.
    let mut writes: BTreeMap<Id, Vec<(Stamp, Fields)>> = BTreeMap::new();
    let mut row = RowCell::default();
    while let Some(number) = events.peek(moment, &range).await? {
        let past = events.pop(number);
        range = range.below(number);
        if matches!(past, Some(Past::Insert | Past::Write)) {
            let entry = moment.entry(number).await?;
            let stamp = entry.stamp();
            match operation(&entry).ok_or_else(|| damaged("an operation is missing from its entry"))? {
                RowOperation::Insert(fields) => row.begin(stamp, fields),
                RowOperation::Write { identity, fields } => writes.entry(identity).or_default().push((stamp, fields)),
            }
        }
        if matches!(past, Some(Past::Insert | Past::Delete)) {
            range = range.intersection(&moment.hidden_from(number).await?);
        }
    }
    for identity in &mut row.identities {
        let later = writes.get(&identity.stamp.id).into_iter().flatten();
        let mut by_field: BTreeMap<&str, Vec<FieldWrite>> = BTreeMap::new();
        let mut still: BTreeMap<&str, Numbers> = BTreeMap::new();
        for (stamp, fields) in later {
            let hidden = moment.hidden_from(stamp.number).await?;
            for (name, value) in fields {
                let range = still.entry(name).or_insert_with(|| moment.set.numbers());
                let lives = range.contains(stamp.number);
                *range = range.intersection(&hidden);
                let writes = by_field.entry(name).or_default();
                if lives {
                    writes.push(FieldWrite { stamp: *stamp, value: Bytes::clone(value) });
                }
            }
        }
        for (name, mut writes) in by_field {
            writes.sort_by_key(|write| write.stamp);
            identity.fields.insert(name.to_owned(), writes);
        }
    }
    Ok(row)
}
