//! Transactions: a snapshot, what is to change on it, and how that becomes one entry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result};

use super::as_of::AsOf;
use super::core::Core;
use super::entries::entry_at;
use super::ingest::Refused;
use super::meta::Tip;
use super::used::{Touch, Used};
use super::work::{Verdict, Work};
use super::writer::WriterHandle;
use crate::auth::{self, Right, Setting, Subject};
use crate::dag::Seen;
use crate::entry::{Header, Origin, Rejected, VerifiedEntry};
use crate::id::Id;
use crate::key::SecretKey;
use crate::limits::MAX_PARENTS;
use crate::store::algebra::Delta;
use crate::store::stage::Staged;
use crate::store::{StoreHandle, StoreType};

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It survives a crash of the process, of the system and of the power.
    #[default]
    Flushed,
    /// It is visible, and becomes durable within about 100 ms. A crash may lose it, but only together with all that was
    /// committed after it.
    Buffered,
}

/// What a commit has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The new entry; if nothing was written, the head of the snapshot with the greatest time and id.
    pub id: Id,
    /// False if the transaction changed nothing, and so wrote nothing.
    pub written: bool,
    /// What somebody should look at, though the commit is made. Empty where all is as it should be.
    pub warnings: Vec<Warning>,
}

/// Something about a commit that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The entry had to be given a time that is further ahead of the clock here than
    /// [`Options::allowed_skew`](crate::Options::allowed_skew), since an entry that is here is that late. Peers whose clocks
    /// are right let it wait until then. Either the clock here runs behind, or that of somebody else has run ahead.
    AheadOfClock {
        /// How far ahead of the clock here.
        by: Duration,
    },
    /// A head was left out, since it would have brought many void entries along: see
    /// [`Database::left_out`](crate::Database::left_out).
    LeavesOut {
        /// The head.
        head: Id,
        /// How many void entries.
        void: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::AheadOfClock { by } => {
                let seconds = by.as_secs();
                write!(f, "the entry is {seconds} s ahead of the clock here, so peers let it wait; check the clock")
            }
            Warning::LeavesOut { head, void } => {
                write!(
                    f,
                    "the entry does not stand on the head {head}, which carries {void} entries that do not count; whoever wrote that \
                     head has taken up what somebody without a right had written"
                )
            }
        }
    }
}

/// Changes that become visible together, or not at all.
///
/// A transaction sees its database as it was when the transaction began, and its own changes. It becomes one signed entry.
/// Where nothing that it has read or written was touched since, that entry stands above everything that is here by then;
/// otherwise above what the transaction has seen, so that what it did not see is concurrent with it, honestly.
///
/// Handles are cheap to clone. Dropping all of them without a commit changes nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::{Durability, store::DocStore};
///
/// let transaction = database.new_transaction().await?;
/// let notes = transaction.get_store::<DocStore>("notes").await?;
/// notes.set("greeting", "hello").await?;
/// // It sees its own changes, and nobody else does.
/// assert!(notes.contains_key("greeting").await?);
/// assert!(!database.get_store_viewer::<DocStore>("notes").await?.contains_key("greeting").await?);
///
/// let committed = transaction.commit_with(Durability::Buffered).await?;
/// assert!(committed.written && committed.warnings.is_empty());
/// # engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Transaction {
    pub(crate) state: Arc<TransactionState>,
}

/// What the stores of one transaction share.
pub(crate) struct TransactionState {
    pub core: Arc<Core>,
    pub writer: WriterHandle,
    /// What it sees.
    pub as_of: Arc<AsOf>,
    heads: Vec<Tip>,
    /// True if the entry must stand directly above the heads.
    fixed: bool,
    key: Option<SecretKey>,
    stage: Mutex<Stage>,
}

#[derive(Clone, Default)]
struct Stage {
    stores: BTreeMap<(String, String), Staged>,
    used: Vec<Touch>,
    /// True if the author steps down with an entry of its own, right above the one of the transaction.
    steps_down: bool,
    done: bool,
}

impl Transaction {
    pub(crate) fn new(
        core: Arc<Core>,
        writer: WriterHandle,
        heads: Vec<Tip>,
        as_of: AsOf,
        fixed: bool,
        key: Option<SecretKey>,
    ) -> Transaction {
        let as_of = Arc::new(as_of);
        let state = TransactionState { core, writer, as_of, heads, fixed, key, stage: Mutex::default() };
        Transaction { state: Arc::new(state) }
    }

    /// A store of the database, as this transaction sees it, to read and to write. A store comes into being with its
    /// first entry.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for a name that is empty, too long or reserved; [`ErrorKind::WrongType`] if
    /// the name belongs to a store of another kind; those of the backend. Cancellation: nothing has changed.
    pub async fn get_store<S: StoreType>(&self, name: &str) -> Result<S> {
        Ok(S::open(StoreHandle::in_transaction(self.state.clone(), name, S::KIND).await?))
    }

    /// Makes the changes visible and durable. Returns the id of the new entry, or, if nothing was changed, that of the
    /// head of the snapshot with the greatest time and id.
    ///
    /// Errors, after each of which nothing was written: [`ErrorKind::PermissionDenied`], saying which right is missing, also if
    /// it was taken away where the transaction did not see it; [`ErrorKind::Conflict`] if it was committed before, or, to be tried
    /// again, if what it stands on counts no longer; [`ErrorKind::TooLarge`]; and those of the backend. An error
    /// of the flush alone leaves the entry visible and its durability unknown.
    ///
    /// Cancellation: when the future is dropped, the commit takes place whole or not at all.
    pub async fn commit(self) -> Result<Id> {
        Ok(self.commit_with(Durability::Flushed).await?.id)
    }

    /// Ends the transaction without a commit, whoever else holds a handle of it.
    pub(crate) fn give_up(&self) {
        *self.state.stage() = Stage { done: true, ..Stage::default() };
    }

    /// Commits with a choice of durability. Errors and cancellation as for [`commit`](Transaction::commit).
    pub async fn commit_with(self, durability: Durability) -> Result<Committed> {
        let stage = {
            let mut stage = self.state.stage();
            if stage.done {
                let message = "the transaction has been committed before; begin another one";
                return Err(Error::new(ErrorKind::Conflict, message).retry(eidetica_contract::Retry::Never));
            }
            std::mem::replace(&mut *stage, Stage { done: true, ..Stage::default() })
        };
        let Some(intent) = self.intent(stage)? else {
            let newest = self.state.heads.iter().max_by_key(|head| (head.time, head.id));
            let id = newest.map_or(self.state.core.id, |head| head.id);
            if durability == Durability::Flushed {
                // Whoever is told this id is to find it after a crash, whoever has written it.
                self.state.core.storage.flush().await?;
            }
            return Ok(Committed { id, written: false, warnings: Vec::new() });
        };
        let committed = self.state.writer.commit(intent).await?;
        if durability == Durability::Flushed {
            self.state.core.storage.flush().await?;
        }
        Ok(committed)
    }

    /// What the commit would order, if it has anything to write.
    pub(super) fn intended(&self) -> Result<Option<Intent>> {
        let stage = self.state.stage().clone();
        if stage.done {
            return Err(Error::new(ErrorKind::Closed, "the transaction has been committed; begin another one"));
        }
        self.intent(stage)
    }

    /// What is staged, as an order; `None` if that is nothing.
    fn intent(&self, stage: Stage) -> Result<Option<Intent>> {
        let Stage { stores, used, steps_down, .. } = stage;
        let limits = stores.values().any(Staged::limits_rights);
        let mut deltas = Vec::new();
        for ((name, kind), staged) in stores.into_iter().filter(|(_, staged)| !staged.is_empty()) {
            let (delta, body) = staged.into_delta()?;
            deltas.push(NewDelta { name, kind, body, delta });
        }
        if deltas.is_empty() && !steps_down {
            return Ok(None);
        }
        let size: usize = deltas.iter().map(|new: &NewDelta| new.body.len()).sum();
        if size > crate::limits::MAX_BODIES {
            let message = "the transaction is larger than one entry may be; split it";
            let error = Error::new(ErrorKind::TooLarge, message).with("bytes", size);
            return Err(error.with("limit", crate::limits::MAX_BODIES));
        }
        let key = self.state.key.clone().ok_or_else(no_key)?;
        let state = &self.state;
        let fixed = state.fixed || limits;
        let used = Used::new(used);
        let farewell = if steps_down { Some(vec![stepping_down(&key)?]) } else { None };
        let (heads, seen) = (state.heads.clone(), state.as_of.all.clone());
        Ok(Some(Intent { deltas, farewell, heads, seen, fixed, used, key }))
    }
}

/// The delta with which a key steps down to nothing.
fn stepping_down(key: &SecretKey) -> Result<NewDelta> {
    let mut staged = Staged::new(auth::KIND);
    if let Staged::Settings { rights, .. } = &mut staged {
        rights.insert(Subject::Key(key.public()), Setting::Limit(Right::NONE));
    }
    let (delta, body) = staged.into_delta()?;
    Ok(NewDelta { name: auth::STORE.to_owned(), kind: auth::KIND.to_owned(), body, delta })
}

impl TransactionState {
    /// Notes that something was read or written.
    pub fn touch(&self, touch: Touch) {
        self.stage().used.push(touch);
    }

    /// Looks at what is staged for a store, or changes it.
    pub fn staged<T>(&self, name: &str, kind: &str, act: impl FnOnce(&mut Staged) -> T) -> T {
        let mut stage = self.stage();
        let staged = stage.stores.entry((name.to_owned(), kind.to_owned())).or_insert_with(|| Staged::new(kind));
        act(staged)
    }

    /// The public part of the key that it will be signed with. Errors: `PermissionDenied` without one.
    pub fn author(&self) -> Result<PublicKey> {
        self.key.as_ref().map(SecretKey::public).ok_or_else(no_key)
    }

    /// Has the author step down right after the commit.
    pub fn step_down_after(&self) {
        self.stage().steps_down = true;
    }

    /// True once it has been committed; nothing can be staged then.
    pub fn is_done(&self) -> bool {
        self.stage().done
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn no_key() -> Error {
    let message = "the database was opened without a key, so nothing can be signed; open it with one to write";
    Error::new(ErrorKind::PermissionDenied, message)
}

/// A transaction on its way to become an entry.
pub(crate) struct Intent {
    deltas: Vec<NewDelta>,
    /// What the author does with an entry of its own, above all that is here by then, in the same batch or not at all.
    farewell: Option<Vec<NewDelta>>,
    heads: Vec<Tip>,
    pub seen: Seen,
    fixed: bool,
    pub used: Used,
    key: SecretKey,
}

/// What a transaction does to one store: the delta, and the bytes that it becomes.
pub(crate) struct NewDelta {
    pub name: String,
    pub kind: String,
    pub body: Bytes,
    pub delta: Delta,
}

/// What became of an intent.
pub(crate) enum Commitment {
    Done(Committed),
    Refused(Error),
}

impl Intent {
    /// Becomes an entry. `untouched` says that nothing it has used was touched since its snapshot.
    pub async fn happen(&self, work: &mut Work<'_>, untouched: bool) -> Result<Commitment> {
        let now = work.state.heads_to_take(&work.rows, &work.core.graph, &work.fresh).await?;
        // Others may be heavy by now than were so when it began: it stands on what it has seen in any case.
        let covered = now.left_out.is_empty() || {
            let numbers: Vec<u64> = now.taken.iter().map(|tip| tip.number).collect();
            let seen = work.core.graph.seen_by_fresh(&work.rows, &work.fresh, &numbers).await?;
            self.heads.iter().all(|head| seen.contains(head.number))
        };
        let parents = if self.fixed || !untouched || !covered { self.heads.clone() } else { now.taken.clone() };
        let is_parent = |id: &Id| parents.iter().any(|parent| parent.id == *id);
        let left_out: Vec<(Id, u64)> = now.left_out.into_iter().filter(|(id, _)| !is_parent(id)).collect();
        if let Some(void) = parents.iter().find(|parent| work.state.marks.void.contains(parent.number)) {
            let message = "an entry that the transaction stands on counts no longer, since a right of its author was taken away; \
                           do it again on what is there now";
            return Ok(Commitment::Refused(Error::new(ErrorKind::Conflict, message).with("entry", void.id)));
        }
        let stands_on_all =
            || parents.len() == now.taken.len() && parents.iter().all(|p| now.taken.iter().any(|tip| tip.id == p.id));
        if self.farewell.is_some() && !stands_on_all() {
            // The farewell would strike settings of the same author that it has not seen.
            let message = "the settings have changed since the transaction began; do it again on what is there now";
            return Ok(Commitment::Refused(Error::new(ErrorKind::Conflict, message)));
        }
        if parents.len() <= MAX_PARENTS && self.farewell.is_none() {
            return Ok(match self.write(work, &parents, &self.deltas).await? {
                Ok(tip) => Commitment::Done(done(work, &tip, left_out)),
                Err(error) => Commitment::Refused(error),
            });
        }
        let before = work.save();
        let commitment = self.merge_and_write(work, parents, left_out).await?;
        if matches!(commitment, Commitment::Refused(_)) {
            // What was merged for it goes, too.
            work.restore(before);
        }
        Ok(commitment)
    }

    /// With more heads than an entry may have parents, entries without a change bring them together first.
    async fn merge_and_write(
        &self,
        work: &mut Work<'_>,
        mut parents: Vec<Tip>,
        left_out: Vec<(Id, u64)>,
    ) -> Result<Commitment> {
        while parents.len() > MAX_PARENTS {
            let some: Vec<Tip> = parents.drain(..MAX_PARENTS).collect();
            match self.write(work, &some, &[]).await? {
                Ok(merge) => parents.push(merge),
                Err(error) => return Ok(Commitment::Refused(error)),
            }
        }
        for deltas in [Some(&self.deltas), self.farewell.as_ref()].into_iter().flatten() {
            if deltas.is_empty() {
                continue;
            }
            match self.write(work, &parents, deltas).await? {
                Ok(tip) => parents = vec![tip],
                Err(error) => return Ok(Commitment::Refused(error)),
            }
        }
        Ok(Commitment::Done(done(work, &parents[0], left_out)))
    }

    async fn write(&self, work: &mut Work<'_>, parents: &[Tip], deltas: &[NewDelta]) -> Result<Result<Tip, Error>> {
        let Some(time) = work.time_after(&work.core.storage, parents) else {
            return Ok(Err(Error::new(ErrorKind::Internal, "the clock has reached the end of its range")));
        };
        let height = parents.iter().map(|parent| parent.height + 1).max().unwrap_or(0);
        let header = Header {
            origin: Origin::Database(work.core.id),
            parents: parents.iter().map(|parent| parent.id).collect(),
            height,
            time,
            author: self.key.public(),
            stores: Vec::new(),
            signature: [0; 64],
        };
        let bodies = deltas.iter().map(|new| (new.name.clone(), new.kind.clone(), new.body.clone())).collect();
        let entry = match VerifiedEntry::sign(header, bodies, &self.key) {
            Ok(entry) => entry,
            Err(rejected) => return Ok(Err(not_an_entry(&rejected))),
        };
        let id = entry.id();
        Ok(match work.admit_local(entry, deltas).await? {
            Verdict::Admitted(number) => Ok(Tip { id, number, height, time }),
            Verdict::Refused(Refused::Denied(denied)) => {
                let error =
                    Error::new(ErrorKind::PermissionDenied, "the commit was not made: the right for it is missing");
                Err(error.with("reason", denied).with("key", self.key.public()))
            }
            Verdict::WouldBeVoid { by } => {
                let message =
                    "the commit was not made: the right for it has been taken away since the transaction began";
                let error = Error::new(ErrorKind::PermissionDenied, message).with("key", self.key.public());
                Err(match by {
                    Some(by) => error.with("struck_by", entry_at(&work.rows, work.core.number, by).await?.entry.id()),
                    None => error,
                })
            }
            other => {
                Err(Error::new(ErrorKind::Internal, "a local entry was not admitted")
                    .with("verdict", format!("{other:?}")))
            }
        })
    }
}

/// A commit that has become an entry.
fn done(work: &Work<'_>, tip: &Tip, left_out: Vec<(Id, u64)>) -> Committed {
    let options = &work.core.storage.options;
    let now = options.environment.now();
    let mut warnings = Vec::new();
    if tip.time > now.plus(options.allowed_skew) {
        let by = Duration::from_millis(tip.time.millis() - now.millis());
        let warning = Warning::AheadOfClock { by };
        tracing::warn!(entry = %tip.id, "{warning}");
        warnings.push(warning);
    }
    warnings.extend(left_out.into_iter().map(|(head, void)| Warning::LeavesOut { head, void }));
    Committed { id: tip.id, written: true, warnings }
}

pub(crate) fn not_an_entry(rejected: &Rejected) -> Error {
    let kind = if *rejected == Rejected::TooLong { ErrorKind::TooLarge } else { ErrorKind::InvalidInput };
    Error::new(kind, "the transaction makes no valid entry").with("reason", rejected)
}
