//! The log of a database.

use eidetica_contract::{PublicKey, Result};

use super::database::Database;
use super::entries::{StoredEntry, entry_at};
use super::marks::Marks;
use crate::clock::Time;
use crate::id::Id;
use crate::layout::trailing_number;

/// One entry in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEntry {
    /// Its place in the order of arrival here; other peers have another order.
    pub number: u64,
    /// Its id.
    pub id: Id,
    /// The entries directly below it.
    pub parents: Vec<Id>,
    /// The length of the longest way down to the root.
    pub height: u64,
    /// When it was written.
    pub time: Time,
    /// Who signed it.
    pub author: PublicKey,
    /// True if it was committed here.
    pub local: bool,
    /// True if it does not count, since a right of its author was taken away; it is here because something that counts stands
    /// on it.
    pub void: bool,
    /// False if it is void and nothing that counts stands on it: it is shown to nobody, and is here in case it counts again.
    pub live: bool,
    /// The stores it touches: name and kind.
    pub stores: Vec<(String, String)>,
}

impl LogEntry {
    pub(super) fn of(stored: &StoredEntry, marks: &Marks) -> LogEntry {
        let header = stored.entry.header();
        LogEntry {
            number: stored.number,
            id: stored.entry.id(),
            parents: header.parents.clone(),
            height: header.height,
            time: header.time,
            author: header.author,
            local: stored.local,
            void: marks.void.contains(stored.number),
            live: !marks.dead.contains(stored.number),
            stores: header.stores.iter().map(|store| (store.name.clone(), store.kind.clone())).collect(),
        }
    }
}

impl Database {
    /// The latest arrivals before a place in the order of arrival (`None`: before the end), latest first, at most `most`.
    /// An entry comes before everything below it. To read on, pass the number of the last one.
    pub async fn log(&self, before: Option<u64>, most: usize) -> Result<Vec<LogEntry>> {
        let rows = self.core.storage.snapshot().await?;
        let marks = self.core.at(&*rows).await?.marks.clone();
        let mut entries = Vec::new();
        let mut end = before.unwrap_or(u64::MAX);
        while entries.len() < most && end > 0 {
            let scan = self.core.number.entries(0, end).backward().rows((most - entries.len()).min(256));
            let page = rows.scan(scan).await?;
            for (key, row) in &page.rows {
                end = trailing_number(key);
                if !marks.dead.contains(end) {
                    entries.push(LogEntry::of(&StoredEntry::parse(end, row)?, &marks));
                }
            }
            if !page.more {
                break;
            }
        }
        Ok(entries)
    }

    /// The void entries among those that arrived before a place in the order of arrival (`None`: before the end), latest first, at
    /// most `most`: those in the log, and those that were struck, are kept here and are shown nowhere else. To read on, pass the
    /// number of the last one.
    pub async fn void_log(&self, before: Option<u64>, most: usize) -> Result<Vec<LogEntry>> {
        let rows = self.core.storage.snapshot().await?;
        let marks = self.core.at(&*rows).await?.marks.clone();
        let mut entries = Vec::new();
        for number in marks.void.below(before.unwrap_or(u64::MAX)).iter().rev().take(most) {
            entries.push(LogEntry::of(&entry_at(&*rows, self.core.number, number).await?, &marks));
        }
        Ok(entries)
    }
}
