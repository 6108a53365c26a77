//! The delta of a document store: what one entry does to it.

use bytes::Bytes;
use minicbor::data::Type;

use super::path::{Path, Step};
use super::position::is_position;
use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::id::Id;
use crate::limits::{MAX_CELL, MAX_DEPTH};
use crate::value::Value;

/// What one entry does to a document: one action for each path, ordered by path.
///
/// The actions of an entry happen at once. What they overtake is what was there below the entry; they do not overtake
/// each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocDelta(pub Vec<(Path, Action)>);

/// What happens at a path. `V` is what the value of a list element is held as: a value, or its canonical bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<V = Value> {
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
        value: V,
    },
    /// Moves a list element, or gives it another value, or both.
    Write {
        /// The new position.
        position: Option<Vec<u8>>,
        /// The new value.
        value: Option<V>,
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
        DocOperations::prove(&Bytes::copy_from_slice(bytes))?.to_delta()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.list(self.0.len());
        for (path, action) in &self.0 {
            write_operation(out, path, action);
        }
    }
}

/// The delta of a document as it lies in the body of an entry: proven, and read one operation at a time.
///
/// In memory an operation takes many times the bytes that it is written in. This way a body that a stranger sends costs
/// little more than itself, whatever is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocOperations {
    body: Bytes,
    /// Where each operation begins.
    at: Vec<u32>,
    /// How many steps the longest path has.
    deepest: usize,
}

/// The fewest bytes that an operation takes.
const SMALLEST: usize = 4;
/// How deep the value of an element lies in a delta: in the delta, its operation, and the list of what is written.
pub(crate) const AROUND_VALUE: usize = 3;

impl DocOperations {
    /// Proves that a body is the canonical form of a delta.
    pub fn prove(body: &Bytes) -> Option<DocOperations> {
        let mut input = Reader::new(body);
        let operations = DocOperations::read(&mut input, body).ok()?;
        let canonical = || Reader::new(body).canonical(MAX_DEPTH + AROUND_VALUE).is_ok();
        (input.end().is_ok() && canonical()).then_some(operations)
    }

    /// Reads a delta within a body, the canonical form of which is still to be proven.
    pub fn read(input: &mut Reader<'_>, body: &Bytes) -> Read<DocOperations> {
        let len = input.list(usize::MAX)?;
        let mut at = Vec::with_capacity(len.min(body.len() / SMALLEST));
        let (mut last, mut deepest) = (None, 0);
        for _ in 0..len {
            at.push(u32::try_from(input.position()).map_err(|_| Malformed)?);
            let (path, action) = read_operation(input, Value::read_encoded)?;
            let order = path.order();
            let fits = path.has_form() && order.len() <= MAX_CELL && action.fits(&path);
            let fits = fits && last.is_none_or(|last| last < order);
            if !fits {
                return Err(Malformed);
            }
            last = Some(order);
            deepest = deepest.max(path.0.len());
        }
        Ok(DocOperations { body: body.clone(), at, deepest })
    }

    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// How many steps the longest path has.
    pub fn deepest(&self) -> usize {
        self.deepest
    }

    /// Reads one of the operations. `None` past the last one.
    pub fn get(&self, index: usize) -> Option<(Path, Action<Bytes>)> {
        let mut input = Reader::new(&self.body[*self.at.get(index)? as usize..]);
        read_operation(&mut input, |input| Ok(crate::cbor::share(&self.body, Value::read_encoded(input)?))).ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Path, Action<Bytes>)> + '_ {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// The action at the path with this order.
    pub fn find(&self, order: &[u8]) -> Option<Action<Bytes>> {
        let at = |at: &u32| Path::read(&mut Reader::new(self.body.get(*at as usize + 1..)?)).ok();
        let found = self.at.binary_search_by(|start| at(start).map(|path| path.order()).as_deref().cmp(&Some(order)));
        self.get(found.ok()?).map(|(_, action)| action)
    }

    pub fn to_delta(&self) -> Option<DocDelta> {
        let whole = |(path, action): (Path, Action<Bytes>)| Some((path, action.to_value()?));
        self.iter().map(whole).collect::<Option<Vec<_>>>().map(DocDelta)
    }
}

impl Action<Bytes> {
    fn to_value(&self) -> Option<Action> {
        let value = |bytes: &Bytes| Value::from_bytes(bytes).ok();
        Some(match self {
            Action::Delete => Action::Delete,
            Action::Set(plain) => Action::Set(plain.clone()),
            Action::Create(base) => Action::Create(*base),
            Action::Increment { by, epoch } => Action::Increment { by: *by, epoch: *epoch },
            Action::Insert { position, value: bytes } => {
                Action::Insert { position: position.clone(), value: value(bytes)? }
            }
            Action::Write { position, value: bytes } => {
                let value = match bytes {
                    Some(bytes) => Some(value(bytes)?),
                    None => None,
                };
                Action::Write { position: position.clone(), value }
            }
        })
    }
}

impl<V> Action<V> {
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

fn read_operation<'b, V>(input: &mut Reader<'b>, read: impl Fn(&mut Reader<'b>) -> Read<V>) -> Read<(Path, Action<V>)> {
    let len = input.list(4)?;
    let path = Path::read(input)?;
    let action = match (input.uint()?, len) {
        (0, 2) => Action::Delete,
        (1, 3) => Action::Set(match input.kind()? {
            Type::Map if input.map()? == 0 => Plain::Map,
            Type::Array if input.list(usize::MAX)? == 0 => Plain::List,
            Type::Map | Type::Array => return Err(Malformed),
            _ => Plain::Scalar(Value::read(input)?),
        }),
        (2, 3) => Action::Create(input.int()?),
        (3, 4) => {
            let by = input.int()?;
            let epoch = if input.is_null()? { None } else { Some(Id::from_bytes(input.array()?)) };
            Action::Increment { by, epoch }
        }
        (4, 4) => Action::Insert { position: input.bytes()?.to_vec(), value: read(input)? },
        (5, 4) => {
            let position = if input.list(1)? == 1 { Some(input.bytes()?.to_vec()) } else { None };
            let value = if input.list(1)? == 1 { Some(read(input)?) } else { None };
            Action::Write { position, value }
        }
        _ => return Err(Malformed),
    };
    Ok((path, action))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::path::ElementName;
    use super::*;
    use crate::auth::{Right, Setting, Settings, SettingsDelta, Subject};

    /// What proves a body without building it must agree with this: reading it all and writing it again.
    fn rewritten(bytes: &[u8]) -> bool {
        let mut input = Reader::new(bytes);
        let mut read = || -> Read<DocDelta> {
            let mut operations: Vec<(Path, Action)> = Vec::new();
            for _ in 0..input.list(usize::MAX)? {
                let (path, action) = read_operation(&mut input, Value::read)?;
                let ascending = operations.last().is_none_or(|(last, _)| last.order() < path.order());
                if !ascending || !path.is_valid() || !action.fits(&path) {
                    return Err(Malformed);
                }
                operations.push((path, action));
            }
            input.end()?;
            Ok(DocDelta(operations))
        };
        read().is_ok_and(|delta| delta.to_bytes() == bytes)
    }

    fn delta() -> impl Strategy<Value = DocDelta> {
        let key = prop_oneof![Just(""), Just("a"), Just("ab"), Just("b\0")].prop_map(|key| Step::Key(key.to_owned()));
        let keys = proptest::collection::vec(key, 1..4);
        let value = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Int),
            Just(Value::List(vec![Value::Map([("a", 1i64), ("b", 300)].into_iter().collect()), 0.5.into()])),
            Just(Value::List(Vec::new())),
        ];
        let position = proptest::collection::vec(any::<u8>(), 0..3).prop_map(|bytes| [&bytes[..], &[128]].concat());
        let plain = prop_oneof![
            Just(Plain::Map),
            Just(Plain::List),
            any::<i64>().prop_map(|number| Plain::Scalar(number.into())),
            Just(Plain::Scalar("x".into())),
        ];
        let id = Id::from_bytes([7; 32]);
        let at_key = prop_oneof![
            Just(Action::Delete),
            plain.prop_map(Action::Set),
            any::<i64>().prop_map(Action::Create),
            (any::<i64>(), any::<bool>())
                .prop_map(move |(by, named)| Action::Increment { by, epoch: named.then_some(id) }),
        ];
        let at_element = prop_oneof![
            (position.clone(), value.clone()).prop_map(|(position, value)| (None, Action::Insert { position, value })),
            (proptest::option::of(position), value)
                .prop_map(move |(position, value)| (Some(id), Action::Write { position, value: Some(value) })),
            Just((Some(id), Action::Delete)),
        ];
        let operation = prop_oneof![
            (keys.clone(), at_key).prop_map(|(keys, action)| (Path(keys), action)),
            (keys, at_element, 0..30u32).prop_map(|(mut keys, (entry, action), index)| {
                keys.push(Step::Element(ElementName { entry, index }));
                (Path(keys), action)
            }),
        ];
        proptest::collection::vec(operation, 0..5).prop_map(|operations| {
            let sorted: std::collections::BTreeMap<_, _> =
                operations.into_iter().map(|operation| (operation.0.order(), operation)).collect();
            DocDelta(sorted.into_values().collect())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn a_delta_is_proven_exactly_if_it_reads_and_is_written_the_same(
            delta in delta(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..3),
        ) {
            let mut bytes = delta.to_bytes().to_vec();
            let proven = DocOperations::prove(&bytes.clone().into());
            prop_assert_eq!(proven.as_ref().and_then(DocOperations::to_delta), Some(delta.clone()));
            for (path, action) in &delta.0 {
                let found = proven.as_ref().and_then(|proven| proven.find(&path.order()));
                let found = found.and_then(|found| found.to_value());
                prop_assert_eq!(found.as_ref(), Some(action));
            }
            for (at, byte, how) in changes {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {}
                }
                prop_assert_eq!(DocOperations::prove(&bytes.clone().into()).is_some(), rewritten(&bytes), "{:x?}", bytes);
                // The same behind operations on rights.
                let rights = vec![(Subject::Everybody, Setting::Grant(Right::READ))];
                let settings = SettingsDelta { rights, values: DocDelta::default() }.to_bytes();
                let settings = [&settings[..settings.len() - 1], &bytes].concat();
                prop_assert_eq!(Settings::parse(&settings.into()).is_ok(), rewritten(&bytes), "{:x?}", bytes);
            }
        }
    }
}
