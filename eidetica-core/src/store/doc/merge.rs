//! How the operations of an entry change the live records of a document.

use std::collections::BTreeMap;

use bytes::Bytes;
use eidetica_contract::Result;

use super::delta::{Action, DocOperations, Plain};
use super::end::Ends;
use super::path::{Path, prefix_of};
use super::record::{Payload, Record, ValueCell, Written};
use crate::dag::Seen;
use crate::error::damaged;
use crate::id::Id;
use crate::store::applier::Applier;
use crate::store::cell::{Cell, END};
use crate::store::past::Past;
use crate::store::row::{Ended, RowCell};
use crate::store::stamp::Stamp;
use crate::store::table::Fields;
use crate::value::Value;

/// The names under which an element keeps its two fields.
pub(crate) const POSITION: &str = "p";
pub(crate) const VALUE: &str = "v";

/// Records in memory, and what leaves them.
#[derive(Default)]
pub(crate) struct Loaded {
    pub records: BTreeMap<Cell, Record>,
    pub past: Vec<(Cell, u64, Past)>,
}

/// An entry that acts.
#[derive(Clone, Copy)]
pub(crate) struct Actor<'a> {
    pub stamp: Stamp,
    /// What it overtakes.
    pub seen: &'a Seen,
}

/// How many cells are looked up at once.
const LOOK_AHEAD: usize = 256;

/// Applies the delta of an entry to the rows of a store.
///
/// Below a path that is as long as any in the store nothing lives. What such paths hold is looked up many at a time: an
/// action at one of them changes records there and above it, and whatever else the delta does above it has been done by then.
pub(crate) async fn apply(applier: &mut Applier<'_>, delta: &DocOperations) -> Result<()> {
    let (mut above, mut ends) = (Above::default(), Ends::default());
    let mut operations = delta.iter().peekable();
    let this = applier.stamp.id;
    loop {
        let (mut run, mut cells) = (Vec::new(), Vec::new());
        while run.len() < LOOK_AHEAD
            && let Some((path, action)) = operations.next_if(|(path, _)| applier.info.ends_at(path.0.len()))
        {
            ends.note(applier, &path, &action).await?;
            cells.push(path.cell(this));
            run.push((path, action));
        }
        let records = applier.record_of_each(&cells).await?;
        for (((path, action), cell), record) in run.into_iter().zip(cells).zip(records) {
            above.move_to(applier, path).await?;
            let action = match (above.is_bare(), action) {
                (true, Action::Set(plain)) => {
                    set_alone(applier, cell, record, plain.into())?;
                    continue;
                }
                (_, action) => action,
            };
            let here = record.map(|record| (cell.clone(), record)).into_iter().collect();
            apply_one(applier, &mut above, cell, here, &action).await?;
        }
        match operations.next() {
            None => return ends.write(applier).await,
            Some((path, action)) => {
                ends.note(applier, &path, &action).await?;
                above.move_to(applier, path).await?;
                let cell = above.path.cell(this);
                let here = at_and_below(applier, &cell, &action).await?;
                apply_one(applier, &mut above, cell, here, &action).await?;
            }
        }
    }
}

/// The live records that an action at a cell may change there and below it, in the order of their cells.
async fn at_and_below(applier: &Applier<'_>, cell: &Cell, action: &Action<Bytes>) -> Result<Vec<(Cell, Bytes)>> {
    if action.covers_below() {
        return applier.records_below(&prefix_of(cell)).await;
    }
    Ok(applier.record(cell).await?.map(|record| (cell.clone(), record)).into_iter().collect())
}

/// The live records above a path, as they are now. The operations of a delta are in the order of their paths, so most of
/// what is above one of them is above the next, and need not be looked up again.
#[derive(Default)]
struct Above {
    path: Path,
    /// The record of each path above, shortest first.
    records: Vec<Option<(Cell, Bytes)>>,
}

/// So many paths above are looked up one by one, which is the common case; of more, those with a record are sought.
const FEW: usize = 2;

impl Above {
    async fn move_to(&mut self, applier: &Applier<'_>, path: Path) -> Result<()> {
        let length = path.0.len().saturating_sub(1);
        let same = self.path.0.iter().zip(&path.0).take_while(|(a, b)| a == b).count();
        self.records.truncate(same.min(length));
        self.path = path;
        let this = applier.stamp.id;
        if length - self.records.len() <= FEW {
            for steps in self.records.len() + 1..=length {
                let cell = self.cell(steps, this);
                let record = applier.record(&cell).await?;
                self.records.push(record.map(|record| (cell, record)));
            }
        }
        while self.records.len() < length {
            // The first record at or below a path tells of several paths whether anything is there: a path sorts before
            // everything below it.
            let at = self.records.len() + 1;
            let Some(found) = applier.first_below(&self.path.prefix_above(at, this)).await? else {
                self.records.resize(length, None);
                break;
            };
            let is_within = |steps: &usize| found.starts_with(&self.path.prefix_above(*steps, this));
            let shared = (at..=length).take_while(is_within).last().unwrap_or(at);
            self.records.resize(shared - 1, None);
            if found == self.cell(shared, this) {
                let record = applier.record(&found).await?;
                self.records.push(record.map(|record| (found, record)));
            } else if shared < length && found > self.cell(shared + 1, this) {
                self.records.resize(length, None);
            } else {
                self.records.push(None);
            }
        }
        Ok(())
    }

    fn cell(&self, steps: usize, this: Id) -> Cell {
        let mut cell = self.path.prefix_above(steps, this);
        cell.extend_from_slice(&END);
        cell.into()
    }

    /// True if nothing lives above.
    fn is_bare(&self) -> bool {
        self.records.iter().all(Option::is_none)
    }

    /// A record has changed.
    fn put(&mut self, cell: &Cell, record: Option<&Bytes>) {
        let known = self.records.iter_mut().find(|known| known.as_ref().is_some_and(|(at, _)| at == cell));
        if let Some(known) = known {
            *known = record.map(|record| (cell.clone(), record.clone()));
        }
    }
}

/// Lets one action happen. `here` are the live records that it may change at its cell and below.
async fn apply_one(
    applier: &mut Applier<'_>,
    above: &mut Above,
    cell: Cell,
    here: Vec<(Cell, Bytes)>,
    action: &Action<Bytes>,
) -> Result<()> {
    // In the order of their cells: a path sorts before what is below it.
    let mut before: Vec<(Cell, Bytes)> = above.records.iter().flatten().cloned().collect();
    before.extend(here);
    if let Some(payload) = action.value()
        && before.iter().all(|(other, _)| *other == cell)
    {
        return set_alone(applier, cell, before.pop().map(|(_, record)| record), payload);
    }
    let mut loaded = Loaded::default();
    for (key, record) in &before {
        let parsed = Record::parse(key, record).map_err(|_| damaged("a live record"))?;
        loaded.records.insert(key.clone(), parsed);
    }
    let Some(names) = resolve(applier, &loaded, &cell, &above.path, action).await? else { return Ok(()) };
    if names.is_some_and(|number| applier.void.contains(number)) {
        applier.again.push(cell.clone());
    }
    let actor = Actor { stamp: applier.stamp, seen: applier.seen };
    loaded.act(&actor, &above.path, action, names);
    for (cell, number, past) in std::mem::take(&mut loaded.past) {
        applier.put_past(&cell, number, past);
    }
    for (cell, record) in loaded.records {
        let after = (!record.is_empty()).then(|| record.to_bytes());
        let at = before.binary_search_by(|(other, _)| other.cmp(&cell));
        let before = at.ok().map(|at| &before[at].1);
        if after.as_ref() != before {
            above.put(&cell, after.as_ref());
            applier.put_record(&cell, before, after);
        }
    }
    applier.touch(cell);
    Ok(())
}

/// A value is set at a path that has nothing above or below it: what most actions are, without the means for the others.
fn set_alone(applier: &mut Applier<'_>, cell: Cell, before: Option<Bytes>, payload: Payload) -> Result<()> {
    let mut values = match &before {
        Some(record) => Written::all(record).map_err(|_| damaged("a live record"))?,
        None => Vec::new(),
    };
    values.retain(|live| {
        let goes = applier.seen.contains(live.stamp.number);
        if goes {
            applier.put_past(&cell, live.stamp.number, live.past);
        }
        !goes
    });
    // The bytes of what stays are copied as they are, so it is made sure that they are sound. What goes lies in its entry, and
    // its bytes here go nowhere.
    if let (Some(record), false) = (&before, values.is_empty()) {
        ValueCell::parse(record).map_err(|_| damaged("a live record"))?;
    }
    let after = Written::with(&values, applier.stamp, &payload);
    applier.put_record(&cell, before.as_ref(), Some(after));
    applier.touch(cell);
    Ok(())
}

/// Finds what the action names. `None` if that is not below the entry, or never was what the action takes it for: then the
/// action has no effect (rule 28). Otherwise the number of the entry named, or `Some(None)` if none is named.
async fn resolve(
    applier: &Applier<'_>,
    loaded: &Loaded,
    cell: &Cell,
    path: &Path,
    action: &Action<Bytes>,
) -> Result<Option<Option<u64>>> {
    let (named, is_counter): (Id, bool) = match (action, path.element().and_then(|name| name.entry)) {
        (Action::Increment { epoch: Some(id), .. }, _) => (*id, true),
        (Action::Write { .. } | Action::Delete, Some(id)) => (id, false),
        _ => return Ok(Some(None)),
    };
    let Some(number) = applier.number_below(&named).await? else { return Ok(None) };
    let lives = match loaded.records.get(cell) {
        Some(Record::Values(cell)) if is_counter => {
            cell.live.iter().any(|live| live.stamp.number == number && matches!(live.payload, Payload::Counter { .. }))
        }
        Some(Record::Element(cell)) if !is_counter => cell.identities.iter().any(|i| i.stamp.number == number),
        _ => false,
    };
    let was = || async {
        let past = applier.past(cell, number).await?;
        Ok::<bool, eidetica_contract::Error>(match past {
            Some(past) if is_counter => past.starts_counter(),
            Some(past) => past == Past::Insert,
            None => false,
        })
    };
    Ok((lives || was().await?).then_some(Some(number)))
}

impl<V> Action<V> {
    /// The value that the action sets by itself, whatever was there.
    fn value(&self) -> Option<Payload> {
        match self {
            Action::Set(plain) => Some(plain.clone().into()),
            Action::Create(base) => Some(Payload::Counter { base: Some(*base), sum: 0 }),
            _ => None,
        }
    }

    pub(crate) fn covers_below(&self) -> bool {
        matches!(self, Action::Delete | Action::Set(_) | Action::Create(_))
    }
}

impl Loaded {
    /// Lets an action happen. The records must hold what lives at the path, at all paths above it and, if the action
    /// covers what is below, at all paths below it. `names` is the number of the entry that the action names.
    pub fn act<V: Encoded>(&mut self, actor: &Actor<'_>, path: &Path, action: &Action<V>, names: Option<u64>) {
        let this = actor.stamp.id;
        let cell = path.cell(this);
        for ancestor in self.above(path, &cell, this) {
            self.overtake(actor, &ancestor, Payload::yields_to_below);
        }
        if action.covers_below() {
            let prefix = path.prefix(this);
            let covered: Vec<Cell> = self
                .records
                .range(Bytes::copy_from_slice(&prefix)..)
                .map(|(cell, _)| cell.clone())
                .take_while(|cell| cell.starts_with(&prefix))
                .collect();
            covered.iter().for_each(|cell| self.overtake(actor, cell, |_| true));
        }
        let number = actor.stamp.number;
        match action {
            Action::Delete => self.past.push((cell, number, Past::Delete)),
            Action::Set(_) | Action::Create(_) => {
                if let Some(payload) = action.value() {
                    self.values(&cell).push(actor.stamp, payload);
                }
            }
            Action::Increment { by, .. } => self.increment(actor, &cell, *by, names),
            Action::Insert { position, value } => {
                self.element(&cell).begin(actor.stamp, element_fields(Some(position), Some(value)));
            }
            Action::Write { position, value } => {
                self.write_element(actor, &cell, element_fields(position.as_ref(), value.as_ref()), names);
            }
        }
    }

    /// The cells above a path at which there may be a record. Of few records and long paths it goes through the fewer.
    fn above(&self, path: &Path, cell: &Cell, this: Id) -> Vec<Cell> {
        if self.records.len() > path.0.len() {
            return path.ancestors(this);
        }
        let lower = self.records.range::<Cell, _>(..cell).map(|(lower, _)| lower);
        lower.filter(|lower| cell.starts_with(&prefix_of(lower))).cloned().collect()
    }

    fn increment(&mut self, actor: &Actor<'_>, cell: &Cell, by: i64, epoch: Option<u64>) {
        self.overtake(actor, cell, |payload| matches!(payload, Payload::Scalar(_)));
        let Some(epoch) = epoch else {
            let first = Payload::Counter { base: None, sum: by.into() };
            return self.values(cell).push(actor.stamp, first);
        };
        for live in &mut self.values(cell).live {
            if let (true, Payload::Counter { sum, .. }) = (live.stamp.number == epoch, &mut live.payload) {
                *sum += i128::from(by);
            }
        }
        self.past.push((cell.clone(), actor.stamp.number, Past::Increment { epoch, by }));
    }

    fn write_element(&mut self, actor: &Actor<'_>, cell: &Cell, fields: Fields, identity: Option<u64>) {
        let element = self.element(cell);
        let lives = element.identities.iter_mut().find(|i| Some(i.stamp.number) == identity);
        let overtaken = match lives {
            Some(identity) => identity.write(actor.stamp, &fields, actor.seen),
            // Too late: the element has ended for somebody who had not seen this.
            None => vec![Ended { number: actor.stamp.number, made: false }],
        };
        self.past.extend(overtaken.iter().map(|ended| (cell.clone(), ended.number, ended.as_past())));
    }

    /// Moves the values at a cell that were seen, and that yield, to the past. An element always yields.
    fn overtake(&mut self, actor: &Actor<'_>, cell: &Cell, yields: impl Fn(&Payload) -> bool) {
        match self.records.get_mut(cell) {
            Some(Record::Values(values)) => {
                let gone = values.overtake(actor.seen, yields);
                self.past.extend(gone.into_iter().map(|(number, past)| (cell.clone(), number, past)));
            }
            Some(Record::Element(element)) => {
                let ended = element.end_seen(actor.seen);
                self.past.extend(ended.iter().map(|ended| (cell.clone(), ended.number, ended.as_past())));
            }
            None => {}
        }
    }

    fn values(&mut self, cell: &Cell) -> &mut ValueCell {
        let record = self.records.entry(cell.clone()).or_insert_with(|| Record::Values(ValueCell::default()));
        match record {
            Record::Values(values) => values,
            // The form of a cell's key tells what it holds, and a valid action fits its path.
            Record::Element(_) => unreachable!("an element lies at the path of a value"),
        }
    }

    fn element(&mut self, cell: &Cell) -> &mut RowCell {
        let record = self.records.entry(cell.clone()).or_insert_with(|| Record::Element(RowCell::default()));
        match record {
            Record::Element(element) => element,
            Record::Values(_) => unreachable!("a value lies at the path of an element"),
        }
    }
}

impl ValueCell {
    /// Takes out the values that were seen and that yield. Returns their numbers, and what they become in the past.
    fn overtake(&mut self, seen: &Seen, yields: impl Fn(&Payload) -> bool) -> Vec<(u64, Past)> {
        let mut gone = Vec::new();
        self.live.retain(|live| {
            let goes = seen.contains(live.stamp.number) && yields(&live.payload);
            if goes {
                gone.push((live.stamp.number, live.payload.as_past()));
            }
            !goes
        });
        gone
    }
}

impl Payload {
    /// What it becomes when it has been overtaken.
    pub(crate) fn as_past(&self) -> Past {
        match self {
            Payload::Counter { base: Some(_), .. } => Past::Create,
            Payload::Counter { base: None, .. } => Past::First,
            _ => Past::Set,
        }
    }
}

impl Ended {
    /// What it becomes in the past.
    pub(crate) fn as_past(self) -> Past {
        if self.made { Past::Insert } else { Past::Write }
    }
}

impl From<Plain> for Payload {
    fn from(plain: Plain) -> Payload {
        match plain {
            Plain::Scalar(value) => Payload::Scalar(value),
            Plain::Map => Payload::Map,
            Plain::List => Payload::List,
        }
    }
}

/// A value, or its canonical bytes.
pub(crate) trait Encoded {
    fn encoded(&self) -> Bytes;
}

impl Encoded for Value {
    fn encoded(&self) -> Bytes {
        self.to_bytes().into()
    }
}

impl Encoded for Bytes {
    fn encoded(&self) -> Bytes {
        self.clone()
    }
}

/// The fields of an element, as its record keeps them.
pub(crate) fn element_fields(position: Option<&Vec<u8>>, value: Option<&impl Encoded>) -> Fields {
    let position = position.map(|bytes| (POSITION.to_owned(), Value::Bytes(bytes.clone()).to_bytes().into()));
    let value = value.map(|value| (VALUE.to_owned(), value.encoded()));
    position.into_iter().chain(value).collect()
}
