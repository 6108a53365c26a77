//! Ways for a history to arrive: in any order, in batches, more than once, damaged, with the store closed in between.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Backend, BackendInfo, Result, Snapshot, WriteBatch};
use eidetica_core::entry::RawEntry;
use eidetica_core::{Database, Engine, Id, Memory, Options, Outcome};
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Model, Set};
use super::plan::MAX_ENTRIES;

/// How a history arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Entries wait until everything below them has arrived. Otherwise they may come early, and be parked.
    pub causal: bool,
    /// What comes first.
    priorities: Vec<u16>,
    /// Where a batch ends, if 0.
    cuts: Vec<u8>,
    /// What comes once more, and when.
    again: Vec<(usize, usize)>,
    /// After which batches the store is closed and opened.
    reopens: Vec<usize>,
    /// Of which entries a damaged copy comes first.
    damaged: Vec<usize>,
}

/// What arrives at once.
pub struct Batch {
    /// Damaged copies go by the id that they do not have.
    pub entries: Vec<(Id, RawEntry, bool)>,
    pub source: &'static str,
    /// Everything below its entries came before them.
    pub causal: bool,
    pub reopen: bool,
}

/// Any way to arrive.
pub fn arrival() -> impl Strategy<Value = Arrival> {
    let (priorities, cuts) = (vec(any::<u16>(), MAX_ENTRIES + 1), vec(0..5u8, MAX_ENTRIES + 1));
    let again = vec((0..=MAX_ENTRIES, 0..=MAX_ENTRIES), 0..6);
    let (reopens, damaged) = (vec(0..20usize, 0..3), vec(0..=MAX_ENTRIES, 0..3));
    let all = (proptest::bool::weighted(0.6), priorities, cuts, again, reopens, damaged);
    all.prop_map(|(causal, priorities, cuts, again, reopens, damaged)| Arrival {
        causal,
        priorities,
        cuts,
        again,
        reopens,
        damaged,
    })
}

impl Arrival {
    /// The batches in which everything but the root arrives.
    pub fn batches(&self, model: &Model) -> Vec<Batch> {
        let mut waiting: Vec<(u16, Id)> =
            model.entries().iter().skip(1).zip(&self.priorities).map(|(entry, first)| (*first, entry.id())).collect();
        waiting.sort_by_key(|(first, _)| *first);
        let mut here = Set::from_iter([model.root()]);
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let ready = |(_, id): &(u16, Id)| !self.causal || model.below(id).is_subset(&here);
            let next = waiting.iter().position(ready).expect("parents are part of the history");
            let (_, id) = waiting.remove(next);
            here.insert(id);
            order.push(id);
        }
        // What comes again came before, or a causal arrival would not be one.
        for (when, what) in &self.again {
            if let Some(when) = when.checked_rem(order.len() + 1)
                && let Some(what) = order.get(what % (when + 1)).copied()
            {
                order.insert(order.len().min(when + 1), what);
            }
        }
        let mut batches = Vec::new();
        let mut entries = Vec::new();
        for (at, id) in order.iter().enumerate() {
            let raw = model.entry(id).to_raw();
            if self.damaged.contains(&at) {
                entries.push((*id, damage(&raw, at), true));
            }
            entries.push((*id, raw, false));
            if self.cuts[at % self.cuts.len()] == 0 || at + 1 == order.len() {
                let source = ["ann", "bob", "cid"][at % 3];
                let reopen = self.reopens.contains(&batches.len());
                batches.push(Batch { entries: std::mem::take(&mut entries), source, causal: self.causal, reopen });
            }
        }
        batches
    }
}

/// One line for each batch, in terms of the places of entries in the order of writing.
pub fn describe(model: &Model, arrival: &Arrival) -> String {
    let place = |id: &Id| model.entries().iter().position(|entry| entry.id() == *id).unwrap_or_default();
    let mut text = String::new();
    for batch in arrival.batches(model) {
        let entry = |(id, _, damaged): &(Id, RawEntry, bool)| {
            format!("e{}{}", place(id), if *damaged { " damaged" } else { "" })
        };
        let entries: Vec<String> = batch.entries.iter().map(entry).collect();
        let reopened = if batch.reopen { ", then closed and opened" } else { "" };
        text += &format!("from {}: {}{reopened}\n", batch.source, entries.join(", "));
    }
    text
}

/// The same entry with one bit of its signature turned over.
fn damage(raw: &RawEntry, at: usize) -> RawEntry {
    let mut header = raw.header.to_vec();
    let bit = header.len() - 1 - at % 60;
    header[bit] ^= 1 << (at % 8);
    RawEntry { header: Bytes::from(header), bodies: raw.bodies.clone() }
}

/// Where a peer keeps what it has.
pub enum Disk {
    Memory(Arc<Memory>),
    Sqlite(tempfile::TempDir),
    Redb(tempfile::TempDir),
}

impl Disk {
    pub fn memory() -> Disk {
        Disk::Memory(Arc::new(Memory::new()))
    }

    pub fn sqlite() -> Disk {
        Disk::Sqlite(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn redb() -> Disk {
        Disk::Redb(tempfile::tempdir().expect("a temporary directory"))
    }

    async fn open(&self) -> Result<Box<dyn Backend>> {
        Ok(match self {
            Disk::Memory(memory) => Box::new(Kept(memory.clone())),
            Disk::Sqlite(dir) => Box::new(eidetica_backend_sqlite::Sqlite::open(dir.path().join("peer.db")).await?),
            Disk::Redb(dir) => Box::new(eidetica_backend_redb::Redb::open(dir.path().join("peer.redb")).await?),
        })
    }
}

/// A store in memory that outlives its closing, so that it can be opened again.
struct Kept(Arc<Memory>);

#[async_trait]
impl Backend for Kept {
    fn info(&self) -> BackendInfo {
        self.0.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.0.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.0.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// A peer to which a history arrives.
pub struct Peer {
    disk: Disk,
    engine: Engine,
    pub database: Database,
    /// What was given to it, in this order.
    given: Vec<Id>,
    /// What it has answered to be void, and will be offered again.
    void: Set,
    /// How many outcomes said that an entry waits.
    pub parked: usize,
}

impl Peer {
    /// A peer that knows the root of a history.
    pub async fn new(disk: Disk, model: &Model) -> Result<Peer> {
        let engine = Engine::open(disk.open().await?, Options::default()).await?;
        let database = engine.adopt_database(model.entry(&model.root()).to_raw(), None).await?;
        Ok(Peer { disk, engine, database, given: vec![model.root()], void: Set::default(), parked: 0 })
    }

    /// What it was given.
    pub fn given(&self) -> Set {
        self.given.iter().copied().collect()
    }

    /// What it has once answered to be void.
    pub fn void(&self) -> &Set {
        &self.void
    }

    /// Gives it a batch, and looks whether it answers what it should.
    pub async fn give(&mut self, model: &Model, batch: &Batch) -> Result<(), TestCaseError> {
        let raw = batch.entries.iter().map(|(_, raw, _)| raw.clone()).collect();
        let outcomes = self.database.ingest(raw, batch.source).await.map_err(fail)?;
        prop_assert_eq!(outcomes.len(), batch.entries.len(), "one outcome for each entry");
        for ((id, _, damaged), outcome) in batch.entries.iter().zip(&outcomes) {
            let kept = matches!(outcome, Outcome::Accepted | Outcome::Known);
            if *damaged {
                prop_assert!(matches!(outcome, Outcome::Refused(_)), "a damaged entry was answered {:?}", outcome);
                continue;
            }
            self.given.push(*id);
            let here = model.below(id).is_subset(&self.given());
            let parked = matches!(outcome, Outcome::Parked(_));
            self.parked += usize::from(parked);
            if matches!(outcome, Outcome::Void) {
                self.void.insert(*id);
            }
            // What is void is looked at closely when it is offered again.
            let kept = kept || matches!(outcome, Outcome::Void);
            let fits = match (model.refused(id), here) {
                // An answer is as old as the entry's turn: what it waited for may have come later in the same batch.
                (None, true) => kept || (parked && !batch.causal),
                (None, false) => kept || parked,
                // What stands on a refused entry waits for it, for nobody keeps a list of what was refused.
                (Some("above a refused entry"), _) | (Some(_), false) => !kept,
                (Some(_), true) => !kept && (!parked || !batch.causal),
            };
            prop_assert!(fits, "{:?} of an entry {:?} below which all is here: {}", outcome, model.refused(id), here);
        }
        // What was void and counts by what has come now is in without being offered again: it has waited.
        let tips = self.database.get_tips().await.map_err(fail)?;
        prop_assert_eq!(tips, model.tips(&model.live(&model.held(&self.given()))), "the heads at once");
        self.offer_void(model).await
    }

    /// Offers again what is not live, or was not once: also what was void when it had waited, and what a restart has forgotten.
    async fn offer_void(&mut self, model: &Model) -> Result<(), TestCaseError> {
        let held = model.held(&self.given());
        self.void.extend(held.difference(&model.live(&held)));
        self.offer_again(model, self.void.clone()).await
    }

    /// Offers entries again at once, as peers do when heads have changed. What is live must be in, all else is void.
    pub async fn offer_again(&mut self, model: &Model, entries: Set) -> Result<(), TestCaseError> {
        let held = model.held(&self.given());
        let live = model.live(&held);
        let offered: Vec<Id> = entries.into_iter().filter(|id| held.contains(id)).collect();
        let raw = offered.iter().map(|id| model.entry(id).to_raw()).collect();
        let outcomes = self.database.ingest(raw, "ann").await.map_err(fail)?;
        for (id, outcome) in offered.iter().zip(outcomes) {
            let fits = match outcome {
                Outcome::Accepted | Outcome::Known => live.contains(id),
                Outcome::Void => !live.contains(id),
                _ => false,
            };
            prop_assert!(fits, "{:?} of an entry that is live: {}", outcome, live.contains(id));
        }
        Ok(())
    }

    /// Gives it a whole history.
    pub async fn receive(&mut self, model: &Model, arrival: &Arrival) -> Result<(), TestCaseError> {
        for batch in arrival.batches(model) {
            self.give(model, &batch).await?;
            if batch.reopen {
                self.reopen(model).await?;
            }
        }
        Ok(())
    }

    /// Closes the store and opens it again. What waited for its parents is given again, as a peer would.
    pub async fn reopen(&mut self, model: &Model) -> Result<(), TestCaseError> {
        self.engine.close().await.map_err(fail)?;
        self.engine = Engine::open(self.disk.open().await.map_err(fail)?, Options::default()).await.map_err(fail)?;
        self.database = self.engine.open_database(&model.root(), None).await.map_err(fail)?;
        let held = model.held(&self.given());
        let lost: Vec<Id> = self.given.iter().filter(|id| !held.contains(id)).copied().collect();
        let again = lost.iter().map(|id| model.entry(id).to_raw()).collect();
        self.database.ingest(again, "ann").await.map_err(fail)?;
        self.offer_void(model).await
    }

    pub async fn close(self) -> Result<(), TestCaseError> {
        self.engine.close().await.map_err(fail)
    }
}

/// An error of the database fails the case.
pub fn fail(error: eidetica_contract::Error) -> TestCaseError {
    TestCaseError::fail(format!("{error:?}"))
}
