//! What is to happen when.

use std::collections::BTreeSet;
use std::time::Duration;

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use super::effect::{Lane, RoundId};

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The interval of a database has passed.
    Tick(Id),
    /// A peer may be dialled again.
    Peer(PublicKey),
    /// A lane may be tried again.
    Lane(Lane),
    /// A peer that watches a database has not fetched what is new.
    Deferred(Lane),
    /// A round has not heard from its peer for long.
    Patience(RoundId),
    /// The list of what a peer is watched for is to be told.
    Watch(PublicKey),
}

/// All timers. Who sets one keeps its time, and takes it away by that.
#[derive(Default)]
pub(super) struct Timers(BTreeSet<(Duration, Timer)>);

impl Timers {
    /// Sets a timer, in place of the one in this slot. One that would go off after the end of time is not set.
    pub fn set(&mut self, slot: &mut Option<Duration>, at: Option<Duration>, timer: Timer) {
        if *slot == at {
            return;
        }
        if let Some(before) = slot.take() {
            self.0.remove(&(before, timer));
        }
        if let Some(at) = at {
            self.0.insert((at, timer));
            *slot = Some(at);
        }
    }

    /// When the next one goes off.
    pub fn first(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that goes off until then. Whoever has set it clears its slot.
    pub fn take(&mut self, now: Duration) -> Option<Timer> {
        let (at, _) = self.0.first()?;
        if *at > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
