//! The delta of a table: what one entry does to its rows.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::id::Id;
use crate::limits::{MAX_CELL, MAX_DEPTH};
use crate::store::cell;
use crate::value::{Value, write_map};

/// The fields of a row and the canonical bytes of their values.
pub type Fields = BTreeMap<String, Bytes>;

/// What one entry does to a table: one action for each row, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableDelta(pub Vec<(String, RowAction)>);

/// What happens to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowAction {
    /// Every identity of the row that was seen ends.
    Delete,
    /// Every identity of the row that was seen ends, and a new one begins, named by this entry.
    Insert(Fields),
    /// Fields of one identity get new values.
    Write {
        /// The entry that made the identity.
        identity: Id,
        /// The new values; not empty.
        fields: Fields,
    },
}

impl TableDelta {
    /// True if it does nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Writer::new();
        out.list(self.0.len());
        for (key, action) in &self.0 {
            match action {
                RowAction::Delete => drop(out.list(2).text(key).uint(0)),
                RowAction::Insert(fields) => {
                    out.list(3).text(key).uint(1);
                    write_fields(&mut out, fields);
                }
                RowAction::Write { identity, fields } => {
                    out.list(4).text(key).uint(2).bytes(identity.as_bytes());
                    write_fields(&mut out, fields);
                }
            }
        }
        out.finish().into()
    }

    /// Reads a delta; `None` if a peer of this version cannot read it. Its entry is then admitted without effect here.
    pub fn parse(bytes: &Bytes) -> Option<TableDelta> {
        TableOperations::prove(bytes).map(|rows| TableDelta(rows.iter().collect()))
    }
}

/// The delta of a table as it lies in the body of an entry: proven, and read one row at a time, so that a body costs little
/// more memory than itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableOperations {
    body: Bytes,
    /// Where the action of each row begins.
    at: Vec<u32>,
}

/// The fewest bytes that an action takes.
const SMALLEST: usize = 3;
/// How deep a value lies in a delta: in the delta, its action, and the fields.
const AROUND_VALUE: usize = 3;

impl TableOperations {
    /// Proves that a body is the canonical form of a delta.
    pub fn prove(body: &Bytes) -> Option<TableOperations> {
        let rows = TableOperations::read(body).ok()?;
        Reader::new(body).canonical(MAX_DEPTH + AROUND_VALUE).is_ok().then_some(rows)
    }

    fn read(body: &Bytes) -> Read<TableOperations> {
        let mut input = Reader::new(body);
        let len = input.list(usize::MAX)?;
        let mut at = Vec::with_capacity(len.min(body.len() / SMALLEST));
        let mut last: Option<&str> = None;
        for _ in 0..len {
            at.push(u32::try_from(input.position()).map_err(|_| Malformed)?);
            let key = prove_row(&mut input)?;
            let ascending = last.is_none_or(|last| last < key);
            if !ascending || cell::single(key.as_bytes()).len() > MAX_CELL {
                return Err(Malformed);
            }
            last = Some(key);
        }
        input.end()?;
        Ok(TableOperations { body: body.clone(), at })
    }

    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Reads the action of one of the rows. `None` past the last one.
    pub fn get(&self, index: usize) -> Option<(String, RowAction)> {
        read_row(&mut Reader::new(&self.body[*self.at.get(index)? as usize..]), &self.body).ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = (String, RowAction)> + '_ {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// The action of the row with this key.
    pub fn find(&self, key: &[u8]) -> Option<RowAction> {
        let at = |start: &u32| {
            let mut input = Reader::new(self.body.get(*start as usize..)?);
            input.list(4).ok()?;
            input.text().ok()
        };
        let found = self.at.binary_search_by(|start| at(start).map(str::as_bytes).cmp(&Some(key)));
        self.get(found.ok()?).map(|(_, action)| action)
    }
}

/// Reads the action of a row without building anything, and returns the key.
fn prove_row<'b>(input: &mut Reader<'b>) -> Read<&'b str> {
    let arguments = input.list(4)?;
    let key = input.text()?;
    match (input.uint()?, arguments) {
        (0, 2) => {}
        (1, 3) => drop(prove_fields(input)?),
        (2, 4) => {
            input.array::<32>()?;
            if prove_fields(input)? == 0 {
                return Err(Malformed);
            }
        }
        _ => return Err(Malformed),
    }
    Ok(key)
}

/// How many fields there are. That each is there once follows from their order.
fn prove_fields(input: &mut Reader<'_>) -> Read<usize> {
    let len = input.map()?;
    for _ in 0..len {
        input.text()?;
        Value::read_encoded(input)?;
    }
    Ok(len)
}

fn read_row(input: &mut Reader<'_>, whole: &Bytes) -> Read<(String, RowAction)> {
    let arguments = input.list(4)?;
    let key = input.text()?.to_owned();
    let action = match (input.uint()?, arguments) {
        (0, 2) => RowAction::Delete,
        (1, 3) => RowAction::Insert(read_fields(input, whole)?),
        (2, 4) => RowAction::Write { identity: Id::from_bytes(input.array()?), fields: read_fields(input, whole)? },
        _ => return Err(Malformed),
    };
    Ok((key, action))
}

fn write_fields(out: &mut Writer, fields: &Fields) {
    write_map(out, fields.iter().map(|(name, value)| (name.as_str(), value)), |value, out| {
        out.raw(value);
    });
}

fn read_fields(input: &mut Reader<'_>, whole: &Bytes) -> Read<Fields> {
    let len = input.map()?;
    let mut fields = Fields::new();
    for _ in 0..len {
        let name = input.text()?.to_owned();
        fields.insert(name, crate::cbor::share(whole, Value::read_encoded(input)?));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What proves a body without building it must agree with this: reading it all and writing it again.
    fn rewritten(bytes: &[u8]) -> bool {
        let mut input = Reader::new(bytes);
        let mut read = || -> Read<TableDelta> {
            let mut rows: Vec<(String, RowAction)> = Vec::new();
            for _ in 0..input.list(usize::MAX)? {
                let arguments = input.list(4)?;
                let key = input.text()?.to_owned();
                let kind = input.uint()?;
                let identity = if (kind, arguments) == (2, 4) { Some(input.array()?) } else { None };
                let mut fields = Fields::new();
                if kind > 0 {
                    for _ in 0..input.map()? {
                        let name = input.text()?.to_owned();
                        if fields.insert(name, Value::read(&mut input)?.to_bytes().into()).is_some() {
                            return Err(Malformed);
                        }
                    }
                }
                let action = match (kind, arguments, identity) {
                    (0, 2, _) => RowAction::Delete,
                    (1, 3, _) => RowAction::Insert(fields),
                    (2, 4, Some(id)) if !fields.is_empty() => RowAction::Write { identity: Id::from_bytes(id), fields },
                    _ => return Err(Malformed),
                };
                if rows.last().is_some_and(|(last, _)| *last >= key) || cell::single(key.as_bytes()).len() > MAX_CELL {
                    return Err(Malformed);
                }
                rows.push((key, action));
            }
            input.end()?;
            Ok(TableDelta(rows))
        };
        read().is_ok_and(|delta| delta.to_bytes() == bytes)
    }

    fn delta() -> impl Strategy<Value = TableDelta> {
        let value = prop_oneof![
            any::<i64>().prop_map(Value::Int),
            Just(Value::Null),
            Just(Value::List(vec![Value::Map([("a", 1i64), ("b", 300)].into_iter().collect()), 0.5.into()])),
        ];
        let fields = |least| {
            let field = value.clone().prop_map(|value| Bytes::from(value.to_bytes()));
            proptest::collection::btree_map("[ab]{0,3}", field, least..4)
        };
        let action = prop_oneof![
            Just(RowAction::Delete),
            fields(0).prop_map(RowAction::Insert),
            fields(1).prop_map(|fields| RowAction::Write { identity: Id::from_bytes([7; 32]), fields }),
        ];
        proptest::collection::btree_map("[ab\\u{0}]{0,3}", action, 0..4)
            .prop_map(|rows| TableDelta(rows.into_iter().collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn a_delta_is_proven_exactly_if_it_reads_and_is_written_the_same(
            delta in delta(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..3),
        ) {
            let mut bytes = delta.to_bytes().to_vec();
            let proven = TableOperations::prove(&bytes.clone().into());
            prop_assert_eq!(proven.as_ref().map(|proven| proven.iter().collect()), Some(delta.0.clone()));
            for (key, action) in &delta.0 {
                let found = proven.as_ref().and_then(|proven| proven.find(key.as_bytes()));
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
                prop_assert_eq!(TableOperations::prove(&bytes.clone().into()).is_some(), rewritten(&bytes), "{:x?}", bytes);
            }
        }
    }
}
