//! What a schedule is told once.

use std::time::Duration;

/// Bounds and delays of a schedule. The defaults suit a device with a few hundred peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleOptions {
    /// Rounds at once with peers that answer, in all; at least one. Default: 32.
    pub rounds: usize,
    /// Rounds at once with peers that may not answer, in all; at least one. They have places of their own, so that
    /// peers which are away take none from the others. Default: 64.
    pub probes: usize,
    /// Rounds at once with one peer; at least one. A peer that has not answered since it last failed gets one.
    /// Default: 4.
    pub rounds_per_peer: usize,
    /// A round that has not heard from its peer for so long gives its place to others, and goes on in one of those for
    /// peers that may not answer. Default: one second.
    pub patience: Duration,
    /// The delay after a first failure. It doubles with each further one, and is drawn between its half and its whole.
    /// Default: half a second.
    pub first_backoff: Duration,
    /// No delay after failures is longer. Default: one minute.
    pub max_backoff: Duration,
    /// The shortest interval. Default: one second.
    pub least_interval: Duration,
    /// How long a peer that watches a database may take to fetch what is new, before it is sent. Default: five seconds.
    pub watch_grace: Duration,
    /// How long the list of what a peer is watched for is left as it is when more comes in. Default: 100 ms.
    pub watch_settle: Duration,
}

impl Default for ScheduleOptions {
    fn default() -> ScheduleOptions {
        ScheduleOptions {
            rounds: 32,
            probes: 64,
            rounds_per_peer: 4,
            patience: Duration::from_secs(1),
            first_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(60),
            least_interval: Duration::from_secs(1),
            watch_grace: Duration::from_secs(5),
            watch_settle: Duration::from_millis(100),
        }
    }
}

impl ScheduleOptions {
    /// The options with every bound that would stop everything, or never rest, set right.
    pub(super) fn sound(mut self) -> ScheduleOptions {
        const LEAST: Duration = Duration::from_millis(1);
        for bound in [&mut self.rounds, &mut self.probes, &mut self.rounds_per_peer] {
            *bound = (*bound).max(1);
        }
        let delays = [&mut self.patience, &mut self.first_backoff, &mut self.least_interval, &mut self.watch_grace];
        delays.into_iter().for_each(|delay| *delay = (*delay).max(LEAST));
        self.max_backoff = self.max_backoff.max(self.first_backoff);
        self
    }
}
