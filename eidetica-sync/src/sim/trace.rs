//! What has happened on a network.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// How many events are kept; of older ones the digest alone tells.
const KEPT: usize = 16_384;

/// Something that has happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, since the network began.
    pub at: Duration,
    /// The number of the message. A reply has that of its request.
    pub message: u64,
    /// Who sent it.
    pub from: Arc<str>,
    /// To whom.
    pub to: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// How many bytes.
    pub bytes: usize,
    /// The first eight bytes of their hash.
    pub hash: u64,
    /// What became of it.
    pub fate: Fate,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Asks who listens; without bytes.
    Dial,
    /// Says who listens; without bytes.
    Answer,
    /// A request.
    Request,
    /// Its reply.
    Reply,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fate {
    /// It is on its way, for so long.
    Sent(Duration),
    /// It was held back, and is on its way for so long.
    HeldBack(Duration),
    /// A second copy of it is on its way, for so long.
    Again(Duration),
    /// A copy of it is on its way, for so long, whose answer goes to somebody else.
    Replayed(Duration),
    /// It will arrive with another byte in it.
    Changed,
    /// It has vanished.
    Lost,
    /// The link lets nothing through.
    Swallowed,
    /// The other side refuses connections.
    Refused,
    /// The connection has broken on the way.
    Broken,
    /// The connection has broken while the service was at work.
    BrokenAtWork,
    /// It has come to the service, or back to its caller.
    Arrived,
    /// It has come to where nobody listens, or nobody waits for it any more.
    Unwanted,
    /// The caller has gone, and so the service was dropped.
    Abandoned,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { message, from, to, kind, bytes, hash, fate, .. } = self;
        write!(
            f,
            "{:>9} ms  {message:>5} {from} -> {to}  {kind:?} {bytes} B {hash:016x}  {fate:?}",
            self.at.as_millis()
        )
    }
}

/// The latest events, and a hash over all.
#[derive(Debug, Default)]
pub(super) struct Trace {
    latest: VecDeque<Event>,
    hasher: blake3::Hasher,
    count: u64,
}

impl Trace {
    pub fn add(&mut self, event: Event) {
        self.hasher.update(event.to_string().as_bytes());
        self.count += 1;
        if self.latest.len() == KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back(event);
    }

    pub fn latest(&self) -> Vec<Event> {
        self.latest.iter().cloned().collect()
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn digest(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

pub(super) fn hash(bytes: &Bytes) -> u64 {
    blake3::hash(bytes).as_bytes().first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// What has gone over a link, one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages that were sent, without those that only ask or say who listens.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests among them: round trips that were begun.
    pub requests: u64,
    /// Messages that have arrived where they were wanted.
    pub arrived: u64,
    /// Their bytes.
    pub arrived_bytes: u64,
    /// Messages that were lost, swallowed or broken.
    pub lost: u64,
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Traffic) -> Traffic {
        Traffic {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
            requests: self.requests + other.requests,
            arrived: self.arrived + other.arrived,
            arrived_bytes: self.arrived_bytes + other.arrived_bytes,
            lost: self.lost + other.lost,
        }
    }

    /// Counts what became of a message.
    pub(super) fn note(&mut self, kind: Kind, bytes: usize, fate: Fate) {
        if matches!(kind, Kind::Dial | Kind::Answer) {
            return;
        }
        match fate {
            Fate::Lost | Fate::Broken | Fate::Swallowed => self.lost += 1,
            Fate::Arrived => {
                self.arrived += 1;
                self.arrived_bytes += bytes as u64;
            }
            _ => {}
        }
    }

    /// Counts a message that was sent.
    pub(super) fn sent(&mut self, kind: Kind, bytes: usize) {
        if matches!(kind, Kind::Dial | Kind::Answer) {
            return;
        }
        self.messages += 1;
        self.bytes += bytes as u64;
        self.requests += u64::from(kind == Kind::Request);
    }
}
