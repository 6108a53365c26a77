//! Which peers are in step with this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eidetica_contract::PublicKey;
use eidetica_core::Id;

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
    reached: BTreeSet<PublicKey>,
    /// Requests that are being answered, by peer and database.
    talking: BTreeMap<Lane, usize>,
    /// Rounds that this node has under way.
    rounds: BTreeSet<Lane>,
}

/// The most lanes of which something is remembered.
const MOST: usize = 1 << 16;

/// A request of a peer about a database that is being answered.
pub(crate) struct Talking<'s> {
    steps: &'s Steps,
    lane: Lane,
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

    /// Notes that a request of a peer is being answered, until the value is dropped.
    pub fn talk(&self, lane: Lane) -> Talking<'_> {
        *self.state().talking.entry(lane).or_default() += 1;
        Talking { steps: self, lane }
    }

    /// Notes that a round begins on a lane, or that it has ended.
    pub fn note_round(&self, lane: Lane, under_way: bool) {
        let mut state = self.state();
        match under_way {
            true => state.rounds.insert(lane),
            false => state.rounds.remove(&lane),
        };
    }

    /// Whether this node has a round under way on a lane.
    pub fn has_round(&self, lane: &Lane) -> bool {
        self.state().rounds.contains(lane)
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

impl Drop for Talking<'_> {
    fn drop(&mut self) {
        let mut state = self.steps.state();
        if let Some(count) = state.talking.get_mut(&self.lane) {
            *count -= 1;
            if *count == 0 {
                state.talking.remove(&self.lane);
            }
        }
    }
}
