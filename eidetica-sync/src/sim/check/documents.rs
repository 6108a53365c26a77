//! What documents show, from the entries alone: maps, lists and counters.

use std::collections::BTreeSet;

use eidetica_contract::Result;
use eidetica_core::crdt::{Doc, Value};
use eidetica_core::store::DocStore;
use eidetica_core::store::doc::{Action, DocDelta, Plain, Step};
use eidetica_core::{Database, Id};

use super::replay::{Replay, Stamp};
use super::{broken, ensure};

/// One action of one entry.
struct Operation {
    by: Stamp,
    /// The keys that lead to it.
    keys: Vec<String>,
    /// The element of the list there that it is about: the entry that made it, and its index.
    element: Option<(Id, u32)>,
    action: Action,
}

/// A document as all entries together show it.
struct Shown {
    /// Those that are valid.
    operations: Vec<Operation>,
    /// Which of them are of void entries.
    void: Vec<bool>,
    /// The places of those among them that made something which nothing has overtaken that saw it.
    alive: Vec<usize>,
}

/// A document shows what a naive replay of the entries comes to: what was made and what nothing has overtaken that saw it, the latest
/// where several stand in one place, with what lies below a place before what stands in it.
pub(super) async fn document(database: &Database, replay: &Replay, name: &str) -> Result<()> {
    let expected = Shown::of(replay, name)?.map(&[]);
    let shown = database.get_store_viewer::<DocStore>(name).await?.get_all().await?;
    ensure(expected == shown, "a document is not what its entries say", (name, &expected, &shown))
}

impl Shown {
    fn of(replay: &Replay, name: &str) -> Result<Shown> {
        let mut all = Vec::new();
        for (by, body) in replay.bodies_of_all(name, "doc")? {
            let delta =
                DocDelta::parse(&body).ok_or_else(|| broken("an entry has no delta that a document can read"))?;
            all.extend(delta.0.into_iter().map(|(path, action)| {
                let mut operation = Operation { by, keys: Vec::new(), element: None, action };
                for step in path.0 {
                    match step {
                        Step::Key(key) => operation.keys.push(key),
                        Step::Element(name) => operation.element = Some((name.entry.unwrap_or(by.1), name.index)),
                    }
                }
                operation
            }));
        }
        let void: BTreeSet<usize> = (0..all.len()).filter(|at| !all[*at].names_what_it_saw(replay, &all)).collect();
        let operations: Vec<Operation> =
            all.into_iter().enumerate().filter(|(at, _)| !void.contains(at)).map(|(_, operation)| operation).collect();
        let counts = |operation: &&Operation| !replay.is_void(&operation.by);
        let overtaken = |made: &Operation| {
            operations.iter().filter(counts).any(|other| other.overtakes(made) && replay.saw(&other.by, &made.by))
        };
        // A counter that a void entry has started lives while others that count have counted with it (rule 26).
        let counted_with = |made: &Operation| {
            let names = |other: &&Operation| matches!(other.action, Action::Increment { epoch, .. } if epoch == Some(made.by.1));
            made.is_counter() && operations.iter().filter(counts).filter(names).any(|other| other.keys == made.keys)
        };
        let made = |operation: &Operation| {
            let lives = if counts(&operation) { operation.makes() } else { counted_with(operation) };
            lives && !overtaken(operation)
        };
        let alive = (0..operations.len()).filter(|at| made(&operations[*at])).collect();
        let void = operations.iter().map(|operation| !counts(&operation)).collect();
        Ok(Shown { operations, void, alive })
    }

    /// The operations that count.
    fn effective(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter().zip(&self.void).filter(|(_, void)| !**void).map(|(operation, _)| operation)
    }

    fn alive(&self) -> impl Iterator<Item = &Operation> {
        self.alive.iter().map(|at| &self.operations[*at])
    }

    fn map(&self, keys: &[String]) -> Doc {
        let mut map = Doc::new();
        for key in self.below(keys) {
            if let Some(value) = self.value(&[keys, std::slice::from_ref(key)].concat()) {
                map.set(key, value);
            }
        }
        map
    }

    /// The keys at or below which something is alive.
    fn below(&self, keys: &[String]) -> BTreeSet<&String> {
        self.alive().filter(|made| made.keys.starts_with(keys)).filter_map(|made| made.keys.get(keys.len())).collect()
    }

    fn value(&self, keys: &[String]) -> Option<Value> {
        if !self.below(keys).is_empty() {
            return Some(Value::Map(self.map(keys)));
        }
        let list = self.list(keys);
        if !list.is_empty() {
            return Some(Value::List(list));
        }
        let latest = self.alive().filter(|made| made.keys == keys).max_by_key(|made| made.by)?;
        Some(match &latest.action {
            Action::Set(Plain::Scalar(value)) => value.clone(),
            Action::Set(Plain::Map) => Value::Map(Doc::new()),
            Action::Set(Plain::List) => Value::List(Vec::new()),
            _ => Value::Counter(self.total(keys)),
        })
    }

    /// All counters of a place that are alive together: the latest base, and all that was added to any of them.
    fn total(&self, keys: &[String]) -> i64 {
        let counters: Vec<&Operation> = self.alive().filter(|made| made.keys == keys && made.is_counter()).collect();
        let base = counters.iter().filter_map(|made| match made.action {
            Action::Create(base) if self.effective().any(|other| std::ptr::eq(other, *made)) => Some((made.by, base)),
            _ => None,
        });
        let mut total = i128::from(base.max().map_or(0, |(_, base)| base));
        for operation in self.effective().filter(|operation| operation.keys == keys) {
            let Action::Increment { by, epoch } = operation.action else { continue };
            let epoch = epoch.unwrap_or(operation.by.1);
            if counters.iter().any(|counter| counter.by.1 == epoch) {
                total += i128::from(by);
            }
        }
        total.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    fn list(&self, keys: &[String]) -> Vec<Value> {
        let mut elements = Vec::new();
        for made in self.alive().filter(|made| made.keys == keys && made.element.is_some()) {
            let (mut position, mut content) = (None, None);
            for operation in self.effective().filter(|other| (&other.keys, other.element) == (&made.keys, made.element))
            {
                let (to, value) = match &operation.action {
                    Action::Insert { position, value } => (Some(position), Some(value)),
                    Action::Write { position, value } => (position.as_ref(), value.as_ref()),
                    _ => continue,
                };
                position = position.max(to.map(|to| (operation.by, to)));
                if let Some(value) = value
                    && content.as_ref().is_none_or(|(by, _)| *by < operation.by)
                {
                    content = Some((operation.by, value.clone()));
                }
            }
            elements.push((position.map(|(_, position)| position), made.element, content));
        }
        elements.sort_by_key(|(position, name, _)| (*position, *name));
        elements.into_iter().filter_map(|(_, _, content)| content.map(|(_, value)| value)).collect()
    }
}

impl Operation {
    /// Whether it makes a value, a counter or an element.
    fn makes(&self) -> bool {
        matches!(self.action, Action::Set(_) | Action::Insert { .. }) || self.is_counter()
    }

    fn is_counter(&self) -> bool {
        matches!(self.action, Action::Create(_) | Action::Increment { epoch: None, .. })
    }

    /// What names a counter or an element that is not below it has no effect.
    fn names_what_it_saw(&self, replay: &Replay, all: &[Operation]) -> bool {
        let saw = |by: &Id, makes: &dyn Fn(&Operation) -> bool| {
            let mut made = all.iter().filter(|other| other.by.1 == *by && other.keys == self.keys && makes(other));
            made.any(|made| replay.saw(&self.by, &made.by))
        };
        match (&self.action, &self.element) {
            (Action::Increment { epoch: Some(epoch), .. }, _) => saw(epoch, &Operation::is_counter),
            (Action::Write { .. } | Action::Delete, Some(element)) => saw(&element.0, &|other| {
                matches!(other.action, Action::Insert { .. }) && other.element == Some(*element)
            }),
            _ => true,
        }
    }

    /// Whether it overtakes what another has made, if it saw it.
    fn overtakes(&self, made: &Operation) -> bool {
        let clears =
            matches!(self.action, Action::Set(_) | Action::Create(_) | Action::Delete) && self.element.is_none();
        let covers = clears && made.keys.starts_with(&self.keys);
        if made.element.is_some() {
            return covers
                || (self.action == Action::Delete && (&self.keys, self.element) == (&made.keys, made.element));
        }
        let scalar = matches!(made.action, Action::Set(Plain::Scalar(_)));
        let at = self.keys == made.keys && self.element.is_none();
        let below = self.keys.starts_with(&made.keys) && !at;
        let counts = scalar && at && matches!(self.action, Action::Increment { .. });
        covers || counts || (below && (scalar || made.is_counter()))
    }
}
