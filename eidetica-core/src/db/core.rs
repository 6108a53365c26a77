//! What all handles of one open database share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use eidetica_contract::{Error, ErrorKind, Result, Snapshot, WriteBatch};
use tokio::sync::watch;

use super::catalog::Catalog;
use super::changes::Callbacks;
use super::entries::entry_at;
use super::marks::Marks;
use super::meta::Meta;
use crate::auth::{self, Rights};
use crate::dag::{Graph, Seen};
use crate::error::{closed, damaged};
use crate::id::Id;
use crate::layout::{DatabaseNumber, TOUCHED, trailing_number};
use crate::storage::{Storage, again};
use crate::store::algebra::Algebra;
use crate::store::applier::scan_all;

/// An open database.
pub(crate) struct Core {
    pub id: Id,
    pub number: DatabaseNumber,
    pub storage: Arc<Storage>,
    pub graph: Graph,
    known: RwLock<Known>,
    /// How many commits of this process may be visible and are not yet published.
    unpublished: AtomicU64,
    /// The number of the next entry, for those who wait for more.
    pub arrivals: watch::Sender<u64>,
    pub callbacks: Callbacks,
    /// True once the store is being closed.
    pub closed: AtomicBool,
}

/// What is known, and how current it is.
struct Known {
    state: Arc<State>,
    /// What [`Backend::changed`](eidetica_contract::Backend::changed) answered before the state was read.
    generation: u64,
}

/// What is known of the rows of a database, as of one snapshot.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub meta: Meta,
    pub catalog: Catalog,
    pub rights: Arc<Rights>,
    pub marks: Marks,
    /// Why nothing is known, if rows that tell of the database cannot be read. Only checking and rebuilding it works then.
    pub damage: Option<Arc<Error>>,
}

impl Core {
    pub async fn open(storage: Arc<Storage>, id: Id, number: DatabaseNumber) -> Result<Core> {
        let generation = storage.backend.changed().await?;
        let snapshot = storage.snapshot().await?;
        let graph = Graph::new(number);
        let state = State::load(&*snapshot, number, &graph).await?;
        let core = Core { graph, ..Core::new(storage, id, number, state, generation) };
        if core.state().damage.is_none() {
            super::epochs::begin(&core).await?;
        }
        Ok(core)
    }

    pub fn new(storage: Arc<Storage>, id: Id, number: DatabaseNumber, state: State, generation: u64) -> Core {
        let (arrivals, _) = watch::channel(state.meta.next);
        let (graph, callbacks) = (Graph::new(number), Callbacks::default());
        let known = RwLock::new(Known { state: Arc::new(state), generation });
        let unpublished = AtomicU64::new(0);
        let closed = AtomicBool::new(false);
        Core { id, number, storage, graph, known, unpublished, arrivals, callbacks, closed }
    }

    /// What was known last. Where other processes write, too, [`current`](Core::current) is more exact.
    pub fn state(&self) -> Arc<State> {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).state.clone()
    }

    /// Commits a batch and makes known what it changes. `Ok(false)`: an expectation failed, nothing was written.
    pub async fn commit(&self, batch: WriteBatch, bytes: usize, state: State) -> Result<bool> {
        let _unpublished = Unpublished::new(&self.unpublished);
        match self.storage.commit(batch, bytes).await {
            Ok(()) => {
                self.publish(state, None);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes known what was committed here, or, with a generation, what another process has committed.
    fn publish(&self, state: State, generation: Option<u64>) {
        let next = state.meta.next;
        let state = Arc::new(state);
        {
            let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Whoever comes late with it must not undo what is known by then: a reader beside the writer, or the writer,
            // when another process has committed above it and a reader has seen that.
            let age = |state: &State| (state.meta.next, state.meta.catalog);
            if known.state.damage.is_none() && age(&state) < age(&known.state) {
                return;
            }
            match generation {
                None => known.state = state,
                Some(generation) => *known = Known { state, generation },
            }
        }
        self.arrivals.send_if_modified(|known| {
            let more = *known != next;
            *known = next;
            more
        });
    }

    /// True if everything that snapshots taken before this call show of commits of this process is published.
    pub fn is_published(&self) -> bool {
        self.unpublished.load(Ordering::Acquire) == 0
    }

    /// What is known, if it is certain that a snapshot shows no more than that.
    async fn known_to_cover_a_snapshot(&self) -> Result<Option<Arc<State>>> {
        if !self.is_published() {
            return Ok(None);
        }
        let known_of = {
            let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            (known.state.clone(), known.generation)
        };
        let covers = !self.storage.shared || self.storage.backend.changed().await? == known_of.1;
        Ok(covers.then_some(known_of.0))
    }

    /// At least what a snapshot shows; it may know of more. Mostly without a read.
    pub async fn covering(&self, snapshot: &dyn Snapshot) -> Result<Arc<State>> {
        let state = match self.known_to_cover_a_snapshot().await? {
            Some(state) => state,
            None => self.at(snapshot).await?,
        };
        state.check_usable()?;
        Ok(state)
    }

    /// Exactly what a snapshot shows. Costs one read, and more only if another process has written.
    ///
    /// Errors: `Corrupted` for rows that cannot be read.
    pub async fn at(&self, snapshot: &dyn Snapshot) -> Result<Arc<State>> {
        let known = self.state();
        let meta = Meta::read(snapshot, self.number).await?;
        if known.damage.is_none() && meta == known.meta {
            return Ok(known);
        }
        if known.damage.is_some() || known.meta.rebuilding {
            if !meta.rebuilding {
                // Somebody has rebuilt it since.
                self.graph.forget();
            }
            // What is known is of a part of the entries, and what follows it says nothing of the rest.
            return State::read(snapshot, self.number, &self.graph).await.map(Arc::new);
        }
        if meta.catalog == known.catalog_version() && meta.next <= known.meta.next {
            return Ok(Arc::new(State { meta, ..(*known).clone() }));
        }
        (*known).clone().follow(snapshot, self, meta).await.map(Arc::new)
    }

    /// What is true now.
    pub async fn current(&self) -> Result<Arc<State>> {
        if let Some(state) = self.known_to_cover_a_snapshot().await? {
            state.check_usable()?;
            return Ok(state);
        }
        let generation = self.storage.backend.changed().await?;
        let snapshot = self.storage.snapshot().await?;
        let state = self.at(&*snapshot).await?;
        // Not before this: what another process is rebuilding must not be taken for what is known.
        state.check_usable()?;
        if self.storage.shared {
            self.publish((*state).clone(), Some(generation));
        }
        Ok(state)
    }

    /// The error for work that takes long, once the store is being closed.
    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// Makes a kind known, and says how it merges.
    pub fn know(&self, kind: &str) -> Algebra {
        Algebra::built_in(kind).unwrap_or_else(|| {
            let mut kinds = self.storage.custom_kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kinds.insert(kind.to_owned());
            Algebra::Cells
        })
    }

    /// How a kind merges, if this process knows it.
    pub fn algebra(&self, kind: &str) -> Option<Algebra> {
        Algebra::built_in(kind).or_else(|| {
            let kinds = self.storage.custom_kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kinds.contains(kind).then_some(Algebra::Cells)
        })
    }
}

/// What the rows say is there must be there.
fn missing_is_damage(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => damaged("a row that another one tells of is missing").caused_by(error),
        _ => error,
    }
}

/// Counts a commit while readers might see it before it is published.
struct Unpublished<'a>(&'a AtomicU64);

impl<'a> Unpublished<'a> {
    fn new(count: &'a AtomicU64) -> Unpublished<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        Unpublished(count)
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl State {
    /// What is known before any entry is in.
    pub fn of(meta: Meta) -> State {
        State { meta, ..State::default() }
    }

    /// What the rows tell, or that they cannot be read.
    async fn load(rows: &dyn Snapshot, number: DatabaseNumber, graph: &Graph) -> Result<State> {
        match State::read(rows, number, graph).await {
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                Ok(State { damage: Some(Arc::new(error)), ..State::default() })
            }
            result => result,
        }
    }

    /// Errors: `Corrupted` for rows that cannot be read.
    async fn read(rows: &dyn Snapshot, number: DatabaseNumber, graph: &Graph) -> Result<State> {
        let mut state = State::of(Meta::read(rows, number).await?);
        // What is being rebuilt is not read: it is of a part of the entries.
        if !state.meta.rebuilding {
            state.catalog = Catalog::load(rows, number).await?;
            state.marks = Marks::load(rows, number).await?;
            state.load_rights(rows, number, graph, 0).await.map_err(missing_is_damage)?;
        }
        Ok(state)
    }

    /// The error while the rows are being rebuilt, since they are those of a part of the entries; a rebuild goes on by itself
    /// where it was begun, and one that was interrupted starts over when the database is opened. And the error of rows that
    /// cannot be read.
    pub fn check_usable(&self) -> Result<()> {
        if let Some(damage) = &self.damage {
            return Err(again(damage));
        }
        if self.meta.rebuilding {
            let message = "the database is being rebuilt; try again when `reindex` has ended, or open it again";
            return Err(Error::new(ErrorKind::Locked, message));
        }
        Ok(())
    }

    fn catalog_version(&self) -> u64 {
        self.meta.catalog
    }

    /// Takes up what another process has committed.
    async fn follow(mut self, rows: &dyn Snapshot, core: &Core, meta: Meta) -> Result<State> {
        let seen_before = self.meta.next;
        if meta.catalog != self.meta.catalog && !meta.rebuilding {
            // It may have been rebuilt, and what was remembered of damaged rows is not what they say now.
            core.graph.forget();
            self.catalog = Catalog::load(rows, core.number).await?;
            self.marks = Marks::load(rows, core.number).await?;
        }
        self.meta = meta;
        // What is being rebuilt is not read, and what was seen of the rights before stays true.
        if !self.meta.rebuilding {
            let loaded = self.load_rights(rows, core.number, &core.graph, seen_before).await;
            loaded.map_err(missing_is_damage)?;
        }
        Ok(self)
    }

    /// Reads the settings entries from this arrival number on.
    pub async fn load_rights(
        &mut self,
        rows: &dyn Snapshot,
        database: DatabaseNumber,
        graph: &Graph,
        from: u64,
    ) -> Result<()> {
        let Some(settings) = self.catalog.get(auth::STORE, auth::KIND) else { return Ok(()) };
        let store = settings.at(database);
        let end = Some(store.touched_key(u64::MAX));
        let range = eidetica_contract::Scan::range(TOUCHED, store.touched_key(from), end);
        for (key, _) in scan_all(rows, range).await? {
            let number = trailing_number(&key);
            let stored = entry_at(rows, database, number).await?;
            let header = stored.entry.header();
            let below = if header.parents.is_empty() {
                Seen::nothing()
            } else {
                let parents = super::entries::require(rows, database, &header.parents).await?;
                let parents: Vec<u64> = parents.iter().map(|place| place.number).collect();
                graph.seen_by_all(rows, &parents).await?
            };
            let body = stored.entry.settings().ok_or_else(|| damaged("a settings delta is missing"))?;
            let delta = auth::Settings::parse(body).map_err(|_| damaged("a settings delta"))?;
            let admitted = auth::admit(&self.rights, &below, header, Some(&delta));
            let admission = admitted.map_err(|_| damaged("an entry without the right for it"))?;
            if let Some(entry) = admission.settings_entry(number, header, &below) {
                Arc::make_mut(&mut self.rights).add(entry);
            }
        }
        Ok(())
    }
}
