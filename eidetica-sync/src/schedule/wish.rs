//! What is wished for a database.

use std::time::Duration;

/// What is wished for a database: by all users of this device together, as far as the schedule knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether it is synced at all.
    pub enabled: bool,
    /// Whether it is kept up to date at once: what is new here is sent without delay, be it written here or arrived from
    /// another peer, and peers are watched for news.
    pub on_commit: bool,
    /// How often it is synced besides. What is shorter than
    /// [`ScheduleOptions::least_interval`](super::ScheduleOptions::least_interval) counts as that.
    pub interval: Option<Duration>,
}

impl Wish {
    /// Kept up to date at once, and not at intervals.
    pub fn live() -> Wish {
        Wish { enabled: true, on_commit: true, interval: None }
    }

    /// Synced at intervals alone.
    pub fn every(interval: Duration) -> Wish {
        Wish { enabled: true, on_commit: false, interval: Some(interval) }
    }

    /// Whether news travel at once.
    pub(super) fn is_live(&self) -> bool {
        self.enabled && self.on_commit
    }
}
