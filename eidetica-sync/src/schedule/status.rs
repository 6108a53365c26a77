//! How lanes and peers stand, as plain data. All times are those that the schedule is told.

use std::time::Duration;

use eidetica_core::Id;

use super::effect::{Failure, RoundId};

/// How a lane stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStatus {
    /// What goes on.
    pub state: LaneState,
    /// When a round last succeeded, since the start.
    pub last_success: Option<Duration>,
    /// When and how a round last failed, if none has succeeded since.
    pub last_failure: Option<(Duration, Failure)>,
    /// When the next round is to begin, as far as that is known: now, if it waits for a place alone.
    pub next_attempt: Option<Duration>,
    /// Whether something here may not have reached the peer.
    pub unsent: bool,
    /// Rounds that have begun.
    pub rounds: u64,
    /// Rounds that have failed.
    pub failed: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// Entries that came.
    pub received: u64,
    /// Entries that were sent.
    pub sent: u64,
    /// How many entries were missing here when this was last known.
    pub behind_here: Option<u64>,
}

/// What goes on on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneState {
    /// There is nothing to do.
    Idle,
    /// There is something to do as soon as there is a place.
    Waiting,
    /// A round is under way.
    Running {
        /// Its number.
        round: RoundId,
        /// When it began.
        since: Duration,
        /// Whether it is to end.
        aborting: bool,
    },
    /// There is something to do, after a delay that follows failures.
    BackingOff {
        /// When the delay is over.
        until: Duration,
    },
    /// Nothing is begun on this side unless somebody asks.
    Stopped(Stop),
}

/// Why nothing is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Nobody wishes the database synced.
    NotWished,
    /// No address of the peer is known that a transport here can dial. It may come by itself.
    NoAddress,
}

/// How a peer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Whether it can be dialled.
    pub dialable: bool,
    /// Whether it has answered since it last failed.
    pub answering: bool,
    /// Failures in a row to reach it.
    pub failures: u32,
    /// When it is dialled next, if that waits after failures.
    pub retry_at: Option<Duration>,
    /// Rounds under way.
    pub running: usize,
    /// Whether it is watched.
    pub watched: bool,
    /// Its databases.
    pub databases: Vec<Id>,
}

/// How busy a schedule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    /// Rounds in the places for peers that answer.
    pub rounds: usize,
    /// Rounds in the places for peers that may not answer.
    pub probes: usize,
    /// Peers that wait for a place.
    pub waiting: usize,
}
