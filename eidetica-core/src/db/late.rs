//! What a store has missed: entries from before its kind was known here, and bodies that come late.

use eidetica_contract::{Keyspace, Result, Scan, Snapshot};

use super::catalog::StoreInfo;
use super::entries::{Place, StoredEntry, entry_at};
use super::group::{GROUP_BYTES, GROUP_ENTRIES};
use super::work::{Verdict, Work};
use crate::entry::VerifiedEntry;
use crate::error::damaged;
use crate::layout::{ENDS, ENTRIES, INDEX, LONG, PAST, STATE, TOUCHED, trailing_number};

impl Work<'_> {
    /// Deletes a range before everything else. In a step of its own: what is read here still shows it.
    pub(crate) fn delete_all(&mut self, keyspace: Keyspace, range: Scan) {
        self.gone.push((keyspace, range));
    }

    /// Applies some of what a store has missed. True when it is up to date.
    pub async fn catch_up(&mut self, name: &str, kind: &str) -> Result<bool> {
        let Some(mut info) = self.state.catalog.get(name, kind).cloned() else { return Ok(true) };
        let Some(from) = info.applied_below else { return Ok(true) };
        if self.core.algebra(kind).is_none() {
            return Ok(true);
        }
        let store = info.at(self.core.number);
        if info.stale {
            for keyspace in [STATE, LONG, ENDS, PAST, INDEX] {
                self.delete_all(keyspace, Scan::prefix(keyspace, &store.prefix()));
            }
            // All of it is applied anew, so that what an earlier layout has not kept is known, too.
            self.change_store(StoreInfo {
                applied_below: Some(0),
                stale: false,
                partial: false,
                deepest: 0,
                keeps_ends: true,
                ..(*info).clone()
            });
            return Ok(false);
        }
        let end = Some(store.touched_key(u64::MAX));
        let page = self.rows.scan(Scan::range(TOUCHED, store.touched_key(from), end).rows(GROUP_ENTRIES)).await?;
        let (mut partial, mut more, mut next, mut read) = (info.partial, page.more, from, 0);
        for (key, _) in &page.rows {
            // What is kept of an entry may share the bytes of its row, so both count.
            if read + self.rows.bytes() >= GROUP_BYTES {
                more = true;
                break;
            }
            let stored = entry_at(&self.rows, self.core.number, trailing_number(key)).await?;
            (read, next) = (read + stored.entry.length(), stored.number + 1);
            let below = self.below(&stored.entry).await?;
            partial |= stored.entry.deltas().any(|(d, body)| d.name == name && d.kind == kind && body.is_none());
            self.apply_delta(&info, &stored, &below, &mut Vec::new(), None).await?;
            if self.state.marks.void.contains(stored.number) {
                Box::pin(self.evaluate_anew(&stored, Some((name, kind)))).await?;
            }
            // It may be deeper now.
            info = self.state.catalog.get(name, kind).cloned().unwrap_or(info);
        }
        self.change_store(StoreInfo { applied_below: more.then_some(next), partial, ..(*info).clone() });
        Ok(!more)
    }

    /// Fills in bodies of a known entry that were missing. Their operations come late, after those of entries above them,
    /// so the stores they belong to are marked: whoever opens one next evaluates it anew, once for all bodies that came.
    pub(super) async fn complete(&mut self, place: Place, entry: &VerifiedEntry) -> Result<Verdict> {
        let stored = entry_at(&self.rows, self.core.number, place.number).await?;
        let Some(whole) = stored.entry.completed_by(entry) else { return Ok(Verdict::Known) };
        let had: Vec<bool> = stored.entry.bodies().iter().map(Option::is_some).collect();
        let stored = StoredEntry { entry: whole, ..stored };
        self.rows.put(ENTRIES, self.core.number.entry_key(place.number), stored.to_bytes());
        let came = stored.entry.deltas().zip(had).filter(|((_, body), had)| !had && body.is_some());
        for ((delta, _), _) in came {
            let info = self.state.catalog.get(&delta.name, &delta.kind).cloned();
            let info = info.ok_or_else(|| damaged("the catalog of stores"))?;
            if !info.stale {
                self.change_store(StoreInfo { applied_below: Some(0), stale: true, ..(*info).clone() });
            }
        }
        Ok(Verdict::Completed)
    }
}
