//! How a relationship with a peer stands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;

use super::shared::Shared;
use crate::peers::PeerName;
use crate::reconcile::Outcome;
use crate::schedule::{Lane, LaneState, LaneStatus, PeerStatus};

/// What a sync by hand has done.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncReport {
    /// Who answered at the address.
    pub peer: PublicKey,
    /// What has become of each database.
    pub databases: Vec<SyncedDatabase>,
}

/// What has become of one database.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncedDatabase {
    /// The database.
    pub database: Id,
    /// What was done, or why not.
    pub result: Result<Outcome>,
}

/// A relationship with a peer: one database that is kept in step. Cheap to clone; dropping it ends nothing.
///
/// ```
/// use std::time::Duration;
///
/// # use eidetica_sync::{SyncPeerInfo, SyncState, Syncer};
/// # async fn example(sync: &Syncer, info: SyncPeerInfo) -> eidetica_contract::Result<()> {
/// let handle = sync.register_sync_peer(info).await?;
/// handle.wait_for_initial_sync(Duration::from_secs(30)).await?;
/// let status = handle.status()?;
/// if status.state == SyncState::BackingOff {
///     println!("{:?}; tried again in {:?}", status.last_error, status.next_attempt);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SyncHandle {
    shared: Arc<Shared>,
    peer: PeerName,
    database: Id,
}

/// How a relationship stands. Durations are counted back from, or on from, the call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncStatus {
    /// What goes on.
    pub state: SyncState,
    /// How long ago both sides were last compared with success, since the start of this process, whichever of them began.
    pub last_success: Option<Duration>,
    /// How long ago it failed, if it has not succeeded since, and the error. What code can act on stands in
    /// [`error_context`](SyncStatus::error_context).
    pub last_error: Option<(Duration, ErrorKind, String)>,
    /// The context pairs of the last error.
    pub last_error_context: Vec<(String, String)>,
    /// In how long it is tried next, as far as that is known.
    pub next_attempt: Option<Duration>,
    /// Whether something here may not have reached the peer.
    pub unsent: bool,
    /// How many entries were missing here when this was last known.
    pub behind_here: Option<u64>,
    /// How many entries were missing at the peer when this was last known.
    pub behind_there: Option<u64>,
    /// Entries that came with rounds of this side, since the start of this process. What the peer brings with rounds of its own is
    /// not among them.
    pub received: u64,
    /// Entries that were sent, likewise.
    pub sent: u64,
    /// How often it was tried from here.
    pub rounds: u64,
    /// Whether anything of the database is here, if it is wished synced.
    pub has_local_data: bool,
    /// Whether the peer answers.
    pub connected: bool,
}

/// What goes on in a relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncState {
    /// Both sides are as they should be, as far as is known.
    Idle,
    /// A round is about to begin.
    Waiting,
    /// A round is under way.
    Running,
    /// It has failed and will be tried again.
    BackingOff,
    /// Nobody here wishes the database synced.
    NotWished,
    /// No address is known that a registered transport can dial. The peer may come by itself.
    NoAddress,
    /// There is no such relationship any longer.
    Ended,
}

impl SyncHandle {
    pub(super) fn new(shared: Arc<Shared>, peer: PeerName, database: Id) -> SyncHandle {
        SyncHandle { shared, peer, database }
    }

    /// The peer, as it was given.
    pub fn peer(&self) -> &PeerName {
        &self.peer
    }

    /// The database.
    pub fn database(&self) -> &Id {
        &self.database
    }

    /// How it stands now. Does not wait.
    ///
    /// Errors: `InvalidInput` if the key of the peer is none.
    pub fn status(&self) -> Result<SyncStatus> {
        let peer = self.key()?;
        let now = self.shared.now();
        let (lane, status) = {
            let schedule = self.shared.schedule();
            (schedule.lane(peer, self.database), schedule.peer(peer))
        };
        let here = self.shared.served.digest(&self.database).is_some();
        Ok(lane.map_or_else(|| SyncStatus::ended(here), |lane| SyncStatus::of(&lane, status.as_ref(), now, here)))
    }

    /// Adds an address of the peer. Errors: `InvalidInput` if its key is none; those of the store.
    pub async fn add_address(&self, address: Address) -> Result<()> {
        let peer = self.key()?;
        self.shared.peers.add_address(&self.peer, &address).await?;
        self.shared.note_dialable(peer).await?;
        self.shared.tell(|schedule, now| schedule.contact(now, peer));
        Ok(())
    }

    /// Ends the relationship: the two are no longer kept in step on this side, over restarts. What is here stays, and the peer may
    /// still fetch what it may read. Errors: those of the store.
    pub async fn end(self) -> Result<()> {
        self.shared.unrelate(&self.peer, &self.database).await
    }

    /// Waits until both sides were compared with success once since the start of this process.
    ///
    /// Errors: `Timeout`, with what is known of the last failure; `InvalidInput` if the key of the peer is none; `Closed`.
    pub async fn wait_for_initial_sync(&self, timeout: Duration) -> Result<()> {
        let lane = Lane { peer: self.key()?, database: self.database };
        // Subscribed first, so that a success between the two is not missed.
        let mut ended = self.shared.rounds_ended();
        let wait = async {
            while self.shared.schedule().lane(lane.peer, lane.database).is_none_or(|lane| lane.last_success.is_none()) {
                if self.shared.is_over() {
                    return Err(super::shared::closed());
                }
                ended.changed().await.map_err(|_| super::shared::closed())?;
            }
            Ok(())
        };
        match tokio::time::timeout(timeout, wait).await {
            Ok(done) => done,
            Err(_) => {
                let message = "the first sync has not succeeded in time; it goes on in the background";
                let mut error = Error::new(ErrorKind::Timeout, message).with("peer", &self.peer);
                if let Ok(SyncStatus { last_error: Some((_, _, text)), .. }) = self.status() {
                    error = error.with("last_error", text);
                }
                Err(error)
            }
        }
    }

    fn key(&self) -> Result<PublicKey> {
        self.peer.key()
    }
}

impl SyncStatus {
    /// The value of a context pair of the last error. `error_context("reason")` is `Some("removed")` once a peer has told that this
    /// device was removed from the database.
    pub fn error_context(&self, name: &str) -> Option<&str> {
        self.last_error_context.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn ended(has_local_data: bool) -> SyncStatus {
        SyncStatus {
            state: SyncState::Ended,
            last_success: None,
            last_error: None,
            last_error_context: Vec::new(),
            next_attempt: None,
            unsent: false,
            behind_here: None,
            behind_there: None,
            received: 0,
            sent: 0,
            rounds: 0,
            has_local_data,
            connected: false,
        }
    }

    fn of(lane: &LaneStatus, peer: Option<&PeerStatus>, now: Duration, has_local_data: bool) -> SyncStatus {
        use crate::schedule::Stop;
        let state = match lane.state {
            LaneState::Idle => SyncState::Idle,
            LaneState::Waiting => SyncState::Waiting,
            LaneState::Running { .. } => SyncState::Running,
            LaneState::BackingOff { .. } => SyncState::BackingOff,
            LaneState::Stopped(Stop::NotWished) => SyncState::NotWished,
            LaneState::Stopped(Stop::NoAddress) => SyncState::NoAddress,
        };
        let failure = lane.last_failure.as_ref();
        SyncStatus {
            state,
            last_success: lane.last_success.map(|at| now.saturating_sub(at)),
            last_error: failure.map(|(at, failure)| (now.saturating_sub(*at), failure.kind, failure.text.clone())),
            last_error_context: failure.map(|(_, failure)| failure.context.clone()).unwrap_or_default(),
            next_attempt: lane.next_attempt.map(|at| at.saturating_sub(now)),
            unsent: lane.unsent,
            behind_here: lane.behind.map(|behind| behind.here),
            behind_there: lane.behind.map(|behind| behind.there),
            received: lane.received,
            sent: lane.sent,
            rounds: lane.rounds,
            has_local_data,
            connected: peer.is_some_and(|peer| peer.answering),
        }
    }
}

impl fmt::Debug for SyncHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncHandle").field("peer", &self.peer).field("database", &self.database).finish_non_exhaustive()
    }
}
