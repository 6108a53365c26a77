//! The places for rounds, and who waits for them.

use std::collections::BTreeSet;
use std::time::Duration;

use eidetica_contract::PublicKey;

/// Peers that answer and peers that may not have places of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Answering,
    Doubtful,
}

/// Where a peer waits for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub kind: Kind,
    /// Whether it waits because somebody asked.
    pub asked: bool,
    since: Duration,
    nth: u64,
}

/// The places of one kind.
pub(super) struct Places {
    pub limit: usize,
    pub taken: usize,
    /// By age of the wait. A peer with many failures counts as one that came later, so that those who are away for
    /// long do not stand in the way of those who come; as their age grows, they have their turn all the same.
    queue: BTreeSet<(Duration, u64, PublicKey)>,
}

pub(super) struct AllPlaces {
    answering: Places,
    doubtful: Places,
    /// Counts those who came to wait.
    count: u64,
}

impl Places {
    fn new(limit: usize) -> Places {
        Places { limit, taken: 0, queue: BTreeSet::new() }
    }

    pub fn has_room(&self) -> bool {
        self.taken < self.limit
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes the peer whose turn it is, if there is room.
    pub fn next(&mut self) -> Option<PublicKey> {
        if !self.has_room() {
            return None;
        }
        self.queue.pop_first().map(|(_, _, peer)| peer)
    }
}

impl AllPlaces {
    pub fn new(answering: usize, doubtful: usize) -> AllPlaces {
        AllPlaces { answering: Places::new(answering), doubtful: Places::new(doubtful), count: 0 }
    }

    pub fn of(&self, kind: Kind) -> &Places {
        match kind {
            Kind::Answering => &self.answering,
            Kind::Doubtful => &self.doubtful,
        }
    }

    pub fn of_mut(&mut self, kind: Kind) -> &mut Places {
        match kind {
            Kind::Answering => &mut self.answering,
            Kind::Doubtful => &mut self.doubtful,
        }
    }

    /// True if a round can begin now.
    pub fn can_start(&self) -> bool {
        [&self.answering, &self.doubtful].into_iter().any(|places| places.has_room() && places.waiting() > 0)
    }

    /// Puts a peer in the queue, as if it had come so much later.
    pub fn wait(&mut self, peer: PublicKey, kind: Kind, asked: bool, now: Duration, later: Duration) -> Queued {
        self.count += 1;
        let queued = Queued { kind, asked, since: now.saturating_add(later), nth: self.count };
        self.of_mut(kind).queue.insert((queued.since, queued.nth, peer));
        queued
    }

    pub fn leave(&mut self, peer: PublicKey, queued: Queued) {
        self.of_mut(queued.kind).queue.remove(&(queued.since, queued.nth, peer));
    }
}
