//! Snapshots, and the connections that they are read through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Keyspace, Page, Result, Scan, Snapshot};
use rusqlite::Connection;

use crate::open::Site;
use crate::statements;
use crate::worker::{Worker, closed};
use crate::writer::{blob, execute};

/// How many connections wait for the next snapshot. More snapshots at once open further ones, which are closed again.
const IDLE: usize = 4;

/// What is read where it is called: a hop to another thread would cost more than this much reading.
const INLINE_BYTES: usize = 64 << 10;
const INLINE_ROWS: usize = 4096;
const INLINE_KEYS: usize = 256;

/// The connections for reading.
pub(crate) struct Readers {
    site: Site,
    idle: Mutex<Vec<Connection>>,
    closed: AtomicBool,
}

impl Readers {
    pub(crate) fn new(site: Site) -> Readers {
        Readers { site, idle: Mutex::new(Vec::with_capacity(IDLE)), closed: AtomicBool::new(false) }
    }

    /// From now on nothing is read any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Closes the connections that wait. Those that are lent close when they come back.
    pub(crate) fn release(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    /// The error if the store has been closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(closed()),
            false => Ok(()),
        }
    }

    /// A view of the store as it is now.
    pub(crate) fn begin(self: &Arc<Readers>) -> Result<View> {
        self.check_open()?;
        let waiting = self.idle().pop();
        let connection = match waiting {
            Some(connection) => connection,
            // The writing connection has one half of the memory for pages, those that wait here share the other.
            None => self.site.connect_for_reading(self.site.page_cache / 2 / IDLE)?,
        };
        // From here on the connection goes back when the view is dropped, also after an error.
        let view = View { connection: Some(connection), readers: self.clone() };
        view.pin().map_err(|error| self.site.translate(error))?;
        Ok(view)
    }

    /// Lets SQLite check its structures, as of now.
    pub(crate) fn check_structures(self: &Arc<Readers>) -> Result<()> {
        let _span = tracing::info_span!("sqlite check").entered();
        let view = self.begin()?;
        let check = |connection: &Connection| {
            connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))
        };
        let finding = check(view.connection()?).map_err(|error| self.site.translate(error))?;
        if finding == "ok" {
            return Ok(());
        }
        let message = "the SQLite file is damaged; restore it from a backup, or start afresh and sync";
        let error = Error::new(ErrorKind::Corrupted, message).with("path", self.site.path.display());
        Err(error.with("finding", finding))
    }

    fn take_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE && self.check_open().is_ok() {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection inside a read transaction: it sees one moment of the store.
pub(crate) struct View {
    // `None` only while it is being dropped.
    connection: Option<Connection>,
    readers: Arc<Readers>,
}

impl View {
    /// `BEGIN` alone pins nothing; the first read does. This one reads a field of the first page.
    fn pin(&self) -> rusqlite::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        execute(connection, "BEGIN")?;
        connection.prepare_cached("PRAGMA user_version")?.query_row([], |_| Ok(()))
    }

    fn connection(&self) -> Result<&Connection> {
        self.readers.check_open()?;
        self.connection.as_ref().ok_or_else(closed)
    }

    fn get_many<'a>(&self, keyspace: Keyspace, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Option<Bytes>>> {
        let connection = self.connection()?;
        let read = || {
            let mut get = connection.prepare_cached(&statements::of(keyspace).get)?;
            let value = |key| get.query([key])?.next()?.map(|row| blob(row, 0)).transpose();
            keys.map(value).collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.readers.site.translate(error))
    }

    fn scan(&self, scan: &Scan) -> Result<Page> {
        let connection = self.connection()?;
        let read = || {
            let mut statement = connection.prepare_cached(statements::of(scan.keyspace).scan(scan))?;
            let mut rows = match &scan.end {
                Some(end) => statement.query([&scan.start[..], &end[..]])?,
                None => statement.query([&scan.start[..]])?,
            };
            let mut page = Page::default();
            let mut bytes = 0;
            while let Some(row) = rows.next()? {
                let full = page.rows.len() == scan.max_rows || bytes >= scan.max_bytes;
                if full && !page.rows.is_empty() {
                    page.more = true;
                    break;
                }
                let (key, value) = (blob(row, 0)?, blob(row, 1)?);
                bytes += key.len() + value.len();
                page.rows.push((key, value));
            }
            Ok(page)
        };
        read().map_err(|error| self.readers.site.translate(error))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Ends the reading, also where pinning has failed half-way. A connection that cannot even do this is closed.
            if connection.is_autocommit() || execute(&connection, "COMMIT").is_ok() {
                self.readers.take_back(connection);
            }
        }
    }
}

/// A view that may be read from any task.
pub(crate) struct SharedView {
    view: Arc<Mutex<View>>,
    worker: Arc<Worker>,
}

impl SharedView {
    pub(crate) fn new(view: View, worker: Arc<Worker>) -> SharedView {
        SharedView { view: Arc::new(Mutex::new(view)), worker }
    }
}

#[async_trait]
impl Snapshot for SharedView {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        if keys.len() <= INLINE_KEYS
            && let Some(view) = try_lock(&self.view)
        {
            return view.get_many(keyspace, keys.iter().copied());
        }
        let view = self.view.clone();
        let keys: Vec<Box<[u8]>> = keys.iter().map(|&key| key.into()).collect();
        self.worker
            .run(move || {
                let _span = tracing::debug_span!("sqlite get", keys = keys.len()).entered();
                lock(&view).get_many(keyspace, keys.iter().map(|key| &**key))
            })
            .await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        scan.check()?;
        if scan.max_bytes <= INLINE_BYTES
            && scan.max_rows <= INLINE_ROWS
            && let Some(view) = try_lock(&self.view)
        {
            return view.scan(&scan);
        }
        let view = self.view.clone();
        self.worker
            .run(move || {
                let _span = tracing::debug_span!("sqlite scan", rows = scan.max_rows, bytes = scan.max_bytes).entered();
                lock(&view).scan(&scan)
            })
            .await
    }
}

/// `None` while the reading thread is at a long read of this view: then the short one queues behind it.
fn try_lock(view: &Mutex<View>) -> Option<MutexGuard<'_, View>> {
    match view.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn lock(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}
