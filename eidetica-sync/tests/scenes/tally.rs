//! Counting what nodes do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use eidetica_core::Id;
use eidetica_sync::{SyncEvent, Syncer};
use tokio::sync::broadcast::error::RecvError;

/// What has become of the rounds that one side has begun.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rounds {
    pub well: u64,
    pub failed: u64,
    pub received: u64,
    /// Entries that came in rounds and were here already.
    pub repeated: u64,
    pub sent: u64,
    pub sent_again: u64,
}

impl Rounds {
    pub fn plus(self, other: Rounds) -> Rounds {
        Rounds {
            well: self.well + other.well,
            failed: self.failed + other.failed,
            received: self.received + other.received,
            repeated: self.repeated + other.repeated,
            sent: self.sent + other.sent,
            sent_again: self.sent_again + other.sent_again,
        }
    }

    /// Entries that have travelled, whether they were wanted or not.
    pub fn travelled(self) -> u64 {
        self.received + self.repeated + self.sent
    }
}

/// Counts the rounds of a node for each database, from now on.
pub struct Tally(Arc<Mutex<BTreeMap<Id, Rounds>>>);

impl Tally {
    pub fn of(syncer: &Syncer) -> Tally {
        let counted = Arc::<Mutex<BTreeMap<Id, Rounds>>>::default();
        let (mut events, tally) = (syncer.events(), Tally(counted.clone()));
        tokio::spawn(async move {
            loop {
                let event = match events.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => panic!("events were missed"),
                    Err(RecvError::Closed) => return,
                };
                let mut counted = counted.lock().unwrap();
                match event {
                    SyncEvent::Synced { database, outcome, .. } => {
                        let rounds = counted.entry(database).or_default();
                        rounds.well += 1;
                        rounds.received += outcome.received;
                        rounds.repeated += outcome.repeated;
                        rounds.sent += outcome.sent;
                        rounds.sent_again += outcome.sent_again;
                    }
                    SyncEvent::Failed { database, .. } => counted.entry(database).or_default().failed += 1,
                    _ => {}
                }
            }
        });
        tally
    }

    pub fn rounds(&self, id: &Id) -> Rounds {
        self.0.lock().unwrap().get(id).copied().unwrap_or_default()
    }
}
