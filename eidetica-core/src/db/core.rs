//! What all handles of one open database share.

use std::sync::{Arc, RwLock};

use eidetica_contract::{Result, Snapshot};
use tokio::sync::watch;

use super::catalog::Catalog;
use super::changes::Callbacks;
use super::entries::entry_at;
use super::meta::Meta;
use crate::auth::{self, Rights, SettingsDelta};
use crate::dag::{Graph, Seen};
use crate::error::damaged;
use crate::id::Id;
use crate::layout::{DatabaseNumber, META, TOUCHED, trailing_number};
use crate::storage::Storage;
use crate::store::algebra::Algebra;
use crate::store::applier::scan_all;

/// An open database.
pub(crate) struct Core {
    pub id: Id,
    pub number: DatabaseNumber,
    pub storage: Arc<Storage>,
    pub graph: Graph,
    state: RwLock<State>,
    /// The number of the next entry, for those who wait for more.
    pub arrivals: watch::Sender<u64>,
    pub callbacks: Callbacks,
}

/// What is known of the rows of a database, as of one snapshot.
#[derive(Clone)]
pub(crate) struct State {
    pub meta: Meta,
    pub catalog: Catalog,
    pub rights: Arc<Rights>,
}

impl Core {
    pub async fn open(storage: Arc<Storage>, id: Id, number: DatabaseNumber) -> Result<Core> {
        let snapshot = storage.snapshot().await?;
        let graph = Graph::new(number);
        let state = State::load(&*snapshot, number, &graph).await?;
        let core = Core { graph, ..Core::new(storage, id, number, state) };
        super::changes::begin_epoch(&core).await?;
        Ok(core)
    }

    pub fn new(storage: Arc<Storage>, id: Id, number: DatabaseNumber, state: State) -> Core {
        let (arrivals, _) = watch::channel(state.meta.next);
        let graph = Graph::new(number);
        Core { id, number, storage, graph, state: RwLock::new(state), arrivals, callbacks: Callbacks::default() }
    }

    /// What was known last. Where other processes write, too, [`current`](Core::current) is more exact.
    pub fn state(&self) -> State {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Makes known what has been committed.
    pub fn publish(&self, state: State) {
        let next = state.meta.next;
        *self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner) = state;
        self.arrivals.send_if_modified(|known| {
            let more = *known != next;
            *known = next;
            more
        });
    }

    /// What a snapshot shows. Costs one read, and more only if another process has written.
    pub async fn at(&self, snapshot: &dyn Snapshot) -> Result<State> {
        let known = self.state();
        let row = snapshot.get(META, &self.number.meta_key()).await?.ok_or_else(|| damaged("the row of a database"))?;
        let meta = Meta::parse(&row)?;
        if meta == known.meta {
            return Ok(known);
        }
        if meta.catalog == known.catalog_version() && meta.next <= known.meta.next {
            return Ok(State { meta, ..known });
        }
        known.follow(snapshot, self, meta).await
    }

    /// What is true now.
    pub async fn current(&self) -> Result<State> {
        if !self.storage.shared {
            return Ok(self.state());
        }
        let snapshot = self.storage.snapshot().await?;
        self.at(&*snapshot).await
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

impl State {
    pub async fn load(rows: &dyn Snapshot, number: DatabaseNumber, graph: &Graph) -> Result<State> {
        let row = rows.get(META, &number.meta_key()).await?.ok_or_else(|| damaged("the row of a database"))?;
        let meta = Meta::parse(&row)?;
        let catalog = Catalog::load(rows, number).await?;
        let mut state = State { meta, catalog, rights: Arc::default() };
        state.load_rights(rows, number, graph, 0).await?;
        Ok(state)
    }

    fn catalog_version(&self) -> u64 {
        self.meta.catalog
    }

    /// Takes up what another process has committed.
    async fn follow(mut self, rows: &dyn Snapshot, core: &Core, meta: Meta) -> Result<State> {
        let seen_before = self.meta.next;
        if meta.catalog != self.meta.catalog {
            self.catalog = Catalog::load(rows, core.number).await?;
        }
        self.meta = meta;
        self.load_rights(rows, core.number, &core.graph, seen_before).await?;
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
            let delta = SettingsDelta::parse(body).map_err(|_| damaged("a settings delta"))?;
            let is_root = header.parents.is_empty();
            let admitted = auth::admit(&self.rights, &below, header.author, Some(&delta), is_root);
            let change = admitted.map_err(|_| damaged("an entry without the right for it"))?;
            if let Some(change) = change {
                change.apply(Arc::make_mut(&mut self.rights), number, &below);
            }
        }
        Ok(())
    }
}
