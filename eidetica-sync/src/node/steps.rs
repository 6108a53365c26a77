//! Which peers are in step with this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eidetica_contract::PublicKey;
use eidetica_core::Id;
use tokio::time::Instant;

use crate::reconcile::Standoff;
use crate::schedule::Lane;

/// What is known of the heads of peers, so that nothing is sent back to where it came from. It may be out of date; then
/// something is compared that need not be.
#[derive(Default)]
pub(crate) struct Steps(Mutex<State>);

#[derive(Default)]
struct State {
    in_step: BTreeMap<Lane, [u8; 32]>,
    /// Lanes on which both sides are apart by entries that do not count on one of them.
    standoffs: BTreeMap<Lane, Standoff>,
    /// Lanes on which a peer that may not read was listened to in vain, and until when it is not listened to again.
    in_vain: BTreeMap<Lane, Instant>,
    reached: BTreeSet<PublicKey>,
    /// Requests that are being answered, by peer and database.
    talking: BTreeMap<Lane, usize>,
    /// Lanes on which a peer is carrying entries, and until when that is believed if no request comes.
    carrying: BTreeMap<Lane, Instant>,
    /// Rounds that this node has under way.
    rounds: BTreeMap<Lane, Stage>,
}

/// How far a round of this node has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It reaches for the peer.
    Begun,
    /// It has asked what both sides have.
    Comparing,
    /// It waits for a round of the peer that carries entries already.
    Waiting,
    /// It carries entries.
    Carrying,
}

/// The most lanes of which something is remembered.
const MOST: usize = 1 << 16;
/// How long a peer may take from an answer to its next request, besides the time in which entries are on their way; after that
/// its round counts as given up.
const PAUSE: Duration = Duration::from_secs(1);
/// How many bytes a slow line carries in a second.
const SLOW: f64 = 32_768.0;
/// How long it may take to answer a request.
const ANSWERING: Duration = Duration::from_secs(30);

/// How long a peer that may not read is not listened to after it has said nothing that counts.
const DEAF: Duration = Duration::from_secs(60);

/// A request of a peer about a database that is being answered.
pub(crate) struct Talking<'s> {
    steps: &'s Steps,
    lane: Lane,
    /// If the peer goes on: how long until its next request.
    goes_on: Option<Duration>,
}

impl Steps {
    /// Notes that a peer has these heads.
    pub fn note(&self, lane: Lane, digest: [u8; 32]) {
        let mut state = self.state();
        if state.in_step.len() >= MOST {
            state.in_step.clear();
        }
        state.in_step.insert(lane, digest);
    }

    /// Notes how the last round on a lane has left both sides.
    pub fn note_standoff(&self, lane: Lane, standoff: Option<Standoff>) {
        let mut state = self.state();
        if state.standoffs.len() >= MOST {
            state.standoffs.clear();
        }
        match standoff {
            Some(standoff) => drop(state.standoffs.insert(lane, standoff)),
            None => drop(state.standoffs.remove(&lane)),
        }
    }

    /// How the last round on a lane has left both sides.
    pub fn standoff(&self, lane: &Lane) -> Option<Standoff> {
        self.state().standoffs.get(lane).copied()
    }

    /// Whether a peer that may not read is listened to. It is not for a while after that was in vain.
    pub fn may_be_heard(&self, lane: &Lane) -> bool {
        self.state().in_vain.get(lane).is_none_or(|until| *until <= Instant::now())
    }

    /// Notes that a peer that may not read was listened to in vain.
    pub fn note_heard_in_vain(&self, lane: Lane) {
        let now = Instant::now();
        let mut state = self.state();
        state.in_vain.retain(|_, until| *until > now);
        state.in_vain.insert(lane, now + DEAF);
    }

    /// Notes that a request of a peer is being answered, until the value is dropped; and whether it is one by which entries are
    /// carried.
    pub fn talk(&self, lane: Lane, carries: bool) -> Talking<'_> {
        let mut state = self.state();
        *state.talking.entry(lane).or_default() += 1;
        if carries {
            state.carries(lane, ANSWERING);
        }
        Talking { steps: self, lane, goes_on: None }
    }

    /// Notes that a round begins on a lane, or that it has ended.
    pub fn note_round(&self, lane: Lane, under_way: bool) {
        let mut state = self.state();
        match under_way {
            true => drop(state.rounds.insert(lane, Stage::Begun)),
            false => drop(state.rounds.remove(&lane)),
        }
    }

    /// Notes that the round on a lane compares what both sides have.
    pub fn note_comparing(&self, lane: &Lane) {
        self.state().note_stage(lane, Stage::Comparing);
    }

    /// Has the round on a lane carry entries from now on, and returns `None`; but if the peer is doing that and `may_wait`, has it
    /// wait, until this time unless the peer's round ends before.
    pub fn carry_or_wait(&self, lane: &Lane, may_wait: bool) -> Option<Instant> {
        let mut state = self.state();
        let until = state.carrying.get(lane).copied().filter(|until| may_wait && *until > Instant::now());
        state.note_stage(lane, if until.is_some() { Stage::Waiting } else { Stage::Carrying });
        until
    }

    /// Whether a peer that begins a round on a lane is to wait for the one of this node: if both have just begun, the peer waits
    /// that has the greater key, so that one of them goes on.
    pub fn goes_before(&self, lane: &Lane, smaller_key: bool) -> bool {
        let state = self.state();
        match state.rounds.get(lane) {
            Some(Stage::Begun) => smaller_key && state.reached.contains(&lane.peer),
            Some(Stage::Comparing) => smaller_key,
            Some(Stage::Carrying) => true,
            Some(Stage::Waiting) | None => false,
        }
    }

    /// Whether a peer is just talking about a database, and may thus learn what is new by that.
    pub fn is_talking(&self, peer: &PublicKey, database: &Id) -> bool {
        self.state().talking.contains_key(&Lane { peer: *peer, database: *database })
    }

    /// Whether a peer is known to have these heads.
    pub fn is_in_step(&self, peer: &PublicKey, database: &Id, digest: &[u8; 32]) -> bool {
        self.state().in_step.get(&Lane { peer: *peer, database: *database }) == Some(digest)
    }

    /// Notes whether this node reaches a peer by itself.
    pub fn note_reached(&self, peer: PublicKey, reached: bool) {
        let mut state = self.state();
        match reached {
            true => state.reached.insert(peer),
            false => state.reached.remove(&peer),
        };
    }

    /// Whether this node reaches a peer by itself, and thus sends it what is new.
    pub fn reaches(&self, peer: &PublicKey) -> bool {
        self.state().reached.contains(peer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_stage(&mut self, lane: &Lane, stage: Stage) {
        if let Some(round) = self.rounds.get_mut(lane) {
            *round = stage;
        }
    }

    /// Notes that a peer carries entries, for so long at most.
    fn carries(&mut self, lane: Lane, most: Duration) {
        let now = Instant::now();
        self.carrying.retain(|_, until| *until > now);
        self.carrying.insert(lane, now + most);
    }
}

impl Talking<'_> {
    /// Notes that the peer will go on carrying entries after this answer, once so many bytes of them have come over.
    pub fn goes_on(&mut self, bytes: usize) {
        self.goes_on = Some(PAUSE + Duration::from_secs_f64(bytes as f64 / SLOW));
    }
}

impl Drop for Talking<'_> {
    fn drop(&mut self) {
        let mut state = self.steps.state();
        match self.goes_on {
            Some(pause) => state.carries(self.lane, pause),
            None => drop(state.carrying.remove(&self.lane)),
        }
        if let Some(count) = state.talking.get_mut(&self.lane) {
            *count -= 1;
            if *count == 0 {
                state.talking.remove(&self.lane);
            }
        }
    }
}
