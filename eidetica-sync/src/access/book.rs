//! The requests of others, as the side that was asked keeps them.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::auth::{Permission, Right};
use eidetica_core::{Database, Engine, Environment, Id};
use tokio::sync::watch;

use super::answer::{Answer, RequestId};
use super::filing::Filing;
use super::limits::{BookLimits, Pace, millis};
use super::request::{Request, Wanted};
use super::rows::{self, COUNT, Decided, Decision, REQUESTS, RequestRow, SECRET};
use crate::session::wire::Fields;

/// The requests for access that others have made to this device. A cheap handle; several processes may share the store.
///
/// One request is kept for each database and user key. What is asked anew with other words replaces what was asked before, and
/// has another [`RequestId`], so whoever approves approves what was read. Whoever asks learns nothing about a database
/// that is not there or not for others: see [`Book::ask`].
///
/// # Errors and cancellation
///
/// Besides what a method says, it answers [`ErrorKind::Corrupted`] for rows that cannot be read, [`ErrorKind::NewerFormat`] for
/// those of a newer version, and the errors of the store. Dropping a future of a method that reads changes nothing.
#[derive(Clone)]
pub struct Book {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub engine: Engine,
    device: PublicKey,
    secret: [u8; 32],
    pub limits: BookLimits,
    /// Never held across an await.
    pace: Mutex<Pace>,
    changes: watch::Sender<u64>,
    /// One request of this process is put down at a time; the others wait in order.
    pub turn: tokio::sync::Mutex<()>,
    /// How many are put down or wait for that.
    pub filing: AtomicUsize,
}

/// A request for access, as an admin sees it. Name and metadata are what the other side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootstrapRequest {
    /// The database that it is for.
    pub database: Id,
    /// The user key that is to have the right. It has signed the request.
    pub key: PublicKey,
    /// What it is to be allowed.
    pub permission: Permission,
    /// Who asks.
    pub name: String,
    /// What else was said.
    pub metadata: std::collections::BTreeMap<String, String>,
    /// A device that has asked; the session has proven its key.
    pub device: PublicKey,
    /// When it was asked first, in milliseconds since 1970 by the clock here.
    pub asked_millis: u64,
    /// How far it has come.
    pub state: RequestState,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestState {
    /// An admin has to decide.
    Pending,
    /// An admin has approved it.
    Approved {
        /// The key that the admin has used.
        by: PublicKey,
        /// When, in milliseconds since 1970 by the clock here.
        at_millis: u64,
        /// The right that was granted.
        right: Right,
    },
    /// An admin has rejected it.
    Rejected {
        /// The key that the admin has used.
        by: PublicKey,
        /// When, in milliseconds since 1970 by the clock here.
        at_millis: u64,
        /// Why; may be empty.
        reason: String,
    },
}

/// A row of the book.
pub(super) struct Entry {
    pub name: String,
    pub bytes: Bytes,
    pub row: RequestRow,
    pub wanted: Wanted,
    pub permission: Permission,
}

impl Book {
    /// The book in this store, for the device whose store it is.
    pub async fn open(engine: Engine, device: PublicKey, limits: BookLimits) -> Result<Book> {
        let secret = load_or_make_secret(&engine).await?;
        let (pace, turn, filing) = Default::default();
        let changes = watch::Sender::new(0);
        Ok(Book { shared: Arc::new(Shared { engine, device, secret, limits, pace, changes, turn, filing }) })
    }

    /// What to answer to a request that a session has brought; `origin` is where it came from, if the transport says so, and
    /// `served` the database, if it is here and served to others.
    ///
    /// The answer does not wait for the disk, and what is to be put down is handed back: send the answer first, and let
    /// [`Filing::file`] run in a task of its own. So neither the answer nor the time that it takes tells whether there is such a
    /// database, and a caller who goes away does not undo anything. A request that finds no room is answered like one that
    /// does; it is put down when it is asked again and there is room.
    ///
    /// A key that may do what it asks for is told so at once. One that was rejected stays rejected while the rejection is
    /// kept, unless it asks for less.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] if the request was made for another device.
    pub async fn ask(
        &self,
        request: &Request,
        origin: Option<&str>,
        served: Option<&Database>,
    ) -> Result<(Answer, Option<Filing>)> {
        let wanted = request.wanted();
        if *request.to() != self.shared.device || served.is_some_and(|served| *served.root_id() != wanted.database) {
            return Err(Error::new(ErrorKind::InvalidInput, "the request for access was made for something else"));
        }
        // Done for every request, so that all take the same time.
        let (id, known) = (self.id(&wanted.to_bytes()), self.entry(&wanted.database, &wanted.key).await?);
        let has = match served {
            Some(database) => database.now().right_of(wanted.key).await?,
            None => Right::NONE,
        };
        if let Some(has) = has.permission().filter(|has| wanted.permission.is_none_or(|wanted| *has >= wanted)) {
            return Ok((Answer::Granted(has), None));
        }
        let Some(permission) = wanted.permission else { return Ok((Answer::Nothing, None)) };
        if served.is_none() {
            return Ok((Answer::Pending(id), None));
        }
        let now = self.now();
        let known = known.filter(|known| !self.is_over(known, now));
        let is_new = match &known {
            None => true,
            Some(known) => match (&known.row.decision, has.permission()) {
                // An admin has granted less than was asked for, and that is the answer.
                (Decision::Approved(_, right), Some(holds)) if has >= right_from(*right) => {
                    return Ok((Answer::Granted(holds), None));
                }
                (Decision::Rejected(_, reason), _) if permission >= known.permission => {
                    let answer = Answer::Rejected { id: self.id(&known.row.wanted), reason: reason.clone() };
                    return Ok((answer, None));
                }
                (Decision::None | Decision::Begun(_), _) => !self.is_fresh(known, wanted, now),
                _ => true,
            },
        };
        let filing = is_new && self.pace().allows(&self.shared.limits, origin, now);
        Ok((Answer::Pending(id), filing.then(|| Filing::new(self.clone(), request.clone(), permission))))
    }

    /// All requests that are kept, decided ones included, in the order in which they were made.
    pub async fn requests(&self) -> Result<Vec<(RequestId, BootstrapRequest)>> {
        let now = self.now();
        let mut all: Vec<_> = self.entries().await?.into_iter().filter(|entry| !self.is_over(entry, now)).collect();
        all.sort_by_key(|entry| (entry.row.asked, entry.wanted.database, entry.wanted.key));
        Ok(all.into_iter().map(|entry| (self.id(&entry.row.wanted), entry.shown())).collect())
    }

    /// A request. Errors: [`ErrorKind::NotFound`] (`unknown_request`).
    pub async fn get(&self, id: &RequestId) -> Result<BootstrapRequest> {
        self.find(id).await.map(Entry::shown)
    }

    /// Tells when requests of this book were made or decided in this process: whoever waits for a change then reads again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    pub(super) fn changed(&self) {
        self.shared.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// What a request with these bytes is called: nobody without the secret can make two that are called the same, or tell
    /// one from another by it.
    pub(super) fn id(&self, wanted: &[u8]) -> RequestId {
        let hash = blake3::keyed_hash(&self.shared.secret, wanted);
        RequestId(std::array::from_fn(|at| hash.as_bytes()[at]))
    }

    pub(super) async fn find(&self, id: &RequestId) -> Result<Entry> {
        let now = self.now();
        let mut entries = self.entries().await?.into_iter();
        let found = entries.find(|entry| self.id(&entry.row.wanted) == *id && !self.is_over(entry, now));
        found.ok_or_else(|| unknown(id))
    }

    pub(super) async fn entry(&self, database: &Id, key: &PublicKey) -> Result<Option<Entry>> {
        let name = rows::request(database, key);
        let row = self.shared.engine.local(&name).await?;
        row.map(|row| Entry::parse(name, row)).transpose()
    }

    pub(super) async fn entries(&self) -> Result<Vec<Entry>> {
        let rows = self.shared.engine.locals(REQUESTS).await?;
        rows.into_iter().map(|(name, row)| Entry::parse(name, row)).collect()
    }

    /// The count of additions, as it is and as it will be.
    pub(super) async fn count(&self) -> Result<(Option<Bytes>, Bytes)> {
        let before = self.shared.engine.local(COUNT).await?;
        let count = before.as_deref().map(|row| rows::read::<u64>(row, "a count")).transpose()?.unwrap_or(0);
        Ok((before, rows::write(count.wrapping_add(1))))
    }

    /// True once a request is forgotten.
    pub(super) fn is_over(&self, entry: &Entry, now: u64) -> bool {
        let limits = &self.shared.limits;
        let (since, age) = match entry.row.decision {
            Decision::None => (entry.row.refreshed, limits.pending_age),
            Decision::Begun(decided) => (decided.at, limits.pending_age),
            Decision::Approved(decided, _) | Decision::Rejected(decided, _) => (decided.at, limits.decided_age),
        };
        now.saturating_sub(since) > millis(age)
    }

    /// True if this is what was put down, and of late.
    fn is_fresh(&self, entry: &Entry, wanted: &Wanted, now: u64) -> bool {
        entry.row.wanted == wanted.to_bytes()
            && now.saturating_sub(entry.row.refreshed) < millis(self.shared.limits.refresh)
    }

    pub(super) fn now(&self) -> u64 {
        self.shared.engine.environment().now().millis()
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.shared.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn parse(name: String, bytes: Bytes) -> Result<Entry> {
        let row: RequestRow = rows::read(&bytes, "a request")?;
        let mut fields = Fields::new(&row.wanted);
        let wanted = Wanted::read(&mut fields)
            .filter(|wanted| fields.is_empty() && rows::request(&wanted.database, &wanted.key) == name);
        let wanted = wanted.ok_or_else(|| rows::damaged("a request"))?;
        let permission = wanted.permission.ok_or_else(|| rows::damaged("a request"))?;
        Ok(Entry { name, bytes, row, wanted, permission })
    }

    fn shown(self) -> BootstrapRequest {
        let key = |decided: &Decided| PublicKey::from_bytes(decided.by);
        let state = match self.row.decision {
            Decision::None | Decision::Begun(_) => RequestState::Pending,
            Decision::Approved(decided, right) => {
                RequestState::Approved { by: key(&decided), at_millis: decided.at, right: right_from(right) }
            }
            Decision::Rejected(decided, reason) => {
                RequestState::Rejected { by: key(&decided), at_millis: decided.at, reason }
            }
        };
        BootstrapRequest {
            database: self.wanted.database,
            key: self.wanted.key,
            permission: self.permission,
            name: self.wanted.name,
            metadata: self.wanted.metadata,
            device: PublicKey::from_bytes(self.row.device),
            asked_millis: self.row.asked,
            state,
        }
    }
}

/// A right that allows something, as a row holds it: 1 read, 2 write, 3 and more: admin of priority 0 and more.
pub(super) fn right_number(right: Right) -> u64 {
    match right {
        Right::READ => 1,
        Right::WRITE => 2,
        right => right.priority().map_or(0, |priority| 3 + u64::from(priority)),
    }
}

fn right_from(number: u64) -> Right {
    match number {
        0 => Right::NONE,
        1 => Right::READ,
        2 => Right::WRITE,
        more => Right::admin(u32::try_from(more - 3).unwrap_or(u32::MAX)),
    }
}

pub(super) fn unknown(id: &RequestId) -> Error {
    let message = "there is no such request for access; it may have been asked anew with other words, or be too old";
    Error::new(ErrorKind::NotFound, message).with("reason", "unknown_request").with("request_id", id)
}

/// The secret that ids are made with, made when it is first needed.
async fn load_or_make_secret(engine: &Engine) -> Result<[u8; 32]> {
    loop {
        if let Some(row) = engine.local(SECRET).await? {
            return row[..].try_into().map_err(|_| rows::damaged("the secret of requests"));
        }
        let mut secret = [0; 32];
        Environment::random(engine.environment(), &mut secret)?;
        match engine.set_local(SECRET, None, secret.to_vec()).await {
            Ok(()) => return Ok(secret),
            // Another process has been faster, and its secret counts.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}
