//! The door: how one entry is judged and applied, on top of a snapshot, until a group of them is committed.

use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{Keyspace, Result, Scan, Snapshot, WriteBatch};

use super::catalog::StoreInfo;
use super::coming::Coming;
use super::core::{Core, State};
use super::entries::{Place, StoredEntry, places};
use super::ingest::Refused;
use super::meta::Tip;
use super::strike::Struck;
use super::transaction::NewDelta;
use crate::auth;
use crate::clock::Time;
use crate::dag::{Fresh, Numbers, Seen, blocks};
use crate::entry::VerifiedEntry;
use crate::id::Id;
use crate::layout::{CATALOG, ENTRIES, HEIGHTS, IDS, META, StoreNumber, TOUCHED};
use crate::overlay::{Changes, Overlay, Saved};
use crate::storage::Storage;
use crate::store::again::Again;
use crate::store::algebra::Delta;
use crate::store::applier::Applier;
use crate::store::cell::Cell;
use crate::store::stamp::Stamp;
use crate::store::table::IndexWriter;

/// A group of entries in the making.
pub(crate) struct Work<'a> {
    pub core: &'a Core,
    pub rows: Overlay,
    pub state: State,
    /// The row of the database as it was read; the batch expects it unchanged.
    before: Bytes,
    /// What the entries of this group have seen.
    pub fresh: Fresh,
    /// What was admitted, in order.
    pub admitted: Vec<Admitted>,
    /// The heads at the beginning.
    pub previous: Vec<Id>,
    /// What the entries of this group have struck and lifted.
    pub strikes: Vec<Struck>,
    /// While the rows are being rebuilt: the number behind the last entry that was taken up again.
    pub rebuilt: Option<u64>,
    /// Ranges that go before the changes.
    pub(super) gone: Vec<(Keyspace, Scan)>,
}

/// A group that is ready to be committed, and all that the next one needs to be built on it.
pub(crate) struct Ready {
    pub batch: WriteBatch,
    /// About how many bytes it writes.
    pub bytes: usize,
    pub after: Arc<Basis>,
    /// The changes, if another group may stand on them; else they went into the batch without a copy.
    pub changes: Option<Arc<Changes>>,
    pub previous: Vec<Id>,
}

/// What a group will have made of the database when it is committed.
pub(crate) struct Basis {
    pub state: State,
    pub admitted: Vec<Admitted>,
    pub strikes: Vec<Struck>,
    pub fresh: Arc<Fresh>,
}

/// A group at a moment.
pub(crate) struct Savepoint {
    rows: Saved,
    state: State,
    fresh: Fresh,
    admitted: usize,
    strikes: usize,
}

/// An entry that has come in.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub number: u64,
    pub id: Id,
    pub local: bool,
    /// The cells it has operations at, for those that ask whether something was touched.
    pub touched: Vec<(StoreNumber, Cell)>,
}

/// What the door says of an entry.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admitted(u64),
    /// It is here, does not count, and carries nothing that does.
    Void,
    /// It passes the door, does not count, and is in for what stands on it.
    Carried,
    /// It passes the door, and would not count. Nothing was changed.
    WouldBeVoid {
        /// For a local one the number of the entry that takes the right for it away, if it is one.
        by: Option<u64>,
    },
    Known,
    /// Bodies that were missing have come.
    Completed,
    MissingParents(Vec<Id>),
    /// Its settings body must be here before it can be judged.
    MissingSettings,
    Refused(Refused),
}

impl<'a> Work<'a> {
    /// Begins on what is known. If that proves to be out of date, the batch is refused, and the next attempt must look.
    pub async fn begin(core: &'a Core, attempt: usize) -> Result<Work<'a>> {
        let known = core.state();
        let snapshot = core.storage.snapshot().await?;
        // Where others write, too, verdicts must not mix what is known with a snapshot that shows more.
        let state = if attempt == 0 && !core.storage.shared { known } else { core.at(&*snapshot).await? };
        state.check_usable()?;
        Ok(Work::resume(core, snapshot, Arc::unwrap_or_clone(state)))
    }

    /// Begins on a group that is being committed. What comes of it holds only if that group is committed, and then what the
    /// batch expects says whether it does; so a verdict that leads to no batch must not be answered.
    pub async fn after(core: &'a Core, basis: &Basis, changes: Arc<Changes>) -> Result<Work<'a>> {
        let snapshot = core.storage.snapshot().await?;
        let rows = Overlay::above(changes, snapshot);
        Ok(Work { fresh: Fresh::after(basis.fresh.clone()), ..Work::on(core, rows, basis.state.clone()) })
    }

    /// Goes on with rows that are being rebuilt.
    pub fn resume(core: &'a Core, rows: Box<dyn Snapshot>, state: State) -> Work<'a> {
        Work::on(core, Overlay::new(rows), state)
    }

    fn on(core: &'a Core, rows: Overlay, state: State) -> Work<'a> {
        let (before, previous) = (Bytes::from(state.meta.to_bytes()), state.meta.tip_ids());
        let (fresh, admitted, strikes, gone) = Default::default();
        Work { core, rows, state, before, fresh, admitted, previous, strikes, rebuilt: None, gone }
    }

    /// What is to be committed. `None` if nothing has changed. `keep`: another group may stand on the changes meanwhile.
    pub fn into_batch(self, keep: bool) -> Option<Ready> {
        let Work { core, mut rows, state, before, admitted, fresh, previous, strikes, gone, .. } = self;
        if rows.is_unchanged() {
            return None;
        }
        let key = core.number.meta_key();
        rows.put(META, key.clone(), state.meta.to_bytes());
        let (bytes, changes) = (rows.bytes(), keep.then(|| rows.changes()));
        let mut batch = WriteBatch::new();
        for (keyspace, range) in gone {
            batch.delete_range(keyspace, range.start, range.end);
        }
        batch.operations.extend(rows.into_batch().operations);
        batch.expect_value(META, key, before);
        let after = Arc::new(Basis { state, admitted, strikes, fresh: Arc::new(fresh) });
        Some(Ready { batch, bytes, after, changes, previous })
    }

    /// What is here so far, to come back to.
    pub fn save(&self) -> Savepoint {
        Savepoint {
            rows: self.rows.save(),
            state: self.state.clone(),
            fresh: self.fresh.clone(),
            admitted: self.admitted.len(),
            strikes: self.strikes.len(),
        }
    }

    /// Comes back to a savepoint.
    pub fn restore(&mut self, savepoint: Savepoint) {
        self.rows.restore(savepoint.rows);
        self.state = savepoint.state;
        self.fresh = savepoint.fresh;
        self.admitted.truncate(savepoint.admitted);
        self.strikes.truncate(savepoint.strikes);
    }

    /// Judges an entry that was committed here, whose deltas need not be read again.
    pub async fn admit_local(&mut self, entry: VerifiedEntry, deltas: &[NewDelta]) -> Result<Verdict> {
        self.judge(entry, true, deltas, false).await
    }

    /// Judges an entry, and applies it if it passes and counts. Nothing is changed if it does not.
    pub async fn admit(&mut self, entry: VerifiedEntry, local: bool) -> Result<Verdict> {
        self.judge(entry, local, &[], false).await
    }

    /// Judges an entry that came from elsewhere, and applies it if it passes, also if it is void and is to be carried: something that
    /// counts stands on it, as far as is known.
    pub async fn admit_foreign(&mut self, entry: VerifiedEntry, carries: bool) -> Result<Verdict> {
        self.judge(entry, false, &[], carries).await
    }

    /// The number behind the last entry that is here.
    pub fn next(&self) -> u64 {
        self.rebuilt.unwrap_or(self.state.meta.next)
    }

    /// True if the entry is here.
    pub async fn knows(&self, entry: &VerifiedEntry) -> Result<bool> {
        Ok(self.place_of(entry).await?.is_some())
    }

    /// Where the entry is, if it is here. One that is later than all that are here cannot be, so most that are new need no
    /// look.
    async fn place_of(&self, entry: &VerifiedEntry) -> Result<Option<Place>> {
        if entry.header().time > self.state.meta.latest {
            return Ok(None);
        }
        Ok(places(&self.rows, self.core.number, &[entry.id()]).await?.pop().flatten())
    }

    /// Where these entries are, each `None` if it is not here. Of heads that is known, and most parents are heads.
    pub(super) async fn places(&self, ids: &[Id]) -> Result<Vec<Option<Place>>> {
        let mut found: Vec<Option<Place>> = ids.iter().map(|id| self.state.meta.tip(id).map(Place::from)).collect();
        let others: Vec<Id> = ids.iter().zip(&found).filter(|(_, place)| place.is_none()).map(|(id, _)| *id).collect();
        if !others.is_empty() {
            let mut looked_up = places(&self.rows, self.core.number, &others).await?.into_iter();
            found.iter_mut().filter(|place| place.is_none()).for_each(|place| *place = looked_up.next().flatten());
        }
        Ok(found)
    }

    async fn judge(
        &mut self,
        entry: VerifiedEntry,
        local: bool,
        deltas: &[NewDelta],
        carries: bool,
    ) -> Result<Verdict> {
        let header = entry.header();
        if entry.database() != self.core.id {
            return Ok(Verdict::Refused(Refused::ForeignDatabase));
        }
        if let Some(place) = self.place_of(&entry).await? {
            return match (self.complete(place, &entry).await?, self.is_dead(place.number)) {
                (Verdict::Known, true) => Ok(Verdict::Void),
                (verdict, _) => Ok(verdict),
            };
        }
        if header.parents.is_empty() && self.state.meta.next > 0 {
            return Ok(Verdict::Refused(Refused::ForeignDatabase));
        }
        let parents = self.places(&header.parents).await?;
        let missing: Vec<Id> =
            header.parents.iter().zip(&parents).filter(|(_, place)| place.is_none()).map(|(id, _)| *id).collect();
        if !missing.is_empty() {
            return Ok(Verdict::MissingParents(missing));
        }
        let parents: Vec<Place> = parents.into_iter().flatten().collect();
        if header.height != parents.iter().map(|parent| parent.height + 1).max().unwrap_or(0) {
            return Ok(Verdict::Refused(Refused::WrongHeight));
        }
        if parents.iter().any(|parent| parent.time >= header.time) {
            return Ok(Verdict::Refused(Refused::NotAfterParents));
        }
        if entry.touches_settings() && entry.settings().is_none() {
            return Ok(Verdict::MissingSettings);
        }
        let numbers: Vec<u64> = parents.iter().map(|parent| parent.number).collect();
        let below = self.core.graph.seen_by_fresh(&self.rows, &self.fresh, &numbers).await?;
        // The delta parses: that was part of proving the entry.
        let settings = entry.settings().and_then(|body| auth::Settings::parse(body).ok());
        let admission = match auth::admit(&self.state.rights, &below, header, settings.as_ref()) {
            Ok(admission) => admission,
            Err(denied) => return Ok(Verdict::Refused(Refused::Denied(denied))),
        };
        let number = self.state.meta.next;
        let coming = Coming::new(&self.state.rights, admission, number, header, below);
        if coming.void && !carries {
            let by = if local { coming.struck_by(&self.state.rights, number, header) } else { None };
            return Ok(Verdict::WouldBeVoid { by });
        }
        let lineage = self.core.graph.lineage(&self.rows, &mut self.fresh, number, &numbers, &coming.below).await?;
        let void = coming.void;
        self.take_in(StoredEntry { number, lineage, local, entry }, coming, &numbers, (true, deltas)).await?;
        Ok(if void { Verdict::Carried } else { Verdict::Admitted(number) })
    }

    /// Takes in an entry that has passed the door, with all that follows from it. `new` says that its own row must be written,
    /// too.
    pub(crate) async fn take_in(
        &mut self,
        stored: StoredEntry,
        coming: Coming,
        parents: &[u64],
        (new, deltas): (bool, &[NewDelta]),
    ) -> Result<()> {
        let Coming { settings, void, below, .. } = coming;
        let number = stored.number;
        let is_settings = settings.is_some();
        let void_before = self.state.rights.void().clone();
        if let Some(entry) = settings {
            Arc::make_mut(&mut self.state.rights).add(entry);
        }
        if void {
            self.store_entry(&stored, &below, (new, deltas), false).await?;
            self.mark_void(number);
            return Box::pin(self.evaluate_anew(&stored, None)).await;
        }
        // What is rare is boxed, so that the future of the usual path stays small.
        let supports = match self.state.marks.dead.is_empty() {
            true => false,
            false => Box::pin(self.support(&below, parents)).await?,
        };
        self.store_entry(&stored, &below, (new, deltas), true).await?;
        if supports {
            self.state.meta.tips.retain(|tip| tip.number == number || !below.contains(tip.number));
        }
        if is_settings {
            let changed = auth::changed(&void_before, self.state.rights.void());
            Box::pin(self.strike(number, &below, &changed)).await?;
        }
        Ok(())
    }

    /// Writes the rows of an admitted entry and applies its deltas.
    pub(super) async fn store_entry(
        &mut self,
        stored: &StoredEntry,
        below: &Seen,
        (new, deltas): (bool, &[NewDelta]),
        live: bool,
    ) -> Result<()> {
        let database = self.core.number;
        let (number, id) = (stored.number, stored.entry.id());
        let header = stored.entry.header();
        let place = Place { number, height: header.height, time: header.time };
        if new {
            self.rows.put(ENTRIES, database.entry_key(number), stored.to_bytes());
        }
        self.rows.put(IDS, database.id_key(&id), place.to_bytes());
        if live {
            self.rows.put(HEIGHTS, database.height_key(header.height, &id), number.to_be_bytes().to_vec());
            let top = self.state.meta.top();
            self.state.meta.add(Tip { id, number, height: header.height, time: header.time }, &header.parents);
            let after = top.map_or(header.height, |top| top.max(header.height));
            blocks::note(&mut self.rows, database, header.height, &id, (top, after)).await?;
        } else {
            self.state.meta.count(number, header.time);
        }
        let touched = self.apply_stores(stored, below, deltas).await?;
        self.admitted.push(Admitted { number, id, local: stored.local, touched });
        Ok(())
    }

    /// Applies an entry to the state of its stores, and to their indexes of entries.
    async fn apply_stores(
        &mut self,
        stored: &StoredEntry,
        below: &Seen,
        deltas: &[NewDelta],
    ) -> Result<Vec<(StoreNumber, Cell)>> {
        let mut touched = Vec::new();
        let bodies: Vec<_> =
            stored.entry.deltas().map(|(d, b)| (d.name.clone(), d.kind.clone(), b.is_some())).collect();
        for (name, kind, here) in bodies {
            let info = self.store_info(&name, &kind, stored.number);
            let store = info.at(self.core.number);
            self.rows.put(TOUCHED, store.touched_key(stored.number), Bytes::new());
            if kind == auth::KIND {
                // Rights have no cells, and all of the settings count as read by everybody.
                touched.push((store, Cell::new()));
            }
            if !here {
                self.change_store(StoreInfo { partial: true, ..(*info).clone() });
            } else if info.applied_below.is_none() {
                let new = deltas.iter().find(|new| new.name == name && new.kind == kind).map(|new| &new.delta);
                self.apply_delta(&info, stored, below, &mut touched, new).await?;
            }
        }
        Ok(touched)
    }

    pub(super) async fn apply_delta(
        &mut self,
        info: &StoreInfo,
        stored: &StoredEntry,
        below: &Seen,
        touched: &mut Vec<(StoreNumber, Cell)>,
        new: Option<&Delta>,
    ) -> Result<()> {
        let Some(algebra) = self.core.algebra(&info.kind) else { return Ok(()) };
        // A delta that its kind cannot read is admitted without effect; `verify` shows it.
        let read = if new.is_none() { algebra.delta_of(&stored.entry, &info.name, &info.kind) } else { None };
        let Some(delta) = new.or(read.as_ref()) else { return Ok(()) };
        let stamp = Stamp { number: stored.number, time: stored.entry.header().time, id: stored.entry.id() };
        let store = info.at(self.core.number);
        // What it does itself is written down first, and evaluated after that, if it is void.
        let void = self.state.marks.void.difference(&Numbers::of(stored.number));
        let mut again = Vec::new();
        let mut applier =
            Applier { rows: &mut self.rows, info, store, stamp, seen: below, void: &void, again: &mut again, touched };
        delta.apply(&mut applier, &mut IndexWriter { indexes: &info.indexes }).await?;
        if !again.is_empty() {
            let next = self.next();
            let mut all = Again::new(&mut self.rows, &self.core.graph, &self.fresh, info, store, algebra);
            Box::pin(all.evaluate(&again, &self.state.marks.void, next)).await?;
        }
        // Not before: what the delta itself puts below a path comes behind what it does at the path.
        let deepest = u32::try_from(delta.deepest()).unwrap_or(StoreInfo::UNKNOWN);
        if deepest > info.deepest {
            self.change_store(StoreInfo { deepest, ..info.clone() });
        }
        Ok(())
    }

    /// The store of this name and kind, made known if it is new. A store whose kind is unknown here falls behind from this
    /// entry on, until somebody opens it with the kind.
    pub(crate) fn store_info(&mut self, name: &str, kind: &str, number: u64) -> Arc<StoreInfo> {
        let knows = self.core.algebra(kind).is_some();
        match self.state.catalog.get(name, kind).cloned() {
            Some(info) if knows || info.applied_below.is_some() => info,
            Some(info) => self.change_store(StoreInfo { applied_below: Some(number), ..(*info).clone() }),
            None => self.change_store(StoreInfo {
                number: self.state.catalog.free_number(),
                name: name.to_owned(),
                kind: kind.to_owned(),
                applied_below: (!knows).then_some(number),
                stale: false,
                partial: false,
                deepest: 0,
                keeps_ends: true,
                indexes: Vec::new(),
            }),
        }
    }

    /// Writes the catalog row of a store.
    pub fn change_store(&mut self, info: StoreInfo) -> Arc<StoreInfo> {
        self.rows.put(CATALOG, info.at(self.core.number).catalog_key(), info.to_bytes());
        self.state.meta.catalog += 1;
        self.state.catalog.put(info.clone());
        Arc::new(info)
    }

    /// What is below an entry that is here.
    pub async fn below(&self, entry: &VerifiedEntry) -> Result<Seen> {
        let parents = super::entries::require(&self.rows, self.core.number, &entry.header().parents).await?;
        let parents: Vec<u64> = parents.iter().map(|place| place.number).collect();
        self.core.graph.seen_by_fresh(&self.rows, &self.fresh, &parents).await
    }

    /// A time for a local entry: not before the clock, and after everything that is here.
    pub fn time_after(&self, storage: &Storage, parents: &[Tip]) -> Option<Time> {
        let latest = parents.iter().map(|parent| parent.time).chain([self.state.meta.latest]).max();
        let next = latest.unwrap_or_default().next()?;
        Some(next.max(storage.environment().now()))
    }
}
