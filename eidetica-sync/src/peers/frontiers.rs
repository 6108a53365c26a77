//! What both sides of a lane had at the end of the last round.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eidetica_contract::{PublicKey, Result};
use eidetica_core::{Engine, Id, LocalChange, Time};

use super::info::PeerName;
use super::rows::{self, LaneRow, changed};

/// With more heads than this nothing is remembered.
const HEADS: usize = 64;
/// How many lanes are held in memory, beside those that are to be stored.
const HELD: usize = 4096;

/// What both sides of a lane had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remembered {
    /// The heads of the database at that time.
    pub heads: Vec<Id>,
    /// When that was, by the clock of the wall.
    pub at: Time,
}

/// What both sides of each lane had at the end of the last round: a hint that saves bytes, and that is never trusted.
///
/// It is kept in memory and stored now and then by [`save`](Frontiers::save), since a flush for every round would cost more than
/// the hint is worth. After a crash an older one is as good. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Frontiers {
    engine: Engine,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    lanes: BTreeMap<(PublicKey, Id), HeldLane>,
    unsaved: usize,
}

struct HeldLane {
    /// `None`: there is nothing to remember.
    remembered: Option<Remembered>,
    unsaved: bool,
}

/// A lane, and what of it is in its row.
type Saved = ((PublicKey, Id), Option<Remembered>);

impl Frontiers {
    /// Those of this store.
    pub fn new(engine: Engine) -> Frontiers {
        Frontiers { engine, held: Arc::default() }
    }

    /// What is remembered of a lane.
    ///
    /// Errors: `Corrupted` for a row that cannot be read; the next [`note`](Frontiers::note) that is saved mends it.
    pub async fn remembered(&self, peer: PublicKey, database: Id) -> Result<Option<Remembered>> {
        if let Some(held) = self.held().lanes.get(&(peer, database)) {
            return Ok(held.remembered.clone());
        }
        let name = rows::lane(&peer, &database);
        let found = match self.engine.local(&name).await? {
            None => None,
            Some(row) => {
                let row: LaneRow = rows::read(&name, &row)?;
                let heads = row.ids().filter(|heads| heads.len() <= HEADS).ok_or_else(|| rows::damaged(&name))?;
                Some(Remembered { heads, at: Time::from_millis(row.at) })
            }
        };
        let mut held = self.held();
        held.make_room();
        // What was noted meanwhile is newer.
        let lane = held.lanes.entry((peer, database)).or_insert(HeldLane { remembered: found, unsaved: false });
        Ok(lane.remembered.clone())
    }

    /// Notes what both sides have at the end of a round. Of more than 64 heads none is remembered.
    pub fn note(&self, peer: PublicKey, database: Id, heads: &[Id]) {
        let at = self.engine.environment().now();
        let remembered = (heads.len() <= HEADS).then(|| Remembered { heads: heads.to_vec(), at });
        let mut held = self.held();
        held.make_room();
        let lane = HeldLane { remembered, unsaved: true };
        if held.lanes.insert((peer, database), lane).is_none_or(|before| !before.unsaved) {
            held.unsaved += 1;
        }
    }

    /// Forgets a lane in memory, as when its relationship has ended. [`Peers::unrelate`](super::Peers::unrelate) removes its row.
    pub fn forget(&self, peer: PublicKey, database: Id) {
        let mut held = self.held();
        if held.lanes.remove(&(peer, database)).is_some_and(|lane| lane.unsaved) {
            held.unsaved -= 1;
        }
    }

    /// How many lanes have something to save.
    pub fn unsaved(&self) -> usize {
        self.held().unsaved
    }

    /// Stores what was noted since the last time; durable on return. Of lanes without a relationship nothing is stored.
    ///
    /// Errors: those of the store; what was not stored will be next time. Cancellation: some may be stored.
    pub async fn save(&self) -> Result<()> {
        let unsaved: Vec<(PublicKey, Id)> = {
            let held = self.held();
            held.lanes.iter().filter(|(_, lane)| lane.unsaved).map(|(lane, _)| *lane).collect()
        };
        for lanes in unsaved.chunks(256) {
            let saved = loop {
                let (changes, saved) = self.changes(lanes).await?;
                if changed(&self.engine, changes).await? {
                    break saved;
                }
            };
            let mut held = self.held();
            for (lane, remembered) in saved {
                // What was noted while this was stored is still to be stored.
                if let Some(lane) =
                    held.lanes.get_mut(&lane).filter(|lane| lane.unsaved && lane.remembered == remembered)
                {
                    lane.unsaved = false;
                    held.unsaved -= 1;
                }
            }
        }
        Ok(())
    }

    /// How the rows of these lanes are to change, and what is then saved of them.
    async fn changes(&self, lanes: &[(PublicKey, Id)]) -> Result<(Vec<LocalChange>, Vec<Saved>)> {
        let mut changes = Vec::with_capacity(lanes.len());
        let mut saved = Vec::with_capacity(lanes.len());
        for (peer, database) in lanes {
            let held = self.held().lanes.get(&(*peer, *database)).map(|lane| lane.remembered.clone());
            let Some(remembered) = held else { continue };
            let name = rows::lane(peer, database);
            let before = self.engine.local(&name).await?;
            let related = self.engine.local(&rows::relation(&PeerName::Key(*peer), database)).await?.is_some();
            let after = remembered.as_ref().filter(|_| related).map(|remembered| {
                let heads = remembered.heads.iter().flat_map(|head| *head.as_bytes()).collect();
                rows::write(&LaneRow { heads, at: remembered.at.millis() })
            });
            changes.push(LocalChange { name, before, after });
            saved.push(((*peer, *database), remembered));
        }
        Ok((changes, saved))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in here is left half done by a panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Drops what can be read again, if there is too much.
    fn make_room(&mut self) {
        if self.lanes.len() - self.unsaved >= HELD {
            self.lanes.retain(|_, lane| lane.unsaved);
        }
    }
}
