//! What an entry has seen.

use super::numbers::Numbers;

/// A closed set of entries of one database, in terms of their arrival numbers: everything that arrived before `next`,
/// except what is hidden.
///
/// Entries arrive after everything below them. So whatever arrived after the last entry of a closed set is not in it, and
/// the set is told by the few earlier arrivals that are not below its heads. This never changes when more arrives, which
/// makes "had seen" a look-up, and a difference of two sets an operation on ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    next: u64,
    hidden: Numbers,
}

impl Seen {
    /// The empty set.
    pub fn nothing() -> Seen {
        Seen::default()
    }

    /// Every entry with a number below `next`.
    pub fn all_before(next: u64) -> Seen {
        Seen { next, hidden: Numbers::default() }
    }

    /// All below `next` but the hidden ones; numbers that are not below `next` need not be hidden.
    pub(crate) fn new(next: u64, hidden: &Numbers) -> Seen {
        Seen { next, hidden: hidden.below(next) }
    }

    /// True if the entry with this number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        number < self.next && !self.hidden.contains(number)
    }

    /// A number that is greater than all in the set.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Where the run of numbers begins that are not in the set and of which this is one; `None` if it is in the set.
    pub(crate) fn hole(&self, number: u64) -> Option<u64> {
        let ranges = self.hidden.ranges();
        match number < self.next {
            true => ranges[..ranges.partition_point(|(start, _)| *start <= number)]
                .last()
                .filter(|(_, end)| number < *end)
                .map(|(start, _)| *start),
            false => Some(ranges.last().filter(|(_, end)| *end == self.next).map_or(self.next, |(start, _)| *start)),
        }
    }

    /// The numbers below `next` that are not in the set.
    pub fn hidden(&self) -> &Numbers {
        &self.hidden
    }

    /// The set with one more entry, which arrived with this number directly above it.
    pub fn with(&self, number: u64) -> Seen {
        Seen { next: number + 1, hidden: self.hidden.union(&Numbers::range(self.next, number)) }
    }

    /// The set without some of its entries. What is left need not be closed.
    pub(crate) fn without(&self, numbers: &Numbers) -> Seen {
        Seen { next: self.next, hidden: self.hidden.union(&numbers.below(self.next)) }
    }

    /// What is in either set.
    pub fn union(&self, other: &Seen) -> Seen {
        let next = self.next.max(other.next);
        let hidden = self.missing_before(next).intersection(&other.missing_before(next));
        Seen { next, hidden }
    }

    /// The numbers below `next` that are not in the set.
    pub fn missing_before(&self, next: u64) -> Numbers {
        self.hidden.below(next).union(&Numbers::range(self.next, next))
    }

    /// The numbers in the set.
    pub fn numbers(&self) -> Numbers {
        Numbers::range(0, self.next).difference(&self.hidden)
    }

    /// What is in this set and not in the other.
    pub fn difference(&self, other: &Seen) -> Numbers {
        other.missing_before(self.next).difference(&self.hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_branches() {
        // 0 is the root; 1, 2 are one branch, 3, 4 another, 5 merges 2 and 4.
        let root = Seen::nothing().with(0);
        let one = root.with(1).with(2);
        let other = root.with(3).with(4);
        assert_eq!(other.hidden(), &Numbers::range(1, 3));
        assert!(!one.contains(3) && !other.contains(2) && other.contains(0));
        let both = one.union(&other);
        assert_eq!(both, Seen::all_before(5));
        assert_eq!(both.with(5).difference(&one), Numbers::range(3, 6));
        assert_eq!(one.difference(&other), Numbers::range(1, 3));
    }
}
