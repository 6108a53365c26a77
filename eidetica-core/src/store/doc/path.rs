//! Paths into a document.

use bytes::Bytes;

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::id::Id;
use crate::limits::MAX_CELL;
use crate::store::cell::{self, Cell};

/// A way into a document: keys of maps, and at most one element of a list, as the last step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value of this key of a map.
    Key(String),
    /// This element of a list.
    Element(ElementName),
}

/// What names an element of a list for ever: the entry that inserted it, and its index among those inserted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementName {
    /// The entry; `None` stands for the entry that the path itself is part of.
    pub entry: Option<Id>,
    /// The index.
    pub index: u32,
}

const THIS_ENTRY: Id = Id::from_bytes([0; 32]);

impl Path {
    /// The path of a key at the top.
    pub fn key(key: &str) -> Path {
        Path(vec![Step::Key(key.to_owned())])
    }

    /// The path that a dotted text names.
    pub fn dotted(text: &str) -> Path {
        Path(text.split('.').map(|step| Step::Key(step.to_owned())).collect())
    }

    pub(crate) fn child(&self, step: Step) -> Path {
        Path(self.0.iter().cloned().chain([step]).collect())
    }

    /// The element that the path ends with.
    pub(crate) fn element(&self) -> Option<ElementName> {
        match self.0.last() {
            Some(Step::Element(name)) => Some(*name),
            _ => None,
        }
    }

    /// The first bytes of the keys of all cells at and below this path. `this` is the entry that the path is part of.
    pub(crate) fn prefix(&self, this: Id) -> Vec<u8> {
        self.prefix_above(self.0.len(), this)
    }

    /// The same for the path of the first steps.
    pub(crate) fn prefix_above(&self, steps: usize, this: Id) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        for step in &self.0[..steps] {
            push_step(&mut out, step, this);
        }
        out
    }

    pub(crate) fn cell(&self, this: Id) -> Cell {
        let mut out = self.prefix(this);
        out.extend_from_slice(&cell::END);
        out.into()
    }

    /// The key by which the operations of a delta are ordered.
    pub(crate) fn order(&self) -> Cell {
        self.cell(THIS_ENTRY)
    }

    /// What the keys of operations at and below this path begin with, in the order of a delta.
    pub(crate) fn order_prefix(&self) -> Vec<u8> {
        self.prefix(THIS_ENTRY)
    }

    /// The first steps of this path.
    pub(crate) fn above(&self, steps: usize) -> Path {
        Path(self.0[..steps].to_vec())
    }

    /// The cells above this path, shortest first.
    pub(crate) fn ancestors(&self, this: Id) -> Vec<Cell> {
        let mut ancestors = Vec::new();
        let mut out = Vec::new();
        for step in self.0.split_last().map_or(&[][..], |(_, above)| above) {
            push_step(&mut out, step, this);
            ancestors.push([&out[..], &cell::END].concat().into());
        }
        ancestors
    }

    /// The path that a cell's key stands for; `None` if it is of another form.
    pub(crate) fn of_cell(cell: &[u8]) -> Option<Path> {
        let mut input = cell;
        let mut steps = Vec::new();
        while input != cell::END {
            if let [cell::ELEMENT, rest @ ..] = input {
                let (id, rest) = rest.split_at_checked(32)?;
                let (index, rest) = rest.split_at_checked(4)?;
                let index = u32::from_be_bytes(index.try_into().ok()?);
                steps.push(Step::Element(ElementName { entry: Id::from_slice(id), index }));
                input = rest;
            } else {
                let part = cell::take_part(&mut input)?;
                steps.push(Step::Key(String::from_utf8(part.into_owned()).ok()?));
            }
        }
        Some(Path(steps))
    }

    /// Not empty, an element only below a key and last, and short enough for a cell.
    pub(crate) fn is_valid(&self) -> bool {
        self.has_form() && self.order().len() <= MAX_CELL
    }

    /// Not empty, and an element only below a key and last.
    pub(crate) fn has_form(&self) -> bool {
        let keys = self.0.iter().take_while(|step| matches!(step, Step::Key(_))).count();
        keys > 0 && keys + usize::from(self.element().is_some()) == self.0.len()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.list(self.0.len());
        for step in &self.0 {
            match step {
                Step::Key(key) => drop(out.text(key)),
                Step::Element(ElementName { entry, index }) => {
                    out.list(2);
                    match entry {
                        Some(id) => out.bytes(id.as_bytes()),
                        None => out.null(),
                    };
                    out.uint((*index).into());
                }
            }
        }
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Read<Path> {
        let len = input.list(MAX_CELL)?;
        let mut steps = Vec::new();
        for _ in 0..len {
            steps.push(match input.kind()? {
                minicbor::data::Type::String => Step::Key(input.text()?.to_owned()),
                _ => {
                    input.list_of(2)?;
                    let entry = if input.is_null()? { None } else { Some(Id::from_bytes(input.array()?)) };
                    let index = u32::try_from(input.uint()?).map_err(|_| Malformed)?;
                    Step::Element(ElementName { entry, index })
                }
            });
        }
        Ok(Path(steps))
    }
}

fn push_step(out: &mut Vec<u8>, step: &Step, this: Id) {
    match step {
        Step::Key(key) => cell::push_part(out, key.as_bytes()),
        Step::Element(ElementName { entry, index }) => {
            out.push(cell::ELEMENT);
            out.extend_from_slice(entry.unwrap_or(this).as_bytes());
            out.extend_from_slice(&index.to_be_bytes());
        }
    }
}

/// True if the cell lies strictly below the path with this prefix.
pub(crate) fn is_below(cell: &[u8], prefix: &[u8]) -> bool {
    cell.strip_prefix(prefix).is_some_and(|rest| rest != cell::END)
}

/// The prefix that the cells at and below this one share.
pub(crate) fn prefix_of(cell: &Cell) -> Bytes {
    cell.slice(..cell.len() - cell::END.len())
}
