//! Answers that were handed to a transport and that it has not let go of yet, since their callers have not read them.
//!
//! A transport ends a connection that is not read, but not at once, and until then it holds the answer. So they are counted from
//! when they are sealed until their bytes are dropped, whatever the transport, and there are so many at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use eidetica_contract::PublicKey;

/// Answers up to this size are not counted: transports bound how many requests are under way, and these do not add up.
const SMALL: usize = 4 << 10;

/// The answers of one table. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    known: usize,
    strangers: usize,
    by_reader: BTreeMap<Reader, usize>,
}

/// Whose share an answer takes: keys cost strangers nothing, so they are told apart by their origins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reader {
    Known(PublicKey),
    Stranger(Option<String>),
}

/// How many bytes a reader, and all of its kind, may leave unread.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) each: usize,
    pub(crate) all: usize,
}

/// Bytes that count as unread until it is dropped.
pub(crate) struct Held {
    unread: Unread,
    reader: Reader,
    bytes: usize,
}

impl Unread {
    /// Counts an answer of so many bytes, if there is room for it. Where nothing else is unread there is room for any.
    pub(crate) fn hold(&self, reader: Reader, bytes: usize, bounds: Bounds) -> Option<Held> {
        let bytes = if bytes > SMALL { bytes } else { 0 };
        let mut counts = self.counts();
        let own = counts.by_reader.get(&reader).copied().unwrap_or(0);
        let all = *counts.of_kind(&reader);
        let fits = |held: usize, bound: usize| held == 0 || held.saturating_add(bytes) <= bound;
        if bytes > 0 {
            if !fits(own, bounds.each) || !fits(all, bounds.all) {
                return None;
            }
            *counts.of_kind(&reader) += bytes;
            *counts.by_reader.entry(reader.clone()).or_default() += bytes;
        }
        Some(Held { unread: self.clone(), reader, bytes })
    }

    /// All bytes that count.
    pub(crate) fn bytes(&self) -> usize {
        let counts = self.counts();
        counts.known + counts.strangers
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of_kind(&mut self, reader: &Reader) -> &mut usize {
        match reader {
            Reader::Known(_) => &mut self.known,
            Reader::Stranger(_) => &mut self.strangers,
        }
    }
}

impl Held {
    /// The same bytes, which count until the last copy of them is dropped.
    pub(crate) fn around(self, answer: Bytes) -> Bytes {
        match self.bytes {
            0 => answer,
            _ => Bytes::from_owner(Answer { answer, _held: self }),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut counts = self.unread.counts();
        *counts.of_kind(&self.reader) -= self.bytes;
        if let Some(own) = counts.by_reader.get_mut(&self.reader) {
            *own -= self.bytes;
            if *own == 0 {
                counts.by_reader.remove(&self.reader);
            }
        }
    }
}

struct Answer {
    answer: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { each: 20_000, all: 30_000 };

    fn stranger(origin: &str) -> Reader {
        Reader::Stranger(Some(origin.to_owned()))
    }

    #[test]
    fn a_reader_leaves_room_for_others_and_all_are_bounded() {
        let unread = Unread::default();
        let hold = |origin: &str| unread.hold(stranger(origin), 10_000, BOUNDS);
        let (first, second) = (hold("a").unwrap(), hold("a").unwrap());
        assert!(hold("a").is_none());
        let third = hold("b").unwrap();
        assert!(hold("c").is_none(), "all together have their bound");
        let peer = Reader::Known(PublicKey::from_bytes([1; 32]));
        let known =
            unread.hold(peer.clone(), 50_000, BOUNDS).expect("known peers have room of their own, and one any answer");
        assert!(unread.hold(peer, 10_000, BOUNDS).is_none());
        assert!(unread.hold(stranger("a"), SMALL, BOUNDS).is_some(), "small ones do not count");
        drop((second, third, known));
        assert!(hold("a").is_some());
        drop(first);
        assert!(unread.bytes() == 0 && unread.counts().by_reader.is_empty());
    }

    #[test]
    fn bytes_count_until_the_last_copy_is_dropped() {
        let unread = Unread::default();
        let answer = unread.hold(stranger("a"), 10_000, BOUNDS).unwrap().around(Bytes::from(vec![7; 10_000]));
        let rest = answer.slice(9_999..);
        assert_eq!((rest[0], unread.bytes()), (7, 10_000));
        drop(answer);
        assert_eq!(unread.bytes(), 10_000);
        drop(rest);
        assert_eq!(unread.bytes(), 0);
    }
}
