//! What a document shows: rules 24, 25 and 27a, by looking at all pairs of an operation and a value.

use std::collections::BTreeSet;

use eidetica_core::Id;
use eidetica_core::crdt::{Doc, Value};
use eidetica_core::store::doc::{Action, DocDelta, Plain, Step};

use super::model::{Model, Shown, Stamp, settings_of};

/// The keys that lead to a value.
pub type Keys = Vec<String>;

/// All operations of one document, and the values that they make.
pub struct Document {
    operations: Vec<Operation>,
    values: Vec<Held>,
    elements: Vec<Element>,
}

/// One action of one entry.
struct Operation {
    by: Stamp,
    keys: Keys,
    /// The element of the list at `keys`, if it is about one: the entry that made it, and its index.
    element: Option<(Id, u32)>,
    action: Action,
}

/// A value at a path.
struct Held {
    keys: Keys,
    by: Stamp,
    what: What,
    /// The entries that overtook it. It lives in every set that holds its entry and none of these.
    ended_by: Vec<Id>,
}

enum What {
    Scalar(Value),
    Map,
    List,
    /// The base, if it was created with one, and all increments.
    Counter {
        base: Option<i64>,
        increments: Vec<(Id, i64)>,
    },
}

/// An element of a list.
struct Element {
    list: Keys,
    name: (Id, u32),
    ended_by: Vec<Id>,
    positions: Vec<(Stamp, Vec<u8>)>,
    contents: Vec<(Stamp, Value)>,
}

/// A document as a set of entries shows it.
pub struct DocumentView<'a> {
    document: &'a Document,
    set: &'a Shown,
}

/// A value that lives at a path by itself; the counters there together are one.
struct Standing {
    by: Stamp,
    value: Value,
    marks: bool,
}

impl Document {
    /// The document of this name and kind; the settings are one too.
    pub fn new(model: &Model, name: &str, kind: &str) -> Document {
        let mut operations = Vec::new();
        for entry in model.admitted() {
            let delta = if kind == eidetica_core::auth::KIND {
                settings_of(entry).map(|settings| settings.values)
            } else {
                let body = entry.deltas().find(|(store, _)| store.name == name && store.kind == kind);
                body.and_then(|(_, body)| DocDelta::parse(body.as_ref()?))
            };
            for (path, action) in delta.unwrap_or_default().0 {
                let mut keys = Keys::new();
                let mut element = None;
                for step in path.0 {
                    match step {
                        Step::Key(key) => keys.push(key),
                        Step::Element(name) => element = Some((name.entry.unwrap_or(entry.id()), name.index)),
                    }
                }
                operations.push(Operation { by: (entry.header().time, entry.id()), keys, element, action });
            }
        }
        // What names an epoch or an element that is not below it has no effect at all (rule 28).
        let all: Vec<&Operation> = operations.iter().collect();
        let void: Vec<bool> = all.iter().map(|operation| !is_valid(model, &all, operation)).collect();
        let mut void = void.into_iter();
        operations.retain(|_| !void.next().unwrap_or(true));
        let values = operations.iter().filter_map(|made| Held::new(model, &operations, made)).collect();
        let elements = operations.iter().filter_map(|made| Element::new(model, &operations, made)).collect();
        Document { operations, values, elements }
    }

    pub fn within<'a>(&'a self, set: &'a Shown) -> DocumentView<'a> {
        DocumentView { document: self, set }
    }

    /// Every path that an operation names, and every path above.
    pub fn paths(&self) -> BTreeSet<Keys> {
        let all = self.operations.iter().flat_map(|o| (1..=o.keys.len()).map(|len| o.keys[..len].to_vec()));
        all.collect()
    }
}

fn is_valid(model: &Model, all: &[&Operation], operation: &Operation) -> bool {
    let names = |entry: &Id, makes: &dyn Fn(&Operation) -> bool| {
        let made = |o: &&&Operation| o.by.1 == *entry && o.keys == operation.keys && makes(o);
        model.saw(&operation.by.1, entry) && all.iter().any(|other| made(&other))
    };
    match (&operation.action, &operation.element) {
        (Action::Increment { epoch: Some(epoch), .. }, _) => names(epoch, &starts_counter),
        (Action::Write { .. } | Action::Delete, Some(name)) => {
            names(&name.0, &|o| matches!(o.action, Action::Insert { .. }) && o.element == Some(*name))
        }
        _ => true,
    }
}

fn starts_counter(operation: &Operation) -> bool {
    matches!(operation.action, Action::Create(_) | Action::Increment { epoch: None, .. })
}

/// True if it clears everything that it saw at and below its path.
fn clears(operation: &Operation) -> bool {
    operation.element.is_none() && matches!(operation.action, Action::Set(_) | Action::Create(_) | Action::Delete)
}

impl Held {
    fn new(model: &Model, all: &[Operation], made: &Operation) -> Option<Held> {
        let what = match &made.action {
            Action::Set(Plain::Scalar(value)) => What::Scalar(value.clone()),
            Action::Set(Plain::Map) => What::Map,
            Action::Set(Plain::List) => What::List,
            Action::Create(base) => What::Counter { base: Some(*base), increments: Vec::new() },
            Action::Increment { by, epoch: None } => What::Counter { base: None, increments: vec![(made.by.1, *by)] },
            _ => return None,
        };
        let mut held = Held { keys: made.keys.clone(), by: made.by, what, ended_by: Vec::new() };
        for other in all {
            if model.saw(&other.by.1, &made.by.1) && held.is_overtaken_by(other) {
                held.ended_by.push(other.by.1);
            }
            if let (What::Counter { increments, .. }, Action::Increment { by, epoch: Some(epoch) }) =
                (&mut held.what, &other.action)
                && (*epoch, &other.keys) == (made.by.1, &made.keys)
            {
                increments.push((other.by.1, *by));
            }
        }
        Some(held)
    }

    /// Whether an operation that saw this value overtakes it.
    fn is_overtaken_by(&self, other: &Operation) -> bool {
        let at = other.keys == self.keys && other.element.is_none();
        let below = other.keys.starts_with(&self.keys) && !at;
        let covered = clears(other) && self.keys.starts_with(&other.keys);
        let gives_way_to_what_is_below = matches!(self.what, What::Scalar(_) | What::Counter { .. });
        let counted = matches!((&self.what, &other.action), (What::Scalar(_), Action::Increment { .. })) && at;
        covered || counted || (below && gives_way_to_what_is_below)
    }

    fn is_marker(&self) -> bool {
        matches!(self.what, What::Map | What::List)
    }
}

impl Element {
    fn new(model: &Model, all: &[Operation], made: &Operation) -> Option<Element> {
        let (Action::Insert { position, value }, Some(name)) = (&made.action, made.element) else { return None };
        let mut element = Element {
            list: made.keys.clone(),
            name,
            ended_by: Vec::new(),
            positions: vec![(made.by, position.clone())],
            contents: vec![(made.by, value.clone())],
        };
        for other in all {
            let about_it = other.element == Some(name) && other.keys == made.keys;
            let ends =
                (clears(other) && made.keys.starts_with(&other.keys)) || (about_it && other.action == Action::Delete);
            if ends && model.saw(&other.by.1, &made.by.1) {
                element.ended_by.push(other.by.1);
            }
            if let (true, Action::Write { position, value }) = (about_it, &other.action) {
                element.positions.extend(position.iter().map(|position| (other.by, position.clone())));
                element.contents.extend(value.iter().map(|value| (other.by, value.clone())));
            }
        }
        Some(element)
    }
}

impl DocumentView<'_> {
    fn counts(&self, entry: &Id) -> bool {
        self.set.effective.contains(entry)
    }

    fn lives(&self, made: &Id, ended_by: &[Id]) -> bool {
        self.counts(made) && !ended_by.iter().any(|entry| self.counts(entry))
    }

    fn values(&self) -> impl Iterator<Item = &Held> {
        self.document.values.iter().filter(|held| self.lives(&held.by.1, &held.ended_by) || self.lives_void(held))
    }

    /// A counter that a void entry started lives on if others have counted with it (rule 26).
    fn lives_void(&self, held: &Held) -> bool {
        let What::Counter { increments, .. } = &held.what else { return false };
        let void = self.set.closed.contains(&held.by.1) && !self.counts(&held.by.1);
        void && !held.ended_by.iter().any(|entry| self.counts(entry))
            && increments.iter().any(|(entry, _)| self.counts(entry))
    }

    fn elements(&self) -> impl Iterator<Item = &Element> {
        self.document.elements.iter().filter(|element| self.lives(&element.name.0, &element.ended_by))
    }

    /// The whole document.
    pub fn all(&self) -> Doc {
        self.map(&[])
    }

    fn map(&self, keys: &[String]) -> Doc {
        let shown = |key: String| {
            let value = self.get(&[keys, std::slice::from_ref(&key)].concat()).expect("something lives there");
            (key, value)
        };
        self.children(keys).into_iter().map(shown).collect()
    }

    /// The keys of the map at a path: those at or below which something lives.
    fn children(&self, keys: &[String]) -> BTreeSet<String> {
        let paths = self.values().map(|held| &held.keys).chain(self.elements().map(|element| &element.list));
        paths.filter(|path| path.starts_with(keys)).filter_map(|path| path.get(keys.len())).cloned().collect()
    }

    fn list(&self, keys: &[String]) -> Vec<Value> {
        let mut list: Vec<_> = self.elements().filter(|element| element.list == keys).collect();
        list.sort_by_key(|element| (self.latest(&element.positions), element.name));
        list.into_iter().map(|element| self.latest(&element.contents)).collect()
    }

    fn latest<T: Clone>(&self, writes: &[(Stamp, T)]) -> T {
        let seen = writes.iter().filter(|(by, _)| self.counts(&by.1));
        seen.max_by_key(|(by, _)| *by).expect("an element that lives was written").1.clone()
    }

    /// What shows at a path.
    pub fn get(&self, keys: &[String]) -> Option<Value> {
        if !self.children(keys).is_empty() {
            return Some(Value::Map(self.map(keys)));
        }
        let list = self.list(keys);
        if !list.is_empty() {
            return Some(Value::List(list));
        }
        self.standing(keys).into_iter().max_by_key(|standing| standing.by).map(|standing| standing.value)
    }

    /// What lives at a path and does not show, with the entries that wrote it, strongest first.
    pub fn conflicts(&self, keys: &[String]) -> Vec<(Id, Value)> {
        let mut standing = self.standing(keys);
        if self.children(keys).is_empty() && self.list(keys).is_empty() {
            let shown = standing.iter().map(|standing| standing.by).max();
            standing.retain(|standing| Some(standing.by) != shown);
        } else {
            standing.retain(|standing| !standing.marks);
        }
        standing.sort_by_key(|standing| std::cmp::Reverse(standing.by));
        standing.into_iter().map(|standing| (standing.by.1, standing.value)).collect()
    }

    fn standing(&self, keys: &[String]) -> Vec<Standing> {
        let (counters, others): (Vec<&Held>, Vec<&Held>) =
            self.values().filter(|held| held.keys == keys).partition(|held| matches!(held.what, What::Counter { .. }));
        let mut standing: Vec<Standing> = others
            .into_iter()
            .map(|held| {
                let value = match &held.what {
                    What::Scalar(value) => value.clone(),
                    What::Map => Value::Map(Doc::new()),
                    _ => Value::List(Vec::new()),
                };
                Standing { by: held.by, value, marks: held.is_marker() }
            })
            .collect();
        if let Some(by) = counters.iter().map(|held| held.by).max() {
            standing.push(Standing { by, value: Value::Counter(self.total(&counters)), marks: false });
        }
        standing
    }

    fn total(&self, counters: &[&Held]) -> i64 {
        let mut base = None;
        let mut total = 0i128;
        for held in counters {
            let What::Counter { base: own, increments } = &held.what else { continue };
            base = base.max(own.filter(|_| self.counts(&held.by.1)).map(|own| (held.by, own)));
            let seen = increments.iter().filter(|(entry, _)| self.counts(entry));
            total += seen.map(|(_, by)| i128::from(*by)).sum::<i128>();
        }
        total += i128::from(base.map_or(0, |(_, base)| base));
        total.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}
