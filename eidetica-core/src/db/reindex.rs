//! Rebuilding everything but the entries: indexes, catalog, state, past. And the secondary indexes of tables.

use std::sync::Arc;

use eidetica_contract::{Error, ErrorKind, Result, Scan, WriteBatch};

use super::catalog::{Catalog, StoreInfo};
use super::coming::Coming;
use super::core::Core;
use super::database::Database;
use super::entries::StoredEntry;
use super::sound::prove_all;
use super::work::{Ready, Work};
use super::writer::Task;
use crate::auth;
use crate::error::{damaged, invalid};
use crate::layout::{
    BLOCKS, CATALOG, HEIGHTS, IDS, INDEX, LONG, META, PAST, STATE, STRIKES, TOUCHED, VOID, trailing_number,
    within_store,
};
use crate::store::applier::scan_all;
use crate::store::live;
use crate::store::table::{self, IndexDefinition, index_rows};

/// How many entries are rebuilt in one batch.
const BATCH: u64 = 512;

impl Database {
    /// Rebuilds indexes, catalog and state from the entries alone. The rows that come out are those that were there, if
    /// these were right.
    ///
    /// While it runs, other readers and writers of the database, in this process and in others, are answered
    /// [`ErrorKind::Locked`]. If it is interrupted, that stays so until it is called again or the database is opened again,
    /// which starts it over.
    ///
    /// All entries are proven first. Errors: [`ErrorKind::Corrupted`] if one is damaged or missing, and then nothing has
    /// changed.
    pub async fn reindex(&self) -> Result<()> {
        self.writer.work(Task::Reindex).await
    }

    /// This database, rebuilt if a rebuild was interrupted. One that goes on in this process is waited for.
    pub(crate) async fn rebuilt(self) -> Result<Database> {
        if self.core.state().meta.rebuilding {
            tracing::info!("rebuilding a database whose last rebuild was interrupted");
            self.writer.work(Task::Rebuilt).await?;
        }
        Ok(self)
    }

    /// Sees to it that a table has an index over a field. The index belongs to this store alone and is kept from then on.
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

/// Rebuilds a database. Runs in its writer, so that nothing else writes meanwhile.
#[tracing::instrument(skip_all)]
pub(crate) async fn rebuild(core: &Core) -> Result<()> {
    let rows = core.storage.snapshot().await?;
    let before = core.at(&*rows).await?;
    // Before anything goes: the rows that are there may be the last good copy of what a damaged entry says.
    prove_all(core, &*rows, before.meta.next).await?;
    let meta = before.meta.clone();
    let mut state =
        super::core::State { meta, catalog: Catalog::default(), rights: Arc::default(), marks: Default::default() };
    state.meta.rebuilding = true;
    state.meta.tips.clear();
    state.meta.catalog += 1;
    let mut batch = WriteBatch::new();
    batch.expect_value(META, core.number.meta_key(), before.meta.to_bytes());
    for keyspace in [IDS, HEIGHTS, BLOCKS, CATALOG, TOUCHED, STATE, LONG, PAST, INDEX, VOID, STRIKES] {
        let all = Scan::prefix(keyspace, &core.number.prefix());
        batch.delete_range(keyspace, all.start, all.end);
    }
    // The definitions of indexes are not in the entries. They wait in the catalog until their store comes up again; they are
    // read from there, since a rebuild that was interrupted knows of no store.
    let definitions = Catalog::load(&*rows, core.number).await?;
    drop(rows);
    let indexed: Vec<Arc<StoreInfo>> = definitions.all().into_iter().filter(|info| !info.indexes.is_empty()).collect();
    batch.put(META, core.number.meta_key(), state.meta.to_bytes());
    for info in &indexed {
        batch.put(CATALOG, info.at(core.number).catalog_key(), info.to_bytes());
    }
    core.graph.forget();
    commit(core, batch, 0, &state).await?;
    let mut at = 0;
    while at < state.meta.next {
        let rows = core.storage.snapshot().await?;
        let page = rows.scan(core.number.entries(at, state.meta.next.min(at + BATCH)).bytes(4 << 20)).await?;
        let mut work = Work::resume(core, rows, state.clone());
        let Some((last, _)) = page.rows.last() else { return Err(damaged("an entry is missing")) };
        at = trailing_number(last) + 1;
        for (key, row) in &page.rows {
            let stored = StoredEntry::parse(trailing_number(key), row)?;
            work.readmit(stored, &indexed).await?;
        }
        if at >= state.meta.next {
            work.state.meta.rebuilding = false;
        }
        let Some(Ready { batch, bytes, after, .. }) = work.into_batch(false) else { continue };
        commit(core, batch, bytes, &after.state).await?;
        core.graph.remember_all(&after.fresh);
        state = after.state.clone();
    }
    Ok(())
}

async fn commit(core: &Core, batch: WriteBatch, bytes: usize, state: &super::core::State) -> Result<()> {
    match core.commit(batch, bytes, state.clone()).await? {
        true => Ok(()),
        false => {
            Err(Error::new(ErrorKind::Conflict, "another process has written while the database was being rebuilt"))
        }
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
        let coming = Coming::new(&self.state, admission, stored.number, header, below.clone());
        let lineage = self.core.graph.lineage(&self.rows, &mut self.fresh, stored.number, &parents, &below).await?;
        for (delta, _) in stored.entry.deltas() {
            // In this order, so that each store gets the number that it had.
            let is_new = self.state.catalog.get(&delta.name, &delta.kind).is_none();
            let info = self.store_info(&delta.name, &delta.kind, stored.number);
            let indexes = indexed.iter().find(|info| info.name == delta.name && info.kind == delta.kind);
            if let (Some(indexes), true) = (indexes, is_new) {
                self.change_store(StoreInfo { indexes: indexes.indexes.clone(), ..(*info).clone() });
            }
        }
        let known = lineage == stored.lineage;
        self.rebuilt = Some(stored.number + 1);
        self.take_in(StoredEntry { lineage, ..stored }, coming, &parents, (!known, &[])).await
    }

    /// Adds an index to a table, from the rows that are there.
    pub(crate) async fn add_index(&mut self, name: &str, field: &str) -> Result<bool> {
        let info = self.table(name)?;
        if info.indexes.iter().any(|index| index.field == field) {
            return Ok(true);
        }
        if field.len() > 256 {
            return Err(invalid("the name of a field with an index has at most 256 bytes"));
        }
        let number = info.indexes.iter().map(|index| index.number + 1).max().unwrap_or(0);
        let added = [IndexDefinition { number, field: field.to_owned() }];
        let store = info.at(self.core.number);
        for (key, record) in scan_all(&self.rows, Scan::prefix(STATE, &store.prefix())).await? {
            let cell = within_store(&key);
            let record = live::whole(&self.rows, store, &cell, record).await?;
            let row = table::parse(Some(&record))?;
            for key in index_rows(store, &added, &cell, row.shown())? {
                self.rows.put(INDEX, key, bytes::Bytes::new());
            }
        }
        let indexes = info.indexes.iter().cloned().chain(added).collect();
        self.change_store(StoreInfo { indexes, ..(*info).clone() });
        Ok(true)
    }

    /// Drops an index of a table.
    pub(crate) async fn drop_index(&mut self, name: &str, field: &str) -> Result<bool> {
        let info = self.table(name)?;
        let Some(index) = info.indexes.iter().find(|index| index.field == field) else { return Ok(true) };
        let prefix = info.at(self.core.number).index_prefix(index.number);
        for (key, _) in scan_all(&self.rows, Scan::prefix(INDEX, &prefix)).await? {
            self.rows.delete(INDEX, key);
        }
        let indexes = info.indexes.iter().filter(|index| index.field != field).cloned().collect();
        self.change_store(StoreInfo { indexes, ..(*info).clone() });
        Ok(true)
    }

    fn table(&self, name: &str) -> Result<Arc<StoreInfo>> {
        self.state.catalog.get(name, table::KIND).cloned().ok_or_else(|| {
            let message = "there is no such table yet; it comes into being with its first row";
            Error::new(ErrorKind::NotFound, message).with("table", name)
        })
    }
}
