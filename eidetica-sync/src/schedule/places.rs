//! The places for rounds, and who waits for them.

use std::collections::BTreeSet;

use eidetica_contract::PublicKey;

/// Peers that answer and peers that may not have places of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Answering,
    Doubtful,
}

/// Whether a peer is likely to be there, as far as it does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hope {
    Much,
    Little,
}

/// Where a peer waits for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub kind: Kind,
    pub hope: Hope,
    nth: u64,
}

/// The places of one kind.
pub(super) struct Places {
    pub limit: usize,
    pub taken: usize,
    /// First come, first served. Those with much hope and those with little take turns, so that a peer which comes need not
    /// wait for all that are away, and these have their turn all the same.
    queues: [BTreeSet<(u64, PublicKey)>; 2],
    turn: usize,
}

pub(super) struct AllPlaces {
    answering: Places,
    doubtful: Places,
    /// Counts those who came to wait.
    count: u64,
}

impl Places {
    fn new(limit: usize) -> Places {
        Places { limit, taken: 0, queues: Default::default(), turn: 0 }
    }

    pub fn has_room(&self) -> bool {
        self.taken < self.limit
    }

    pub fn waiting(&self) -> usize {
        self.queues.iter().map(BTreeSet::len).sum()
    }

    /// Takes the peer whose turn it is, if there is room.
    pub fn next(&mut self) -> Option<PublicKey> {
        if !self.has_room() {
            return None;
        }
        let turn = if self.queues[self.turn].is_empty() { 1 - self.turn } else { self.turn };
        let (_, peer) = self.queues[turn].pop_first()?;
        self.turn = 1 - turn;
        Some(peer)
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

    /// Puts a peer in a queue.
    pub fn wait(&mut self, peer: PublicKey, kind: Kind, hope: Hope) -> Queued {
        self.count += 1;
        let nth = self.count;
        self.of_mut(kind).queues[hope as usize].insert((nth, peer));
        Queued { kind, hope, nth }
    }

    pub fn leave(&mut self, peer: PublicKey, queued: Queued) {
        self.of_mut(queued.kind).queues[queued.hope as usize].remove(&(queued.nth, peer));
    }
}
