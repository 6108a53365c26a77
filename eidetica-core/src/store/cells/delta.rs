//! The delta of a custom store: what one entry does to its cells.

use bytes::Bytes;

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::limits::MAX_CELL;
use crate::store::cell;

/// What one entry does to the cells of a custom store: for each key its new value, or `None` where it is removed. Ordered
/// by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellsDelta(pub Vec<(Bytes, Option<Bytes>)>);

impl CellsDelta {
    /// True if it does nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Writer::new();
        out.list(self.0.len());
        for (key, value) in &self.0 {
            out.list(2).bytes(key);
            match value {
                Some(value) => out.bytes(value),
                None => out.null(),
            };
        }
        out.finish().into()
    }

    /// Reads a delta; `None` if a peer of this version cannot read it. Its entry is then admitted without effect here.
    pub fn parse(bytes: &Bytes) -> Option<CellsDelta> {
        let delta = CellsDelta::read(bytes).ok()?;
        (delta.to_bytes() == bytes).then_some(delta)
    }

    fn read(bytes: &Bytes) -> Read<CellsDelta> {
        let mut input = Reader::new(bytes);
        let len = input.list(usize::MAX)?;
        let mut cells: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for _ in 0..len {
            input.list_of(2)?;
            let key = crate::cbor::share(bytes, input.bytes()?);
            let value = if input.is_null()? { None } else { Some(crate::cbor::share(bytes, input.bytes()?)) };
            let ascending = cells.last().is_none_or(|(last, _)| *last < key);
            if !ascending || cell::single(&key).len() > MAX_CELL {
                return Err(Malformed);
            }
            cells.push((key, value));
        }
        input.end()?;
        Ok(CellsDelta(cells))
    }
}
