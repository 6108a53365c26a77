//! What a schedule says, and what it is told of rounds.

use std::fmt;

use eidetica_contract::{Error, ErrorKind, PublicKey};
use eidetica_core::Id;

/// A database and a peer that it is synced with: where rounds happen, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The device key of the peer.
    pub peer: PublicKey,
    /// The database.
    pub database: Id,
}

/// The number of a round. A round that begins later has a greater one, whatever its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundId(pub(super) u64);

/// What there was of a database at some moment; see [`Schedule::mark`](super::Schedule::mark).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(super) u64);

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Begin a round: bring both sides to the same state. Its end is to be told by [`Schedule::ended`](super::Schedule::ended).
    Start {
        /// Its number.
        round: RoundId,
        /// Where.
        lane: Lane,
        /// Why.
        reasons: Reasons,
    },
    /// End this round now. Its lane is taken until [`Schedule::ended`](super::Schedule::ended) is told.
    Abort {
        /// Its number.
        round: RoundId,
        /// Where.
        lane: Lane,
    },
    /// Watch this peer for news of exactly these databases, until something else is said. A watch for the same peer is
    /// replaced. Each asking must say what is here, so that nothing falls between a round and a watch.
    Watch {
        /// The device key of the peer.
        peer: PublicKey,
        /// What to watch for, in order.
        databases: Vec<Id>,
    },
    /// Watch this peer no longer.
    Unwatch {
        /// The device key of the peer.
        peer: PublicKey,
    },
}

/// Why there is something to do on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The lane is new, or was switched on.
    Start = 0,
    /// Something was written here.
    Commit = 1,
    /// Something has arrived from another peer.
    Arrival = 2,
    /// The peer has told that it has something new.
    News = 3,
    /// The interval has passed.
    Interval = 4,
    /// The peer was out of reach, and news may have been missed.
    Reconnect = 5,
    /// Somebody has asked for it.
    Asked = 6,
    /// The last round has left something to do.
    More = 7,
    /// The last round has failed.
    Retry = 8,
}

impl Reason {
    const ALL: [Reason; 9] = [
        Reason::Start,
        Reason::Commit,
        Reason::Arrival,
        Reason::News,
        Reason::Interval,
        Reason::Reconnect,
        Reason::Asked,
        Reason::More,
        Reason::Retry,
    ];
}

/// A set of reasons.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Reasons(u16);

impl Reasons {
    /// Whether this is among them.
    pub fn contains(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of them, in the order of [`Reason`].
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.contains(*reason))
    }

    pub(super) fn with(self, reason: Reason) -> Reasons {
        Reasons(self.0 | 1 << reason as u8)
    }

    pub(super) fn without(self, reason: Reason) -> Reasons {
        Reasons(self.0 & !(1 << reason as u8))
    }

    pub(super) fn and(self, others: Reasons) -> Reasons {
        Reasons(self.0 | others.0)
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// How a round has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides were compared.
    Done(Done),
    /// It has failed.
    Failed(Failure),
    /// It was given up on this side: after [`Effect::Abort`], or for a reason of the driver's own, and is then begun again
    /// after a while.
    Aborted,
}

/// What a round that succeeded has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// False if one side has moved on meanwhile, or if there was more than fits into a round: another one follows.
    pub complete: bool,
    /// Entries that came, beyond those told by [`Schedule::progressed`](super::Schedule::progressed).
    pub received: u64,
    /// Entries that were sent, likewise.
    pub sent: u64,
}

/// How far a round has come since it was last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that came since.
    pub received: u64,
    /// Entries that were sent since.
    pub sent: u64,
    /// How far the sides are apart now, if that is known.
    pub behind: Option<Behind>,
}

/// How far two sides are apart, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// What is missing here.
    pub here: u64,
    /// What is missing there.
    pub there: u64,
}

/// Why a round, or a watch, has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What has to wait.
    pub scope: Scope,
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The text of the error; what is beyond 512 bytes is cut off.
    pub text: String,
    /// Its context pairs: the first 16, and of each value the first 512 bytes.
    pub context: Vec<(String, String)>,
}

/// What has to wait after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The peer cannot be reached, or is not who it should be: all of its lanes.
    Peer,
    /// It concerns this database alone.
    Lane,
}

impl Failure {
    /// What an error means: [`Unreachable`](ErrorKind::Unreachable), [`Timeout`](ErrorKind::Timeout),
    /// [`Unauthenticated`](ErrorKind::Unauthenticated), [`Closed`](ErrorKind::Closed) and [`Busy`](ErrorKind::Busy) speak of
    /// the peer, all others of the database.
    pub fn of(error: &Error) -> Failure {
        use ErrorKind::{Busy, Closed, Timeout, Unauthenticated, Unreachable};
        let scope = match error.kind() {
            Unreachable | Timeout | Unauthenticated | Closed | Busy => Scope::Peer,
            _ => Scope::Lane,
        };
        Failure::within(scope, error)
    }

    /// What an error means to a scope that is known.
    pub fn within(scope: Scope, error: &Error) -> Failure {
        const MOST: usize = 16;
        let pairs = error.context_pairs().take(MOST);
        let context = pairs.map(|(name, value)| (name.to_owned(), cut(value.to_owned()))).collect();
        Failure { context, ..Failure::new(scope, error.kind(), error.to_string()) }
    }

    /// A failure with this scope, without context pairs.
    pub fn new(scope: Scope, kind: ErrorKind, text: impl Into<String>) -> Failure {
        Failure { scope, kind, text: cut(text.into()), context: Vec::new() }
    }
}

/// Failures are kept for each lane, and some of what they say comes from peers.
fn cut(mut text: String) -> String {
    const LONGEST: usize = 512;
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}
