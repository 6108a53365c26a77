//! Sets of arrival numbers, kept as ranges.

use std::sync::Arc;

use crate::cbor::{Malformed, Read, Reader, Writer};

/// A set of numbers: disjoint ranges in ascending order, each `start..end`, none empty, no two touching.
///
/// What two entries have not seen of each other is mostly a few runs of arrivals, so the set stays small where the
/// numbers are many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Numbers(Arc<[(u64, u64)]>);

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers(Arc::from([]))
    }
}

impl Numbers {
    /// The numbers from `start` up to, not including, `end`.
    pub fn range(start: u64, end: u64) -> Numbers {
        if start < end { Numbers(Arc::from([(start, end)])) } else { Numbers::default() }
    }

    /// This number alone.
    pub fn of(number: u64) -> Numbers {
        Numbers::range(number, number + 1)
    }

    /// All of these numbers.
    pub(crate) fn of_all(numbers: impl IntoIterator<Item = u64>) -> Numbers {
        let mut numbers: Vec<u64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, end)) if number <= *end => *end = (*end).max(number + 1),
                _ => ranges.push((number, number + 1)),
            }
        }
        Numbers(ranges.into())
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// True if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers it holds.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// True if it holds this number.
    pub fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= number);
        after > 0 && number < self.0[after - 1].1
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|(start, _)| *start)
    }

    /// The greatest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, end)| end - 1)
    }

    /// The number that has so many smaller ones in the set.
    pub fn nth(&self, mut before: u64) -> Option<u64> {
        for (start, end) in self.0.iter() {
            match before.checked_sub(end - start) {
                None => return Some(start + before),
                Some(rest) => before = rest,
            }
        }
        None
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(start, end)| *start..*end)
    }

    /// What is in either.
    pub fn union(&self, other: &Numbers) -> Numbers {
        if other.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        let mut all: Vec<(u64, u64)> = self.0.iter().chain(other.0.iter()).copied().collect();
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (start, end) in all {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Numbers(merged.into())
    }

    /// What is in both.
    pub fn intersection(&self, other: &Numbers) -> Numbers {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = Vec::new();
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let (start, end) = (x.0.max(y.0), x.1.min(y.1));
            if start < end {
                common.push((start, end));
            }
            if x.1 <= y.1 {
                a.next()
            } else {
                b.next()
            };
        }
        Numbers(common.into())
    }

    /// What is here and not in the other.
    pub fn difference(&self, other: &Numbers) -> Numbers {
        if other.is_empty() || self.is_empty() {
            return self.clone();
        }
        let mut left = Vec::new();
        let mut others = other.0.iter().peekable();
        for &(mut start, end) in self.0.iter() {
            while let Some(&&(cut, resume)) = others.peek() {
                if cut >= end {
                    break;
                }
                if start < cut {
                    left.push((start, cut));
                }
                start = start.max(resume);
                if resume > end {
                    break;
                }
                others.next();
            }
            if start < end {
                left.push((start, end));
            }
        }
        Numbers(left.into())
    }

    /// The numbers below `end`.
    pub fn below(&self, end: u64) -> Numbers {
        if self.last().is_none_or(|last| last < end) {
            self.clone()
        } else {
            self.intersection(&Numbers::range(0, end))
        }
    }

    /// Written as a flat list of gaps and lengths, so that small steps take single bytes.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.list(self.0.len() * 2);
        let mut at = 0;
        for (start, end) in self.0.iter() {
            out.uint(start - at).uint(end - start);
            at = *end;
        }
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Read<Numbers> {
        let len = input.list(usize::MAX)?;
        let mut ranges = Vec::new();
        let mut at = 0u64;
        for _ in 0..len / 2 {
            let start = at.checked_add(input.uint()?).ok_or(Malformed)?;
            let end = start.checked_add(input.uint()?).filter(|end| *end > start).ok_or(Malformed)?;
            ranges.push((start, end));
            at = end;
        }
        if len % 2 == 0 { Ok(Numbers(ranges.into())) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = BTreeSet<u64>> {
        proptest::collection::btree_set(0u64..40, 0..25)
    }

    fn numbers(set: &BTreeSet<u64>) -> Numbers {
        set.iter().fold(Numbers::default(), |all, n| all.union(&Numbers::range(*n, n + 1)))
    }

    fn back(numbers: &Numbers) -> BTreeSet<u64> {
        assert!(numbers.ranges().windows(2).all(|w| w[0].1 < w[1].0), "ranges touch: {numbers:?}");
        assert!(numbers.ranges().iter().all(|(start, end)| start < end));
        numbers.iter().collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(a in set(), b in set(), n in 0u64..45) {
            let (x, y) = (numbers(&a), numbers(&b));
            prop_assert_eq!(back(&x), a.clone());
            prop_assert_eq!(back(&x.union(&y)), &a | &b);
            prop_assert_eq!(back(&x.intersection(&y)), &a & &b);
            prop_assert_eq!(back(&x.difference(&y)), &a - &b);
            prop_assert_eq!(back(&x.below(n)), a.range(..n).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(x.contains(n), a.contains(&n));
            prop_assert_eq!(x.len(), a.len() as u64);
            prop_assert_eq!((0..45).map_while(|at| x.nth(at)).collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            let mut out = Writer::new();
            x.write(&mut out);
            prop_assert_eq!(Numbers::read(&mut Reader::new(&out.finish())), Ok(x));
        }
    }
}
