//! The delta of a document store: what one entry does to it.

use bytes::Bytes;

use super::path::{Path, Step};
use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::id::Id;
use crate::limits::MAX_POSITION;
use crate::value::Value;

/// What one entry does to a document: one action for each path, ordered by path.
///
/// The actions of an entry happen at once. What they overtake is what was there below the entry; they do not overtake
/// each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocDelta(pub Vec<(Path, Action)>);

/// What happens at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Everything at and below the path that was seen goes.
    Delete,
    /// The path has this value; everything else at and below it that was seen goes.
    Set(Plain),
    /// The path is a counter that starts with this number; everything else at and below it that was seen goes.
    Create(i64),
    /// Adds to the counter that this entry created, or starts one if no entry is named.
    Increment {
        /// How much.
        by: i64,
        /// The entry that created the counter.
        epoch: Option<Id>,
    },
    /// Makes a list element, named by this entry and the index in the path.
    Insert {
        /// Where it sorts among its siblings.
        position: Vec<u8>,
        /// What it holds.
        value: Value,
    },
    /// Moves a list element, or gives it another value, or both.
    Write {
        /// The new position.
        position: Option<Vec<u8>>,
        /// The new value.
        value: Option<Value>,
    },
}

/// A value that stands at a path by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    /// Anything but a list, a map or a counter.
    Scalar(Value),
    /// There is a map here, even if nothing is in it.
    Map,
    /// There is a list here, even if nothing is in it.
    List,
}

impl DocDelta {
    /// True if it does nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish().into()
    }

    /// Reads a delta; `None` if a peer of this version cannot read it. Its entry is then admitted without effect here.
    pub fn parse(bytes: &[u8]) -> Option<DocDelta> {
        let mut input = Reader::new(bytes);
        let delta = DocDelta::read(&mut input).ok()?;
        (input.end().is_ok() && delta.to_bytes() == bytes).then_some(delta)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.list(self.0.len());
        for (path, action) in &self.0 {
            write_operation(out, path, action);
        }
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Read<DocDelta> {
        let len = input.list(usize::MAX)?;
        let mut operations = Vec::new();
        let mut last = None;
        for _ in 0..len {
            let (path, action) = read_operation(input)?;
            let order = path.order();
            let fits = path.is_valid() && action.fits(&path) && last.is_none_or(|last| last < order);
            if !fits {
                return Err(Malformed);
            }
            last = Some(order);
            operations.push((path, action));
        }
        Ok(DocDelta(operations))
    }
}

impl Action {
    /// True if the action makes sense at such a path.
    fn fits(&self, path: &Path) -> bool {
        match (self, path.0.last()) {
            (Action::Delete, Some(Step::Element(name))) => name.entry.is_some(),
            (Action::Delete, step) => step.is_some(),
            (Action::Insert { position, .. }, Some(Step::Element(name))) => {
                name.entry.is_none() && is_position(position)
            }
            (Action::Write { position, value }, Some(Step::Element(name))) => {
                let some = position.is_some() || value.is_some();
                name.entry.is_some() && some && position.as_deref().is_none_or(is_position)
            }
            (Action::Set(_) | Action::Create(_) | Action::Increment { .. }, Some(Step::Key(_))) => true,
            _ => false,
        }
    }
}

/// A position ends with the byte 128, so that there is another one between any two.
fn is_position(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_POSITION && bytes.last() == Some(&128)
}

fn write_operation(out: &mut Writer, path: &Path, action: &Action) {
    let arguments = match action {
        Action::Delete => 0,
        Action::Set(_) | Action::Create(_) => 1,
        _ => 2,
    };
    out.list(2 + arguments);
    path.write(out);
    match action {
        Action::Delete => drop(out.uint(0)),
        Action::Set(plain) => {
            out.uint(1);
            match plain {
                Plain::Scalar(value) => value.write(out),
                Plain::Map => drop(out.map(0)),
                Plain::List => drop(out.list(0)),
            }
        }
        Action::Create(base) => drop(out.uint(2).int(*base)),
        Action::Increment { by, epoch } => {
            out.uint(3).int(*by);
            match epoch {
                Some(id) => out.bytes(id.as_bytes()),
                None => out.null(),
            };
        }
        Action::Insert { position, value } => {
            out.uint(4).bytes(position);
            value.write(out);
        }
        Action::Write { position, value } => {
            out.uint(5).list(position.iter().len());
            if let Some(position) = position {
                out.bytes(position);
            }
            out.list(value.iter().len());
            if let Some(value) = value {
                value.write(out);
            }
        }
    }
}

fn read_operation(input: &mut Reader<'_>) -> Read<(Path, Action)> {
    let len = input.list(4)?;
    let path = Path::read(input)?;
    let action = match (input.uint()?, len) {
        (0, 2) => Action::Delete,
        (1, 3) => Action::Set(match Value::read(input)? {
            Value::Map(map) if map.is_empty() => Plain::Map,
            Value::List(list) if list.is_empty() => Plain::List,
            Value::Map(_) | Value::List(_) => return Err(Malformed),
            scalar => Plain::Scalar(scalar),
        }),
        (2, 3) => Action::Create(input.int()?),
        (3, 4) => {
            let by = input.int()?;
            let epoch = if input.is_null()? { None } else { Some(Id::from_bytes(input.array()?)) };
            Action::Increment { by, epoch }
        }
        (4, 4) => Action::Insert { position: input.bytes()?.to_vec(), value: Value::read(input)? },
        (5, 4) => {
            let position = if input.list(1)? == 1 { Some(input.bytes()?.to_vec()) } else { None };
            let value = if input.list(1)? == 1 { Some(Value::read(input)?) } else { None };
            Action::Write { position, value }
        }
        _ => return Err(Malformed),
    };
    Ok((path, action))
}
