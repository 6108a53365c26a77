//! What tables and custom stores show: rule 27, and for custom stores a register for each key.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eidetica_core::Id;
use eidetica_core::crdt::{Doc, Value};
use eidetica_core::store::cells::CellsDelta;
use eidetica_core::store::table::{Fields, RowAction, TableDelta};

use super::model::{Model, Set, Stamp};
use super::plan;

/// All identities of the rows of one table.
pub struct Rows {
    identities: Vec<Identity>,
}

/// A field, or none for a whole row; the entry that wrote it; what it wrote.
pub type RowConflict = (Option<String>, Id, Value);

struct Identity {
    key: String,
    by: Stamp,
    ended_by: Vec<Id>,
    /// The insert first.
    writes: Vec<(Stamp, Fields)>,
}

impl Rows {
    pub fn new(model: &Model, name: &str) -> Rows {
        let mut operations: Vec<(Stamp, String, RowAction)> = Vec::new();
        for (stamp, body) in bodies(model, name, "table") {
            let rows = TableDelta::parse(&body).unwrap_or_default().0;
            operations.extend(rows.into_iter().map(|(key, action)| (stamp, key, action)));
        }
        let identities = operations.iter().filter_map(|made| Identity::new(model, &operations, made)).collect();
        Rows { identities }
    }

    pub fn keys(&self) -> BTreeSet<String> {
        self.identities.iter().map(|identity| identity.key.clone()).collect()
    }

    /// The live identities of a row, the one that shows last.
    fn live(&self, set: &Set, key: &str) -> Vec<&Identity> {
        let lives = |row: &&Identity| set.contains(&row.by.1) && !row.ended_by.iter().any(|entry| set.contains(entry));
        let mut live: Vec<_> = self.identities.iter().filter(|row| row.key == key).filter(lives).collect();
        live.sort_by_key(|row| row.by);
        live
    }

    /// The rows that there are.
    pub fn all(&self, set: &Set) -> BTreeMap<String, Doc> {
        let shown = |key: String| self.live(set, &key).last().map(|row| row.show(set)).map(|row| (key, row));
        self.keys().into_iter().filter_map(shown).collect()
    }

    /// What lives under a key and does not show: other rows, and what was written to single fields of the one that shows.
    pub fn conflicts(&self, model: &Model, set: &Set, key: &str) -> Vec<RowConflict> {
        let mut live = self.live(set, key);
        let Some(shown) = live.pop() else { return Vec::new() };
        let rows = live.iter().map(|row| (None, row.by.1, Value::Map(row.show(set))));
        let mut conflicts: Vec<RowConflict> = rows.chain(shown.field_conflicts(model, set)).collect();
        conflicts.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        conflicts
    }
}

impl Identity {
    fn new(model: &Model, all: &[(Stamp, String, RowAction)], made: &(Stamp, String, RowAction)) -> Option<Identity> {
        let (by, key, RowAction::Insert(fields)) = made else { return None };
        let mut row = Identity { key: key.clone(), by: *by, ended_by: Vec::new(), writes: vec![(*by, fields.clone())] };
        for (other, at, action) in all {
            if at != key || !model.saw(&other.1, &by.1) {
                continue;
            }
            match action {
                RowAction::Insert(_) | RowAction::Delete => row.ended_by.push(other.1),
                RowAction::Write { identity, fields } if *identity == by.1 => row.writes.push((*other, fields.clone())),
                RowAction::Write { .. } => {}
            }
        }
        Some(row)
    }

    fn field_conflicts(&self, model: &Model, set: &Set) -> Vec<RowConflict> {
        let here: Vec<_> = self.writes.iter().filter(|(by, _)| set.contains(&by.1)).collect();
        let mut conflicts = Vec::new();
        for (by, fields) in &here {
            for (field, value) in fields {
                let others = || here.iter().filter(|(_, fields)| fields.contains_key(field)).map(|(other, _)| other);
                let lives = !others().any(|other| model.saw(&other.1, &by.1));
                if lives && others().any(|other| other > by) {
                    conflicts.push((Some(field.clone()), by.1, plan::field_value(value)));
                }
            }
        }
        conflicts
    }

    fn show(&self, set: &Set) -> Doc {
        let mut latest: BTreeMap<&String, (Stamp, &Bytes)> = BTreeMap::new();
        for (by, fields) in self.writes.iter().filter(|(by, _)| set.contains(&by.1)) {
            for (field, value) in fields {
                let later = latest.get(field).is_none_or(|(other, _)| other < by);
                if later {
                    latest.insert(field, (*by, value));
                }
            }
        }
        latest.into_iter().map(|(field, (_, value))| (field, plan::field_value(value))).collect()
    }
}

/// All values of the cells of one custom store.
pub struct Cells {
    writes: Vec<Cell>,
}

struct Cell {
    key: Bytes,
    by: Stamp,
    ended_by: Vec<Id>,
    value: Bytes,
}

impl Cells {
    pub fn new(model: &Model, name: &str, kind: &str) -> Cells {
        let mut operations: Vec<(Stamp, Bytes, Option<Bytes>)> = Vec::new();
        for (stamp, body) in bodies(model, name, kind) {
            let cells = CellsDelta::parse(&body).unwrap_or_default().0;
            operations.extend(cells.into_iter().map(|(key, value)| (stamp, key, value)));
        }
        let mut writes = Vec::new();
        for (by, key, value) in &operations {
            let ends = |(other, at, _): &&(Stamp, Bytes, Option<Bytes>)| at == key && model.saw(&other.1, &by.1);
            let ended_by = operations.iter().filter(ends).map(|(other, ..)| other.1).collect();
            writes.extend(value.iter().map(|value| Cell {
                key: key.clone(),
                by: *by,
                ended_by: Vec::clone(&ended_by),
                value: value.clone(),
            }));
        }
        Cells { writes }
    }

    pub fn keys(&self) -> BTreeSet<Bytes> {
        self.writes.iter().map(|cell| cell.key.clone()).collect()
    }

    /// The live values of a key with the entries that wrote them, the one that shows last.
    pub fn get(&self, set: &Set, key: &[u8]) -> Vec<(Id, Bytes)> {
        let lives = |cell: &&Cell| set.contains(&cell.by.1) && !cell.ended_by.iter().any(|entry| set.contains(entry));
        let mut live: Vec<_> = self.writes.iter().filter(|cell| cell.key == key).filter(lives).collect();
        live.sort_by_key(|cell| cell.by);
        live.into_iter().map(|cell| (cell.by.1, cell.value.clone())).collect()
    }
}

/// The bodies of one store, with the stamps of their entries.
fn bodies(model: &Model, name: &str, kind: &str) -> Vec<(Stamp, Bytes)> {
    let mut bodies = Vec::new();
    for entry in model.admitted() {
        let found = entry.deltas().find(|(store, _)| store.name == name && store.kind == kind);
        if let Some((_, Some(body))) = found {
            bodies.push(((entry.header().time, entry.id()), body.clone()));
        }
    }
    bodies
}
