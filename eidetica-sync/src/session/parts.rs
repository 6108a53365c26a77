//! Messages that are larger than the transport carries, cut into numbered parts.
//!
//! The total is announced with the first part, which also fixes the size of all others but the last. So each part has
//! one right length and one place, and what is announced bounds what is held.

use std::time::Duration;

use bytes::Bytes;

use super::wire::MIN_PART;

/// How a message is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    total: usize,
    part: usize,
}

impl Cut {
    pub(crate) fn new(total: usize, part: usize) -> Cut {
        Cut { total, part: part.max(1) }
    }

    pub(crate) fn count(&self) -> u32 {
        self.total.div_ceil(self.part).max(1) as u32
    }

    /// Where a part lies in the message; `None` behind the last.
    pub(crate) fn range(&self, index: u32) -> Option<std::ops::Range<usize>> {
        let start = (index as usize).checked_mul(self.part)?;
        (index < self.count()).then(|| start..self.total.min(start + self.part))
    }
}

/// A message of which parts are here.
pub(crate) struct Assembly {
    cut: Cut,
    parts: Vec<Option<Bytes>>,
    missing: usize,
    pub(crate) touched: Duration,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is here, others are missing.
    Stored,
    /// It was here already, with the same bytes.
    Again,
    /// The message is whole.
    Whole(Bytes),
    /// It has no place in this message, or differs from what was here.
    Wrong,
}

impl Assembly {
    /// Begins with the first part. `None` if it is not a first part: shorter than a part may be, or not shorter than
    /// the whole.
    pub(crate) fn begin(total: u32, first: Bytes, now: Duration) -> Option<Assembly> {
        let total = total as usize;
        if first.len() < MIN_PART || first.len() >= total {
            return None;
        }
        let cut = Cut::new(total, first.len());
        let mut parts = vec![None; cut.count() as usize];
        parts[0] = Some(first);
        Some(Assembly { cut, missing: parts.len() - 1, parts, touched: now })
    }

    pub(crate) fn count(&self) -> u32 {
        self.cut.count()
    }

    /// The bytes of the whole message.
    pub(crate) fn total(&self) -> usize {
        self.cut.total
    }

    pub(crate) fn add(&mut self, total: u32, index: u32, data: Bytes, now: Duration) -> Added {
        let right = self.cut.range(index).is_some_and(|range| range.len() == data.len());
        if !right || total as usize != self.cut.total {
            return Added::Wrong;
        }
        self.touched = now;
        let place = &mut self.parts[index as usize];
        if let Some(here) = place {
            return if *here == data { Added::Again } else { Added::Wrong };
        }
        *place = Some(data);
        self.missing -= 1;
        if self.missing > 0 {
            return Added::Stored;
        }
        let mut whole = Vec::with_capacity(self.cut.total);
        self.parts.iter().flatten().for_each(|part| whole.extend_from_slice(part));
        Added::Whole(whole.into())
    }
}

/// A reply that is fetched in parts. It is forgotten when each part has been handed out.
pub(crate) struct Shelf {
    payload: Bytes,
    cut: Cut,
    handed: Vec<bool>,
    left: usize,
    pub(crate) touched: Duration,
}

impl Shelf {
    /// The first part is taken to be handed out with the announcement.
    pub(crate) fn new(payload: Bytes, part: usize, now: Duration) -> Shelf {
        let cut = Cut::new(payload.len(), part);
        let mut handed = vec![false; cut.count() as usize];
        handed[0] = true;
        Shelf { payload, cut, left: handed.len() - 1, handed, touched: now }
    }

    pub(crate) fn total(&self) -> usize {
        self.payload.len()
    }

    pub(crate) fn first(&self) -> Bytes {
        self.payload.slice(self.cut.range(0).unwrap_or_default())
    }

    /// A part, and whether it was the last one that nobody had fetched.
    pub(crate) fn fetch(&mut self, index: u32, now: Duration) -> Option<(Bytes, bool)> {
        let range = self.cut.range(index)?;
        self.touched = now;
        if !std::mem::replace(&mut self.handed[index as usize], true) {
            self.left -= 1;
        }
        Some((self.payload.slice(range), self.left == 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    proptest! {
        #[test]
        fn parts_in_any_order_with_repetitions_make_the_message(
            len in MIN_PART + 1..MIN_PART * 6,
            extra in 0usize..3000,
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        ) {
            let message: Bytes = (0..len).map(|at| (at * 31) as u8).collect();
            let cut = Cut::new(len, (MIN_PART + extra).min(len - 1));
            let part = |index| message.slice(cut.range(index).unwrap());
            let mut assembly = Assembly::begin(len as u32, part(0), NOW).unwrap();
            let mut left: std::collections::BTreeSet<u32> = (1..cut.count()).collect();
            for pick in order {
                let index = pick.index(cut.count() as usize) as u32;
                let added = assembly.add(len as u32, index, part(index), NOW);
                if !left.remove(&index) {
                    prop_assert_eq!(added, Added::Again);
                } else if left.is_empty() {
                    prop_assert_eq!(added, Added::Whole(message.clone()));
                    return Ok(());
                } else {
                    prop_assert_eq!(added, Added::Stored);
                }
            }
        }
    }

    #[test]
    fn a_part_has_one_length_one_place_and_one_content() {
        let message: Bytes = vec![7; MIN_PART * 2 + 5].into();
        let total = message.len() as u32;
        assert!(Assembly::begin(total, message.slice(..MIN_PART - 1), NOW).is_none());
        assert!(Assembly::begin(MIN_PART as u32, message.slice(..MIN_PART), NOW).is_none());
        let mut assembly = Assembly::begin(total, message.slice(..MIN_PART), NOW).unwrap();
        assert_eq!(assembly.add(total, 3, message.slice(..5), NOW), Added::Wrong);
        assert_eq!(assembly.add(total, u32::MAX, message.slice(..5), NOW), Added::Wrong);
        assert_eq!(assembly.add(total, 1, message.slice(..5), NOW), Added::Wrong);
        assert_eq!(assembly.add(total + 1, 2, message.slice(..5), NOW), Added::Wrong);
        assert_eq!(assembly.add(total, 0, vec![8; MIN_PART].into(), NOW), Added::Wrong);
        assert_eq!(assembly.add(total, 2, message.slice(..5), NOW), Added::Stored);
    }
}
