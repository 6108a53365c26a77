//! Who wrote a value.

use std::cmp::Ordering;
use std::collections::BTreeMap;

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

/// Things, each once, numbered in the order in which they come up. Looking one up takes as many comparisons as the logarithm
/// of how many there are.
pub(crate) struct Numbered<S> {
    pub all: Vec<S>,
    numbers: BTreeMap<S, u64>,
}

impl<S: Ord + Copy> Numbered<S> {
    pub fn new() -> Numbered<S> {
        Numbered { all: Vec::new(), numbers: BTreeMap::new() }
    }

    pub fn number(&mut self, one: &S) -> u64 {
        *self.numbers.entry(*one).or_insert_with(|| {
            self.all.push(*one);
            self.all.len() as u64 - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local!(static COMPARED: Cell<u64> = const { Cell::new(0) });

    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Counted(u64);

    impl Ord for Counted {
        fn cmp(&self, other: &Counted) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Counted) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    #[test]
    fn many_are_numbered_with_few_comparisons() {
        const MANY: u64 = 4096;
        let mut numbered = Numbered::new();
        let scattered = |n: u64| Counted(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for round in 0..2 {
            COMPARED.set(0);
            (0..MANY).for_each(|n| assert_eq!(numbered.number(&scattered(n)), n));
            // A node of a `BTreeMap` is searched one by one: up to 11 in each of log6(n) of them.
            assert!(COMPARED.get() < MANY * 40, "{} comparisons in round {round}", COMPARED.get());
        }
        assert!(numbered.all.len() == MANY as usize && numbered.all[7] == scattered(7));
    }
}
