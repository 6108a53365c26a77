//! Following a database: cursors, streams of changes, and callbacks.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result, Snapshot};
use tokio::sync::watch;

use super::database::Database;
use super::entries::StoredEntry;
use super::epochs;
use super::history::LogEntry;
use super::marks::Strike;
use crate::dag::Numbers;
use crate::entry::VerifiedEntry;
use crate::error::closed;
use crate::id::Id;
use crate::layout::trailing_number;
use crate::store::applier::Pages;

/// A place in the order of arrival, to go on from. It can be kept as text, and outlives restarts.
///
/// The epoch guards against numbers that a crash has taken back: a cursor whose tail was lost is told so.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::Cursor;
///
/// let (changes, cursor) = database.changes_since(Cursor::START, 100).await?;
/// assert_eq!(changes.len(), 1, "the root");
/// let kept = cursor.to_string();
/// assert_eq!(kept.parse::<Cursor>()?, database.cursor().await?);
/// # engine.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    epoch: u64,
    next: u64,
}

impl Cursor {
    /// Before everything.
    pub const START: Cursor = Cursor { epoch: 0, next: 0 };

    /// The number of the first entry after the cursor.
    pub fn next_number(&self) -> u64 {
        self.next
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.next)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Cursor> {
        let parts = text.split_once('.').and_then(|(epoch, next)| Some((epoch.parse().ok()?, next.parse().ok()?)));
        let refused =
            || Error::new(ErrorKind::InvalidInput, "a cursor is two numbers with a dot between").with("cursor", text);
        parts.map(|(epoch, next)| Cursor { epoch, next }).ok_or_else(refused)
    }
}

/// An entry that has come in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Who, when, which stores.
    pub log: LogEntry,
    /// The entry itself.
    pub entry: VerifiedEntry,
    /// Earlier entries that it has struck: they count no longer, since a right of their authors was taken away, and what they did
    /// in the stores they touch is undone.
    pub struck: Vec<Id>,
    /// Earlier entries that had been struck, and count again since it came.
    pub lifted: Vec<Id>,
    /// Where to go on after it.
    pub cursor: Cursor,
}

/// A stream of changes that misses nothing, however slow its reader is: it reads from the store and only waits for news.
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
/// let mut watch = database.watch().await?;
/// let transaction = database.new_transaction().await?;
/// transaction.get_store::<DocStore>("notes").await?.set("greeting", "hello").await?;
/// let entry = transaction.commit().await?;
///
/// let change = watch.next().await?;
/// assert_eq!((change.log.id, change.log.local), (entry, true));
/// # engine.close().await
/// # }
/// ```
pub struct Watch {
    database: Database,
    cursor: Cursor,
    ready: std::collections::VecDeque<Change>,
    arrivals: watch::Receiver<u64>,
}

/// How many changes are read at once.
const PAGE: usize = 256;
/// How often other processes are asked for news, where a store is shared.
const POLL: Duration = Duration::from_millis(50);

impl Database {
    /// The place behind everything that is here.
    pub async fn cursor(&self) -> Result<Cursor> {
        let state = self.core.current().await?;
        let meta = &state.meta;
        Ok(Cursor { epoch: meta.epoch, next: meta.next })
    }

    /// What has come in since a cursor, in the order of arrival, at most `most`, and where to go on. What was struck meanwhile, and
    /// supports nothing that counts, is left out.
    ///
    /// Errors: [`ErrorKind::CursorLost`] if a crash has lost entries that the cursor had seen; the context pair `resume`
    /// holds the cursor to go on with, behind what both still share.
    pub async fn changes_since(&self, cursor: Cursor, most: usize) -> Result<(Vec<Change>, Cursor)> {
        let mut at = cursor;
        loop {
            let (changes, next, more) = self.changes_in_page(at, most).await?;
            // Nothing on a page is left of what had come in there, maybe.
            if !changes.is_empty() || !more {
                return Ok((changes, next));
            }
            at = next;
        }
    }

    /// What is left of a page of arrivals, where to go on, and whether more have come in behind it.
    async fn changes_in_page(&self, cursor: Cursor, most: usize) -> Result<(Vec<Change>, Cursor, bool)> {
        let rows = self.core.storage.snapshot().await?;
        let state = self.core.at(&*rows).await?;
        let meta = &state.meta;
        // What was there when the next epoch began is what the epoch of the cursor has kept.
        let began = epochs::began_after(&*rows, self.core.number, cursor.epoch).await?;
        let kept = began.unwrap_or(meta.next).min(meta.next);
        if cursor.next > kept && cursor != Cursor::START {
            let resume = Cursor { epoch: meta.epoch, next: kept };
            let message = "a crash has lost entries that this cursor had seen; go on from the cursor in `resume`";
            return Err(Error::new(ErrorKind::CursorLost, message).with("cursor", cursor).with("resume", resume));
        }
        let page = rows.scan(self.core.number.entries(cursor.next, meta.next).rows(most.clamp(1, PAGE))).await?;
        let mut at = Cursor { epoch: meta.epoch, next: cursor.next };
        let mut changes = Vec::with_capacity(page.rows.len());
        let marks = &state.marks;
        let end = page.rows.last().map_or(cursor.next, |(key, _)| trailing_number(key) + 1);
        // Without a settings entry beside the root nothing was ever struck.
        let strikes = match state.rights.may_strike() {
            true => Strike::between(&*rows, self.core.number, cursor.next, end).await?,
            false => Vec::new(),
        };
        for (key, row) in &page.rows {
            let stored = StoredEntry::parse(trailing_number(key), row)?;
            at.next = stored.number + 1;
            if marks.dead.contains(stored.number) {
                continue;
            }
            let strike = strikes.iter().find(|(by, _)| *by == stored.number).map(|(_, strike)| strike.clone());
            let strike = strike.unwrap_or_default();
            let struck = self.ids_of(&*rows, &strike.struck).await?;
            let lifted = self.ids_of(&*rows, &strike.lifted).await?;
            let log = LogEntry::of(&stored, marks);
            changes.push(Change { log, entry: stored.entry, struck, lifted, cursor: at });
        }
        let more = at.next < meta.next && !page.rows.is_empty();
        Ok((changes, at, more))
    }

    async fn ids_of(&self, rows: &dyn Snapshot, numbers: &Numbers) -> Result<Vec<Id>> {
        let mut ids = Vec::new();
        for (start, end) in numbers.ranges() {
            let mut pages = Pages::new(rows, self.core.number.entries(*start, *end));
            while let Some(page) = pages.next().await? {
                for (key, row) in page {
                    ids.push(StoredEntry::parse(trailing_number(&key), &row)?.entry.id());
                }
            }
        }
        Ok(ids)
    }

    /// Streams what comes in from now on, local and remote.
    pub async fn watch(&self) -> Result<Watch> {
        // Subscribed first: what comes between the two is then found, not lost.
        let arrivals = self.core.arrivals.subscribe();
        let cursor = self.cursor().await?;
        Ok(Watch { database: self.clone(), cursor, ready: Default::default(), arrivals })
    }

    /// Waits until something has come in behind a cursor, and says where it ends; reads none of it.
    ///
    /// A cursor from before a crash that lost entries counts as passed. Errors: [`ErrorKind::Closed`] when the database is
    /// closed. Cancellation: nothing has changed.
    pub async fn arrival_after(&self, cursor: Cursor) -> Result<Cursor> {
        let mut arrivals = self.core.arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            let now = self.cursor().await?;
            if now != cursor {
                return Ok(now);
            }
            self.arrival(&mut arrivals).await?;
        }
    }

    /// Waits for news of arrivals: those of this process, or the time to look for those of others.
    async fn arrival(&self, arrivals: &mut watch::Receiver<u64>) -> Result<()> {
        if self.core.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if !self.core.storage.shared {
            return arrivals.changed().await.map_err(|_| closed());
        }
        match tokio::time::timeout(POLL, arrivals.changed()).await {
            Ok(changed) => changed.map_err(|_| closed()),
            Err(_) => Ok(()),
        }
    }

    /// Streams what has come in since a cursor, and then what comes.
    pub fn watch_from(&self, cursor: Cursor) -> Watch {
        let arrivals = self.core.arrivals.subscribe();
        Watch { database: self.clone(), cursor, ready: Default::default(), arrivals }
    }
}

impl Watch {
    /// The next change; waits for one.
    ///
    /// Errors: as for [`Database::changes_since`]; [`ErrorKind::Closed`] when the database is closed. Cancellation: nothing
    /// is lost; the next call goes on at the same place.
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                self.cursor = change.cursor;
                return Ok(change);
            }
            self.arrivals.mark_unchanged();
            let (changes, cursor) = self.database.changes_since(self.cursor, PAGE).await?;
            if changes.is_empty() {
                self.cursor = cursor;
                self.database.arrival(&mut self.arrivals).await?;
            }
            self.ready.extend(changes);
        }
    }

    /// Where the stream stands: behind the last change that [`next`](Watch::next) has returned.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }
}

/// A group of entries that has become visible.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteEvent {
    /// True if they were committed here.
    pub local: bool,
    /// The entries, in the order of their arrival.
    pub entries: Vec<Id>,
    /// The heads before.
    pub previous: Vec<Id>,
    /// The heads after.
    pub tips: Vec<Id>,
    /// Earlier entries that count no longer, since a right of their authors was taken away: what they did is undone.
    pub struck: Vec<Id>,
    /// Earlier entries that had been struck and count again.
    pub lifted: Vec<Id>,
}

type Callback = Box<dyn Fn(&WriteEvent) + Send + Sync>;

thread_local! {
    /// The callbacks that are being called on this thread: of which databases, as their addresses.
    static CALLED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The callbacks of a database.
#[derive(Default)]
pub(crate) struct Callbacks {
    next: AtomicU64,
    registered: Arc<Mutex<Vec<Registered>>>,
}

struct Registered {
    number: u64,
    local: bool,
    call: Arc<Callback>,
}

/// Ends the calls of a callback when it is dropped.
#[derive(Debug)]
pub struct CallbackGuard {
    number: u64,
    registered: Weak<Mutex<Vec<Registered>>>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "callback {}", self.number)
    }
}

impl Callbacks {
    pub fn add(&self, local: bool, call: Callback) -> CallbackGuard {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.registered).push(Registered { number, local, call: Arc::new(call) });
        CallbackGuard { number, registered: Arc::downgrade(&self.registered) }
    }

    /// The error for who would wait within a callback for the writer that is calling it.
    pub fn refuse_within(&self) -> Result<()> {
        if CALLED.with_borrow(|called| called.contains(&self.address())) {
            let message = "a write callback must not wait for its own database, which waits for the callback; hand the work \
                           to a task";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }

    /// The callbacks lie in what all handles of the database share, and do not move.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Calls them, outside the lock, so that a callback may register or end others.
    pub fn call(&self, event: &WriteEvent) {
        CALLED.with_borrow_mut(|called| called.push(self.address()));
        self.call_each(event);
        CALLED.with_borrow_mut(|called| {
            called.pop();
        });
    }

    fn call_each(&self, event: &WriteEvent) {
        let calls: Vec<Arc<Callback>> = lock(&self.registered)
            .iter()
            .filter(|registered| registered.local == event.local)
            .map(|registered| registered.call.clone())
            .collect();
        for call in calls {
            // A callback that panics must not end the writer of the database.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(event))).is_err() {
                tracing::error!("a write callback has panicked");
            }
        }
    }
}

impl Drop for CallbackGuard {
    fn drop(&mut self) {
        if let Some(registered) = self.registered.upgrade() {
            lock(&registered).retain(|registered| registered.number != self.number);
        }
    }
}

fn lock(registered: &Mutex<Vec<Registered>>) -> std::sync::MutexGuard<'_, Vec<Registered>> {
    registered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
