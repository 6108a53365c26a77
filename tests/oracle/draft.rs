//! From the changes of a plan to the deltas of an entry.

use std::collections::BTreeMap;

use bytes::Bytes;
use eidetica_core::Id;
use eidetica_core::auth::{self, Setting, SettingsDelta, Subject};
use eidetica_core::store::cells::CellsDelta;
use eidetica_core::store::doc::{Action, DocDelta, ElementName, Path, Plain, Step};
use eidetica_core::store::table::{Fields, RowAction, TableDelta};

use super::history::{CELL_KIND, CELL_STORE, DOCS, TABLE, newest, right};
use super::model::Set;
use super::plan::*;

/// What later operations can name, oldest first.
#[derive(Default)]
pub struct Names {
    epochs: Vec<Made>,
    elements: Vec<Made>,
    identities: Vec<Made>,
}

/// Something that later operations can name.
#[derive(Clone)]
struct Made {
    entry: Id,
    store: usize,
    keys: Vec<String>,
    index: u32,
}

/// The deltas of an entry in the making.
#[derive(Default)]
pub struct Draft {
    docs: BTreeMap<usize, BTreeMap<Order, (Path, Action)>>,
    rows: BTreeMap<String, RowAction>,
    cells: BTreeMap<Bytes, Option<Bytes>>,
    rights: BTreeMap<Subject, Setting>,
    values: BTreeMap<Order, (Path, Action)>,
    odd: BTreeMap<(String, String), Bytes>,
}

/// How the paths of a delta are ordered: a path before those below it, elements after keys, keys by bytes.
type Order = Vec<(bool, Vec<u8>, u32)>;

fn order(path: &Path) -> Order {
    let step = |step: &Step| match step {
        Step::Key(key) => (false, key.as_bytes().to_vec(), 0),
        Step::Element(name) => (true, name.entry.map_or(vec![0; 32], |id| id.as_bytes().to_vec()), name.index),
    };
    path.0.iter().map(step).collect()
}

/// A delta with its operations in the order that the format asks for.
pub fn doc_delta(operations: impl IntoIterator<Item = (Path, Action)>) -> DocDelta {
    let ordered: BTreeMap<Order, (Path, Action)> =
        operations.into_iter().map(|(path, action)| (order(&path), (path, action))).collect();
    DocDelta(ordered.into_values().collect())
}

impl Draft {
    /// Adds a change. A later change at the same place replaces an earlier one.
    pub fn add(&mut self, change: &Change, names: &Names, keys: &[auth::Subject], author: usize, below: &Set) {
        match change {
            Change::Doc { store, path, act } => {
                let store = store % DOCS.len();
                let keys = path.iter().map(|key| KEYS[*key].to_owned()).collect();
                let (path, action) = names.doc_action(store, keys, act, below);
                self.docs.entry(store).or_default().insert(order(&path), (path, action));
            }
            Change::Row { key, act } => {
                let (key, action) = names.row_action(ROWS[*key].to_owned(), act, below);
                self.rows.insert(key, action);
            }
            Change::Cell { key, value } => {
                self.cells.insert(Bytes::from_static(CELLS[*key]), value.map(|byte| Bytes::from(vec![byte; 2])));
            }
            Change::Right { subject, limit, right: number } => {
                let subject = keys.get(*subject).copied().unwrap_or(Subject::Everybody);
                // Whether everybody gets too much is a question of the format, and not of the door.
                let most =
                    if subject == Subject::Everybody { auth::Right::WRITE } else { auth::Right::admin(u32::MAX) };
                let right = right(*number).min(most);
                let limit = *limit || right == auth::Right::NONE;
                self.rights.insert(subject, if limit { Setting::Limit(right) } else { Setting::Grant(right) });
            }
            Change::StepDown(number) => {
                let to = [auth::Right::NONE, auth::Right::READ, auth::Right::WRITE][usize::from(*number) % 3];
                self.rights.insert(keys[author], Setting::Limit(to));
            }
            Change::Setting(key, value) => {
                let path = Path::key(["name", "a"][*key]);
                let action = value.map_or(Action::Delete, |value| Action::Set(Plain::Scalar(scalar(value))));
                self.values.insert(order(&path), (path, action));
            }
            Change::Odd { store, nothing } => {
                let stores = [("more", "doc"), (TABLE, "table"), (CELL_STORE, CELL_KIND), ("strange", "unheard-of")];
                let body: &'static [u8] = if *nothing { &[0x80] } else { &[0xff, 0x00] };
                let (name, kind) = stores[*store];
                self.odd.insert((name.to_owned(), kind.to_owned()), Bytes::from_static(body));
            }
        }
    }

    /// The bodies with the names and kinds of their stores.
    pub fn deltas(&self) -> Vec<(String, String, Bytes)> {
        let mut deltas: BTreeMap<(String, String), Bytes> = BTreeMap::new();
        for (store, operations) in &self.docs {
            let delta = DocDelta(operations.values().cloned().collect());
            deltas.insert((DOCS[*store].into(), "doc".into()), delta.to_bytes());
        }
        if !self.rows.is_empty() {
            let delta = TableDelta(self.rows.clone().into_iter().collect());
            deltas.insert((TABLE.into(), "table".into()), delta.to_bytes());
        }
        if !self.cells.is_empty() {
            let delta = CellsDelta(self.cells.clone().into_iter().collect());
            deltas.insert((CELL_STORE.into(), CELL_KIND.into()), delta.to_bytes());
        }
        if !self.rights.is_empty() || !self.values.is_empty() {
            let rights = self.rights.iter().map(|(subject, setting)| (*subject, *setting)).collect();
            let delta = SettingsDelta { rights, values: DocDelta(self.values.values().cloned().collect()) };
            deltas.insert((auth::STORE.into(), auth::KIND.into()), delta.to_bytes());
        }
        // A body that cannot be read stands in for what would have been there.
        deltas.extend(self.odd.clone());
        deltas.into_iter().map(|((name, kind), body)| (name, kind, body)).collect()
    }
}

impl Names {
    /// Notes what later operations can name.
    pub fn remember(&mut self, entry: Id, draft: &Draft) {
        for (store, (path, action)) in draft.docs.iter().flat_map(|(s, all)| all.values().map(move |o| (*s, o))) {
            let keys =
                path.0.iter().filter_map(|step| if let Step::Key(key) = step { Some(key.clone()) } else { None });
            let mut made = Made { entry, store, keys: keys.collect(), index: 0 };
            match (action, path.0.last()) {
                (Action::Create(_) | Action::Increment { epoch: None, .. }, _) => self.epochs.push(made),
                (Action::Insert { .. }, Some(Step::Element(name))) => {
                    made.index = name.index;
                    self.elements.push(made);
                }
                _ => {}
            }
        }
        let inserted = draft.rows.iter().filter(|(_, action)| matches!(action, RowAction::Insert(_)));
        let made = inserted.map(|(key, _)| Made { entry, store: 0, keys: vec![key.clone()], index: 0 });
        self.identities.extend(made);
    }

    fn doc_action(&self, store: usize, keys: Vec<String>, act: &DocAct, below: &Set) -> (Path, Action) {
        let number = |at: usize| NUMBERS[at % NUMBERS.len()];
        let position = |at: usize| POSITIONS[at % POSITIONS.len()].to_vec();
        let path = |keys: &[String]| Path(keys.iter().cloned().map(Step::Key).collect());
        let at_element = |made: &Made| {
            let name = ElementName { entry: Some(made.entry), index: made.index };
            Path(path(&made.keys).0.into_iter().chain([Step::Element(name)]).collect())
        };
        let action = match act {
            DocAct::Delete => Action::Delete,
            DocAct::Scalar(value) => Action::Set(Plain::Scalar(scalar(*value))),
            DocAct::Map => Action::Set(Plain::Map),
            DocAct::List => Action::Set(Plain::List),
            DocAct::Create(base) => Action::Create(number(*base)),
            DocAct::First(by) => Action::Increment { by: number(*by), epoch: None },
            DocAct::Increment(by, name) => {
                let by = number(*by);
                return match find(&self.epochs, store, &keys, *name, below) {
                    Some(made) => (path(&made.keys), Action::Increment { by, epoch: Some(made.entry) }),
                    None => (path(&keys), Action::Increment { by, epoch: None }),
                };
            }
            DocAct::Insert(at, value) => {
                let name = ElementName { entry: None, index: *value as u32 % 2 };
                let here = Path(path(&keys).0.into_iter().chain([Step::Element(name)]).collect());
                return (here, Action::Insert { position: position(*at), value: element(*value) });
            }
            DocAct::Write(name, to, value) => {
                let Some(made) = find(&self.elements, store, &keys, *name, below) else {
                    return self.doc_action(store, keys, &DocAct::Insert(0, 0), below);
                };
                let value = value.or(if to.is_none() { Some(0) } else { None }).map(element);
                return (at_element(&made), Action::Write { position: to.map(position), value });
            }
            DocAct::Remove(name) => {
                let made = find(&self.elements, store, &keys, *name, below);
                return (made.map_or_else(|| path(&keys), |made| at_element(&made)), Action::Delete);
            }
        };
        (path(&keys), action)
    }

    fn row_action(&self, key: String, act: &RowAct, below: &Set) -> (String, RowAction) {
        let encoded = |fields: &[(usize, usize)]| -> Fields {
            let field = |(field, value): &(usize, usize)| {
                (FIELDS[*field].to_owned(), Bytes::from_static(super::plan::fields()[*value].1))
            };
            fields.iter().map(field).collect()
        };
        match act {
            RowAct::Delete => (key, RowAction::Delete),
            RowAct::Insert(fields) => (key, RowAction::Insert(encoded(fields))),
            RowAct::Write(name, fields) => match find(&self.identities, 0, std::slice::from_ref(&key), *name, below) {
                Some(made) => {
                    (made.keys[0].clone(), RowAction::Write { identity: made.entry, fields: encoded(fields) })
                }
                None => (key, RowAction::Insert(encoded(fields))),
            },
        }
    }
}

/// What a name in a plan stands for. An operation that cannot name anything makes something instead.
fn find(made: &[Made], store: usize, keys: &[String], name: Named, below: &Set) -> Option<Made> {
    let all: Vec<Made> = made.iter().filter(|made| made.store == store).cloned().collect();
    let seen: Vec<Made> = all.iter().filter(|made| below.contains(&made.entry)).cloned().collect();
    match name {
        Named::Seen(back) => newest(&seen, back).cloned(),
        Named::Anywhere(back) => newest(&all, back).cloned(),
        Named::Elsewhere(back) => newest(&all, back).map(|made| Made { keys: keys.to_vec(), ..made.clone() }),
    }
}
