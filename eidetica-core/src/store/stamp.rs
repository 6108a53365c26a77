//! Who wrote a value.

use std::cmp::Ordering;

use crate::cbor::{Read, Reader, Writer};
use crate::clock::Time;
use crate::id::Id;

/// The entry that an operation belongs to. Stamps are ordered by `(time, id)`, which decides among concurrent values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The arrival number, which tells who has seen it. It is local: other peers have other numbers.
    pub number: u64,
    pub time: Time,
    pub id: Id,
}

impl Stamp {
    /// The stamp of a transaction that is not committed yet: later than everything.
    pub(crate) const PENDING: Stamp =
        Stamp { number: u64::MAX, time: Time::from_number(u64::MAX), id: Id::from_bytes([0; 32]) };

    pub(crate) fn write(&self, out: &mut Writer) {
        out.list(3).uint(self.number).uint(self.time.number()).bytes(self.id.as_bytes());
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Read<Stamp> {
        input.list_of(3)?;
        let (number, time) = (input.uint()?, Time::from_number(input.uint()?));
        Ok(Stamp { number, time, id: Id::from_bytes(input.array()?) })
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Stamp) -> Ordering {
        (self.time, self.id).cmp(&(other.time, other.id))
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Stamp) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
