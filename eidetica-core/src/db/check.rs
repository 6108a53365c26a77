//! How a database is checked: entry by entry, then row by row.
//!
//! Nothing that follows from the entries is relied on to find the entries, so whatever of it is damaged, missing or of nonsense
//! is found, and does not keep the rest from being looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{ErrorKind, Keyspace, Result, Scan, Snapshot};

use super::catalog::{Catalog, StoreInfo};
use super::core::{Core, State};
use super::entries::{Place, StoredEntry, places};
use super::epochs;
use super::marks::Marks;
use super::meta::Meta;
use super::sound::prove;
use super::verify::{MAX_PROBLEMS, MissingBodies, Problem, Report};
use crate::auth::{self, Rights};
use crate::clock::Time;
use crate::dag::blocks::Closing;
use crate::dag::{Graph, Seen};
use crate::id::Id;
use crate::layout::{
    BLOCKS, ENDS, HEIGHTS, IDS, INDEX, LONG, PAST, STATE, StoreNumber, TOUCHED, height_parts, past_parts,
    trailing_number, within_store,
};
use crate::store::algebra::{Algebra, Delta};
use crate::store::cell::{self, Cell};
use crate::store::doc::{Action, Record, end};
use crate::store::events::{EntryCache, Moment};
use crate::store::live;
use crate::store::table::{self, RowAction, index_rows};

pub(super) struct Check<'a> {
    pub core: &'a Core,
    pub rows: &'a dyn Snapshot,
    /// The row of the database, if it can be read.
    pub meta: Option<Meta>,
    /// What is written down of void entries, as far as it can be read.
    pub marks: Marks,
    /// What can be read of the catalog.
    pub catalog: Catalog,
    /// What entries have seen, as the rows say it now.
    pub graph: Graph,
    pub report: Report,
    /// The number that the next entry must have.
    pub next: u64,
    /// The greatest time of an entry.
    latest: Time,
    /// The greatest height of an entry that is live.
    top: Option<u64>,
    /// Where entries are whose row in the index of ids says something else.
    misplaced: HashMap<Id, Place>,
    /// How many rows the indexes of entries must have.
    touched: u64,
    /// The lists, by a hash of their keys, that had an element at what is kept as their end; by store.
    reached: HashMap<u32, HashSet<Id>>,
    /// How many entries lack the body for a store, by its name and kind.
    lacking: BTreeMap<(String, String), u64>,
}

impl<'a> Check<'a> {
    /// Errors: `Locked` while the database is being rebuilt.
    pub async fn begin(core: &'a Core, rows: &'a dyn Snapshot) -> Result<Check<'a>> {
        let meta = match Meta::read(rows, core.number).await {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == ErrorKind::Corrupted => None,
            Err(error) => return Err(error),
        };
        if let Some(meta) = &meta {
            State::of(meta.clone()).check_usable()?;
        }
        let (catalog, unreadable) = Catalog::survey(rows, core.number).await?;
        let marks = Marks::load(rows, core.number).await?;
        let (report, next, latest, top, misplaced, touched, reached, lacking) = Default::default();
        let graph = Graph::new(core.number);
        let mut check = Check {
            core,
            rows,
            meta,
            marks,
            catalog,
            graph,
            report,
            next,
            latest,
            top,
            misplaced,
            touched,
            reached,
            lacking,
        };
        if check.meta.is_none() {
            check.problem("the row of the database is missing or damaged", None, true);
        }
        if unreadable > 0 {
            check.problem(
                "a row of the catalog of stores is damaged; indexes of tables that it told of are to be made again after \
                 `reindex`",
                None,
                true,
            );
        }
        Ok(check)
    }

    pub(super) fn problem(&mut self, what: impl Into<String>, entry: Option<Id>, reindex_mends: bool) {
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(Problem { what: what.into(), entry, reindex_mends });
        }
    }

    /// What was read of rows that follow from the entries; `None`, and a problem, if they cannot be read.
    pub(super) fn noted<T>(
        &mut self,
        read: Result<T>,
        what: impl Into<String>,
        entry: Option<Id>,
    ) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NotFound) => {
                self.problem(what, entry, true);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub async fn entries(&mut self) -> Result<()> {
        let number = self.core.number;
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
            let proven = prove(&stored, self.core.storage.options.proves_in_line).await?;
            for (entry, proven) in stored.iter().zip(proven) {
                if let Err(reason) = proven {
                    self.problem(reason, Some(entry.entry.id()), false);
                }
                self.entry(entry, &mut rights).await?;
            }
        }
        self.live(&rights).await
    }

    async fn entry(&mut self, stored: &StoredEntry, rights: &mut Rights) -> Result<()> {
        let (database, id, header) = (self.core.number, stored.entry.id(), stored.entry.header());
        if stored.number != self.next {
            self.problem(format!("the numbers of entries jump at {}", stored.number), Some(id), false);
        }
        self.next = stored.number.saturating_add(1);
        self.report.entries += 1;
        self.touched += header.stores.len() as u64;
        let place = Place { number: stored.number, height: header.height, time: header.time };
        let live = !self.marks.dead.contains(stored.number);
        self.latest = self.latest.max(header.time);
        self.top = self.top.max(live.then_some(header.height));
        if stored.entry.database() != self.core.id {
            self.problem("it belongs to another database", Some(id), false);
        }
        if self.place_of(&id).await? != Some(place) {
            self.problem("its row in the index of ids is missing or wrong", Some(id), true);
            self.misplaced.insert(id, place);
        }
        let by_height = self.rows.get(HEIGHTS, &database.height_key(header.height, &id)).await?;
        // Sync speaks of the live entries alone.
        if by_height.as_deref() != live.then_some(&stored.number.to_be_bytes()[..]) {
            self.problem("its row in the index of heights is missing or wrong", Some(id), true);
        }
        let mut parents = Vec::with_capacity(header.parents.len());
        for parent in &header.parents {
            parents.extend(self.place_of(parent).await?);
        }
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
        let hidden = "what is hidden from it is stated wrongly";
        let below = self.graph.seen_by_all(self.rows, &numbers).await;
        let Some(below) = self.noted(below, hidden, Some(id))? else { return Ok(()) };
        let stated = self.graph.seen_by(self.rows, stored.number).await;
        if self.noted(stated, hidden, Some(id))?.is_some_and(|stated| stated != below.with(stored.number)) {
            self.problem(hidden, Some(id), true);
        }
        self.rights(stored, &below, rights);
        for (delta, body) in stored.entry.deltas() {
            let Some(info) = self.catalog.get(&delta.name, &delta.kind).cloned() else {
                self.problem(format!("the store {} is not in the catalog", delta.name), Some(id), true);
                continue;
            };
            let store = info.at(database);
            // There is nothing to say but that it is there.
            if self.rows.get(TOUCHED, &store.touched_key(stored.number)).await?.is_none_or(|row| !row.is_empty()) {
                self.problem(
                    format!("its row in the index of the store {} is missing or wrong", delta.name),
                    Some(id),
                    true,
                );
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

    /// Where an entry is that has been looked at, or that the index of ids knows.
    async fn place_of(&self, id: &Id) -> Result<Option<Place>> {
        if let Some(place) = self.misplaced.get(id) {
            return Ok(Some(*place));
        }
        match places(self.rows, self.core.number, &[*id]).await {
            Ok(mut places) => Ok(places.pop().flatten()),
            Err(error) if error.kind() == ErrorKind::Corrupted => Ok(None),
            Err(error) => Err(error),
        }
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
        let Some(algebra) = self.core.algebra(&info.kind) else { return Ok(()) };
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
            let live = live::get(self.rows, store, &cell).await;
            let live = self.noted(live, format!("a record of the store {} cannot be read", info.name), Some(id))?;
            let lives = live.flatten().is_some_and(|record| numbers(algebra, &cell, &record).contains(&stored.number));
            if past.is_none() && !lives {
                self.problem(format!("an operation of it on the store {} is missing", info.name), Some(id), true);
            }
        }
        Ok(())
    }

    /// No element of a list was ever behind what is kept as its end. Notes the lists that end there.
    async fn ends_reach(&mut self, delta: &Delta, store: StoreNumber) -> Result<bool> {
        let Delta::Doc(delta) = delta else { return Ok(true) };
        for (path, action) in delta.iter() {
            let Some((list, position)) = end::raised(&path, &action) else { continue };
            let known = self.rows.get(ENDS, &store.key(&list)).await?;
            if known.as_ref().is_none_or(|known| &known[..] < position) {
                return Ok(false);
            }
            if known.is_some_and(|known| &known[..] == position) {
                self.reached.entry(store.store).or_default().insert(Id::of(&list));
            }
        }
        Ok(true)
    }

    /// What the row of the database counts is what is there.
    pub fn counters(&mut self) {
        let Some(meta) = &self.meta else { return };
        let (late, counted) = (meta.latest != self.latest, meta.next == self.report.entries);
        if late {
            self.problem("the latest time is not that of an entry", None, true);
        }
        if !counted {
            self.problem("the number of entries is not the one that the database has counted", None, false);
        }
    }

    /// What cursors rely on.
    pub async fn epochs(&mut self) -> Result<()> {
        let Some(meta) = self.meta.clone() else { return Ok(()) };
        if !epochs::are_sound(self.rows, self.core.number, &meta).await? {
            self.problem("it is stated wrongly where the epochs of the store began", None, true);
        }
        Ok(())
    }

    /// The catalog says of exactly those stores that they are partial that lack bodies.
    pub fn bodies(&mut self) {
        for info in self.catalog.all() {
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

    pub async fn counts(&mut self) -> Result<()> {
        let database = self.core.number.prefix();
        let live = self.report.entries.saturating_sub(self.marks.dead.len());
        let wanted = [(IDS, self.report.entries), (HEIGHTS, live), (TOUCHED, self.touched)];
        for (keyspace, wanted) in wanted {
            let found = self.count(keyspace, &database).await?;
            if found != wanted {
                let what = format!("keyspace {} has {found} rows instead of {wanted}", keyspace.number());
                self.problem(what, None, true);
            }
        }
        for keyspace in [STATE, LONG, ENDS, PAST, INDEX] {
            if self.holds_strays(keyspace).await? {
                self.problem(format!("keyspace {} has rows of no store", keyspace.number()), None, true);
            }
        }
        Ok(())
    }

    /// True if there is a row between or behind those of the stores of the catalog.
    async fn holds_strays(&self, keyspace: Keyspace) -> Result<bool> {
        let all = Scan::prefix(keyspace, &self.core.number.prefix());
        let numbers: BTreeSet<u32> = self.catalog.all().iter().map(|info| info.number).collect();
        let mut start = all.start;
        for number in numbers {
            let store = Scan::prefix(keyspace, &self.core.number.store(number).prefix());
            if start < store.start && self.has_rows(Scan::range(keyspace, start, Some(store.start))).await? {
                return Ok(true);
            }
            let Some(end) = store.end else { return Ok(false) };
            start = end;
        }
        match &all.end {
            Some(end) if start >= *end => Ok(false),
            _ => self.has_rows(Scan::range(keyspace, start, all.end)).await,
        }
    }

    async fn has_rows(&self, scan: Scan) -> Result<bool> {
        Ok(!self.rows.scan(scan.rows(1)).await?.rows.is_empty())
    }

    /// Every closed block has the fingerprint of its entries. Those are taken from the index by height, which has been
    /// compared with the entries by now.
    pub async fn blocks(&mut self) -> Result<()> {
        let database = self.core.number;
        let Some(top) = self.top else { return Ok(()) };
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
    pub async fn store(&mut self, info: &Arc<StoreInfo>) -> Result<()> {
        let store = info.at(self.core.number);
        let Some(algebra) = self.core.algebra(&info.kind) else {
            self.report.unknown_kinds.push(info.name.clone());
            return Ok(());
        };
        if info.partial || info.stale {
            // Without all bodies a replay cannot know what they held.
            return Ok(());
        }
        let reached = self.reached.get(&info.number).map_or(0, HashSet::len) as u64;
        if info.keeps_ends && self.count(ENDS, &store.prefix()).await? != reached {
            self.problem(format!("a list of the store {} ends before where it is said to", info.name), None, true);
        }
        let applied = info.applied_below.unwrap_or(self.next);
        let (all, effective) = (Seen::all_before(applied), self.marks.effective(applied));
        let cache = EntryCache::default();
        // Not the one of the check, so that the check can note what it finds.
        let graph = Graph::new(self.core.number);
        let moment = Moment {
            rows: self.rows,
            graph: &graph,
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
        let (mut indexed, mut long) = (0, 0);
        let (mut live_at, mut past_at) = (Bytes::new(), Bytes::new());
        loop {
            let range = |keyspace, at: &Bytes| {
                Scan::range(keyspace, store.key(at), Scan::prefix(keyspace, &store.prefix()).end).rows(1)
            };
            let live = self.rows.scan(range(STATE, &live_at)).await?.rows.pop();
            let live = live.map(|(key, value)| (within_store(&key), value));
            let past = self.rows.scan(range(PAST, &past_at)).await?.rows.pop();
            let past = past.map(|(key, _)| past_parts(&within_store(&key)).0);
            let Some(cell) = live.iter().map(|(cell, _)| cell.clone()).chain(past.clone()).min() else { break };
            if live.as_ref().is_some_and(|(live, _)| *live == cell) {
                live_at = [&cell[..], &[0]].concat().into();
            }
            if past.is_some_and(|past| past == cell) {
                // Behind all that the past has of the cell, by the numbers of its operations.
                past_at = [&cell[..], &[0xff; 9]].concat().into();
            }
            let record = match live.filter(|(at, _)| *at == cell) {
                Some((_, row)) => {
                    let read = live::whole(self.rows, store, &cell, row).await;
                    self.noted(read, format!("a record of the store {} cannot be read", info.name), None)?
                }
                None => None,
            };
            long += record.as_ref().map_or(0, |record| live::further_parts(record.len()));
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
                indexed += self.index(info, store, &cell, record.as_ref()).await?;
            }
        }
        self.report.index_rows += indexed;
        if self.count(INDEX, &store.prefix()).await? != indexed {
            self.problem(format!("an index of the table {} has rows too many or too few", info.name), None, true);
        }
        if self.count(LONG, &store.prefix()).await? != long {
            self.problem(format!("long records of the store {} have parts too many or too few", info.name), None, true);
        }
        Ok(())
    }

    /// The indexes have what follows from a row of a table. Returns how many rows of them belong to it.
    async fn index(
        &mut self,
        info: &StoreInfo,
        store: StoreNumber,
        cell: &Cell,
        record: Option<&Bytes>,
    ) -> Result<u64> {
        let mut indexed = 0;
        // One that cannot be read has been found to differ from its operations.
        let row = table::parse(record).unwrap_or_default();
        for index in &info.indexes {
            let keys = index_rows(store, std::slice::from_ref(index), cell, row.shown()).unwrap_or_default();
            for key in keys {
                let there = self.rows.get(INDEX, &key).await?.is_some_and(|row| row.is_empty());
                indexed += u64::from(there || index.reaches(cell));
                if !there && index.reaches(cell) {
                    self.problem(format!("a row is missing in an index of the table {}", info.name), None, true);
                }
            }
        }
        Ok(indexed)
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
