//! Secondary indexes of a table.
//!
//! An index holds one row for each row of the table that shows a value in its field. It belongs to this store alone: other
//! peers have the indexes that they asked for. It changes in the same batch as the rows.

use bytes::Bytes;
use eidetica_contract::Result;

use crate::error::damaged;
use crate::layout::{INDEX, StoreNumber};
use crate::overlay::Overlay;
use crate::store::applier::Applier;
use crate::store::cell::{self, Cell};
use crate::store::row::Identity;
use crate::value::Value;

/// How many bytes of a text take part in the order of an index; what agrees so far is compared in the row.
const INDEXED_BYTES: usize = 96;

/// An index of a store: over one field, under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexDefinition {
    pub number: u32,
    pub field: String,
    /// While it is being built: the last row that was put into it. Rows that change meanwhile are put in wherever they lie.
    pub until: Option<Cell>,
}

impl IndexDefinition {
    /// True if every row is in it, so that it can be read.
    pub fn is_whole(&self) -> bool {
        self.until.is_none()
    }

    /// True if the row of a cell must be in it.
    pub fn reaches(&self, cell: &Cell) -> bool {
        self.until.as_ref().is_none_or(|until| cell <= until)
    }
}

/// Keeps the indexes of a store in step with its rows.
pub(crate) struct IndexWriter<'a> {
    pub indexes: &'a [IndexDefinition],
}

impl IndexWriter<'_> {
    pub fn update(
        &mut self,
        applier: &mut Applier<'_>,
        cell: &Cell,
        before: Option<&Identity>,
        after: Option<&Identity>,
    ) -> Result<()> {
        self.change(applier.rows, applier.store, cell, before, after)
    }

    /// The same, where no entry is applied.
    pub fn change(
        &self,
        rows: &mut Overlay,
        store: StoreNumber,
        cell: &Cell,
        before: Option<&Identity>,
        after: Option<&Identity>,
    ) -> Result<()> {
        for index in self.indexes {
            let old = index_key(store, index, cell, before)?;
            let new = index_key(store, index, cell, after)?;
            if old == new {
                continue;
            }
            if let Some(old) = old {
                rows.delete(INDEX, old);
            }
            if let Some(new) = new {
                rows.put(INDEX, new, Bytes::new());
            }
        }
        Ok(())
    }
}

/// The rows that the indexes must hold for one row of the table.
pub(crate) fn index_rows(
    store: StoreNumber,
    indexes: &[IndexDefinition],
    cell: &Cell,
    shown: Option<&Identity>,
) -> Result<Vec<Bytes>> {
    indexes.iter().filter_map(|index| index_key(store, index, cell, shown).transpose()).collect()
}

fn index_key(
    store: StoreNumber,
    index: &IndexDefinition,
    cell: &Cell,
    shown: Option<&Identity>,
) -> Result<Option<Bytes>> {
    let Some(value) = shown.and_then(|identity| identity.field(&index.field)) else { return Ok(None) };
    let value = Value::from_bytes(value).map_err(|_| damaged("a value in a row"))?;
    let Some(ordered) = ordered(&value) else { return Ok(None) };
    Ok(Some([&store.index_prefix(index.number)[..], &ordered, cell].concat().into()))
}

/// Bytes that sort as the values do: by type, then by value. Lists and maps are not indexed.
pub(crate) fn ordered(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match value {
        Value::Null => out.push(0),
        Value::Bool(value) => out.extend([1, u8::from(*value)]),
        Value::Int(value) | Value::Counter(value) => {
            out.push(2);
            out.extend(((*value as u64) ^ (1 << 63)).to_be_bytes());
        }
        Value::Float(value) => {
            // IEEE 754 numbers sort as their bits do, once those of negative ones are turned around.
            let bits = value.to_bits();
            let sorted = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
            out.push(3);
            out.extend(sorted.to_be_bytes());
        }
        Value::Text(text) => push_truncated(&mut out, 4, text.as_bytes()),
        Value::Bytes(bytes) => push_truncated(&mut out, 5, bytes),
        Value::List(_) | Value::Map(_) => return None,
    }
    Some(out)
}

fn push_truncated(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    cell::push_part(out, &bytes[..bytes.len().min(INDEXED_BYTES)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_values() {
        let values: [Value; 14] = [
            Value::Null,
            false.into(),
            true.into(),
            i64::MIN.into(),
            (-1i64).into(),
            0i64.into(),
            i64::MAX.into(),
            f64::MIN.into(),
            (-0.0).into(),
            0.0.into(),
            f64::MAX.into(),
            "".into(),
            "a\0".into(),
            "ab".into(),
        ];
        let keys: Vec<_> = values.iter().map(|value| ordered(value).unwrap()).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(ordered(&Value::List(vec![])), None);
    }
}
