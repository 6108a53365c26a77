//! The record of a cell of a document as it was at given heads.

use bytes::Bytes;
use eidetica_contract::Result;

use super::delta::Action;
use super::merge::element_fields;
use super::path::{Path, Step, prefix_of};
use super::record::{Live, Payload, Record, ValueCell};
use crate::dag::Numbers;
use crate::error::damaged;
use crate::store::algebra::Delta;
use crate::store::cell::Cell;
use crate::store::events::{Events, Moment, ReadEntry};
use crate::store::past::Past;
use crate::store::row_replay::{self, RowOperation};
use crate::store::stamp::Stamp;

/// Evaluates rules 24, 25 and 27a on the operations in the set.
pub(crate) async fn replay(moment: &Moment<'_>, cell: &Cell) -> Result<Record> {
    let path = Path::of_cell(cell).ok_or_else(|| damaged("the key of a cell"))?;
    if path.element().is_some() {
        return replay_element(moment, cell, &path).await;
    }
    let record = live_record(moment, cell).await?;
    // What lives now and was there then lived then; and if nothing has left the record, nothing else did.
    if moment.has_no_past(cell).await? {
        let live = record.live.into_iter().filter(|live| moment.set.contains(live.stamp.number));
        return Ok(Record::Values(ValueCell { live: live.collect() }));
    }
    let mut values = Values { range: moment.all.numbers(), scalars: moment.all.numbers(), ..Values::default() };
    values.gather(moment, cell, &path, &record).await?;
    values.keep_counted_epochs();
    let mut cell_then = ValueCell::default();
    let below = match values.found.iter().any(|live| live.payload.yields_to_below()) {
        true => {
            let numbers = |cell: &Cell, record: &bytes::Bytes| {
                Record::parse(cell, record).map(|record| record.numbers()).map_err(|_| damaged("a live record"))
            };
            moment.numbers_below(&prefix_of(cell), numbers).await?
        }
        false => Vec::new(),
    };
    for mut live in std::mem::take(&mut values.found) {
        if live.payload.yields_to_below() && overtaken_by(moment, &below, live.stamp.number).await? {
            continue;
        }
        if let Payload::Counter { sum, .. } = &mut live.payload {
            *sum += values
                .increments
                .iter()
                .filter(|(epoch, _)| *epoch == live.stamp.number)
                .map(|(_, by)| *by)
                .sum::<i128>();
        }
        cell_then.push(live.stamp, live.payload);
    }
    Ok(Record::Values(cell_then))
}

async fn overtaken_by(moment: &Moment<'_>, later: &[u64], number: u64) -> Result<bool> {
    for other in later.iter().filter(|other| **other > number) {
        if !moment.hidden_from(*other).await?.contains(number) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn live_record(moment: &Moment<'_>, cell: &Cell) -> Result<ValueCell> {
    match moment.record(cell).await? {
        Some(record) => ValueCell::parse(&record).map_err(|_| damaged("a live record")),
        None => Ok(ValueCell::default()),
    }
}

/// What is found while the operations are read, latest arrival first.
#[derive(Default)]
struct Values {
    /// Where operations that still matter may lie: not seen by anything that covers the cell.
    range: Numbers,
    /// Where scalars that still matter may lie: also not seen by an increment.
    scalars: Numbers,
    found: Vec<Live>,
    increments: Vec<(u64, i128)>,
    /// Counters that void entries would have started (rule 26).
    void_epochs: Vec<Stamp>,
}

impl Values {
    /// A counter that a void entry would have started is there, and empty, if something that counts has counted with it.
    fn keep_counted_epochs(&mut self) {
        for stamp in std::mem::take(&mut self.void_epochs) {
            if self.increments.iter().any(|(epoch, _)| *epoch == stamp.number) {
                self.found.push(Live { stamp, payload: Payload::Counter { base: None, sum: 0 } });
            }
        }
    }

    async fn gather(&mut self, moment: &Moment<'_>, cell: &Cell, path: &Path, record: &ValueCell) -> Result<()> {
        let events = |cell: &Cell, record: &ValueCell| {
            let live = record.live.iter().map(|live| (live.stamp.number, live.payload.as_past()));
            Events::new(cell.clone(), live.collect())
        };
        let mut own = events(cell, record);
        let mut above = Vec::new();
        for ancestor in path.ancestors(crate::id::Id::from_bytes([0; 32])) {
            above.push(events(&ancestor, &live_record(moment, &ancestor).await?));
        }
        loop {
            let mut next = own.peek(moment, &self.range).await?;
            for events in &mut above {
                next = next.max(events.peek(moment, &self.range).await?);
            }
            let Some(number) = next else { return Ok(()) };
            // An entry that acts here and above does so at once: its own value does not yield to it.
            let here = own.pop(number);
            let covers = |past: Option<Past>| past.is_some_and(Past::covers);
            let covered = above.iter_mut().fold(covers(here), |covered, events| covers(events.pop(number)) || covered);
            self.range = self.range.below(number);
            if !moment.set.contains(number) {
                if here.is_some_and(Past::starts_counter) {
                    self.void_epochs.push(moment.entry(number).await?.stamp());
                }
                continue;
            }
            if let Some(past) = here {
                self.take(moment, path, number, past).await?;
            }
            if covered {
                self.range = self.range.intersection(&moment.hidden_from(number).await?);
            }
            if matches!(here, Some(Past::First | Past::Increment { .. })) {
                self.scalars = self.scalars.below(number).intersection(&moment.hidden_from(number).await?);
            }
        }
    }

    async fn take(&mut self, moment: &Moment<'_>, path: &Path, number: u64, past: Past) -> Result<()> {
        if let Past::Increment { epoch, by } = past {
            self.increments.push((epoch, by.into()));
        }
        if !matches!(past, Past::Set | Past::Create | Past::First) {
            return Ok(());
        }
        let entry = moment.entry(number).await?;
        let payload = match action_at(&entry, path)? {
            Action::Set(plain) => Payload::from(plain),
            Action::Create(base) => Payload::Counter { base: Some(base), sum: 0 },
            Action::Increment { by, .. } => Payload::Counter { base: None, sum: by.into() },
            _ => return Err(damaged("an operation differs from its entry")),
        };
        if !matches!(payload, Payload::Scalar(_)) || self.scalars.contains(number) {
            self.found.push(Live { stamp: entry.stamp(), payload });
        }
        Ok(())
    }
}

async fn replay_element(moment: &Moment<'_>, cell: &Cell, path: &Path) -> Result<Record> {
    let made_by = path.element().and_then(|name| name.entry).ok_or_else(|| damaged("the key of an element"))?;
    let operation = |entry: &ReadEntry| match action_at(entry, path).ok()? {
        Action::Insert { position, value } => Some(RowOperation::Insert(element_fields(Some(&position), Some(&value)))),
        Action::Write { position, value } => {
            let fields = element_fields(position.as_ref(), value.as_ref());
            Some(RowOperation::Write { identity: made_by, fields })
        }
        _ => None,
    };
    let mut element = row_replay::replay(moment, cell, operation).await?;
    // What covers the list ends the elements it has seen, too.
    let mut survivors = Vec::new();
    for identity in element.identities {
        let mut covered = false;
        for ancestor in path.ancestors(made_by) {
            covered |= covered_above(moment, &ancestor, identity.stamp.number).await?;
        }
        if !covered {
            survivors.push(identity);
        }
    }
    element.identities = survivors;
    Ok(Record::Element(element))
}

/// True if an operation in the set that covers this cell has seen the entry with this number.
async fn covered_above(moment: &Moment<'_>, cell: &Cell, number: u64) -> Result<bool> {
    let live = live_record(moment, cell).await?.live;
    let mut events = Events::new(cell.clone(), live.iter().map(|l| (l.stamp.number, l.payload.as_past())).collect());
    let mut range = moment.set.numbers().difference(&Numbers::range(0, number + 1));
    while let Some(event) = events.peek(moment, &range).await? {
        let covers = events.pop(event).is_some_and(Past::covers);
        if covers && !moment.hidden_from(event).await?.contains(number) {
            return Ok(true);
        }
        range = range.below(event);
    }
    Ok(false)
}

/// How many fields of a list element the entry writes, if it does.
pub(crate) fn fields_of(entry: &ReadEntry, cell: &Cell) -> Option<usize> {
    match action_at(entry, &Path::of_cell(cell)?).ok()? {
        Action::Write { position, value } => Some(usize::from(position.is_some()) + usize::from(value.is_some())),
        _ => None,
    }
}

/// The action of an entry at a path.
fn action_at(entry: &ReadEntry, path: &Path) -> Result<Action<Bytes>> {
    let Some(Delta::Doc(delta)) = &entry.delta else { return Err(damaged("a delta of a document")) };
    // An entry names the elements that it makes without its own id, which it cannot contain.
    let mut path = path.clone();
    if let Some(Step::Element(name)) = path.0.last_mut() {
        name.entry.take_if(|id| *id == entry.stored.entry.id());
    }
    delta.find(&path.order()).ok_or_else(|| damaged("an operation is missing from its entry"))
}
