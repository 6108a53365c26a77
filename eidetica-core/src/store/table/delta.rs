//! The delta of a table: what one entry does to its rows.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::id::Id;
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
        let delta = TableDelta::read(bytes).ok()?;
        (delta.to_bytes() == bytes).then_some(delta)
    }

    fn read(bytes: &Bytes) -> Read<TableDelta> {
        let mut input = Reader::new(bytes);
        let len = input.list(usize::MAX)?;
        let mut rows: Vec<(String, RowAction)> = Vec::new();
        for _ in 0..len {
            let arguments = input.list(4)?;
            let key = input.text()?.to_owned();
            let action = match (input.uint()?, arguments) {
                (0, 2) => RowAction::Delete,
                (1, 3) => RowAction::Insert(read_fields(&mut input, bytes)?),
                (2, 4) => {
                    let identity = Id::from_bytes(input.array()?);
                    let fields = read_fields(&mut input, bytes)?;
                    if fields.is_empty() {
                        return Err(Malformed);
                    }
                    RowAction::Write { identity, fields }
                }
                _ => return Err(Malformed),
            };
            let ascending = rows.last().is_none_or(|(last, _)| *last < key);
            if !ascending || cell::single(key.as_bytes()).len() > crate::limits::MAX_CELL {
                return Err(Malformed);
            }
            rows.push((key, action));
        }
        input.end()?;
        Ok(TableDelta(rows))
    }
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
        let bytes = input.skip()?;
        // Reading it proves that it is a value; that it is a canonical one is shown by writing it again.
        if Value::from_bytes(bytes)?.to_bytes() != bytes {
            return Err(Malformed);
        }
        if fields.insert(name, crate::cbor::share(whole, bytes)).is_some() {
            return Err(Malformed);
        }
    }
    Ok(fields)
}
