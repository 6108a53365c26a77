//! Which peers are in step with this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use crate::schedule::Lane;

/// What is known of the heads of peers, so that nothing is sent back to where it came from. It may be out of date; then
/// something is compared that need not be.
#[derive(Default)]
pub(crate) struct Steps(Mutex<State>);

#[derive(Default)]
struct State {
    in_step: BTreeMap<Lane, [u8; 32]>,
    reached: BTreeSet<PublicKey>,
}

impl Steps {
    /// Notes that a peer has these heads.
    pub fn note(&self, lane: Lane, digest: [u8; 32]) {
        self.state().in_step.insert(lane, digest);
    }

    /// Forgets what is known of lanes that are no longer there.
    pub fn retain(&self, there: impl Fn(&Lane) -> bool) {
        self.state().in_step.retain(|lane, _| there(lane));
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
