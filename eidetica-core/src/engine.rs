//! A store of databases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Backend, BackendInfo, Error, ErrorKind, Maintenance, Result, Scan, WriteBatch};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::auth::{self, Right, Setting, SettingsDelta, Subject};
use crate::clock::{Environment, SystemEnvironment};
use crate::db::catalog::Catalog;
use crate::db::core::{Core, State};
use crate::db::meta::Meta;
use crate::db::work::{Ready, Verdict, Work};
use crate::db::{Database, WriterHandle};
use crate::doc::Doc;
use crate::entry::{Header, Origin, RawEntry, VerifiedEntry, verify};
use crate::error::{closed, damaged, invalid};
use crate::id::Id;
use crate::key::SecretKey;
use crate::layout::{DatabaseNumber, LOCAL, META, database_key, epoch_key};
use crate::storage::Storage;
use crate::store::applier::scan_all;

/// What a store of databases takes from outside.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Time and randomness.
    pub environment: Arc<dyn Environment>,
    /// How far ahead of the clock here an arriving entry may be; what is further ahead waits. Default: 5 minutes.
    pub allowed_skew: Duration,
    /// True to prove entries on the thread that takes them up, false to share the work among all cores. Default: false.
    pub proves_in_line: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            environment: Arc::new(SystemEnvironment),
            allowed_skew: Duration::from_secs(300),
            proves_in_line: false,
        }
    }
}

impl Options {
    /// Takes time and randomness from here.
    #[must_use]
    pub fn environment(mut self, environment: Arc<dyn Environment>) -> Options {
        self.environment = environment;
        self
    }

    /// Lets arriving entries be so far ahead of the clock here.
    #[must_use]
    pub fn allowed_skew(mut self, skew: Duration) -> Options {
        self.allowed_skew = skew;
        self
    }

    /// Proves entries on the thread that takes them up, share by share, and starts no others for it: for a run that is to be
    /// repeated exactly, which threads of their own speed do not allow, and for a process that is to use one core only.
    /// Tasks on the same thread wait meanwhile, at most about 10 ms for each share.
    #[must_use]
    pub fn proves_in_line(mut self) -> Options {
        self.proves_in_line = true;
        self
    }
}

/// A change of a value that belongs to this node; see [`Engine::change_locals`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalChange {
    /// The name of the value.
    pub name: String,
    /// What it was read as; `None`: there was none.
    pub before: Option<Bytes>,
    /// What it becomes; `None`: it is removed.
    pub after: Option<Bytes>,
}

/// A store of databases in a backend. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// use eidetica_core::store::DocStore;
/// use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
///
/// let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// let key = SecretKey::generate(&SystemEnvironment)?;
/// let database = engine.create_database(Doc::new(), &key).await?;
///
/// let transaction = database.new_transaction().await?;
/// transaction.get_store::<DocStore>("notes").await?.set("greeting", "hello").await?;
/// transaction.commit().await?;
///
/// let notes = database.get_store_viewer::<DocStore>("notes").await?;
/// assert_eq!(notes.get_string("greeting").await?, "hello");
/// engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<Storage>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    // In order, so that they are closed in the same order in every run.
    databases: BTreeMap<Id, (Arc<Core>, WriterHandle)>,
    writers: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Engine {
    /// Opens the store in a backend; an empty backend becomes an empty store.
    ///
    /// Must be called within a tokio runtime, in which the tasks of the store then run.
    ///
    /// Errors: [`ErrorKind::NewerFormat`] for a store of a newer version, which is left untouched; those of the backend.
    pub async fn open(backend: Box<dyn Backend>, options: Options) -> Result<Engine> {
        let storage = Arc::new(Storage::open(backend, options).await?);
        Ok(Engine { inner: Arc::new(Inner { storage, open: Mutex::default() }) })
    }

    /// What the store lies in.
    pub fn backend_info(&self) -> BackendInfo {
        self.inner.storage.backend.info()
    }

    /// Where time and randomness come from.
    pub fn environment(&self) -> &dyn Environment {
        self.inner.storage.environment()
    }

    /// The same, to be kept.
    pub fn shared_environment(&self) -> Arc<dyn Environment> {
        self.inner.storage.options.environment.clone()
    }

    /// Creates a database. Its settings start with these values; the key becomes its strongest admin.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for settings that cannot be stored, such as NaN. Cancellation: it exists or not.
    pub async fn create_database(&self, settings: Doc, key: &SecretKey) -> Result<Database> {
        let rights = vec![(Subject::Key(key.public()), Setting::Grant(Right::admin(u32::MAX)))];
        self.create_database_with_rights(settings, rights, key).await
    }

    /// Creates a database with these first rights. Nobody else can ever get a right that none of them can give.
    ///
    /// Errors: as for [`create_database`](Engine::create_database).
    pub async fn create_database_with_rights(
        &self,
        settings: Doc,
        mut rights: Vec<(Subject, Setting)>,
        key: &SecretKey,
    ) -> Result<Database> {
        rights.sort_by_key(|(subject, _)| *subject);
        let values = crate::store::doc::delta_of(settings)?;
        let delta = SettingsDelta { rights, values }.to_bytes();
        let mut nonce = [0; 16];
        self.environment().random(&mut nonce)?;
        let header = Header {
            origin: Origin::Root { nonce },
            parents: Vec::new(),
            height: 0,
            time: self.environment().now(),
            author: key.public(),
            stores: Vec::new(),
            signature: [0; 64],
        };
        let deltas = vec![(auth::STORE.to_owned(), auth::KIND.to_owned(), delta)];
        let refused = |rejected| invalid("the settings cannot be stored").with("reason", rejected);
        let root = VerifiedEntry::sign(header, deltas, key).map_err(refused)?;
        self.take_root(root, true, Some(key.clone())).await
    }

    /// Makes a database of somebody else known here, by its root entry. What else it holds comes with
    /// [`Database::ingest`]. A database that is known already is opened.
    ///
    /// A root is taken whatever its time says, since whoever names a database wants that one. If it is ahead of the clock
    /// here, everything above it is so, too, and waits ([`Parked::Future`](crate::Parked::Future)) until the clock has
    /// reached it but for [`Options::allowed_skew`]; what is written here then takes times after the root's, and waits likewise
    /// at others.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] if the entry is not a sound root.
    pub async fn adopt_database(&self, root: RawEntry, key: Option<SecretKey>) -> Result<Database> {
        let root = verify(root).map_err(|reason| invalid("the root entry is malformed").with("reason", reason))?;
        if !root.header().parents.is_empty() || root.bodies().iter().any(Option::is_none) {
            return Err(invalid("a database is made known by its root entry, with its bodies"));
        }
        self.take_root(root, false, key).await
    }

    async fn take_root(&self, root: VerifiedEntry, local: bool, key: Option<SecretKey>) -> Result<Database> {
        let id = root.id();
        let storage = &self.inner.storage;
        loop {
            let rows = storage.snapshot().await?;
            if rows.get(META, &database_key(&id)).await?.is_some() {
                break;
            }
            let counter = rows.get(META, b"c").await?;
            let number = DatabaseNumber(counter.as_deref().map_or(Ok(0), parse_number)?);
            let meta = Meta { epoch: storage.epoch, ..Meta::default() };
            let state = State { meta, catalog: Catalog::default(), rights: Arc::default(), marks: Default::default() };
            let core = Core::new(storage.clone(), id, number, state.clone(), 0);
            let mut work = Work::resume(&core, rows, state);
            match work.admit(root.clone(), local).await? {
                Verdict::Admitted(_) => {}
                other => return Err(invalid("the root entry is refused").with("verdict", format!("{other:?}"))),
            }
            let Some(Ready { mut batch, bytes, .. }) = work.into_batch(false) else {
                return Err(damaged("a new database"));
            };
            // The row of the database is new, not changed.
            batch.expectations.clear();
            batch.expect_absent(META, database_key(&id));
            match counter {
                Some(counter) => batch.expect_value(META, "c", counter),
                None => batch.expect_absent(META, "c"),
            }
            batch.put(META, "c", (number.0 + 1).to_be_bytes().to_vec());
            batch.put(META, database_key(&id), number.prefix().to_vec());
            batch.put(META, number.epoch_key(storage.epoch), 0u64.to_be_bytes().to_vec());
            match storage.commit(batch, bytes).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        storage.flush().await?;
        self.open_database(&id, key).await
    }

    /// Opens a database, to write with this key; without a key, to read.
    ///
    /// Errors: [`ErrorKind::NotFound`] if it is not in this store.
    pub async fn open_database(&self, id: &Id, key: Option<SecretKey>) -> Result<Database> {
        let mut open = self.inner.open.lock().await;
        if open.closed {
            return Err(closed());
        }
        if let Some((core, writer)) = open.databases.get(id) {
            let database = Database::new(core.clone(), writer.clone(), key);
            drop(open);
            return database.rebuilt().await;
        }
        let storage = &self.inner.storage;
        let row = storage.snapshot().await?.get(META, &database_key(id)).await?.ok_or_else(|| {
            let message = "this store has no such database; `list` shows those it has";
            Error::new(ErrorKind::NotFound, message).with("database", id)
        })?;
        let core = Arc::new(Core::open(storage.clone(), *id, DatabaseNumber(parse_number(&row)?)).await?);
        let (writer, task) = WriterHandle::start(core.clone());
        open.databases.insert(*id, (core.clone(), writer.clone()));
        open.writers.push(task);
        drop(open);
        Database::new(core, writer, key).rebuilt().await
    }

    /// A database to read, if it is in this store.
    pub async fn find_database(&self, id: &Id) -> Result<Option<Database>> {
        match self.open_database(id, None).await {
            Ok(database) => Ok(Some(database)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The databases in this store.
    pub async fn databases(&self) -> Result<Vec<Id>> {
        let rows = self.inner.storage.snapshot().await?;
        let found = scan_all(&*rows, Scan::prefix(META, b"i")).await?;
        found.into_iter().map(|(key, _)| Id::from_slice(&key[1..]).ok_or_else(|| damaged("a database row"))).collect()
    }

    /// A number that differs from an earlier answer if another process may have changed the store in between; always the
    /// same for a store that no other process can have open. Cheap, so that it can be asked often.
    pub async fn changed_elsewhere(&self) -> Result<u64> {
        self.inner.storage.backend.changed().await
    }

    /// A value that belongs to this node alone, and is never sent to anybody.
    pub async fn local(&self, name: &str) -> Result<Option<Bytes>> {
        self.inner.storage.snapshot().await?.get(LOCAL, name.as_bytes()).await
    }

    /// All values of this node whose names begin so.
    pub async fn locals(&self, prefix: &str) -> Result<Vec<(String, Bytes)>> {
        let rows = self.inner.storage.snapshot().await?;
        let found = scan_all(&*rows, Scan::prefix(LOCAL, prefix.as_bytes())).await?;
        let name = |key: Bytes| String::from_utf8(key.to_vec()).map_err(|_| damaged("a local value"));
        found.into_iter().map(|(key, value)| Ok((name(key)?, value))).collect()
    }

    /// Sets a value of this node if it has not changed since it was read as `before`; durable on return.
    ///
    /// Errors: [`ErrorKind::Conflict`].
    pub async fn set_local(&self, name: &str, before: Option<Bytes>, value: impl Into<Bytes>) -> Result<()> {
        self.change_locals(vec![LocalChange { name: name.to_owned(), before, after: Some(value.into()) }]).await
    }

    /// Changes several values of this node at once, if all of them are still as they were read; durable on return.
    ///
    /// Errors: [`ErrorKind::Conflict`], and then none is changed. Cancellation: all are changed or none.
    pub async fn change_locals(&self, changes: Vec<LocalChange>) -> Result<()> {
        let mut batch = WriteBatch::new();
        let mut bytes = 0;
        for LocalChange { name, before, after } in changes {
            let name = Bytes::from(name);
            bytes += name.len() + after.as_ref().map_or(0, Bytes::len);
            match before {
                Some(before) => batch.expect_value(LOCAL, name.clone(), before),
                None => batch.expect_absent(LOCAL, name.clone()),
            }
            match after {
                Some(after) => batch.put(LOCAL, name, after),
                None => batch.delete(LOCAL, name),
            }
        }
        self.inner.storage.commit(batch, bytes).await?;
        self.inner.storage.flush().await
    }

    /// Copies everything in the store, as of now, into another backend, which must be empty. The store stays in use.
    ///
    /// Errors: [`ErrorKind::AlreadyExists`] if the target holds something; those of both backends. Cancellation: the
    /// target then holds a part, and is refused as a store until it is emptied, since its first row comes last.
    pub async fn backup(&self, target: Box<dyn Backend>) -> Result<u64> {
        const BATCH: usize = 4 << 20;
        let from = self.inner.storage.snapshot().await?;
        let empty = target.snapshot().await?;
        for keyspace in eidetica_contract::Keyspace::all() {
            if !empty.scan(Scan::new(keyspace).rows(1)).await?.rows.is_empty() {
                let message = "the backup must go into a new, empty store";
                return Err(Error::new(ErrorKind::AlreadyExists, message).with("target", target.info().location));
            }
        }
        drop(empty);
        let mut copied = 0;
        // The first row of the store comes last, so that a copy that was cut off is not taken for a whole one.
        let mut last = WriteBatch::new();
        for keyspace in eidetica_contract::Keyspace::all() {
            let mut next = Some(Scan::new(keyspace).bytes(BATCH).rows(65_536));
            while let Some(scan) = next.take() {
                let page = from.scan(scan.clone()).await?;
                if let (true, Some((last, _))) = (page.more, page.rows.last()) {
                    next = Some(scan.after(last));
                }
                let mut batch = WriteBatch::new();
                copied += page.rows.len() as u64;
                for (key, value) in page.rows {
                    let is_first_row = keyspace == META && key == epoch_key();
                    if is_first_row { &mut last } else { &mut batch }.put(keyspace, key, value);
                }
                target.commit(batch).await?;
            }
        }
        target.flush().await?;
        target.commit(last).await?;
        target.close().await?;
        Ok(copied)
    }

    /// Does a piece of housekeeping in the backend. Errors: [`ErrorKind::Unsupported`] if it has no such job.
    pub async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.inner.storage.backend.maintain(job).await
    }

    /// Makes everything durable that was committed before this call.
    pub async fn flush(&self) -> Result<()> {
        self.inner.storage.flush().await
    }

    /// Flushes, ends all tasks, and closes the backend. Handles that are still held answer [`ErrorKind::Closed`] from then
    /// on. Calling it again does nothing.
    pub async fn close(&self) -> Result<()> {
        let writers = {
            let mut open = self.inner.open.lock().await;
            if std::mem::replace(&mut open.closed, true) {
                return Ok(());
            }
            for (core, writer) in std::mem::take(&mut open.databases).into_values() {
                writer.close().await;
                // Those who wait for news learn that there will be none.
                core.closed.store(true, Ordering::Release);
                core.arrivals.send_modify(|_| {});
            }
            std::mem::take(&mut open.writers)
        };
        for writer in writers {
            if let Err(error) = writer.await
                && error.is_panic()
            {
                tracing::error!("the writer of a database has panicked");
            }
        }
        self.inner.storage.close().await
    }
}

fn parse_number(row: &[u8]) -> Result<u32> {
    row.try_into().map(u32::from_be_bytes).map_err(|_| damaged("the number of a database"))
}
