//! What shows of a document, and what stands behind it.

use std::collections::BTreeMap;

use super::merge::{POSITION, VALUE};
use super::path::{ElementName, Path, Step};
use super::record::{Live, Payload, Record, ValueCell};
use crate::cbor::{Malformed, Read};
use crate::doc::Doc;
use crate::id::Id;
use crate::store::cell::Cell;
use crate::store::row::RowCell;
use crate::value::Value;

/// Records arranged as the tree that they stand for.
#[derive(Default)]
pub(crate) struct Node<'a> {
    values: Option<&'a ValueCell>,
    elements: Vec<Element>,
    children: BTreeMap<String, Node<'a>>,
}

/// A list element that lives.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub position: Vec<u8>,
    pub name: ElementName,
    pub value: Value,
}

impl<'a> Node<'a> {
    /// The tree of these records.
    pub fn of(records: &'a BTreeMap<Cell, Record>) -> Read<Node<'a>> {
        let mut root = Node::default();
        for (cell, record) in records.iter().filter(|(_, record)| !record.is_empty()) {
            let path = Path::of_cell(cell).ok_or(Malformed)?;
            let mut node = &mut root;
            let mut element = None;
            for step in path.0 {
                match step {
                    Step::Key(key) => node = node.children.entry(key).or_default(),
                    Step::Element(name) => element = Some(name),
                }
            }
            match (record, element) {
                (Record::Values(values), None) => node.values = Some(values),
                (Record::Element(row), Some(name)) => node.elements.extend(read_element(name, row)?),
                _ => return Err(Malformed),
            }
        }
        Ok(root)
    }

    /// The node at a path.
    pub fn at(&self, path: &Path) -> Option<&Node<'a>> {
        path.0.iter().try_fold(self, |node, step| match step {
            Step::Key(key) => node.children.get(key),
            Step::Element(_) => None,
        })
    }

    /// What shows here. A map hides a list, and both hide values; among values the strongest shows.
    pub fn show(&self) -> Option<Value> {
        if let Some(map) = self.map() {
            return Some(Value::Map(map));
        }
        if !self.elements.is_empty() {
            return Some(Value::List(self.list().into_iter().map(|element| element.value).collect()));
        }
        self.values?.show()
    }

    /// The map here, if something lives below.
    pub fn map(&self) -> Option<Doc> {
        let shown: Vec<(String, Value)> =
            self.children.iter().filter_map(|(key, child)| Some((key.clone(), child.show()?))).collect();
        (!shown.is_empty()).then(|| shown.into_iter().collect())
    }

    /// The elements here, in their order.
    pub fn list(&self) -> Vec<Element> {
        let mut list = self.elements.clone();
        list.sort_by(|a, b| (&a.position, a.name).cmp(&(&b.position, b.name)));
        list
    }

    /// True if a list shows here.
    pub fn is_list(&self) -> bool {
        matches!(self.show(), Some(Value::List(_)))
    }

    /// The entry that made the strongest live counter here.
    pub fn strongest_counter(&self) -> Option<Id> {
        let counters = self.values?.live.iter().rev();
        counters.filter(|live| matches!(live.payload, Payload::Counter { .. })).map(|live| live.stamp.id).next()
    }

    /// Live values here that do not show, strongest first.
    pub fn conflicts(&self) -> Vec<(Id, Value)> {
        let Some(values) = self.values else { return Vec::new() };
        let below = self.map().is_some() || !self.elements.is_empty();
        let mut counted = false;
        let mut conflicts = Vec::new();
        for (strength, live) in values.live.iter().rev().enumerate() {
            let is_counter = matches!(live.payload, Payload::Counter { .. });
            let is_marker = matches!(live.payload, Payload::Map | Payload::List);
            // All counters together are one value.
            let again = is_counter && counted;
            counted |= is_counter;
            let shows = !below && strength == 0;
            let hides = !(again || shows || below && is_marker);
            if hides {
                conflicts.push((live.stamp.id, values.value_of(live)));
            }
        }
        conflicts
    }
}

impl ValueCell {
    /// What shows where nothing lives below: the strongest value.
    pub fn show(&self) -> Option<Value> {
        self.live.last().map(|live| self.value_of(live))
    }

    /// The same, taken out.
    pub fn into_shown(mut self) -> Option<Value> {
        match self.live.pop() {
            Some(Live { payload: Payload::Scalar(value), .. }) => Some(value),
            Some(live) => {
                self.live.push(live);
                self.show()
            }
            None => None,
        }
    }

    fn value_of(&self, live: &Live) -> Value {
        match &live.payload {
            Payload::Scalar(value) => value.clone(),
            Payload::Map => Value::Map(Doc::new()),
            Payload::List => Value::List(Vec::new()),
            Payload::Counter { .. } => Value::Counter(self.count()),
        }
    }

    /// What the live counters come to: the base of the strongest one that has a base, and all increments.
    fn count(&self) -> i64 {
        let mut base = 0;
        let mut total: i128 = 0;
        for live in &self.live {
            if let Payload::Counter { base: with, sum } = &live.payload {
                base = with.unwrap_or(base);
                total += sum;
            }
        }
        let total = total + i128::from(base);
        i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX })
    }
}

fn read_element(name: ElementName, row: &RowCell) -> Read<Option<Element>> {
    let Some(shown) = row.shown() else { return Ok(None) };
    let (Some(position), Some(value)) = (shown.field(POSITION), shown.field(VALUE)) else { return Err(Malformed) };
    let Value::Bytes(position) = Value::from_bytes(position)? else { return Err(Malformed) };
    Ok(Some(Element { position, name, value: Value::from_bytes(value)? }))
}
