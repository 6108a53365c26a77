//! What another peer lacks, for whoever sends it: pages of the difference, and which of some entries are here.

use std::collections::HashSet;

use bytes::Bytes;
#[cfg(doc)]
use eidetica_contract::ErrorKind;
use eidetica_contract::{Result, Scan, Snapshot};

use super::database::Database;
use super::entries::{Place, StoredEntry, places, require};
use crate::dag::{Numbers, Seen};
use crate::entry::{Header, RawEntry, VerifiedEntry};
use crate::error::damaged;
use crate::id::Id;
use crate::layout::{ENTRIES, IDS, trailing_number};

/// How many entries are read in one go where only some of their bytes may be wanted.
const FEW: usize = 64;
/// How many bytes of entries are read in search of their ids.
const SEARCHED: usize = 8 << 20;

/// Where a database stands, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stand {
    /// The entries that nothing is above, in ascending order.
    pub heads: Vec<Id>,
    /// The arrival number that the next entry gets: how many are here, those included that are not live.
    pub entries: u64,
    /// The greatest height of an entry.
    pub top: u64,
}

/// Which entries are meant: those that are not below some others, within a stretch of arrivals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond<'a> {
    /// The entries that are known, with everything below them. All must be here.
    pub known: &'a [Id],
    /// The arrival number from which on entries are meant.
    pub from: u64,
    /// The arrival number before which they are meant.
    pub until: u64,
}

/// An entry, and how it came here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrived {
    /// Its arrival number.
    pub number: u64,
    /// True if it was committed here.
    pub local: bool,
    /// The entry.
    pub entry: VerifiedEntry,
}

/// A page of entries in the order of their arrival, in which each comes after those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stretch {
    /// The entries.
    pub entries: Vec<Arrived>,
    /// The arrival number to go on from; `None` if there are no more.
    pub next: Option<u64>,
}

impl Database {
    /// Heads and number of entries, of one moment.
    pub async fn stand(&self) -> Result<Stand> {
        let state = self.core.current().await?;
        Ok(Stand { heads: state.meta.tip_ids(), entries: state.meta.next, top: state.meta.top().unwrap_or(0) })
    }

    /// Which of these entries are here, in their order. One that does not count and carries nothing that does is not.
    pub async fn known(&self, ids: &[Id]) -> Result<Vec<bool>> {
        let rows = self.core.storage.snapshot().await?;
        let state = self.core.at(&*rows).await?;
        let live = |place: &Option<Place>| place.is_some_and(|place| !state.marks.dead.contains(place.number));
        Ok(places(&*rows, self.core.number, ids).await?.iter().map(live).collect())
    }

    /// The entries whose ids begin with each of these bytes, at most `most` for each.
    ///
    /// Cost: one short scan for each.
    pub async fn starting_with(&self, beginnings: &[&[u8]], most: usize) -> Result<Vec<Vec<Id>>> {
        let rows = self.core.storage.snapshot().await?;
        let mut all = Vec::with_capacity(beginnings.len());
        for beginning in beginnings {
            let prefix = [&self.core.number.prefix()[..], beginning].concat();
            let page = rows.scan(Scan::prefix(IDS, &prefix).rows(most)).await?;
            let id = |key: &Bytes| key.get(4..).and_then(Id::from_slice).ok_or_else(|| damaged("the row of an id"));
            all.push(page.rows.iter().map(|(key, _)| id(key)).collect::<Result<Vec<Id>>>()?);
        }
        if !self.core.at(&*rows).await?.marks.dead.is_empty() {
            let ids: Vec<Id> = all.iter().flatten().copied().collect();
            let mut live = self.known(&ids).await?.into_iter();
            all.iter_mut().for_each(|ids| ids.retain(|_| live.next().unwrap_or(false)));
        }
        Ok(all)
    }

    /// Of some entries that are here those that are below none of the others: the same set of entries is below them.
    ///
    /// Errors: [`ErrorKind::NotFound`] for one that is not here.
    pub async fn highest_of(&self, ids: &[Id]) -> Result<Vec<Id>> {
        let rows = self.core.storage.snapshot().await?;
        let places = require(&*rows, self.core.number, ids).await?;
        let mut order: Vec<(u64, Id)> = places.iter().map(|place| place.number).zip(ids.iter().copied()).collect();
        order.sort_unstable_by(|one, other| other.cmp(one));
        let (mut seen, mut highest) = (Seen::nothing(), Vec::new());
        for (number, id) in order {
            if !seen.contains(number) {
                seen = seen.union(&self.core.graph.seen_by(&*rows, number).await?);
                highest.push(id);
            }
        }
        Ok(highest)
    }

    /// How many entries there are beyond others. Cost: that of the ranges of arrival in which they lie, not of the entries.
    ///
    /// Errors: [`ErrorKind::NotFound`] for a known one that is not here.
    pub async fn count_beyond(&self, beyond: &Beyond<'_>) -> Result<u64> {
        let rows = self.core.storage.snapshot().await?;
        Ok(self.numbers_beyond(&*rows, beyond).await?.len())
    }

    /// A page of the entries beyond others, of about `bytes` bytes and at most `most` entries; one entry at least, however
    /// long it is, unless there is none.
    ///
    /// Cost: that of the page, wherever it begins.
    ///
    /// Errors: [`ErrorKind::NotFound`] for a known one that is not here. Cancellation: nothing has changed.
    pub async fn page_beyond(&self, beyond: &Beyond<'_>, bytes: usize, most: usize) -> Result<Stretch> {
        let rows = self.core.storage.snapshot().await?;
        let numbers = self.numbers_beyond(&*rows, beyond).await?;
        let mut page = Stretch::default();
        let mut room = bytes.max(1);
        for &(start, end) in numbers.ranges() {
            let mut at = start;
            while at < end {
                if room == 0 || page.entries.len() >= most.max(1) {
                    page.next = Some(at);
                    return Ok(page);
                }
                let scan = self.core.number.entries(at, end).rows(most.max(1) - page.entries.len()).bytes(room);
                let found = rows.scan(scan).await?;
                if found.rows.is_empty() {
                    return Err(damaged("an entry is missing"));
                }
                for (key, row) in &found.rows {
                    let stored = StoredEntry::parse(trailing_number(key), row)?;
                    at = stored.number + 1;
                    room = room.saturating_sub(row.len());
                    page.entries.push(Arrived { number: stored.number, local: stored.local, entry: stored.entry });
                }
            }
        }
        Ok(page)
    }

    /// The ids of the entries beyond others, in the order of their arrival; `None` if they are more than `most`, or if
    /// finding out would take reading very many bytes.
    ///
    /// Errors: [`ErrorKind::NotFound`] for a known one that is not here.
    pub async fn ids_beyond(&self, beyond: &Beyond<'_>, most: usize) -> Result<Option<Vec<Id>>> {
        if self.count_beyond(beyond).await? > most as u64 {
            return Ok(None);
        }
        let mut ids = Vec::new();
        let (mut from, mut left) = (beyond.from, SEARCHED);
        loop {
            let page = self.page_beyond(&Beyond { from, ..beyond.clone() }, 1 << 20, most).await?;
            let bytes = page.entries.iter().map(|arrived| arrived.entry.length()).sum::<usize>();
            ids.extend(page.entries.iter().map(|arrived| arrived.entry.id()));
            match page.next {
                None => return Ok(Some(ids)),
                Some(_) if ids.len() >= most || bytes > left => return Ok(None),
                Some(next) => (from, left) = (next, left - bytes),
            }
        }
    }

    /// Some of the entries beyond others, latest arrival first, each about twice as far back as the one before: where two
    /// histories parted lies between two of them. At most `most`.
    ///
    /// Errors: [`ErrorKind::NotFound`] for a known one that is not here.
    pub async fn samples_beyond(&self, beyond: &Beyond<'_>, most: usize) -> Result<Vec<Id>> {
        let rows = self.core.storage.snapshot().await?;
        let numbers = self.numbers_beyond(&*rows, beyond).await?;
        let total = numbers.len();
        let mut samples = Vec::new();
        let mut back = 1;
        while back <= total && samples.len() < most {
            let number = numbers.nth(total - back).ok_or_else(|| damaged("an arrival number"))?;
            let stored = super::entries::entry_at(&*rows, self.core.number, number).await?;
            samples.push(stored.entry.id());
            back *= 2;
        }
        Ok(samples)
    }

    /// Entries by their ids, in this order, as many as have about `bytes` bytes, and one at least. What is not here is left
    /// out.
    pub async fn page_of(&self, ids: &[Id], bytes: usize) -> Result<Vec<VerifiedEntry>> {
        let rows = self.core.storage.snapshot().await?;
        let (mut page, mut used) = (Vec::new(), 0);
        for few in ids.chunks(FEW) {
            let places: Vec<Place> = places(&*rows, self.core.number, few).await?.into_iter().flatten().collect();
            let keys: Vec<_> = places.iter().map(|place| self.core.number.entry_key(place.number)).collect();
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            for (place, row) in places.iter().zip(rows.get_many(ENTRIES, &keys).await?) {
                let row = row.ok_or_else(|| damaged("an entry is missing"))?;
                used += row.len();
                page.push(StoredEntry::parse(place.number, &row)?.entry);
                if used >= bytes {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Leaves out the entries that could only wait: those with a parent that is neither here nor before them in the list.
    /// Returns the others, and how many were left out. What cannot be read stays in, for the door to refuse.
    ///
    /// So a stranger fills no room that is kept for entries whose parents are about to come.
    pub async fn standing(&self, entries: Vec<RawEntry>) -> Result<(Vec<RawEntry>, usize)> {
        let headers: Vec<_> = entries.iter().map(|entry| Header::read(&entry.header).ok()).collect();
        let ids: Vec<Id> = entries.iter().map(|entry| Id::of(&entry.header)).collect();
        let outside: HashSet<Id> = headers.iter().flatten().flat_map(|header| header.parents.iter().copied()).collect();
        let outside: Vec<Id> = outside.into_iter().collect();
        let here = self.here_or_held(&outside).await?;
        let here: HashSet<Id> = outside.into_iter().zip(here).filter(|(_, here)| *here).map(|(id, _)| id).collect();
        let mut good: HashSet<Id> = HashSet::with_capacity(ids.len());
        let (mut standing, mut left_out) = (Vec::with_capacity(entries.len()), 0);
        for ((entry, header), id) in entries.into_iter().zip(headers).zip(ids) {
            let stands = |parent: &Id| here.contains(parent) || good.contains(parent);
            if header.is_none_or(|header| header.parents.iter().all(stands)) {
                good.insert(id);
                standing.push(entry);
            } else {
                left_out += 1;
            }
        }
        Ok((standing, left_out))
    }

    /// Which of some entries are here, live or not, or are void and held back.
    async fn here_or_held(&self, ids: &[Id]) -> Result<Vec<bool>> {
        let rows = self.core.storage.snapshot().await?;
        let mut here: Vec<bool> = places(&*rows, self.core.number, ids).await?.iter().map(Option::is_some).collect();
        if here.contains(&false) {
            let held = self.writer.holds(ids).await?;
            here.iter_mut().zip(held).for_each(|(here, held)| *here |= held);
        }
        Ok(here)
    }

    async fn numbers_beyond(&self, rows: &dyn Snapshot, beyond: &Beyond<'_>) -> Result<Numbers> {
        let state = self.core.at(rows).await?;
        state.check_usable()?;
        let known = require(rows, self.core.number, beyond.known).await?;
        let known: Vec<u64> = known.iter().map(|place| place.number).collect();
        let seen = self.core.graph.seen_by_all(rows, &known).await?;
        let until = beyond.until.min(state.meta.next);
        let beyond_them = seen.missing_before(until).difference(&Numbers::range(0, beyond.from));
        Ok(beyond_them.difference(&state.marks.dead))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use eidetica_contract::{Backend, BackendInfo, ErrorKind, Keyspace, Page, WriteBatch};

    use super::*;
    use crate::store::DocStore;
    use crate::{Durability, Engine, Memory, SecretKey};

    /// A backend that counts the rows it is asked for.
    struct Counting(Memory, Arc<AtomicUsize>);
    struct CountingSnapshot(Box<dyn Snapshot>, Arc<AtomicUsize>);

    #[async_trait]
    impl Backend for Counting {
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
            Ok(Box::new(CountingSnapshot(self.0.snapshot().await?, self.1.clone())))
        }

        async fn close(&self) -> Result<()> {
            self.0.close().await
        }
    }

    #[async_trait]
    impl Snapshot for CountingSnapshot {
        async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
            self.1.fetch_add(keys.len(), Ordering::Relaxed);
            self.0.get_many(keyspace, keys).await
        }

        async fn scan(&self, scan: Scan) -> Result<Page> {
            let page = self.0.scan(scan).await?;
            self.1.fetch_add(page.rows.len(), Ordering::Relaxed);
            Ok(page)
        }
    }

    async fn commit(db: &Database, tips: &[Id]) -> Id {
        let transaction = db.new_transaction_with_tips(tips).await.unwrap();
        transaction.get_store::<DocStore>("notes").await.unwrap().set("key", "value").await.unwrap();
        transaction.commit_with(Durability::Buffered).await.unwrap().id
    }

    async fn database() -> (Engine, Database, Arc<AtomicUsize>) {
        let rows = Arc::new(AtomicUsize::new(0));
        let backend = Counting(Memory::new(), rows.clone());
        let engine = Engine::open(Box::new(backend), Default::default()).await.unwrap();
        let database = engine.create_database(Default::default(), &SecretKey::from_seed(&[1; 32])).await.unwrap();
        (engine, database, rows)
    }

    /// Two branches, their entries by turns, and a head above both.
    async fn branches(db: &Database, length: usize) -> (Vec<Id>, Vec<Id>, Id) {
        let (mut left, mut right) = (vec![*db.root_id()], vec![*db.root_id()]);
        for _ in 0..length {
            left.push(commit(db, &left[left.len() - 1..]).await);
            right.push(commit(db, &right[right.len() - 1..]).await);
        }
        let both = commit(db, &[left[length], right[length]]).await;
        (left, right, both)
    }

    fn beyond(known: &[Id]) -> Beyond<'_> {
        Beyond { known, from: 0, until: u64::MAX }
    }

    #[tokio::test]
    async fn pages_are_the_difference() {
        let (_engine, db, _) = database().await;
        let (left, right, both) = branches(&db, 40).await;
        for known in [vec![], vec![left[40]], vec![left[7], right[30]], vec![right[3], right[2]], vec![both]] {
            let whole = db.difference(&[both], &known).await.unwrap();
            let count = db.count_beyond(&beyond(&known)).await.unwrap();
            assert_eq!(count, whole.len() as u64);
            for (bytes, most) in [(1, 100), (1000, 3), (2000, 100), (1 << 20, 7), (1 << 20, 1000)] {
                let (mut pages, mut from) = (Vec::new(), Some(0));
                while let Some(start) = from {
                    let page = db.page_beyond(&Beyond { from: start, ..beyond(&known) }, bytes, most).await.unwrap();
                    assert!(page.entries.len() <= most && (page.next.is_none() || !page.entries.is_empty()));
                    let length: usize = page.entries.iter().map(|arrived| arrived.entry.length()).sum();
                    assert!(page.entries.len() <= 1 || length < bytes + 1000, "{length} bytes of {bytes}");
                    assert!(page.entries.iter().all(|arrived| arrived.local));
                    pages.extend(page.entries.iter().map(|arrived| arrived.entry.id()));
                    from = page.next;
                }
                assert_eq!(pages, whole, "{bytes} {most}");
            }
            assert_eq!(db.ids_beyond(&beyond(&known), whole.len()).await.unwrap().as_ref(), Some(&whole));
            if let Some(fewer) = whole.len().checked_sub(1) {
                assert_eq!(db.ids_beyond(&beyond(&known), fewer).await.unwrap(), None);
            }
            let samples = db.samples_beyond(&beyond(&known), 100).await.unwrap();
            let backwards: Vec<Id> = whole.iter().rev().copied().collect();
            let expected = (0..).map(|power| 1usize << power).take_while(|back| *back <= whole.len());
            assert_eq!(samples, expected.map(|back| backwards[back - 1]).collect::<Vec<_>>());
        }
        let some = Beyond { known: &[left[40]], from: 4, until: 9 };
        let page = db.page_beyond(&some, 1 << 20, 100).await.unwrap();
        assert_eq!(page.entries.iter().map(|arrived| arrived.number).collect::<Vec<_>>(), [4, 6, 8]);
        let unknown = db.page_beyond(&beyond(&[Id::of(b"x")]), 1, 1).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_page_costs_what_is_on_it() {
        let (_engine, db, rows) = database().await;
        let (left, _, _) = branches(&db, 600).await;
        let total = db.entry_count().await.unwrap();
        for from in [0, total / 2, total - 20] {
            rows.store(0, Ordering::Relaxed);
            let known = [left[5]];
            let page = db.page_beyond(&Beyond { from, ..beyond(&known) }, 1 << 20, 10).await.unwrap();
            assert_eq!(page.entries.len(), 10);
            let read = rows.load(Ordering::Relaxed);
            assert!(read <= 10 + 24, "{read} rows from {from}");
        }
    }

    #[tokio::test]
    async fn which_are_here() {
        let (_engine, db, _) = database().await;
        let (left, right, both) = branches(&db, 10).await;
        let stand = db.stand().await.unwrap();
        assert_eq!((stand.heads, stand.entries, stand.top), (vec![both], 22, 11));
        let x = Id::of(b"x");
        assert_eq!(db.known(&[left[3], x, both]).await.unwrap(), [true, false, true]);
        let beginnings: Vec<&[u8]> = vec![&left[3].as_bytes()[..8], x.as_bytes(), right[1].as_bytes(), b""];
        let found = db.starting_with(&beginnings, 5).await.unwrap();
        assert_eq!(found[..3], [vec![left[3]], vec![], vec![right[1]]]);
        assert_eq!(found[3].len(), 5);
        let mut highest = db.highest_of(&[left[3], right[2], left[9], left[3], *db.root_id()]).await.unwrap();
        highest.sort_unstable();
        let mut expected = vec![left[9], right[2]];
        expected.sort_unstable();
        assert_eq!(highest, expected);
        let page = db.page_of(&[right[2], x, left[1]], 1 << 20).await.unwrap();
        assert_eq!(page.iter().map(VerifiedEntry::id).collect::<Vec<_>>(), [right[2], left[1]]);
        assert_eq!(db.page_of(&[right[2], left[1]], 1).await.unwrap().len(), 1);
        assert!(db.page_of(&[], 1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_could_only_wait_is_left_out() {
        let (_engine, db, _) = database().await;
        let (left, right, both) = branches(&db, 5).await;
        let raw = |ids: Vec<Id>| {
            let db = db.clone();
            async move { db.get_entries(&ids).await.unwrap().iter().map(VerifiedEntry::to_raw).collect::<Vec<_>>() }
        };
        let (engine, _, _) = database().await;
        let root = raw(vec![left[0]]).await.remove(0);
        let other = engine.adopt_database(root, None).await.unwrap();
        let all = raw(vec![left[1], left[2], right[2], both, left[4], right[1]]).await;
        let (standing, left_out) = other.standing(all.clone()).await.unwrap();
        assert_eq!((standing, left_out), ([&all[..2], &all[5..]].concat(), 3));
        let odd = RawEntry { header: Bytes::from_static(b"no header"), bodies: vec![] };
        assert_eq!(other.standing(vec![odd.clone()]).await.unwrap(), (vec![odd], 0));
    }
}
