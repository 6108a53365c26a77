//! The operations of a cell, latest arrival first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use eidetica_contract::{Result, Scan, Snapshot};

use super::algebra::{Algebra, Delta};
use super::cell::Cell;
use super::live;
use super::past::Past;
use super::stamp::Stamp;
use crate::dag::{Fresh, Graph, Numbers, Seen};
use crate::db::entries::{StoredEntry, entry_at};
use crate::error::damaged;
use crate::layout::{PAST, STATE, StoreNumber, past_parts, within_store};

/// A store as it was at given heads.
pub(crate) struct Moment<'a> {
    pub rows: &'a dyn Snapshot,
    pub graph: &'a Graph,
    /// What is known of entries that are not committed yet, where there may be such.
    pub fresh: Option<&'a Fresh>,
    pub store: StoreNumber,
    pub name: &'a str,
    pub kind: &'a str,
    pub algebra: Algebra,
    /// Everything below the heads.
    pub all: &'a Seen,
    /// What counts of it.
    pub set: &'a Seen,
    /// Entries that have been read for their values.
    pub entries: &'a EntryCache,
    /// True to take values from live records where these must be right; false to take all from the entries.
    pub trusts_live: bool,
}

/// Entries that have been read for one store, so that a batch of a thousand rows is read once and not a thousand times.
/// Bounded in entries and in bytes, but for the one that was read last.
#[derive(Default)]
pub(crate) struct EntryCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    entries: HashMap<u64, Arc<ReadEntry>>,
    bytes: usize,
}

/// An entry and its delta of the store.
pub(crate) struct ReadEntry {
    pub stored: StoredEntry,
    pub delta: Option<Delta>,
}

impl ReadEntry {
    pub fn stamp(&self) -> Stamp {
        Stamp { number: self.stored.number, time: self.stored.entry.header().time, id: self.stored.entry.id() }
    }
}

const CACHED_ENTRIES: usize = 64;
const CACHED_BYTES: usize = 4 << 20;

impl EntryCache {
    fn get(&self, number: u64) -> Option<Arc<ReadEntry>> {
        self.cached().entries.get(&number).cloned()
    }

    fn put(&self, number: u64, entry: &Arc<ReadEntry>) {
        let length = entry.stored.entry.length();
        let mut cached = self.cached();
        if cached.entries.len() >= CACHED_ENTRIES || cached.bytes + length > CACHED_BYTES {
            *cached = Cached::default();
        }
        if cached.entries.insert(number, entry.clone()).is_none() {
            cached.bytes += length;
        }
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Moment<'_> {
    pub async fn record(&self, cell: &[u8]) -> Result<Option<Bytes>> {
        live::get(self.rows, self.store, cell).await
    }

    /// True if no operation at this cell has left the live record, as far as that is to be relied on.
    pub async fn has_no_past(&self, cell: &[u8]) -> Result<bool> {
        if !self.trusts_live {
            return Ok(false);
        }
        let scan = Scan::prefix(PAST, &self.store.key(cell)).rows(1);
        Ok(self.rows.scan(scan).await?.rows.is_empty())
    }

    pub async fn entry(&self, number: u64) -> Result<Arc<ReadEntry>> {
        if let Some(entry) = self.entries.get(number) {
            return Ok(entry);
        }
        let stored = entry_at(self.rows, self.store.database, number).await?;
        let delta = self.algebra.delta_of(&stored.entry, self.name, self.kind);
        let entry = Arc::new(ReadEntry { stored, delta });
        self.entries.put(number, &entry);
        Ok(entry)
    }

    /// What the entry with this number has not seen of what arrived before it.
    pub async fn hidden_from(&self, number: u64) -> Result<Numbers> {
        let seen = match self.fresh {
            Some(fresh) => self.graph.seen_by_fresh(self.rows, fresh, &[number]).await?,
            None => self.graph.seen_by(self.rows, number).await?,
        };
        Ok(seen.hidden().clone())
    }

    /// The numbers of all operations strictly below a path that are in the set.
    pub async fn numbers_below(
        &self,
        prefix: &[u8],
        numbers_in: impl Fn(&Cell, &Bytes) -> Result<Vec<u64>>,
    ) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for (keyspace, is_past) in [(STATE, false), (PAST, true)] {
            // The rows of the path itself come first, and may be many; what is below begins with a part.
            let end = Scan::prefix(keyspace, &self.store.key(prefix)).end;
            let start = [&self.store.key(prefix)[..], &super::cell::FIRST_BELOW].concat();
            let mut next = Some(Scan::range(keyspace, start, end));
            while let Some(scan) = next.take() {
                let page = self.rows.scan(scan.clone()).await?;
                if let (true, Some((last, _))) = (page.more, page.rows.last()) {
                    next = Some(scan.after(last));
                }
                for (key, value) in page.rows {
                    let key = within_store(&key);
                    let value = if is_past { value } else { live::whole(self.rows, self.store, &key, value).await? };
                    let (cell, past) = if is_past { past_parts(&key) } else { (key, 0) };
                    if !super::doc::is_below(&cell, prefix) {
                        continue;
                    }
                    match is_past {
                        true => numbers.push(past),
                        false => numbers.extend(numbers_in(&cell, &value)?),
                    }
                }
            }
        }
        numbers.retain(|number| self.set.contains(*number));
        Ok(numbers)
    }
}

/// The operations of one cell, greatest arrival number first, read as far as they are asked for.
pub(crate) struct Events {
    cell: Cell,
    /// Operations in the live record, ascending.
    live: Vec<(u64, Past)>,
    /// Operations of the past that have been read, ascending.
    page: Vec<(u64, Past)>,
    /// Where the next page ends; `None` when there is none.
    before: Option<u64>,
}

const PAGE: usize = 16;

impl Events {
    pub fn new(cell: Cell, mut live: Vec<(u64, Past)>) -> Events {
        live.sort_unstable_by_key(|(number, _)| *number);
        Events { cell, live, page: Vec::new(), before: Some(u64::MAX) }
    }

    /// The greatest operation whose number is in the range, left in place. Whatever is above the range is passed over.
    pub async fn peek(&mut self, moment: &Moment<'_>, range: &Numbers) -> Result<Option<u64>> {
        loop {
            let Some(last) = range.last() else { return Ok(None) };
            if self.page.is_empty()
                && let Some(before) = self.before
            {
                self.load(moment, before.min(last + 1)).await?;
            }
            let live = self.live.last().map(|(number, _)| *number);
            let past = self.page.last().map(|(number, _)| *number);
            match live.max(past) {
                None if self.before.is_none() => return Ok(None),
                None => {}
                Some(number) if range.contains(number) => return Ok(Some(number)),
                Some(number) => drop(self.pop(number)),
            }
        }
    }

    /// Takes the operation with this number, if it is next.
    pub fn pop(&mut self, number: u64) -> Option<Past> {
        // A write that lives in one field and is overtaken in another stands in both places; it is one operation.
        let live = self.live.pop_if(|(live, _)| *live == number).map(|(_, past)| past);
        let past = self.page.pop_if(|(past, _)| *past == number).map(|(_, past)| past);
        live.or(past)
    }

    async fn load(&mut self, moment: &Moment<'_>, before: u64) -> Result<()> {
        let start = moment.store.past_key(&self.cell, 0);
        let scan = Scan::range(PAST, start, Some(moment.store.past_key(&self.cell, before))).backward().rows(PAGE);
        let page = moment.rows.scan(scan).await?;
        for (key, value) in page.rows.iter().rev() {
            let (_, number) = past_parts(&within_store(key));
            self.page.push((number, Past::parse(value).map_err(|_| damaged("a row of the past"))?));
        }
        self.before = self.page.first().map(|(number, _)| *number).filter(|_| page.more);
        Ok(())
    }
}
