//! A database, as an application holds it.

use std::sync::Arc;

#[cfg(doc)]
use eidetica_contract::ErrorKind;
use eidetica_contract::{PublicKey, Result};

use super::as_of::AsOf;
use super::changes::{CallbackGuard, WriteEvent};
use super::core::Core;
use super::entries::{Place, StoredEntry, entry_at, number_of, require, unknown_entry};
use super::meta::Tip;
use super::transaction::{Committed, Durability, Transaction};
use super::view::{Snapshot, View};
use super::writer::WriterHandle;
use crate::auth::{Right, Subject};
use crate::entry::VerifiedEntry;
use crate::error::{damaged, invalid};
use crate::id::Id;
use crate::key::SecretKey;
use crate::layout::ENTRIES;
use crate::store::{SettingsStore, StoreType};

/// A database. Handles are cheap to clone, and may be used from any number of tasks at once.
///
/// # Errors and cancellation
///
/// What a method says of its errors is what is special about it. Besides, every `async` method answers
/// [`ErrorKind::Closed`] once the store has been closed, [`ErrorKind::Locked`] while the database is being
/// [rebuilt](Database::reindex), [`ErrorKind::Corrupted`] for rows that cannot be read, and the errors of the backend, such
/// as [`ErrorKind::Io`]. Dropping the future of a method that reads changes nothing. One that writes says what may then
/// have happened; what was ordered of the writer of the database is done to its end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::store::DocStore;
///
/// let transaction = database.new_transaction().await?;
/// transaction.get_store::<DocStore>("notes").await?.set("greeting", "hello").await?;
/// let entry = transaction.commit().await?;
///
/// assert_eq!(database.get_tips().await?, [entry]);
/// let notes = database.get_store_viewer::<DocStore>("notes").await?;
/// assert_eq!(notes.get_string("greeting").await?, "hello");
/// assert!(database.verify().await?.is_clean());
/// # engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Database {
    pub(crate) core: Arc<Core>,
    pub(crate) writer: WriterHandle,
    key: Option<SecretKey>,
}

/// A store of a database, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSummary {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// False while its kind is not known here: its entries are kept unread.
    pub known: bool,
    /// True if bodies are missing here, so that what shows is not all there is.
    pub partial: bool,
    /// The fields of a table that have an index here.
    pub indexes: Vec<String>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("root", &self.core.id).finish_non_exhaustive()
    }
}

impl Database {
    pub(crate) fn new(core: Arc<Core>, writer: WriterHandle, key: Option<SecretKey>) -> Database {
        Database { core, writer, key }
    }

    /// The same database, writing with another key, or with none.
    #[must_use]
    pub fn with_key(&self, key: Option<SecretKey>) -> Database {
        Database { key, ..self.clone() }
    }

    /// The id of the database: that of its root entry.
    pub fn root_id(&self) -> &Id {
        &self.core.id
    }

    /// The public part of the key that this handle writes with.
    pub fn author(&self) -> Option<PublicKey> {
        self.key.as_ref().map(SecretKey::public)
    }

    /// The name of the database. Errors: [`ErrorKind::NotFound`] if it has none.
    pub async fn get_name(&self) -> Result<String> {
        self.get_settings().await?.get_name().await
    }

    /// The settings, to read.
    pub async fn get_settings(&self) -> Result<SettingsStore> {
        self.get_store_viewer(crate::auth::STORE).await
    }

    /// Begins a transaction on what is here now, but for heads that are [left out](Database::left_out).
    ///
    /// Errors and cancellation: as for all methods; nothing is held or written before the commit.
    pub async fn new_transaction(&self) -> Result<Transaction> {
        let state = self.core.current().await?;
        let (heads, as_of) = state.begin_on(&self.core, self.author()).await?;
        self.begin(heads, as_of, false)
    }

    /// Begins a transaction on given entries, which become the parents of its entry whatever has come since.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] without entries, or for one that is void; [`ErrorKind::NotFound`] for one that is not of
    /// this database.
    pub async fn new_transaction_with_tips(&self, tips: &[Id]) -> Result<Transaction> {
        if tips.is_empty() {
            return Err(invalid("a transaction stands on at least one entry"));
        }
        let mut tips = tips.to_vec();
        tips.sort_unstable();
        tips.dedup();
        let rows = self.core.storage.snapshot().await?;
        let places = require(&*rows, self.core.number, &tips).await?;
        let numbers: Vec<u64> = places.iter().map(|place| place.number).collect();
        let state = self.core.covering(&*rows).await?;
        if let Some(at) = numbers.iter().position(|number| state.marks.void.contains(*number)) {
            let message =
                "the entry does not count, since a right of its author was taken away; nothing new can stand on it";
            return Err(invalid(message).with("entry", tips[at]));
        }
        let seen = self.core.graph.seen_by_all(&*rows, &numbers).await?;
        let as_of = state.as_of(&*rows, &self.core, seen).await?;
        let tip =
            |(id, place): (&Id, &Place)| Tip { id: *id, number: place.number, height: place.height, time: place.time };
        self.begin(tips.iter().zip(&places).map(tip).collect(), as_of, true)
    }

    fn begin(&self, heads: Vec<Tip>, as_of: AsOf, fixed: bool) -> Result<Transaction> {
        Ok(Transaction::new(self.core.clone(), self.writer.clone(), heads, as_of, fixed, self.key.clone()))
    }

    /// Does some work in a transaction and commits it, durably; returns what the work returns. After an error of the work
    /// nothing is written, and a handle of the transaction that it has kept is of no more use. The work does not commit by
    /// itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eidetica_contract::Result<()> {
    /// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
    /// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
    /// # let key = SecretKey::generate(&SystemEnvironment)?;
    /// # let database = engine.create_database(Doc::new(), &key).await?;
    /// use eidetica_core::store::DocStore;
    ///
    /// let before = database
    ///     .with_transaction(async |transaction| {
    ///         let notes = transaction.get_store::<DocStore>("notes").await?;
    ///         let before = notes.contains_key("greeting").await?;
    ///         notes.set("greeting", "hello").await?;
    ///         Ok(before)
    ///     })
    ///     .await?;
    /// assert!(!before);
    /// # engine.close().await
    /// # }
    /// ```
    ///
    /// Errors: that of the work, as it is; those of [`new_transaction`](Database::new_transaction) and of
    /// [`Transaction::commit`]. Cancellation: when the future is dropped during the work, nothing is written; during the
    /// commit, all of it or nothing.
    pub async fn with_transaction<T, F>(&self, work: impl FnOnce(Transaction) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let transaction = self.new_transaction().await?;
        match work(transaction.clone()).await {
            Ok(result) => {
                transaction.commit().await?;
                Ok(result)
            }
            Err(error) => {
                transaction.give_up();
                Err(error)
            }
        }
    }

    /// A store, to read: it shows what is true whenever it is read.
    ///
    /// Errors: as for [`Transaction::get_store`].
    pub async fn get_store_viewer<S: StoreType>(&self, name: &str) -> Result<S> {
        self.now().get_store_viewer(name).await
    }

    /// What is true now, whenever it is read.
    pub fn now(&self) -> View {
        View::new(self.clone(), None)
    }

    /// The heads now: a name for the present state, to come back to with [`at`](Database::at).
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot(self.get_tips().await?))
    }

    /// The database as it was at a snapshot.
    ///
    /// Errors: [`ErrorKind::NotFound`] if the snapshot names entries that are not here.
    pub async fn at(&self, snapshot: &Snapshot) -> Result<View> {
        self.at_heads(&snapshot.0).await
    }

    /// The database as it was when these entries and everything below them were all there was.
    ///
    /// Errors: [`ErrorKind::NotFound`].
    pub async fn at_heads(&self, heads: &[Id]) -> Result<View> {
        let rows = self.core.storage.snapshot().await?;
        let places = require(&*rows, self.core.number, heads).await?;
        let numbers: Vec<u64> = places.iter().map(|place| place.number).collect();
        let seen = self.core.graph.seen_by_all(&*rows, &numbers).await?;
        let as_of = self.core.covering(&*rows).await?.as_of(&*rows, &self.core, seen).await?;
        Ok(View::new(self.clone(), Some(Arc::new(as_of))))
    }

    /// The entries that nothing is above, in ascending order.
    pub async fn get_tips(&self) -> Result<Vec<Id>> {
        Ok(self.core.current().await?.meta.tip_ids())
    }

    /// A hash of the heads: two databases with equal digests hold the same entries.
    pub async fn heads_digest(&self) -> Result<[u8; 32]> {
        Ok(self.core.current().await?.meta.digest())
    }

    /// How many entries are here, without those that count no longer and on which nothing stands.
    pub async fn entry_count(&self) -> Result<u64> {
        let state = self.core.current().await?;
        Ok(state.meta.next - state.marks.dead.len())
    }

    /// An entry. Errors: [`ErrorKind::NotFound`] if this database has none with this id.
    pub async fn get_entry(&self, id: &Id) -> Result<VerifiedEntry> {
        let rows = self.core.storage.snapshot().await?;
        let number = number_of(&*rows, self.core.number, id).await?.ok_or_else(|| unknown_entry(id))?;
        Ok(entry_at(&*rows, self.core.number, number).await?.entry)
    }

    /// Entries, in the order of their ids here; faster than one by one.
    ///
    /// Errors: [`ErrorKind::NotFound`], naming the first that this database does not have; [`ErrorKind::Corrupted`]; those
    /// of the backend. Cancellation: nothing has changed.
    pub async fn get_entries(&self, ids: &[Id]) -> Result<Vec<VerifiedEntry>> {
        let rows = self.core.storage.snapshot().await?;
        let places = require(&*rows, self.core.number, ids).await?;
        let keys: Vec<_> = places.iter().map(|place| self.core.number.entry_key(place.number)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let found = rows.get_many(ENTRIES, &keys).await?;
        let entry = |(place, row): (&Place, Option<_>)| {
            let row = row.ok_or_else(|| damaged("an entry is missing"))?;
            Ok(StoredEntry::parse(place.number, &row)?.entry)
        };
        places.iter().zip(found).map(entry).collect()
    }

    /// The entries below the first heads and not below the second, in an order in which each comes after its parents.
    ///
    /// The cost is that of the difference, not of the history.
    ///
    /// Errors: [`ErrorKind::NotFound`] for a head that is not here.
    pub async fn difference(&self, heads: &[Id], without: &[Id]) -> Result<Vec<Id>> {
        let rows = self.core.storage.snapshot().await?;
        let mut sets = Vec::new();
        for heads in [heads, without] {
            let places = require(&*rows, self.core.number, heads).await?;
            let numbers: Vec<u64> = places.iter().map(|place| place.number).collect();
            sets.push(self.core.graph.seen_by_all(&*rows, &numbers).await?);
        }
        let mut ids = Vec::new();
        for (start, end) in sets[0].difference(&sets[1]).ranges() {
            let range = self.core.number.entries(*start, *end);
            for (key, row) in crate::store::applier::scan_all(&*rows, range).await? {
                let number = crate::layout::trailing_number(&key);
                ids.push(StoredEntry::parse(number, &row)?.entry.id());
            }
        }
        Ok(ids)
    }

    /// How many entries wait for something, and how many bytes they take.
    pub async fn waiting(&self) -> Result<(usize, usize)> {
        self.writer.waiting().await
    }

    /// The right that the key of this handle has now.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] without a key.
    pub async fn current_permission(&self) -> Result<Right> {
        let key = self.author().ok_or_else(|| invalid("the database was opened without a key"))?;
        self.now().right_of(key).await
    }

    /// The rights as they were at a snapshot: every key of which something was granted or limited, and everybody, with their own
    /// rights, by what counts in the entries of the snapshot alone.
    ///
    /// Errors: [`ErrorKind::NotFound`] if the snapshot names entries that are not here.
    pub async fn permissions_at(&self, snapshot: &Snapshot) -> Result<Vec<(Subject, Right)>> {
        self.at(snapshot).await?.rights().await
    }

    /// Removes a key as of an older snapshot: everything that it has written since is struck, seen or not. What others wrote
    /// stays, also on top of that. Durable on return.
    ///
    /// Errors: [`ErrorKind::PermissionDenied`] if the key was not below the own one in rank at the snapshot;
    /// [`ErrorKind::InvalidInput`] if an entry of the snapshot is void; [`ErrorKind::NotFound`]. Cancellation: as for a commit.
    pub async fn remove_as_of(&self, key: &PublicKey, snapshot: &Snapshot) -> Result<Committed> {
        let transaction = self.new_transaction_with_tips(&snapshot.0).await?;
        transaction.get_store::<SettingsStore>(crate::auth::STORE).await?.remove(key).await?;
        transaction.commit_with(Durability::Flushed).await
    }

    /// Evaluates the stores whose bodies have come late, as opening one of them would.
    pub(crate) async fn evaluate_stale(&self) -> Result<()> {
        for info in self.core.current().await?.catalog.all().iter().filter(|info| info.stale) {
            self.writer.catch_up(&info.name, &info.kind).await?;
        }
        Ok(())
    }

    /// The stores of the database: those that an entry touches which counts.
    ///
    /// Errors: [`ErrorKind::Locked`] while the database is being rebuilt.
    pub async fn stores(&self) -> Result<Vec<StoreSummary>> {
        self.evaluate_stale().await?;
        let rows = self.core.storage.snapshot().await?;
        let state = self.core.at(&*rows).await?;
        state.check_usable()?;
        let mut stores = Vec::new();
        for info in state.catalog.all() {
            if !state.marks.counts_in(&*rows, info.at(self.core.number)).await? {
                continue;
            }
            stores.push(StoreSummary {
                name: info.name.clone(),
                kind: info.kind.clone(),
                known: info.applied_below.is_none(),
                partial: info.partial,
                indexes: info.indexes.iter().filter(|i| i.is_whole()).map(|index| index.field.clone()).collect(),
            });
        }
        Ok(stores)
    }

    /// Makes everything durable that was committed before this call.
    ///
    /// Errors: [`ErrorKind::Full`] and [`ErrorKind::Io`], after which it is unknown what is durable. Cancellation: the flush may
    /// or may not take place.
    pub async fn flush(&self) -> Result<()> {
        self.core.storage.flush().await
    }

    /// Calls back after each group of local commits. See [`WriteEvent`]. The calls end when the guard is dropped.
    ///
    /// The database waits for the callback before it writes anything else. So a callback must be quick, and must not wait for
    /// this database: what it orders of it on its own thread, such as a commit or the ingest of entries, is answered
    /// [`ErrorKind::Unsupported`]; on another thread, whose end it then waits for, it would wait for ever. Hand such work to a
    /// task, or follow the database with [`watch`](Database::watch).
    #[must_use = "the calls end when the guard is dropped"]
    pub fn on_local_write(&self, call: impl Fn(&WriteEvent) + Send + Sync + 'static) -> CallbackGuard {
        self.core.callbacks.add(true, Box::new(call))
    }

    /// Calls back after each group of entries that came from elsewhere. The calls end when the guard is dropped.
    ///
    /// What it must not do: see [`on_local_write`](Database::on_local_write).
    #[must_use = "the calls end when the guard is dropped"]
    pub fn on_remote_write(&self, call: impl Fn(&WriteEvent) + Send + Sync + 'static) -> CallbackGuard {
        self.core.callbacks.add(false, Box::new(call))
    }
}
