//! The graph of entries: what each has seen, and how far two sets of heads are apart.
//!
//! An entry is stored with what is *hidden* from it: the earlier arrivals that are not below it, mostly none. From that
//! follow in a few steps whether one entry is below another, and [`difference`], at the cost of what is hidden and not of
//! the history. Nothing here walks the graph node by node, and nothing recurses.

pub(crate) mod blocks;
mod fingerprint;
mod numbers;
pub(crate) mod ranges;
mod seen;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use eidetica_contract::{Result, Snapshot};

pub use fingerprint::Fingerprint;
pub use numbers::Numbers;
pub use ranges::Point;
pub use seen::Seen;

use crate::db::entries::Lineage;
use crate::error::damaged;
use crate::layout::{DatabaseNumber, ENTRIES};

/// How many answers are remembered, and how many ranges in all. They never become wrong.
const REMEMBERED: usize = 512;
const REMEMBERED_RANGES: usize = 1 << 18;
/// How long a statement in full may be at any time without a look at the way down to the last one.
const SHORT: usize = 8;
/// How long the way down to a statement in full may be, so that an answer costs a few rows.
const STEPS: u64 = 16;

/// Answers about entries that are not committed yet, and whose numbers may yet become those of others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fresh {
    // In order, so that what is remembered of them, and thus what is read again, is the same in every run.
    answers: BTreeMap<u64, (Seen, u64)>,
    /// Those of the group before, which is about to be committed.
    earlier: Option<Arc<Fresh>>,
}

impl Fresh {
    /// Answers that come on top of others.
    pub fn after(earlier: Arc<Fresh>) -> Fresh {
        Fresh { answers: BTreeMap::new(), earlier: Some(earlier) }
    }

    fn get(&self, number: u64) -> Option<&(Seen, u64)> {
        self.answers.get(&number).or_else(|| self.earlier.as_ref()?.get(number))
    }

    fn insert(&mut self, number: u64, answer: (Seen, u64)) {
        self.answers.insert(number, answer);
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.earlier.is_none()
    }
}

/// What entries have seen, with a bounded memory of recent answers about committed ones.
#[derive(Debug)]
pub(crate) struct Graph {
    database: DatabaseNumber,
    remembered: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    answers: HashMap<u64, (Seen, u64)>,
    order: VecDeque<u64>,
    ranges: usize,
}

impl Graph {
    pub fn new(database: DatabaseNumber) -> Graph {
        Graph { database, remembered: Mutex::default() }
    }

    /// The entry with this number and everything below it.
    pub async fn seen_by(&self, rows: &dyn Snapshot, number: u64) -> Result<Seen> {
        Ok(self.seen_and_steps(rows, &Fresh::default(), number).await?.0)
    }

    async fn seen_and_steps(&self, rows: &dyn Snapshot, fresh: &Fresh, number: u64) -> Result<(Seen, u64)> {
        if let Some(answer) = fresh.get(number) {
            return Ok(answer.clone());
        }
        if let Some(answer) = self.recall(number) {
            return Ok(answer);
        }
        // Down the chain of entries that refer to their one parent, then up again.
        let mut chain = Vec::new();
        let mut at = number;
        let mut answer = loop {
            if let Some(answer) = self.recall(at) {
                break answer;
            }
            if let Some(answer) = fresh.get(at) {
                break answer.clone();
            }
            let row = rows.get(ENTRIES, &self.database.entry_key(at)).await?;
            match Lineage::of_row(&row.ok_or_else(|| damaged("an entry is missing"))?)? {
                Lineage::Hidden(hidden) => break (Seen::new(at, &hidden).with(at), 0),
                Lineage::Follows { parent, .. } if parent < at => {
                    chain.push(at);
                    at = parent;
                }
                Lineage::Follows { .. } => return Err(damaged("the lineage of an entry")),
            }
        };
        for above in chain.into_iter().rev() {
            answer = (answer.0.with(above), answer.1 + 1);
        }
        if fresh.is_empty() {
            self.remember(number, &answer.0, answer.1);
        }
        Ok(answer)
    }

    /// The entries with these numbers and everything below them.
    pub async fn seen_by_all(&self, rows: &dyn Snapshot, heads: &[u64]) -> Result<Seen> {
        self.seen_by_fresh(rows, &Fresh::default(), heads).await
    }

    /// The same, where some of the entries may not be committed yet.
    pub async fn seen_by_fresh(&self, rows: &dyn Snapshot, fresh: &Fresh, heads: &[u64]) -> Result<Seen> {
        let mut all = Seen::nothing();
        for head in heads {
            all = all.union(&self.seen_and_steps(rows, fresh, *head).await?.0);
        }
        Ok(all)
    }

    /// How a new entry is to state what is hidden from it. `below` is what its parents have seen together.
    pub async fn lineage(
        &self,
        rows: &dyn Snapshot,
        fresh: &mut Fresh,
        number: u64,
        parents: &[u64],
        below: &Seen,
    ) -> Result<Lineage> {
        let hidden = below.missing_before(number);
        if let [parent] = parents
            && hidden.ranges().len() > SHORT
        {
            let steps = self.seen_and_steps(rows, fresh, *parent).await?.1 + 1;
            if steps < (hidden.ranges().len() as u64).min(STEPS) {
                fresh.insert(number, (below.with(number), steps));
                return Ok(Lineage::Follows { parent: *parent, steps });
            }
        }
        fresh.insert(number, (below.with(number), 0));
        Ok(Lineage::Hidden(hidden))
    }

    /// Remembers what has been committed.
    pub fn remember_all(&self, fresh: &Fresh) {
        fresh.answers.iter().for_each(|(number, (seen, steps))| self.remember(*number, seen, *steps));
    }

    /// Forgets everything: the entries are being looked at anew.
    pub fn forget(&self) {
        *self.memory() = Memory::default();
    }

    fn recall(&self, number: u64) -> Option<(Seen, u64)> {
        self.memory().answers.get(&number).cloned()
    }

    fn remember(&self, number: u64, seen: &Seen, steps: u64) {
        let mut memory = self.memory();
        memory.ranges += seen.hidden().ranges().len();
        match memory.answers.insert(number, (seen.clone(), steps)) {
            Some((before, _)) => memory.ranges -= before.hidden().ranges().len(),
            None => memory.order.push_back(number),
        }
        while memory.order.len() > REMEMBERED || memory.ranges > REMEMBERED_RANGES {
            let Some(oldest) = memory.order.pop_front() else { break };
            if let Some((seen, _)) = memory.answers.remove(&oldest) {
                memory.ranges -= seen.hidden().ranges().len();
            }
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.remembered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
