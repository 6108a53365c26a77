//! What a store kind reads and writes through: a store at a moment, or within a transaction.

use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{Direction, Error, ErrorKind, PublicKey, Result, Scan, Snapshot};

use super::algebra::Algebra;
use super::cell::{self, Cell};
use super::doc;
use super::events::{EntryCache, Moment};
use super::live;
use super::stage::Staged;
use crate::auth;
use crate::db::as_of::AsOf;
use crate::db::catalog::StoreInfo;
use crate::db::core::Core;
use crate::db::{Touch, Touched, TransactionState, WriterHandle};
use crate::error::invalid;
use crate::layout::{ENDS, PAST, STATE, StoreNumber, past_parts, within_store};
use crate::limits::{MAX_KIND_NAME, MAX_STORE_NAME};

/// A kind of store.
///
/// The kinds of this crate are [`DocStore`](super::DocStore), [`Table`](super::Table) and
/// [`SettingsStore`](super::SettingsStore). A kind of your own is made of [`Cells`](super::Cells): keys, each with the
/// values that nothing later has replaced. What these values mean is yours. Peers that do not know the kind keep and relay
/// its entries unread.
///
/// # What a kind keeps to
///
/// * Peers that hold the same entries show the same, in whatever order and company the entries have come.
/// * An entry that comes again changes nothing.
/// * What a transaction shows before its commit is what everybody shows who holds its entry and what lies below it, and
///   nothing else.
/// * A view of an earlier moment shows what was shown then.
/// * Reading changes nothing, in a transaction either: whoever reads twice reads the same, and has nothing to commit.
/// * What is shown follows from the entries alone: after a rebuild, or in another process, it is the same.
/// * What another program has written in a form that the kind does not have is passed over, and is no error.
///
/// The crate `eidetica-conformance` checks it, sentence by sentence, on any kind.
///
/// ```
/// use eidetica_core::store::{Cells, StoreHandle, StoreType};
///
/// /// The highest score of each player.
/// struct HighScores(Cells);
///
/// impl StoreType for HighScores {
///     const KIND: &'static str = "example.high-scores";
///
///     fn open(handle: StoreHandle) -> Self {
///         HighScores(Cells::new(handle))
///     }
/// }
///
/// impl HighScores {
///     async fn record(&self, player: &str, score: u64) -> eidetica_contract::Result<()> {
///         let best = self.best(player).await?.unwrap_or(0).max(score);
///         self.0.put(player.as_bytes(), best.to_be_bytes().to_vec()).await
///     }
///
///     /// Two players may have recorded scores apart: the greatest of the live values counts.
///     async fn best(&self, player: &str) -> eidetica_contract::Result<Option<u64>> {
///         let values = self.0.get(player.as_bytes()).await?;
///         Ok(values.iter().filter_map(|v| v.value[..].try_into().ok().map(u64::from_be_bytes)).max())
///     }
/// }
/// ```
pub trait StoreType: Sized {
    /// The name of the kind: 1 to 32 bytes, the same for ever. Use a prefix that is yours.
    const KIND: &'static str;

    /// A store of this kind on a handle.
    fn open(handle: StoreHandle) -> Self;
}

/// A store at a moment, or within a transaction. Cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    core: Arc<Core>,
    name: Arc<str>,
    kind: Arc<str>,
    algebra: Algebra,
    scope: Scope,
    writer: WriterHandle,
    cache: Arc<EntryCache>,
}

#[derive(Clone)]
enum Scope {
    /// Whatever is true when it is read.
    Now,
    At(Arc<AsOf>),
    Transaction(Arc<TransactionState>),
}

impl StoreHandle {
    pub(crate) async fn now(core: Arc<Core>, writer: &WriterHandle, name: &str, kind: &str) -> Result<StoreHandle> {
        StoreHandle::checked(core, writer, name, kind, Scope::Now).await
    }

    pub(crate) async fn at(
        core: Arc<Core>,
        writer: &WriterHandle,
        name: &str,
        kind: &str,
        set: Arc<AsOf>,
    ) -> Result<StoreHandle> {
        StoreHandle::checked(core, writer, name, kind, Scope::At(set)).await
    }

    pub(crate) async fn in_transaction(state: Arc<TransactionState>, name: &str, kind: &str) -> Result<StoreHandle> {
        let (core, writer) = (state.core.clone(), state.writer.clone());
        StoreHandle::checked(core, &writer, name, kind, Scope::Transaction(state)).await
    }

    async fn checked(
        core: Arc<Core>,
        writer: &WriterHandle,
        name: &str,
        kind: &str,
        scope: Scope,
    ) -> Result<StoreHandle> {
        check_name(name, kind)?;
        let algebra = core.know(kind);
        let state = match scope {
            // It has just begun on what is current.
            Scope::Transaction(_) => core.state(),
            _ => core.current().await?,
        };
        match state.catalog.get(name, kind) {
            Some(info) if info.applied_below.is_some() => writer.catch_up(name, kind).await?,
            Some(_) => {}
            None => {
                if let Some(other) = state.catalog.named(name).first() {
                    let message = "the name belongs to a store of another kind";
                    return Err(Error::new(ErrorKind::WrongType, message)
                        .with("store", name)
                        .with("kind", &other.kind)
                        .with("asked", kind));
                }
            }
        }
        let (writer, cache) = (writer.clone(), Arc::default());
        Ok(StoreHandle { core, name: name.into(), kind: kind.into(), algebra, scope, writer, cache })
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True within a transaction, where it can be written.
    pub fn is_writable(&self) -> bool {
        matches!(self.scope, Scope::Transaction(_))
    }

    /// The key that the transaction will sign with.
    pub(crate) fn author(&self) -> Result<PublicKey> {
        let Scope::Transaction(state) = &self.scope else {
            let message = "this is a view to read; begin a transaction with `new_transaction` to write";
            return Err(Error::new(ErrorKind::ReadOnly, message).with("store", &self.name));
        };
        state.author()
    }

    /// Has the commit be followed, in the same batch, by an entry with which its author steps down to nothing. Errors: as for
    /// [`stage`](StoreHandle::stage).
    pub(crate) fn step_down_after(&self) -> Result<()> {
        self.stage(|_| ())?;
        if let Scope::Transaction(state) = &self.scope {
            state.step_down_after();
        }
        Ok(())
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Changes what is staged. Errors: `ReadOnly` outside a transaction, `Conflict` after its commit.
    pub(crate) fn stage<T>(&self, act: impl FnOnce(&mut Staged) -> T) -> Result<T> {
        let Scope::Transaction(state) = &self.scope else {
            let message = "this is a view to read; begin a transaction with `new_transaction` to write";
            return Err(Error::new(ErrorKind::ReadOnly, message).with("store", &self.name));
        };
        if state.is_done() {
            return Err(Error::new(ErrorKind::Closed, "the transaction has been committed; begin another one"));
        }
        Ok(state.staged(&self.name, &self.kind, act))
    }

    /// Looks at what is staged, if anything can be.
    pub(crate) fn staged<T>(&self, look: impl FnOnce(&Staged) -> T) -> Option<T> {
        match &self.scope {
            Scope::Transaction(state) => Some(state.staged(&self.name, &self.kind, |staged| look(staged))),
            _ => None,
        }
    }

    /// Notes that something is read or written.
    pub(crate) fn touch(&self, what: impl FnOnce() -> Touched) {
        if let Scope::Transaction(state) = &self.scope {
            state.touch(Touch { name: self.name.clone(), kind: self.kind.clone(), what: what() });
        }
    }

    fn set(&self) -> Option<&Arc<AsOf>> {
        match &self.scope {
            Scope::Now => None,
            Scope::At(set) => Some(set),
            Scope::Transaction(state) => Some(&state.as_of),
        }
    }

    /// The own right of a subject, as of what is seen here.
    pub(crate) async fn own_right(&self, subject: auth::Subject) -> Result<auth::Right> {
        self.touch(|| Touched::Range(Bytes::new(), None));
        let state = self.core.current().await?;
        Ok(state.own_right(subject, self.set().map(|set| &**set)))
    }

    /// A snapshot to read from, held for one call.
    pub(crate) async fn open(&self) -> Result<Option<Opened<'_>>> {
        self.open_for(false).await
    }

    /// The same; with indexes, it is made sure that they are those of the snapshot.
    pub(crate) async fn open_for(&self, uses_indexes: bool) -> Result<Option<Opened<'_>>> {
        loop {
            let rows = self.core.storage.snapshot().await?;
            let mut set = self.set();
            // In this order: what the snapshot shows was published before, if nothing is unpublished now.
            let mut covers = self.core.is_published();
            let mut known = self.core.state();
            if self.core.storage.shared {
                // Another process may be rebuilding what is read here; only the snapshot itself can tell.
                known = self.core.at(&*rows).await?;
                covers = true;
            }
            let mut info = known.catalog.get(&self.name, &self.kind).cloned();
            if set.is_some() || info.is_none() || uses_indexes {
                covers = true;
                known = self.core.covering(&*rows).await?;
                info = known.catalog.get(&self.name, &self.kind).cloned();
                // Where nothing has come since, the past is the present.
                set = set.filter(|set| !known.is_now(set));
            }
            known.check_usable()?;
            let Some(info) = info else { return Ok(None) };
            if info.applied_below.is_some() {
                // A body has come late, or entries while somebody who does not know the kind had the store.
                drop(rows);
                self.writer.catch_up(&self.name, &self.kind).await?;
                continue;
            }
            let store = info.at(self.core.number);
            return Ok(Some(Opened { handle: self, rows, store, set: set.map(|set| &**set), info, covers }));
        }
    }

    /// The record of a cell, before what is staged.
    pub(crate) async fn record(&self, cell: &Cell) -> Result<Option<Bytes>> {
        match self.open().await? {
            Some(opened) => opened.record(cell).await,
            None => Ok(None),
        }
    }

    /// The records of several cells, before what is staged.
    pub(crate) async fn record_of_each(&self, cells: &[Cell]) -> Result<Vec<Option<Bytes>>> {
        match self.open().await? {
            Some(opened) => opened.record_of_each(cells).await,
            None => Ok(vec![None; cells.len()]),
        }
    }

    /// The record of the cell of a path of so many steps, before what is staged, if nothing can lie below it; else `None`.
    pub(crate) async fn only_record(&self, cell: &Cell, steps: usize) -> Result<Option<Option<Bytes>>> {
        let Some(opened) = self.open().await? else { return Ok(Some(None)) };
        if !opened.ends_at(steps) {
            return Ok(None);
        }
        opened.record(cell).await.map(Some)
    }

    /// The records at and below a path of so many steps, before what is staged. The keys of their cells begin with `prefix`.
    pub(crate) async fn records_at(&self, prefix: &[u8], steps: usize) -> Result<Vec<(Cell, Bytes)>> {
        let Some(opened) = self.open().await? else { return Ok(Vec::new()) };
        if opened.ends_at(steps) {
            let cell = Cell::from([prefix, &cell::END].concat());
            let record = opened.record(&cell).await?;
            return Ok(record.map(|record| (cell, record)).into_iter().collect());
        }
        self.records_in(&opened, prefix).await
    }

    /// The records of all cells whose keys begin so, before what is staged.
    pub(crate) async fn records_below(&self, prefix: &[u8]) -> Result<Vec<(Cell, Bytes)>> {
        match self.open().await? {
            Some(opened) => self.records_in(&opened, prefix).await,
            None => Ok(Vec::new()),
        }
    }

    async fn records_in(&self, opened: &Opened<'_>, prefix: &[u8]) -> Result<Vec<(Cell, Bytes)>> {
        let mut records = Vec::new();
        let mut left = Some(Cells::below(prefix));
        while let Some(cells) = left.take() {
            let page;
            (page, left) = opened.records(cells, Direction::Forward, usize::MAX).await?;
            records.extend(page);
        }
        Ok(records)
    }

    /// What tells whether there is a list at the path with this prefix, and where it ends, before what is staged; but elements
    /// that go are passed over. `None` if ends are not kept in this store.
    pub(crate) async fn list_cells(
        &self,
        prefix: &[u8],
        goes: impl Fn(&Cell) -> bool + Send + Sync,
    ) -> Result<Option<ListCells>> {
        let Some(opened) = self.open_for(true).await? else { return Ok(Some(ListCells::default())) };
        if !opened.info.keeps_ends {
            return Ok(None);
        }
        let elements = doc::end::key_of(prefix);
        let below = Cells { start: [prefix, &cell::FIRST_BELOW].concat().into(), end: Some(elements.clone().into()) };
        Ok(Some(ListCells {
            values: opened.record(&[prefix, &cell::END].concat().into()).await?,
            below: opened.first(below, |_| true).await?.is_some(),
            has_elements: opened.first(Cells::below(&elements), |cell| !goes(cell)).await?.is_some(),
            end: opened.rows.get(ENDS, &opened.store.key(&elements)).await?,
        }))
    }
}

/// What tells of a list without reading it.
#[derive(Default)]
pub(crate) struct ListCells {
    /// The record of the values at its path.
    pub values: Option<Bytes>,
    /// True if something lives under a key below it, as in a map.
    pub below: bool,
    /// True if it has an element that stays.
    pub has_elements: bool,
    /// What no element is behind.
    pub end: Option<Bytes>,
}

/// A range of cells.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    pub start: Bytes,
    /// Exclusive; `None`: to the last one.
    pub end: Option<Bytes>,
}

impl Cells {
    /// Those whose keys begin so.
    pub fn below(prefix: &[u8]) -> Cells {
        let range = Scan::prefix(STATE, prefix);
        Cells { start: range.start, end: range.end }
    }

    /// What is left of the range when it has been gone through up to a cell and everything of it.
    fn behind(self, cell: &Cell, direction: Direction) -> Cells {
        match direction {
            // The past of a cell lies under its key and eight bytes more.
            Direction::Forward => Cells { start: [&cell[..], &[0xff; 9]].concat().into(), ..self },
            Direction::Backward => Cells { end: Some(cell.clone()), ..self },
        }
    }
}

/// A store with a snapshot.
pub(crate) struct Opened<'a> {
    handle: &'a StoreHandle,
    pub rows: Box<dyn Snapshot>,
    pub store: StoreNumber,
    /// The set to look at; `None`: everything.
    set: Option<&'a AsOf>,
    info: Arc<StoreInfo>,
    /// True if it is certain that `info` speaks of all that the snapshot shows.
    covers: bool,
}

/// How many cells one page holds at most.
pub(crate) const PAGE_CELLS: usize = 1024;
/// How many bytes one page of a view holds, but for the record that comes last. A page of what is now ends as a scan does.
const PAGE_BYTES: usize = 64 << 10;

impl Opened<'_> {
    /// True if nothing can lie below a path of so many steps.
    fn ends_at(&self, steps: usize) -> bool {
        self.covers && self.info.ends_at(steps)
    }

    /// The indexes that the store has.
    pub fn indexes(&self) -> &[super::table::IndexDefinition] {
        &self.info.indexes
    }

    /// True if it shows what is true now, so that the indexes speak of it.
    pub fn is_now(&self) -> bool {
        self.set.is_none()
    }

    fn moment<'a>(&'a self, set: &'a AsOf) -> Moment<'a> {
        Moment {
            rows: &*self.rows,
            graph: &self.handle.core.graph,
            fresh: None,
            store: self.store,
            name: &self.handle.name,
            kind: &self.handle.kind,
            algebra: self.handle.algebra,
            all: &set.all,
            set: &set.effective,
            entries: &self.handle.cache,
            trusts_live: !set.counts_more,
        }
    }

    pub async fn record(&self, cell: &Cell) -> Result<Option<Bytes>> {
        match self.set {
            None => live::get(&*self.rows, self.store, cell).await,
            Some(set) => self.handle.algebra.replay(&self.moment(set), cell).await,
        }
    }

    pub async fn record_of_each(&self, cells: &[Cell]) -> Result<Vec<Option<Bytes>>> {
        if self.is_now() {
            return live::get_many(&*self.rows, self.store, cells).await;
        }
        let mut records = Vec::with_capacity(cells.len());
        for cell in cells {
            records.push(self.record(cell).await?);
        }
        Ok(records)
    }

    /// The first cell of a range that has a record and counts.
    async fn first(&self, cells: Cells, counts: impl Fn(&Cell) -> bool + Send) -> Result<Option<Cell>> {
        let (mut left, mut rows) = (Some(cells), 1);
        while let Some(cells) = left.take() {
            let page;
            (page, left) = self.records(cells, Direction::Forward, rows).await?;
            if let Some((cell, _)) = page.into_iter().find(|(cell, _)| counts(cell)) {
                return Ok(Some(cell));
            }
            rows = (2 * rows).min(PAGE_CELLS);
        }
        Ok(None)
    }

    /// Records from that end of a range which comes first in a direction, of at most `most` cells, and what is left of the range.
    pub async fn records(
        &self,
        mut cells: Cells,
        direction: Direction,
        most: usize,
    ) -> Result<(Vec<(Cell, Bytes)>, Option<Cells>)> {
        let most = most.clamp(1, PAGE_CELLS);
        let range = |keyspace, cells: &Cells, rows| {
            let end = match &cells.end {
                Some(end) => Some(self.store.key(end)),
                None => Scan::prefix(keyspace, &self.store.prefix()).end,
            };
            let scan = Scan::range(keyspace, self.store.key(&cells.start), end).rows(rows);
            if direction == Direction::Backward { scan.backward() } else { scan }
        };
        let mut records = Vec::new();
        let Some(set) = self.set else {
            let page = self.rows.scan(range(STATE, &cells, most)).await?;
            let last = page.rows.last().filter(|_| page.more).map(|(last, _)| within_store(last));
            records.reserve(page.rows.len());
            for (key, row) in page.rows {
                let cell = within_store(&key);
                let record = live::whole(&*self.rows, self.store, &cell, row).await?;
                records.push((cell, record));
            }
            return Ok((records, last.map(|last| cells.behind(&last, direction))));
        };
        let moment = self.moment(set);
        let mut bytes = 0;
        // Cells that live now and cells that have a past, in order, each once.
        for _ in 0..most {
            let live = self.rows.scan(range(STATE, &cells, 1)).await?.rows.pop().map(|(key, _)| within_store(&key));
            let past = self.rows.scan(range(PAST, &cells, 1)).await?.rows.pop();
            let past = past.map(|(key, _)| past_parts(&within_store(&key)).0);
            let both = live.into_iter().chain(past);
            let next = if direction == Direction::Forward { both.min() } else { both.max() };
            let Some(cell) = next else { return Ok((records, None)) };
            if let Some(record) = self.handle.algebra.replay(&moment, &cell).await? {
                bytes += record.len();
                records.push((cell.clone(), record));
            }
            cells = cells.behind(&cell, direction);
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok((records, Some(cells)))
    }
}

fn check_name(name: &str, kind: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_STORE_NAME {
        return Err(invalid("the name of a store has 1 to 128 bytes").with("store", name));
    }
    if kind.is_empty() || kind.len() > MAX_KIND_NAME {
        return Err(invalid("the name of a store kind has 1 to 32 bytes").with("kind", kind));
    }
    if (name == auth::STORE) != (kind == auth::KIND) {
        return Err(
            invalid("the settings have a store and a kind of their own; use `SettingsStore`").with("store", name)
        );
    }
    Ok(())
}
