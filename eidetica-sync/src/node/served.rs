//! The databases that somebody here wants synced: the only ones of which anything leaves this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use eidetica_core::Id;
use tokio::sync::OwnedRwLockReadGuard;

use crate::bell::Bell;
use crate::message::{Tag, TagKey};
use crate::schedule::Wish;

/// The databases that are served, and how each stands.
#[derive(Default)]
pub(crate) struct Served {
    open: RwLock<Open>,
    /// Counts whatever may interest those who wait: other heads of a database, a database more or less.
    news: Bell,
}

#[derive(Default)]
struct Open {
    gates: BTreeMap<Id, Arc<Gate>>,
    /// Counts the changes of which databases are served.
    version: u64,
}

/// A database that is served: whoever sends or takes something of it holds a [`Pass`] meanwhile.
#[derive(Default)]
struct Gate {
    /// No other gate has it.
    number: u64,
    passes: Arc<tokio::sync::RwLock<()>>,
    /// The digest of its heads, as of the last pulse; `None` before the first, and while the database is not here.
    digest: Mutex<Option<[u8; 32]>>,
}

/// Shows that a database is served. Its end is waited for before the database is shut.
pub(crate) struct Pass {
    _held: OwnedRwLockReadGuard<()>,
}

impl Served {
    /// Serves what is wished besides what is served already.
    pub fn add(&self, wishes: &BTreeMap<Id, Wish>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).add(wishes);
    }

    /// Serves what is wished, and nothing else: when it returns, nothing of any other database is under way.
    pub async fn set(&self, wishes: &BTreeMap<Id, Wish>) {
        let mut shut = Vec::new();
        {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            open.gates.retain(|id, gate| {
                let stays = wishes.get(id).is_some_and(|wish| wish.enabled);
                if !stays {
                    shut.push(gate.passes.clone());
                }
                stays
            });
            if !shut.is_empty() {
                open.version += 1;
            }
            open.add(wishes);
        }
        self.tell();
        for passes in shut {
            // No new pass is given out; this waits for the last that was.
            drop(passes.write().await);
        }
    }

    /// A pass to a database, if it is served.
    pub fn enter(&self, database: &Id) -> Option<Pass> {
        let gate = self.gate(database)?;
        // Only `set` locks it for writing, and then the database is no longer served.
        let held = gate.passes.clone().try_read_owned().ok()?;
        // It may have been shut between the two.
        self.gate(database)?;
        Some(Pass { _held: held })
    }

    /// Whether a database is served.
    pub fn is_served(&self, database: &Id) -> bool {
        self.gate(database).is_some()
    }

    /// All that are served, each with the number of its gate: another one if it was shut meanwhile.
    pub fn gates(&self) -> BTreeMap<Id, u64> {
        self.open().gates.iter().map(|(id, gate)| (*id, gate.number)).collect()
    }

    /// All that are served.
    pub fn all(&self) -> Vec<Id> {
        self.open().gates.keys().copied().collect()
    }

    /// Counts the changes of which databases are served.
    pub fn version(&self) -> u64 {
        self.open().version
    }

    /// Which served databases are named by which tags, at the cost of one hash for each.
    pub fn tags(&self, key: &TagKey) -> BTreeMap<Tag, Id> {
        self.open().gates.keys().map(|id| (key.tag(id), *id)).collect()
    }

    /// Notes the heads of a database.
    pub fn pulse(&self, database: &Id, digest: [u8; 32]) {
        if let Some(gate) = self.gate(database) {
            *gate.digest() = Some(digest);
            self.tell();
        }
    }

    /// The heads as of the last pulse.
    pub fn digest(&self, database: &Id) -> Option<[u8; 32]> {
        self.gate(database).and_then(|gate| *gate.digest())
    }

    /// Rings when a pulse was noted, or a database is served that was not, or no longer.
    pub fn news(&self) -> &Bell {
        &self.news
    }

    /// Has all who wait look again.
    pub fn tell(&self) {
        self.news.ring();
    }

    fn gate(&self, database: &Id) -> Option<Arc<Gate>> {
        self.open().gates.get(database).cloned()
    }

    fn open(&self) -> RwLockReadGuard<'_, Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn add(&mut self, wishes: &BTreeMap<Id, Wish>) {
        for (id, _) in wishes.iter().filter(|(_, wish)| wish.enabled) {
            if !self.gates.contains_key(id) {
                self.version += 1;
                let gate = Gate { number: self.version, ..Gate::default() };
                self.gates.insert(*id, Arc::new(gate));
            }
        }
    }
}

impl Gate {
    fn digest(&self) -> MutexGuard<'_, Option<[u8; 32]>> {
        self.digest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
