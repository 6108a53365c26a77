//! The live record of a cell of a document.

use bytes::Bytes;

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::store::cell;
use crate::store::past::Past;
use crate::store::row::RowCell;
use crate::store::stamp::Stamp;
use crate::value::Value;

/// What lives at a cell: values at a path, or an element of a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    Values(ValueCell),
    Element(RowCell),
}

/// The live values of a path, weakest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ValueCell {
    pub live: Vec<Live>,
}

/// One live value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Live {
    pub stamp: Stamp,
    pub payload: Payload,
}

/// What a live value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Payload {
    Scalar(Value),
    /// There is a map here, even if nothing is in it.
    Map,
    /// There is a list here, even if nothing is in it.
    List,
    /// A counter: the number it was created with, if it was, and the sum of the increments to it. The sum is wide enough
    /// that no number of increments overflows it.
    Counter {
        base: Option<i64>,
        sum: i128,
    },
}

impl Payload {
    /// Writes a list whose length tells what it is: that of a counter says four, though three follow, since there are three in
    /// that of a scalar. So these rows are read as they are here alone, and never skipped as CBOR.
    fn write(&self, stamp: Stamp, out: &mut Writer) {
        let parts = match self {
            Payload::Map | Payload::List => 2,
            Payload::Scalar(_) => 3,
            Payload::Counter { .. } => 4,
        };
        out.list(parts);
        stamp.write(out);
        match self {
            Payload::Scalar(value) => {
                out.uint(0);
                value.write(out);
            }
            Payload::Map => drop(out.uint(1)),
            Payload::List => drop(out.uint(2)),
            Payload::Counter { base, sum } => {
                match base {
                    Some(base) => out.int(*base),
                    None => out.null(),
                };
                out.bytes(&sum.to_be_bytes());
            }
        }
    }

    /// True if an operation below the path overtakes it.
    pub fn yields_to_below(&self) -> bool {
        matches!(self, Payload::Scalar(_) | Payload::Counter { .. })
    }
}

impl Record {
    pub fn empty_at(cell: &[u8]) -> Record {
        // The key of an element ends with a step of fixed length behind the byte `F8`; no text holds that byte.
        match super::path::Path::of_cell(cell).and_then(|path| path.element()) {
            Some(_) => Record::Element(RowCell::default()),
            None => Record::Values(ValueCell::default()),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Record::Values(cell) => cell.live.is_empty(),
            Record::Element(cell) => cell.identities.is_empty(),
        }
    }

    pub fn to_bytes(&self) -> Bytes {
        match self {
            Record::Values(cell) => cell.to_bytes(),
            Record::Element(cell) => cell.to_bytes(),
        }
    }

    pub fn parse(cell: &[u8], bytes: &Bytes) -> Read<Record> {
        let is_element = cell.len() > 39 && cell[cell.len() - 39] == cell::ELEMENT;
        if is_element && matches!(Record::empty_at(cell), Record::Element(_)) {
            return RowCell::parse(bytes).map(Record::Element);
        }
        ValueCell::parse(bytes).map(Record::Values)
    }

    /// The stamps of everything in it.
    pub fn numbers(&self) -> Vec<u64> {
        match self {
            Record::Values(cell) => cell.live.iter().map(|live| live.stamp.number).collect(),
            Record::Element(cell) => cell.numbers(),
        }
    }
}

impl RowCell {
    /// The numbers of all operations that it consists of.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.identities.iter().flat_map(|identity| identity.operations()).map(|operation| operation.number).collect()
    }
}

/// A live value as it is written, with what it takes to tell whether it goes.
pub(crate) struct Written<'a> {
    pub stamp: Stamp,
    /// What it becomes when it is overtaken.
    pub past: Past,
    bytes: &'a [u8],
}

impl<'a> Written<'a> {
    /// The live values of a record, without building them.
    pub fn all(record: &'a [u8]) -> Read<Vec<Written<'a>>> {
        let mut input = Reader::new(record);
        let mut all = Vec::new();
        for _ in 0..input.list(usize::MAX)? {
            let start = input.position();
            let parts = input.list(4)?;
            let stamp = Stamp::read(&mut input)?;
            let past = match parts {
                4 if input.is_null()? => Past::First,
                4 => {
                    input.int()?;
                    Past::Create
                }
                2 => Past::Set,
                _ => {
                    input.uint()?;
                    Past::Set
                }
            };
            input.skip()?;
            all.push(Written { stamp, past, bytes: &record[start..input.position()] });
        }
        input.end()?;
        Ok(all)
    }

    /// The record of these and one more.
    pub fn with(all: &[Written<'_>], stamp: Stamp, payload: &Payload) -> Bytes {
        let at = all.partition_point(|live| live.stamp < stamp);
        let kept: usize = all.iter().map(|live| live.bytes.len()).sum();
        let mut out = Writer::with_capacity(kept + 128);
        out.list(all.len() + 1);
        for live in &all[..at] {
            out.raw(live.bytes);
        }
        payload.write(stamp, &mut out);
        for live in &all[at..] {
            out.raw(live.bytes);
        }
        out.finish().into()
    }
}

impl ValueCell {
    pub fn push(&mut self, stamp: Stamp, payload: Payload) {
        let at = self.live.partition_point(|live| live.stamp < stamp);
        self.live.insert(at, Live { stamp, payload });
    }

    pub fn to_bytes(&self) -> Bytes {
        let mut out = Writer::new();
        out.list(self.live.len());
        self.live.iter().for_each(|live| live.payload.write(live.stamp, &mut out));
        out.finish().into()
    }

    pub fn parse(bytes: &[u8]) -> Read<ValueCell> {
        let mut input = Reader::new(bytes);
        let len = input.list(usize::MAX)?;
        let mut live = Vec::new();
        for _ in 0..len {
            let parts = input.list(4)?;
            let stamp = Stamp::read(&mut input)?;
            let payload = match parts {
                2 if input.uint()? == 1 => Payload::Map,
                2 => Payload::List,
                3 => {
                    input.uint()?;
                    Payload::Scalar(Value::read(&mut input)?)
                }
                _ => {
                    let base = if input.is_null()? { None } else { Some(input.int()?) };
                    Payload::Counter { base, sum: i128::from_be_bytes(input.array()?) }
                }
            };
            live.push(Live { stamp, payload });
        }
        if input.end().is_err() {
            return Err(Malformed);
        }
        Ok(ValueCell { live })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::id::Id;

    #[test]
    fn values_that_are_kept_as_written_make_the_record_that_values_make() {
        let stamp = |number: u64, time| Stamp { number, time: Time::from_number(time), id: Id::from_bytes([7; 32]) };
        let payloads = [
            Payload::Map,
            Payload::Scalar(Value::List(vec!["a".into(), Value::Int(-3)])),
            Payload::Counter { base: None, sum: -5 },
            Payload::Counter { base: Some(4), sum: 1 << 70 },
            Payload::List,
        ];
        for (new, payload) in payloads.iter().enumerate() {
            let mut cell = ValueCell::default();
            for (at, payload) in payloads.iter().enumerate().filter(|(at, _)| *at != new) {
                cell.push(stamp(at as u64, 10 - at as u64), payload.clone());
            }
            let before = cell.to_bytes();
            let written = Written::all(&before).unwrap();
            for (written, live) in written.iter().zip(&cell.live) {
                assert_eq!((written.stamp, written.past), (live.stamp, live.payload.as_past()));
            }
            let after = Written::with(&written, stamp(new as u64, 10 - new as u64), payload);
            cell.push(stamp(new as u64, 10 - new as u64), payload.clone());
            assert_eq!(after, cell.to_bytes());
        }
    }
}
