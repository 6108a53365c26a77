//! Checking a database against itself: every signature, every rule of the door, every row that follows from the entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{Keyspace, Result, Scan, Snapshot};

use super::catalog::StoreInfo;
use super::core::State;
use super::database::Database;
use super::entries::{Place, StoredEntry, places};
use super::sound::prove;
use crate::auth::{self, Rights};
use crate::dag::Seen;
use crate::dag::blocks::Closing;
use crate::id::Id;
use crate::layout::{
    BLOCKS, ENDS, HEIGHTS, IDS, INDEX, PAST, STATE, StoreNumber, TOUCHED, height_parts, past_parts, trailing_number,
    within_store,
};
use crate::store::algebra::{Algebra, Delta};
use crate::store::cell::{self, Cell};
use crate::store::doc::{Action, Record, end};
use crate::store::events::{EntryCache, Moment};
use crate::store::live;
use crate::store::table::{self, RowAction, index_rows};

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many entries were checked.
    pub entries: u64,
    /// How many cells of stores were compared with a replay of their operations.
    pub cells: u64,
    /// How many rows of secondary indexes were compared.
    pub index_rows: u64,
    /// What is wrong. At most a thousand are listed.
    pub problems: Vec<Problem>,
    /// Deltas that are in the history without effect, because their kind cannot read them: entry and store. No fault of
    /// this store.
    pub unreadable: Vec<(Id, String)>,
    /// Stores whose kind is not known here, so that their state could not be checked.
    pub unknown_kinds: Vec<String>,
    /// Stores that lack bodies here, ordered by name and kind. What is here is sound, but it is not all there is, and what
    /// shows of these stores was not compared.
    pub missing_bodies: Vec<MissingBodies>,
}

/// A store of which bodies are missing here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingBodies {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// How many entries lack the body for it.
    pub entries: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What, in words.
    pub what: String,
    /// The entry it concerns, if it concerns one.
    pub entry: Option<Id>,
    /// True if [`Database::reindex`] mends it: the entries themselves are sound.
    pub reindex_mends: bool,
}

const MAX_PROBLEMS: usize = 1000;

impl Database {
    /// Checks everything that can be checked, on one snapshot, while the database is in use.
    ///
    /// Signatures, ids and order of the entries; hashes of their bodies; the rights of their authors; the indexes; the
    /// fingerprints; the heads; and every live record against a replay of all operations at its cell.
    ///
    /// A report may be clean, and the database not whole: see [`Report::is_whole`].
    ///
    /// Errors: those of the backend alone; what is wrong with the data stands in the report. Cancellation: nothing has
    /// changed.
    #[tracing::instrument(skip_all)]
    pub async fn verify(&self) -> Result<Report> {
        // What has come late is evaluated first, or it would look like a fault.
        self.evaluate_stale().await?;
        let rows = self.core.storage.snapshot().await?;
        let state = self.core.at(&*rows).await?;
        state.check_usable()?;
        let mut check = Check {
            database: self,
            rows: &*rows,
            state: &state,
            report: Report::default(),
            touched: 0,
            lacking: BTreeMap::new(),
        };
        check.entries().await?;
        check.counts().await?;
        check.blocks().await?;
        check.bodies();
        for info in state.catalog.all() {
            check.store(&info).await?;
        }
        Ok(check.report)
    }
}

pub(super) struct Check<'a> {
    pub database: &'a Database,
    pub rows: &'a dyn Snapshot,
    pub state: &'a State,
    report: Report,
    /// How many rows the indexes of entries must have.
    touched: u64,
    /// How many entries lack the body for a store, by its name and kind.
    lacking: BTreeMap<(String, String), u64>,
}

impl Check<'_> {
    pub(super) fn problem(&mut self, what: impl Into<String>, entry: Option<Id>, reindex_mends: bool) {
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(Problem { what: what.into(), entry, reindex_mends });
        }
    }

    async fn entries(&mut self) -> Result<()> {
        let number = self.database.core.number;
        let mut rights = Rights::default();
        let mut next = Some(number.entries(0, u64::MAX).bytes(1 << 20));
        while let Some(scan) = next.take() {
            let page = self.rows.scan(scan.clone()).await?;
            if let (true, Some((last, _))) = (page.more, page.rows.last()) {
                next = Some(scan.after(last));
            }
            let mut stored = Vec::new();
            for (key, row) in &page.rows {
                match StoredEntry::parse(trailing_number(key), row) {
                    Ok(entry) => stored.push(entry),
                    Err(_) => self.problem(format!("entry {} cannot be read", trailing_number(key)), None, false),
                }
            }
            let proven = prove(&stored, self.database.core.storage.options.proves_in_line).await?;
            for (entry, proven) in stored.iter().zip(proven) {
                if let Err(reason) = proven {
                    self.problem(reason, Some(entry.entry.id()), false);
                }
                self.entry(entry, &mut rights).await?;
            }
        }
        self.live(&rights).await?;
        if self.report.entries != self.state.meta.next {
            self.problem("the number of entries is not the one that the database has counted", None, false);
        }
        Ok(())
    }

    async fn entry(&mut self, stored: &StoredEntry, rights: &mut Rights) -> Result<()> {
        let core = &self.database.core;
        let (id, header) = (stored.entry.id(), stored.entry.header());
        if stored.number != self.report.entries {
            self.problem(format!("the numbers of entries jump at {}", stored.number), Some(id), false);
        }
        self.report.entries += 1;
        self.touched += header.stores.len() as u64;
        if stored.entry.database() != core.id {
            self.problem("it belongs to another database", Some(id), false);
        }
        let place = Place { number: stored.number, height: header.height, time: header.time };
        if places(self.rows, core.number, &[id]).await?[0] != Some(place) {
            self.problem("its row in the index of ids is missing or wrong", Some(id), true);
        }
        let by_height = self.rows.get(HEIGHTS, &core.number.height_key(header.height, &id)).await?;
        let bytes = stored.number.to_be_bytes();
        let wanted = (!self.state.marks.dead.contains(stored.number)).then_some(&bytes[..]);
        if by_height.as_deref() != wanted {
            self.problem("its row in the index of heights is missing or wrong", Some(id), true);
        }
        let parents: Vec<Place> =
            places(self.rows, core.number, &header.parents).await?.into_iter().flatten().collect();
        let in_order = parents.iter().all(|parent| parent.number < stored.number && parent.time < header.time);
        let height = parents.iter().map(|parent| parent.height + 1).max().unwrap_or(0);
        if parents.len() != header.parents.len() || !in_order || height != header.height {
            self.problem(
                "its parents are missing, or its number, height or time do not follow theirs",
                Some(id),
                false,
            );
            return Ok(());
        }
        let numbers: Vec<u64> = parents.iter().map(|parent| parent.number).collect();
        let below = core.graph.seen_by_all(self.rows, &numbers).await?;
        if core.graph.seen_by(self.rows, stored.number).await? != below.with(stored.number) {
            self.problem("what is hidden from it is stated wrongly", Some(id), true);
        }
        self.rights(stored, &below, rights);
        for (delta, body) in stored.entry.deltas() {
            let Some(info) = self.state.catalog.get(&delta.name, &delta.kind).cloned() else {
                self.problem(format!("the store {} is not in the catalog", delta.name), Some(id), true);
                continue;
            };
            let store = info.at(core.number);
            if self.rows.get(TOUCHED, &store.touched_key(stored.number)).await?.is_none() {
                self.problem(format!("it is missing in the index of the store {}", delta.name), Some(id), true);
            }
            if body.is_none() {
                *self.lacking.entry((delta.name.clone(), delta.kind.clone())).or_default() += 1;
            }
            if body.is_some() && info.applied_below.is_none_or(|number| stored.number < number) {
                self.operations(stored, &info, store).await?;
            }
        }
        Ok(())
    }

    fn rights(&mut self, stored: &StoredEntry, below: &Seen, rights: &mut Rights) {
        let header = stored.entry.header();
        let settings = stored.entry.settings().and_then(|body| auth::Settings::parse(body).ok());
        match auth::admit(rights, below, header, settings.as_ref()) {
            Ok(admission) => {
                if let Some(entry) = admission.settings_entry(stored.number, header, below) {
                    rights.add(entry);
                }
            }
            Err(denied) => self.problem(denied.to_string(), Some(stored.entry.id()), false),
        }
    }

    /// Every operation that has an effect stands in the live record of its cell, or in the past.
    async fn operations(&mut self, stored: &StoredEntry, info: &StoreInfo, store: StoreNumber) -> Result<()> {
        let Some(algebra) = self.database.core.algebra(&info.kind) else { return Ok(()) };
        let id = stored.entry.id();
        let Some(delta) = algebra.delta_of(&stored.entry, &info.name, &info.kind) else {
            self.report.unreadable.push((id, info.name.clone()));
            return Ok(());
        };
        if delta.deepest() > info.deepest as usize {
            self.problem(format!("the store {} is deeper than is said of it", info.name), Some(id), true);
        }
        if info.keeps_ends && !self.ends_reach(&delta, store).await? {
            self.problem(format!("a list of the store {} ends behind where it is said to", info.name), Some(id), true);
        }
        for cell in effective_cells(&delta, id) {
            let past = self.rows.get(PAST, &store.past_key(&cell, stored.number)).await?;
            let live = live::get(self.rows, store, &cell).await?;
            let lives = live.is_some_and(|record| numbers(algebra, &cell, &record).contains(&stored.number));
            if past.is_none() && !lives {
                self.problem(format!("an operation of it on the store {} is missing", info.name), Some(id), true);
            }
        }
        Ok(())
    }

    /// No element of a list was ever behind what is kept as its end.
    async fn ends_reach(&self, delta: &Delta, store: StoreNumber) -> Result<bool> {
        let Delta::Doc(delta) = delta else { return Ok(true) };
        for (path, action) in delta.iter() {
            let Some((list, position)) = end::raised(&path, &action) else { continue };
            let known = self.rows.get(ENDS, &store.key(&list)).await?;
            if known.is_none_or(|known| &known[..] < position) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The catalog says of exactly those stores that they are partial that lack bodies.
    fn bodies(&mut self) {
        for info in self.state.catalog.all() {
            let lacks = self.lacking.contains_key(&(info.name.clone(), info.kind.clone()));
            // What a stale store lacks is looked at when it is evaluated.
            if info.partial != lacks && !info.stale {
                let what = if lacks { "lacks bodies and is said to be whole" } else { "is said to lack bodies" };
                self.problem(format!("the store {} {what}", info.name), None, true);
            }
        }
        let lacking = std::mem::take(&mut self.lacking);
        self.report.missing_bodies =
            lacking.into_iter().map(|((name, kind), entries)| MissingBodies { name, kind, entries }).collect();
    }

    async fn counts(&mut self) -> Result<()> {
        let database = self.database.core.number.prefix();
        let live = self.report.entries.saturating_sub(self.state.marks.dead.len());
        let wanted = [(IDS, self.report.entries), (HEIGHTS, live), (TOUCHED, self.touched)];
        for (keyspace, wanted) in wanted {
            let found = self.count(keyspace, &database).await?;
            if found != wanted {
                let what = format!("keyspace {} has {found} rows instead of {wanted}", keyspace.number());
                self.problem(what, None, true);
            }
        }
        Ok(())
    }

    /// Every closed block has the fingerprint of its entries. Those are taken from the index by height, which has been
    /// compared with the entries by now.
    async fn blocks(&mut self) -> Result<()> {
        let database = self.database.core.number;
        let Some(top) = self.state.meta.top() else { return Ok(()) };
        let mut closed = Closing::new(top);
        let mut next = Some(Scan::prefix(HEIGHTS, &database.prefix()));
        let mut wanted = 0;
        while let Some(scan) = next.take() {
            let page = self.rows.scan(scan.clone()).await?;
            if let (true, Some((last, _))) = (page.more, page.rows.last()) {
                next = Some(scan.after(last));
            }
            let ids = page.rows.iter().filter_map(|(key, _)| height_parts(key).ok());
            let mut whole: Vec<_> = ids.flat_map(|(height, id)| closed.add(height, &id)).collect();
            if next.is_none() {
                whole.extend(closed.finish());
            }
            for (block, print) in whole {
                wanted += 1;
                let row = self.rows.get(BLOCKS, &database.block_key(block.level, block.number)).await?;
                if row.as_deref() != Some(&print.to_bytes()[..]) {
                    self.problem("the fingerprint of a block of heights is missing or wrong", None, true);
                }
            }
        }
        if self.count(BLOCKS, &database.prefix()).await? != wanted {
            self.problem("there are fingerprints of blocks of heights too many or too few", None, true);
        }
        Ok(())
    }

    async fn count(&self, keyspace: Keyspace, prefix: &[u8]) -> Result<u64> {
        let mut count = 0;
        let mut next = Some(Scan::prefix(keyspace, prefix));
        while let Some(scan) = next.take() {
            let page = self.rows.scan(scan.clone()).await?;
            count += page.rows.len() as u64;
            if let (true, Some((last, _))) = (page.more, page.rows.last()) {
                next = Some(scan.after(last));
            }
        }
        Ok(count)
    }

    /// Every live record is what a replay of the operations at its cell gives, and the indexes follow from the rows.
    async fn store(&mut self, info: &Arc<StoreInfo>) -> Result<()> {
        let core = &self.database.core;
        let store = info.at(core.number);
        let Some(algebra) = core.algebra(&info.kind) else {
            self.report.unknown_kinds.push(info.name.clone());
            return Ok(());
        };
        if info.partial || info.stale {
            // Without all bodies a replay cannot know what they held.
            return Ok(());
        }
        let applied = info.applied_below.unwrap_or(self.state.meta.next);
        let (all, effective) = (Seen::all_before(applied), self.state.marks.effective(applied));
        let cache = EntryCache::default();
        let moment = Moment {
            rows: self.rows,
            graph: &core.graph,
            fresh: None,
            store,
            name: &info.name,
            kind: &info.kind,
            algebra,
            all: &all,
            set: &effective,
            entries: &cache,
            trusts_live: false,
        };
        let mut indexed = 0;
        let mut at = Bytes::new();
        loop {
            let range =
                |keyspace| Scan::range(keyspace, store.key(&at), Scan::prefix(keyspace, &store.prefix()).end).rows(1);
            let live = self.rows.scan(range(STATE)).await?.rows.pop().map(|(key, value)| (within_store(&key), value));
            let past = self.rows.scan(range(PAST)).await?.rows.pop().map(|(key, _)| past_parts(&within_store(&key)).0);
            let Some(cell) = live.iter().map(|(cell, _)| cell.clone()).chain(past).min() else { break };
            let record = match live.filter(|(at, _)| *at == cell) {
                Some((_, row)) => Some(live::whole(self.rows, store, &cell, row).await?),
                None => None,
            };
            self.report.cells += 1;
            match algebra.replay(&moment, &cell).await {
                Ok(replayed) if replayed == record => {}
                Ok(_) => {
                    self.problem(format!("a record of the store {} differs from its operations", info.name), None, true)
                }
                Err(error) => {
                    self.problem(format!("a cell of the store {} cannot be replayed: {error}", info.name), None, true)
                }
            }
            if algebra == Algebra::Table {
                let row = table::parse(record.as_ref()).unwrap_or_default();
                for index in &info.indexes {
                    for key in index_rows(store, std::slice::from_ref(index), &cell, row.shown())? {
                        let there = self.rows.get(INDEX, &key).await?.is_some();
                        indexed += u64::from(there || index.reaches(&cell));
                        if !there && index.reaches(&cell) {
                            self.problem(
                                format!("a row is missing in an index of the table {}", info.name),
                                None,
                                true,
                            );
                        }
                    }
                }
            }
            at = [&cell[..], &[0xff; 9]].concat().into();
        }
        self.report.index_rows += indexed;
        if self.count(INDEX, &store.prefix()).await? != indexed {
            self.problem(format!("an index of the table {} has rows too many or too few", info.name), None, true);
        }
        Ok(())
    }
}

/// The cells at which a delta must have left a trace. Operations that name something may have no effect (rule 28).
fn effective_cells(delta: &Delta, id: Id) -> Vec<Cell> {
    match delta {
        Delta::Doc(delta) => delta
            .iter()
            .filter(|(path, action)| match action {
                Action::Increment { epoch, .. } => epoch.is_none(),
                Action::Write { .. } => false,
                Action::Delete => path.element().is_none(),
                _ => true,
            })
            .map(|(path, _)| path.cell(id))
            .collect(),
        Delta::Table(delta) => {
            let rows = delta.iter().filter(|(_, action)| !matches!(action, RowAction::Write { .. }));
            rows.map(|(key, _)| cell::single(key.as_bytes())).collect()
        }
        Delta::Cells(delta) => delta.0.iter().map(|(key, _)| cell::single(key)).collect(),
    }
}

/// The numbers of the operations in a live record; none if it cannot be read.
fn numbers(algebra: Algebra, cell: &Cell, record: &Bytes) -> Vec<u64> {
    match algebra {
        Algebra::Table => table::parse(Some(record)).map(|row| row.numbers()).unwrap_or_default(),
        _ => Record::parse(cell, record).map(|record| record.numbers()).unwrap_or_default(),
    }
}

impl Report {
    /// True if nothing is wrong with what is here.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// True if no body is missing here. One that is missing is no damage: an entry may come without it, and be completed
    /// later.
    pub fn is_whole(&self) -> bool {
        self.missing_bodies.is_empty()
    }

    /// How often each problem was found.
    pub fn summary(&self) -> BTreeMap<&str, usize> {
        let mut summary = BTreeMap::new();
        for problem in &self.problems {
            *summary.entry(problem.what.as_str()).or_default() += 1;
        }
        summary
    }
}
