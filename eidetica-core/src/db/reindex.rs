//! Rebuilding everything but the entries: indexes, catalog, state, past. And the secondary indexes of tables.

use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Keyspace, Result, Scan, Snapshot, WriteBatch};

use super::catalog::{Catalog, StoreInfo};
use super::coming::Coming;
use super::core::{Core, State};
use super::database::Database;
use super::entries::StoredEntry;
use super::epochs;
use super::group::{ATTEMPTS, GROUP_BYTES, faster};
use super::lease::{Lease, lost};
use super::meta::Meta;
use super::sound::{damaged_entry, prove_all};
use super::work::{Ready, Work};
use super::writer::Task;
use crate::auth;
use crate::clock::Time;
use crate::error::{damaged, invalid};
use crate::layout::{
    BLOCKS, CATALOG, ENDS, HEIGHTS, IDS, INDEX, LONG, META, PAST, STATE, STRIKES, TOUCHED, VOID, trailing_number,
    within_store,
};
use crate::storage::epoch_now;
use crate::store::cell::Cell;
use crate::store::live;
use crate::store::table::{self, IndexDefinition, index_rows};

/// How many entries are rebuilt in one batch.
const BATCH: u64 = 512;
/// How many rows are put into an index in one step.
const INDEX_ROWS: usize = 4096;
/// How many rows are taken away in one step, and how many bytes they may have.
const CLEARED: usize = 4096;
const CLEARED_BYTES: usize = 1 << 20;
/// Where everything lies that follows from the entries. The catalog goes last, which is first here: it tells of indexes.
pub(crate) const DERIVED: [Keyspace; 12] =
    [CATALOG, IDS, HEIGHTS, BLOCKS, TOUCHED, STATE, LONG, ENDS, PAST, INDEX, VOID, STRIKES];

impl Database {
    /// Rebuilds indexes, catalog and state from the entries alone. The rows that come out are those that were there, if
    /// these were right.
    ///
    /// While it runs, other readers and writers of the database, in this process and in others, are answered
    /// [`ErrorKind::Locked`]. If it is interrupted, that stays so until it is called again or the database is opened again,
    /// which starts it over. Closing the store interrupts it.
    ///
    /// One process rebuilds at a time. Where the store is shared by processes, calling this, or opening the database, while
    /// another one is at it is answered [`ErrorKind::Locked`]; if that one was interrupted and could not say so, since it was
    /// killed, both wait until nothing has come from it for 10 seconds, and then take over.
    ///
    /// All entries are proven first. Errors: [`ErrorKind::Corrupted`] if one is damaged or missing, and then nothing has
    /// changed; [`ErrorKind::Conflict`] if another process has taken over, because this one stood still for longer than that.
    pub async fn reindex(&self) -> Result<()> {
        let over = Lease::vacant(&self.core).await?;
        self.writer.work(Task::Reindex { over, resumes: false }).await
    }

    /// This database, rebuilt if a rebuild was interrupted. One that goes on in this process is waited for.
    pub(crate) async fn rebuilt(self) -> Result<Database> {
        let core = &self.core;
        let interrupted = match core.storage.shared {
            // Whoever opens it gets a handle that can check and rebuild it.
            _ if core.state().damage.is_some() => false,
            // Another process may have begun one since.
            true => Meta::read(&*core.storage.snapshot().await?, core.number).await?.rebuilding,
            false => core.state().meta.rebuilding,
        };
        if interrupted {
            let over = Lease::vacant(core).await?;
            self.writer.work(Task::Reindex { over, resumes: true }).await?;
        }
        Ok(self)
    }

    /// Sees to it that a table has an index over a field. The index belongs to this store alone and is kept from then on.
    ///
    /// It is built in steps, between which others are served, and can be read when this returns. If it is interrupted, the
    /// next call goes on where it was.
    ///
    /// Errors: [`ErrorKind::NotFound`] if there is no such table yet.
    pub async fn ensure_index(&self, table: &str, field: &str) -> Result<()> {
        self.writer.work(Task::Index { name: table.to_owned(), field: field.to_owned() }).await
    }

    /// Drops the index of a table over a field, if there is one. Errors: [`ErrorKind::NotFound`] without such a table.
    pub async fn drop_index(&self, table: &str, field: &str) -> Result<()> {
        self.writer.work(Task::Unindex { name: table.to_owned(), field: field.to_owned() }).await
    }
}

/// Rebuilds a database. Runs in its writer, so that nothing else in this process writes meanwhile. With `resumes`, only if the
/// last time was interrupted. `over` is what [`Lease::vacant`] has found.
#[tracing::instrument(skip_all)]
pub(crate) async fn rebuild(core: &Core, over: Option<&Bytes>, resumes: bool) -> Result<()> {
    if resumes {
        // Another process may just have ended it.
        if !Meta::read(&*core.storage.snapshot().await?, core.number).await?.rebuilding {
            return Ok(());
        }
        tracing::warn!(database = %core.id, "rebuilding a database whose last rebuild was interrupted");
    }
    let mut lease = Lease::take(core, over).await?;
    let done = rebuild_all(core, &mut lease).await;
    if done.is_err() {
        lease.give_up(core).await;
    }
    done
}

async fn rebuild_all(core: &Core, lease: &mut Lease) -> Result<()> {
    let mut state = begin(core, lease).await?;
    let indexed = clear(core, lease).await?;
    let (mut at, mut attempts) = (0, 0);
    while at < state.meta.next {
        core.check_open()?;
        let rows = core.storage.snapshot().await?;
        lease.check(&*rows).await?;
        // Whoever opens the store meanwhile raises the epoch, and changes nothing else.
        state.meta.epoch = Meta::read(&*rows, core.number).await?.epoch;
        let page = rows.scan(core.number.entries(at, state.meta.next.min(at + BATCH)).bytes(4 << 20)).await?;
        let mut work = Work::resume(core, rows, state.clone());
        let mut next = at;
        for (key, row) in &page.rows {
            if next > at && work.rows.bytes() >= GROUP_BYTES {
                break;
            }
            next = trailing_number(key) + 1;
            work.readmit(StoredEntry::parse(next - 1, row)?, &indexed).await?;
        }
        let ends = next >= state.meta.next;
        work.state.meta.rebuilding = !ends;
        let ready = work.into_batch(false).filter(|_| next > at);
        let Some(Ready { mut batch, bytes, after, .. }) = ready else { return Err(damaged("an entry is missing")) };
        if ends {
            forget_unclaimed(core, &after.state.catalog, &indexed, &mut batch);
            lease.end(&mut batch)
        } else {
            lease.step(&mut batch)
        }
        if core.commit(batch, bytes, after.state.clone()).await? {
            lease.stepped();
            core.graph.remember_all(&after.fresh);
            (state, at, attempts) = (after.state.clone(), next, 0);
        } else {
            attempts += 1;
            if attempts == ATTEMPTS {
                return Err(faster());
            }
        }
    }
    Ok(())
}

/// Proves all entries, and says that from now on the rows but them count for nothing. Returns what is then known.
async fn begin(core: &Core, lease: &mut Lease) -> Result<State> {
    let mut proven = 0;
    for _ in 0..ATTEMPTS {
        let rows = core.storage.snapshot().await?;
        let (before, known) = standing(core, &*rows).await?;
        // Before anything goes: the rows that are there may be the last good copy of what a damaged entry says.
        prove_all(core, &*rows, proven..known.next, lease).await?;
        proven = known.next;
        let meta = Meta {
            tips: Vec::new(),
            rebuilding: true,
            catalog: known.catalog.wrapping_add(1),
            latest: Time::default(),
            ..known
        };
        let mut batch = WriteBatch::new();
        match before {
            Some(row) => batch.expect_value(META, core.number.meta_key(), row),
            None => batch.expect_absent(META, core.number.meta_key()),
        }
        epochs::mend(&*rows, core.number, &meta, &mut batch).await?;
        drop(rows);
        batch.put(META, core.number.meta_key(), meta.to_bytes());
        lease.step(&mut batch);
        core.graph.forget();
        let state = State::of(meta);
        if core.commit(batch, 0, state.clone()).await? {
            lease.stepped();
            return Ok(state);
        }
        // Another process has written while the entries were proven, or has taken the lease.
        lease.check(&*core.storage.snapshot().await?).await?;
    }
    Err(faster())
}

/// The row of the database, and what it says. If it cannot be read, the entries say how many there are, and the rest is
/// chosen so that nobody takes it for something that was known before.
async fn standing(core: &Core, rows: &dyn Snapshot) -> Result<(Option<Bytes>, Meta)> {
    let row = rows.get(META, &core.number.meta_key()).await?;
    let last = rows.scan(core.number.entries(0, u64::MAX).backward().rows(1)).await?.rows.pop();
    let there = last.map_or(0, |(key, _)| trailing_number(&key) + 1);
    let epoch = epoch_now(rows).await?;
    let meta = match row.as_deref().map(Meta::parse) {
        Some(Ok(meta)) => Meta { next: meta.next.max(there), epoch: meta.epoch.min(epoch), ..meta },
        _ => {
            let catalog = core.state().meta.catalog.max(epoch << 24);
            Meta { next: there, epoch, catalog, ..Meta::default() }
        }
    };
    if meta.next == 0 {
        return Err(damaged_entry(0, "it is missing"));
    }
    Ok((row, meta))
}

/// Takes away everything but the entries, in steps. Returns the stores that have indexes: what these are is not in the entries,
/// so it waits in the catalog until the store comes up again, and for a rebuild that goes on after this one.
async fn clear(core: &Core, lease: &mut Lease) -> Result<Vec<Arc<StoreInfo>>> {
    let (catalog, unreadable) = Catalog::survey(&*core.storage.snapshot().await?, core.number).await?;
    if unreadable > 0 {
        tracing::warn!("the catalog of stores is damaged; indexes of tables that it told of are to be made again");
    }
    let indexed: Vec<_> = catalog.all().into_iter().filter(|info| !info.indexes.is_empty()).collect();
    let mut left = DERIVED.iter().map(|keyspace| Scan::prefix(*keyspace, &core.number.prefix())).collect::<Vec<_>>();
    while !left.is_empty() {
        core.check_open()?;
        let rows = core.storage.snapshot().await?;
        lease.check(&*rows).await?;
        let mut batch = WriteBatch::new();
        let mut room = CLEARED;
        while let (Some(scan), 1..) = (left.last().cloned(), room) {
            let page = rows.scan(scan.clone().rows(room).bytes(CLEARED_BYTES)).await?;
            room -= page.rows.len();
            let next = page.rows.last().filter(|_| page.more).map(|(last, _)| scan.clone().after(last));
            let end = next.as_ref().map_or(scan.end, |next| Some(next.start.clone()));
            if !page.rows.is_empty() {
                batch.delete_range(scan.keyspace, scan.start, end);
            }
            if scan.keyspace == CATALOG {
                indexed.iter().for_each(|info| batch.put(CATALOG, info.at(core.number).catalog_key(), info.to_bytes()));
            }
            left.pop();
            left.extend(next);
        }
        lease.step(&mut batch);
        match core.storage.commit(batch, 0).await {
            Ok(()) => lease.stepped(),
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(lost()),
            Err(error) => return Err(error),
        }
    }
    Ok(indexed)
}

/// Definitions of indexes that no store has taken up were of none.
fn forget_unclaimed(core: &Core, catalog: &Catalog, indexed: &[Arc<StoreInfo>], batch: &mut WriteBatch) {
    for info in indexed.iter().filter(|info| info.number >= catalog.free_number()) {
        batch.delete(CATALOG, info.at(core.number).catalog_key());
    }
}

impl Work<'_> {
    /// Takes up an entry that is here again, as if it had just been admitted.
    async fn readmit(&mut self, stored: StoredEntry, indexed: &[Arc<StoreInfo>]) -> Result<()> {
        let below = self.below(&stored.entry).await?;
        let header = stored.entry.header();
        let parents = super::entries::require(&self.rows, self.core.number, &header.parents).await?;
        let parents: Vec<u64> = parents.iter().map(|place| place.number).collect();
        let settings = stored.entry.settings().and_then(|body| auth::Settings::parse(body).ok());
        let admission = auth::admit(&self.state.rights, &below, header, settings.as_ref());
        let admission = admission.map_err(|_| damaged("an entry without the right for it"))?;
        let coming = Coming::new(&self.state.rights, admission, stored.number, header, below.clone());
        let lineage = self.core.graph.lineage(&self.rows, &mut self.fresh, stored.number, &parents, &below).await?;
        for (delta, _) in stored.entry.deltas() {
            // In this order, so that each store gets the number that it had.
            let is_new = self.state.catalog.get(&delta.name, &delta.kind).is_none();
            let info = self.store_info(&delta.name, &delta.kind, stored.number);
            let indexes = indexed.iter().find(|info| info.name == delta.name && info.kind == delta.kind);
            if let (Some(indexes), true) = (indexes, is_new) {
                // Rows come from here on, so each index has all of them, also one that was still being built.
                let whole = |index: &IndexDefinition| IndexDefinition { until: None, ..index.clone() };
                let indexes = indexes.indexes.iter().map(whole).collect();
                self.change_store(StoreInfo { indexes, ..(*info).clone() });
            }
        }
        let known = lineage == stored.lineage;
        self.rebuilt = Some(stored.number + 1);
        self.take_in(StoredEntry { lineage, ..stored }, coming, &parents, (!known, &[])).await
    }

    /// Puts some of the rows of a table into an index that it is to have; true when the index is whole.
    pub(crate) async fn add_index(&mut self, name: &str, field: &str) -> Result<bool> {
        let info = self.table(name).await?;
        let known = info.indexes.iter().find(|index| index.field == field);
        if known.is_some_and(IndexDefinition::is_whole) {
            return Ok(true);
        }
        if field.len() > 256 {
            return Err(invalid("the name of a field with an index has at most 256 bytes"));
        }
        let number = info.indexes.iter().map(|index| index.number + 1).max().unwrap_or(0);
        let begun = || IndexDefinition { number, field: field.to_owned(), until: Some(Cell::new()) };
        let mut index = known.cloned().unwrap_or_else(begun);
        let store = info.at(self.core.number);
        let mut until = index.until.take().unwrap_or_default();
        let behind = [&store.key(&until)[..], &b"\0"[..]].concat();
        let scan = Scan::range(STATE, behind, Scan::prefix(STATE, &store.prefix()).end);
        let page = self.rows.scan(scan.rows(INDEX_ROWS).bytes(1 << 20)).await?;
        for (key, record) in page.rows {
            until = within_store(&key);
            let record = live::whole(&self.rows, store, &until, record).await?;
            let row = table::parse(Some(&record))?;
            for key in index_rows(store, std::slice::from_ref(&index), &until, row.shown())? {
                self.rows.put(INDEX, key, Bytes::new());
            }
        }
        index.until = page.more.then_some(until);
        let others = info.indexes.iter().filter(|index| index.field != field).cloned();
        let indexes = others.chain([index]).collect();
        self.change_store(StoreInfo { indexes, ..(*info).clone() });
        Ok(!page.more)
    }

    /// Drops an index of a table.
    pub(crate) async fn drop_index(&mut self, name: &str, field: &str) -> Result<bool> {
        let info = self.table(name).await?;
        let Some(index) = info.indexes.iter().find(|index| index.field == field) else { return Ok(true) };
        let prefix = info.at(self.core.number).index_prefix(index.number);
        self.delete_all(INDEX, Scan::prefix(INDEX, &prefix));
        let indexes = info.indexes.iter().filter(|index| index.field != field).cloned().collect();
        self.change_store(StoreInfo { indexes, ..(*info).clone() });
        Ok(true)
    }

    /// A table that an entry touches which counts: without one there is none, at this peer as at others.
    async fn table(&self, name: &str) -> Result<Arc<StoreInfo>> {
        if let Some(info) = self.state.catalog.get(name, table::KIND)
            && self.state.marks.counts_in(&self.rows, info.at(self.core.number)).await?
        {
            return Ok(info.clone());
        }
        let message = "there is no such table yet; it comes into being with its first row";
        Err(Error::new(ErrorKind::NotFound, message).with("table", name))
    }
}
