//! Cells for store kinds of your own: keys, each with the live values that nothing later has replaced.

mod delta;
mod store;

use eidetica_contract::Result;

pub use delta::CellsDelta;
pub use store::{Cells, LiveValue};

use super::applier::Applier;
use super::cell::{self, Cell};
use super::doc::{Payload, Record, ValueCell};
use super::events::{Events, Moment};
use super::past::Past;
use crate::error::damaged;
use crate::store::algebra::Delta;
use crate::value::Value;

/// Applies the delta of an entry to the rows of a store.
pub(crate) async fn apply(applier: &mut Applier<'_>, delta: &CellsDelta) -> Result<()> {
    for (key, value) in &delta.0 {
        let cell = cell::single(key);
        let record = applier.record(&cell).await?;
        let mut values = parse(record.as_ref())?;
        let mut overtaken = Vec::new();
        values.live.retain(|live| {
            let stays = !applier.seen.contains(live.stamp.number);
            if !stays {
                overtaken.push(live.stamp.number);
            }
            stays
        });
        match value {
            Some(value) => values.push(applier.stamp, Payload::Scalar(Value::Bytes(value.to_vec()))),
            None => applier.put_past(&cell, applier.stamp.number, Past::Delete),
        }
        for number in overtaken {
            applier.put_past(&cell, number, Past::Set);
        }
        let after = Record::Values(values);
        if record.is_some() || !after.is_empty() {
            applier.put_record(&cell, record.as_ref(), (!after.is_empty()).then(|| after.to_bytes()));
        }
        applier.touch(cell);
    }
    Ok(())
}

/// The record of a cell as it was at given heads.
pub(crate) async fn replay(moment: &Moment<'_>, cell: &Cell) -> Result<ValueCell> {
    let live = parse(moment.record(cell).await?.as_ref())?;
    let key = cell::single_part(cell).ok_or_else(|| damaged("the key of a cell"))?;
    let mut events = Events::new(cell.clone(), live.live.iter().map(|l| (l.stamp.number, Past::Set)).collect());
    let mut range = moment.set.numbers();
    let mut then = ValueCell::default();
    while let Some(number) = events.peek(moment, &range).await? {
        let past = events.pop(number);
        if past == Some(Past::Set) {
            let entry = moment.entry(number).await?;
            let Some(Delta::Cells(delta)) = &entry.delta else { return Err(damaged("a delta of cells")) };
            let found =
                delta.0.binary_search_by(|(at, _)| at[..].cmp(&key[..])).ok().and_then(|at| delta.0[at].1.as_ref());
            let value = found.ok_or_else(|| damaged("an operation is missing from its entry"))?;
            then.push(entry.stamp(), Payload::Scalar(Value::Bytes(value.to_vec())));
        }
        range = range.below(number).intersection(&moment.hidden_from(number).await?);
    }
    Ok(then)
}

fn parse(record: Option<&bytes::Bytes>) -> Result<ValueCell> {
    record.map_or(Ok(ValueCell::default()), |record| ValueCell::parse(record).map_err(|_| damaged("a live record")))
}
