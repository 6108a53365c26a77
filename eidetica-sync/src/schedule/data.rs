//! What a schedule keeps of databases, peers, lanes and rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use super::backoff::Failures;
use super::effect::{Failure, Lane, Reasons, RoundId};
use super::places::{Kind, Queued};
use super::wish::Wish;

#[derive(Default)]
pub(super) struct DatabaseData {
    pub wish: Wish,
    /// When its interval has passed next.
    pub tick_at: Option<Duration>,
    /// Those with a lane.
    pub peers: BTreeSet<PublicKey>,
    /// Rises with everything that is new here. No two databases ever have the same one, nor one that comes again.
    pub version: u64,
}

#[derive(Default)]
pub(super) struct PeerData {
    pub dialable: bool,
    /// Whether it has answered since it last failed.
    pub answering: bool,
    pub failures: Failures,
    /// Whether it has shown that it is there since it last failed.
    pub hopeful: bool,
    pub failed_at: Option<Duration>,
    /// Rounds with smaller numbers had begun when it last failed, and do not count as another failure.
    pub failed_below: u64,
    /// Rounds with smaller numbers had begun when it last answered, so that it was not out of reach all the time.
    pub answered_below: u64,
    pub retry_at: Option<Duration>,
    pub lanes: BTreeMap<Id, LaneData>,
    /// Lanes with something to do and nothing but a place to wait for: those asked for first, then by age.
    pub ready: BTreeSet<(Rank, u64, Id)>,
    pub running: usize,
    pub queued: Option<Queued>,
    /// What it watches here.
    pub watches_us: BTreeSet<Id>,
    pub watch: WatchData,
}

/// What a peer is watched for.
#[derive(Default)]
pub(super) struct WatchData {
    pub wanted: BTreeSet<Id>,
    pub on: bool,
    /// What the driver was told last, while it is on.
    pub told: BTreeSet<Id>,
    pub told_at: Option<Duration>,
    pub failures: Failures,
    pub not_before: Duration,
    /// When a change is to be told.
    pub due: Option<Duration>,
}

/// Which lanes of a peer go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Asked,
    Other,
}

#[derive(Default)]
pub(super) struct LaneData {
    /// False while it only waits for the end of its last round.
    pub related: bool,
    pub wants: Reasons,
    /// Its place among those that are ready.
    pub place: Option<(Rank, u64)>,
    pub running: Option<RoundId>,
    pub failures: Failures,
    pub retry_at: Option<Duration>,
    /// When something is sent that the peer should have fetched by then.
    pub deferred_at: Option<Duration>,
    /// The version of the database that both sides had at the end of a round.
    pub synced: Option<u64>,
    /// Whether the last comparison was answered, so that the peer may be watched for it.
    pub in_step: bool,
    pub record: Record,
}

/// What is kept for the status alone.
#[derive(Default)]
pub(super) struct Record {
    pub last_success: Option<Duration>,
    pub last_failure: Option<(Duration, Failure)>,
    pub rounds: u64,
    pub failed: u64,
    /// Failures since the last success, of whatever scope.
    pub in_a_row: u32,
    pub received: u64,
    pub sent: u64,
    pub behind_here: Option<u64>,
}

pub(super) struct RoundData {
    pub lane: Lane,
    pub kind: Kind,
    pub reasons: Reasons,
    pub since: Duration,
    /// The version of the database that the round brings to the peer.
    pub version: u64,
    pub patience_at: Option<Duration>,
    pub aborting: bool,
    /// Whether entries were moved.
    pub moved: bool,
}
