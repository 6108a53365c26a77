//! A part of a document as a transaction sees it, and how its own changes come together.

use std::collections::BTreeMap;
use std::ops::Bound;

use eidetica_contract::Result;

use super::delta::{Action, Plain};
use super::merge::{Actor, Loaded};
use super::path::Path;
use super::record::{Payload, Record, ValueCell};
use super::render::Node;
use crate::dag::Seen;
use crate::error::damaged;
use crate::id::Id;
use crate::store::cell::{self, Cell};
use crate::store::handle::StoreHandle;
use crate::store::stage::DocStage;
use crate::store::stamp::Stamp;
use crate::value::Value;

/// What lives at and below a path.
pub(crate) struct DocView {
    /// Without the changes of the transaction.
    base: BTreeMap<Cell, Record>,
    /// With them; `None` where there are none.
    changed: Option<BTreeMap<Cell, Record>>,
}

/// What shows under a key at the top, where one record tells and nothing is staged; else `None`. That needs neither a path nor
/// a tree.
pub(crate) async fn shown_alone(handle: &StoreHandle, key: &str) -> Result<Option<Option<Value>>> {
    if handle.is_writable() {
        return Ok(None);
    }
    let Some(record) = handle.only_record(&cell::single(key.as_bytes()), 1).await? else { return Ok(None) };
    let values = record.map(|record| ValueCell::parse(&record)).transpose();
    Ok(Some(values.map_err(|_| damaged("a live record"))?.and_then(ValueCell::into_shown)))
}

impl DocView {
    /// Reads what lives at and below a path.
    pub async fn load(handle: &StoreHandle, path: &Path) -> Result<DocView> {
        let mut base = BTreeMap::new();
        for (cell, record) in handle.records_at(&path.prefix(Stamp::PENDING.id), path.0.len()).await? {
            let parsed = Record::parse(&cell, &record).map_err(|_| damaged("a live record"))?;
            base.insert(cell, parsed);
        }
        let changed = handle.staged(|staged| staged.doc_ref().map(|doc| doc.act_on(&base, path)));
        Ok(DocView { base, changed: changed.flatten() })
    }

    fn records(&self) -> &BTreeMap<Cell, Record> {
        self.changed.as_ref().unwrap_or(&self.base)
    }

    /// What shows at a path.
    pub fn show(&self, path: &Path) -> Result<Option<Value>> {
        let mut records = self.records().iter();
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            // Nothing lives below: it needs no tree to see what shows.
            (Some((cell, Record::Values(values))), None) if *cell == path.cell(Stamp::PENDING.id) => Ok(values.show()),
            _ => Ok(self.tree()?.at(path).and_then(Node::show)),
        }
    }

    /// The tree of what lives.
    pub fn tree(&self) -> Result<Node<'_>> {
        Node::of(self.records()).map_err(|_| damaged("the records of a document"))
    }

    /// True if something lives here without the changes of the transaction.
    pub fn has_base(&self) -> bool {
        !self.base.is_empty()
    }
}

impl DocStage {
    /// The records after what is staged, as far as it concerns a path.
    fn act_on(&self, base: &BTreeMap<Cell, Record>, path: &Path) -> BTreeMap<Cell, Record> {
        let everything = Seen::all_before(u64::MAX);
        let actor = Actor { stamp: Stamp::PENDING, seen: &everything };
        let mut loaded = Loaded { records: base.clone(), past: Vec::new() };
        let above = (1..path.0.len()).filter_map(|length| self.actions.get(&path.above(length).order()));
        for (at, action) in above.chain(self.within(path).into_iter().map(|(_, staged)| staged)) {
            let names = loaded.named(&at.cell(Stamp::PENDING.id), at, action);
            loaded.act(&actor, at, action, names);
        }
        let prefix = path.prefix(Stamp::PENDING.id);
        loaded.records.retain(|cell, record| cell.starts_with(&prefix) && !record.is_empty());
        loaded.records
    }

    /// Stages a value: whatever was staged at and below the path goes.
    pub fn replace(&mut self, path: Path, action: Action) {
        self.clear(&path);
        self.actions.insert(path.order(), (path, action));
    }

    /// Forgets what was staged at and below a path.
    pub fn clear(&mut self, path: &Path) {
        // What is staged at many paths is not gone through for each of them.
        let gone: Vec<Cell> = self.within(path).into_iter().map(|(order, _)| order.clone()).collect();
        for order in gone {
            self.actions.remove(&order);
        }
    }

    /// What is staged at and below a path, in order.
    fn within(&self, path: &Path) -> Vec<(&Cell, &(Path, Action))> {
        let prefix = path.order_prefix();
        let from = (Bound::Included(&prefix[..]), Bound::Unbounded);
        self.actions.range::<[u8], _>(from).take_while(|(order, _)| order.starts_with(&prefix)).collect()
    }

    /// Values staged above a path yield to something below them. `is_there` tells whether the database has something
    /// at a path, which must then be deleted.
    pub fn yield_above(&mut self, path: &Path, is_there: impl Fn(&Path) -> bool) {
        for length in 1..path.0.len() {
            let above = path.above(length);
            let order = above.order();
            let Some((_, action)) = self.actions.get_mut(&order) else { continue };
            match action {
                Action::Set(Plain::Scalar(_)) | Action::Create(_) if is_there(&above) => *action = Action::Delete,
                Action::Set(Plain::Scalar(_)) | Action::Create(_) | Action::Increment { .. } => {
                    self.actions.remove(&order);
                }
                _ => {}
            }
        }
    }

    /// What is staged at exactly this path.
    pub fn at(&self, path: &Path) -> Option<&Action> {
        self.actions.get(&path.order()).map(|(_, action)| action)
    }

    /// True if something staged at or above the path takes away what was there.
    pub fn covers(&self, path: &Path) -> bool {
        (1..=path.0.len()).any(|length| self.at(&path.above(length)).is_some_and(Action::covers_below))
    }
}

impl Loaded {
    /// The number of the entry that an action names, as far as it lives here.
    fn named(&self, cell: &Cell, path: &Path, action: &Action) -> Option<u64> {
        match (self.records.get(cell)?, action) {
            (Record::Values(values), Action::Increment { epoch: Some(id), .. }) => number_of(
                values.live.iter().filter(|l| matches!(l.payload, Payload::Counter { .. })).map(|live| live.stamp),
                *id,
            ),
            (Record::Element(element), Action::Write { .. }) => {
                number_of(element.identities.iter().map(|identity| identity.stamp), path.element()?.entry?)
            }
            _ => None,
        }
    }
}

fn number_of(mut stamps: impl Iterator<Item = Stamp>, id: Id) -> Option<u64> {
    stamps.find(|stamp| stamp.id == id).map(|stamp| stamp.number)
}
