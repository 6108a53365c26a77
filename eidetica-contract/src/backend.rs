//! The contract of a backend.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Error, ErrorKind, Result};

/// An ordered key-value store with atomic batches and snapshots.
///
/// A store holds sixteen [`Keyspace`]s. Each maps byte strings to byte strings, ordered by their bytes. Any key of 0 to
/// [`Limits::max_key`] bytes and any value of 0 to [`Limits::max_value`] bytes must be kept exactly, NUL bytes included.
///
/// All writing goes through [`commit`](Backend::commit), all reading through [`snapshot`](Backend::snapshot).
///
/// # Order
///
/// The commits of one store have one order, the *commit order*. Every snapshot shows the effect of a prefix of it, and a
/// later snapshot never shows a shorter prefix than an earlier one.
///
/// # Opening
///
/// Each backend has its own ways to open a store, and one by URL: [`BackendEntry::open`](crate::BackendEntry::open). For all of them holds:
///
/// * What lies at the place and is no store of this backend is refused with [`ErrorKind::InvalidInput`], or with [`ErrorKind::Corrupted`] where it cannot
///   be told from a store whose beginning is damaged, and is left as it is. An empty file may be taken for a new store, since a crash may leave one.
/// * A place that does not exist, such as a file in a directory that nobody has made, is [`ErrorKind::NotFound`], and is not made.
/// * A store of a newer version is [`ErrorKind::NewerFormat`], and one that is recognised and damaged `Corrupted`; both are left as they are.
///
/// # Sharing
///
/// A backend whose store several processes may have open says so in [`Capabilities::shared`], and then each of them sees
/// one commit order. Any other backend sees to it that a store is open once: it holds a lock for as long as it has the store
/// open, and a second opening, by this process or another, answers [`ErrorKind::Locked`] and changes nothing.
///
/// # Crashes
///
/// After a crash a store opens by itself: the backend cuts off what was written halfway (a torn record at the end of a log,
/// say), back to a prefix of the commit order that holds at least all that was flushed. Nobody is asked to repair
/// anything, and [`ErrorKind::Corrupted`] is for damage that no crash explains.
///
/// # What may block
///
/// The methods are called from tasks. A point read, or a page of at most 64 KiB, may block the thread that polls it, and so
/// may a commit for as long as a write into the page cache of the system takes. Opening, flushing, closing, maintenance,
/// longer scans, and waiting for the disk, for another process or for a lock that is held meanwhile belong on threads of
/// the backend.
///
/// # Closing
///
/// Once [`close`](Backend::close) has begun, every method but [`info`](Backend::info) and `close` itself answers
/// [`ErrorKind::Closed`]; `info` answers what it has always answered. Calls that began before come to their end or answer
/// `Closed`; a commit that answers `Closed` has written nothing. Dropping the last handle without closing must not
/// damage the store: it is then found as after a crash.
///
/// # Where to look
///
/// `Memory` of the crate `eidetica-core` is this contract as code. The crate `eidetica-conformance` checks it, sentence by
/// sentence, on any backend. `eidetica-backend-sqlite` and `eidetica-backend-redb` are two engines of quite different kinds.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What this backend is and what it can do. Constant while the store is open; never waits.
    fn info(&self) -> BackendInfo;

    /// Applies a batch.
    ///
    /// * **Atomic**: all of its operations take effect, in their order, or none does.
    /// * **Expectations** are compared with the state directly before the batch, with no commit in between, also none of
    ///   another process. If one fails nothing is written and the answer is [`ErrorKind::Conflict`] with the context
    ///   pairs `keyspace` and `key` (hexadecimal) of the first that failed.
    /// * **Visible**: when this returns, every snapshot that is begun later shows the batch.
    /// * **Not yet durable**: that is what [`flush`](Backend::flush) is for.
    /// * An empty batch succeeds and does nothing.
    /// * **Unknown** kinds of operations, of a later version of this contract, are answered [`ErrorKind::Unsupported`] before
    ///   anything of the batch takes effect.
    ///
    /// Errors: `Conflict`; [`ErrorKind::TooLarge`] if a key or a value is over the limits; [`ErrorKind::Full`],
    /// [`ErrorKind::ReadOnly`], [`ErrorKind::Locked`] if somebody else keeps it locked for too long,
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::Corrupted`], `Unsupported`, [`ErrorKind::Io`] and [`ErrorKind::Closed`].
    /// After any of them nothing of the batch is visible, now or later. After `Closed` the store has to be opened again, after
    /// `Corrupted` and `Io` nothing more is promised than that; after all others it can be used on, and `Conflict`, `Full` and
    /// `Locked` may go away by themselves.
    ///
    /// Cancellation: when the future is dropped the batch is applied whole or not at all.
    async fn commit(&self, batch: WriteBatch) -> Result<()>;

    /// Makes durable everything whose commit returned before this was called.
    ///
    /// After a crash of the process, of the system or of the power, the store holds a prefix of the commit order that
    /// includes at least all that was flushed.
    ///
    /// Errors: `Full`, `Locked`, `Io`, `Corrupted`, `Closed`. After an error it is unknown what is durable.
    ///
    /// A later flush must not claim more than is true. A system whose sync has failed may have dropped the pages that it could
    /// not write, and reports success for them from then on. So after a failed sync a backend writes once more what it has
    /// not yet made durable, or answers every further flush with an error; and a store that is opened anew does not
    /// take for durable what it finds in a cache of the system, but writes it once more before its first flush succeeds. What it
    /// has noted as synced, after a sync that succeeded, need not be written again.
    ///
    /// Cancellation: when the future is dropped, the flush may or may not take place.
    async fn flush(&self) -> Result<()>;

    /// A view of the store as it is now, which later commits do not change.
    ///
    /// Errors: `Closed`, `Locked`, `Corrupted`, `Io`. Cancellation: nothing has changed.
    ///
    /// Cheap: the cost does not depend on how much the store holds. Callers drop a snapshot soon, since an engine may have
    /// to keep old versions for it; but one that is kept stays correct.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// A number that differs from an earlier answer if somebody else may have committed in between: another process, or
    /// another handle on the same store. Commits through this handle do not change it. It may change without a reason, now and
    /// then; it must not stay the same where there is one.
    ///
    /// Errors: `Closed`, and those of reading. Default: always 0, which is right where one process owns the store ([`Capabilities::shared`] is false).
    async fn changed(&self) -> Result<u64> {
        Ok(0)
    }

    /// Does one piece of housekeeping. The contents of the store stay what they are, after an error, too. It works while snapshots are held.
    ///
    /// Errors: `Unsupported` for a job that is not among the [`Capabilities`] or that this version does not know, before
    /// anything is done; `Corrupted` as what a check has found; those of [`commit`](Backend::commit). Default: `Unsupported`. Cancellation: the job may go on in the background.
    async fn maintain(&self, job: Maintenance) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "this backend has no such maintenance job")
            .with("job", format!("{job:?}")))
    }

    /// Flushes, then releases files, threads and locks. When it returns the store can be opened again. So it
    /// can while this process starts others, which have its files open until their own programs run, and with them a lock of
    /// `flock(2)` that was dropped rather than given back by a call.
    ///
    /// Errors: those of [`flush`](Backend::flush), and `Io`. It has closed all the same: everything is released, and what was
    /// not flushed is as after a crash. Calling it again succeeds and does nothing, after an error as well. Snapshots that are still held answer `Closed` or stay usable, at the
    /// choice of the backend. Cancellation: closing may go on in the background.
    async fn close(&self) -> Result<()>;
}

/// A view of a store at one moment.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// The values of these keys, in the order of the keys; `None` for a key that is absent.
    ///
    /// A key over the limit is simply absent. Errors, as for [`scan`](Snapshot::scan): `Corrupted`, `Io`, `Closed`. Cancellation: reading has no effect.
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>>;

    /// One page of a range, in the order that the scan asks for.
    ///
    /// The page holds at most `scan.max_rows` rows, and ends after the row with which its keys and values reach
    /// `scan.max_bytes`; but it always holds at least one row if the range has one. [`Page::more`] is true if and only if
    /// the range holds further rows. `max_rows` of 0 is [`ErrorKind::InvalidInput`]. A start that is not below the end is
    /// an empty range.
    async fn scan(&self, scan: Scan) -> Result<Page>;

    /// The value of one key.
    async fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.get_many(keyspace, &[key]).await?.pop().flatten())
    }
}

/// One of the sixteen ordered maps of a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keyspace(u8);

impl Keyspace {
    /// How many keyspaces a store has.
    pub const COUNT: u8 = 16;

    /// The keyspace with this number.
    ///
    /// # Panics
    ///
    /// If the number is not below [`Keyspace::COUNT`]. In a constant, as meant, this is an error of compilation; use
    /// [`Keyspace::from_number`] for a number that comes from outside.
    pub const fn new(number: u8) -> Keyspace {
        assert!(number < Keyspace::COUNT, "a keyspace has a number below 16");
        Keyspace(number)
    }

    /// The keyspace with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Keyspace> {
        if number < Keyspace::COUNT { Some(Keyspace(number)) } else { None }
    }

    /// Its number, 0 to 15.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All keyspaces, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Keyspace> {
        (0..Keyspace::COUNT).map(Keyspace)
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({})", self.0)
    }
}

/// What a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The name of the engine, for people: `sqlite`.
    pub name: String,
    /// Where the data lies, for people: a path, an address, `memory`.
    pub location: String,
    /// What fits.
    pub limits: Limits,
    /// What it can do beyond the required methods.
    pub capabilities: Capabilities,
}

impl BackendInfo {
    /// An engine at a location, with the required limits and no further capabilities.
    pub fn new(name: impl Into<String>, location: impl Into<String>) -> BackendInfo {
        BackendInfo {
            name: name.into(),
            location: location.into(),
            limits: Limits::default(),
            capabilities: Capabilities::default(),
        }
    }

    /// Says what fits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> BackendInfo {
        self.limits = limits;
        self
    }

    /// Says what it can do.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> BackendInfo {
        self.capabilities = capabilities;
        self
    }
}

/// What fits into a store. The default is what every backend must take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest key in bytes; at least 1,024.
    pub max_key: usize,
    /// The longest value in bytes; at least 16 MiB.
    pub max_value: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_key: 1024, max_value: 16 << 20 }
    }
}

/// What a backend can do beyond the required methods. What is not declared is checked to be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What was flushed survives the end of the process, and that of the system and of the power as [`Backend::flush`] says.
    pub durable: bool,
    /// Several processes may have the store open at once; [`Backend::changed`] then tells of their commits.
    pub shared: bool,
    /// [`Maintenance::Compact`] works.
    pub compact: bool,
    /// [`Maintenance::Check`] works.
    pub check: bool,
}

impl Capabilities {
    /// None at all.
    pub const fn none() -> Capabilities {
        Capabilities { durable: false, shared: false, compact: false, check: false }
    }

    /// Declares that what was flushed survives.
    #[must_use]
    pub const fn durable(mut self) -> Capabilities {
        self.durable = true;
        self
    }

    /// Declares that several processes may share the store.
    #[must_use]
    pub const fn shared(mut self) -> Capabilities {
        self.shared = true;
        self
    }

    /// Declares [`Maintenance::Compact`].
    #[must_use]
    pub const fn compact(mut self) -> Capabilities {
        self.compact = true;
        self
    }

    /// Declares [`Maintenance::Check`].
    #[must_use]
    pub const fn check(mut self) -> Capabilities {
        self.check = true;
        self
    }
}

/// A piece of housekeeping. More kinds may come; a backend answers those it does not know with
/// [`ErrorKind::Unsupported`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintenance {
    /// Give space that is no longer used back to the file system.
    Compact,
    /// Check the engine's own structures; damage is answered as [`ErrorKind::Corrupted`].
    Check,
}

/// Operations to apply together, and what must hold before them.
///
/// ```
/// use eidetica_contract::{Keyspace, WriteBatch};
///
/// const NOTES: Keyspace = Keyspace::new(0);
/// let mut batch = WriteBatch::new();
/// batch.expect_absent(NOTES, "greeting");
/// batch.put(NOTES, "greeting", "hello");
/// assert_eq!(batch.operations.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteBatch {
    /// Checked first, all of them.
    pub expectations: Vec<Expectation>,
    /// Applied in this order.
    pub operations: Vec<Operation>,
}

/// What a key must hold directly before a batch is applied. Should there ever be other ways to expect something, they come
/// as something new that a backend answers with [`ErrorKind::Unsupported`], and not as a change of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expectation {
    /// In which keyspace.
    pub keyspace: Keyspace,
    /// Which key.
    pub key: Bytes,
    /// Exactly this value; `None`: the key is absent.
    pub value: Option<Bytes>,
}

/// One step of a batch. More kinds may come; a backend answers a batch with one that it does not know with
/// [`ErrorKind::Unsupported`], before anything of the batch takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// The key has this value from now on.
    Put {
        /// In which keyspace.
        keyspace: Keyspace,
        /// Which key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// The key is absent from now on. Deleting an absent key does nothing.
    Delete {
        /// In which keyspace.
        keyspace: Keyspace,
        /// Which key.
        key: Bytes,
    },
    /// All keys from `start` (inclusive) to `end` (exclusive; `None`: to the last) are absent from now on. A start that is
    /// not below the end is an empty range, and does nothing. The bounds are no keys: they may be longer than
    /// [`Limits::max_key`].
    DeleteRange {
        /// In which keyspace.
        keyspace: Keyspace,
        /// The first key that goes.
        start: Bytes,
        /// The first key that stays.
        end: Option<Bytes>,
    },
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Expects that the key has this value.
    pub fn expect_value(&mut self, keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.expectations.push(Expectation { keyspace, key: key.into(), value: Some(value.into()) });
    }

    /// Expects that the key is absent.
    pub fn expect_absent(&mut self, keyspace: Keyspace, key: impl Into<Bytes>) {
        self.expectations.push(Expectation { keyspace, key: key.into(), value: None });
    }

    /// Appends a put.
    pub fn put(&mut self, keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.operations.push(Operation::Put { keyspace, key: key.into(), value: value.into() });
    }

    /// Appends a delete.
    pub fn delete(&mut self, keyspace: Keyspace, key: impl Into<Bytes>) {
        self.operations.push(Operation::Delete { keyspace, key: key.into() });
    }

    /// Appends the deletion of a range.
    pub fn delete_range(&mut self, keyspace: Keyspace, start: impl Into<Bytes>, end: Option<Bytes>) {
        self.operations.push(Operation::DeleteRange { keyspace, start: start.into(), end });
    }

    /// True if there is neither an expectation nor an operation.
    pub fn is_empty(&self) -> bool {
        self.expectations.is_empty() && self.operations.is_empty()
    }

    /// Answers [`ErrorKind::TooLarge`] if a key or value is over the limits, of an expectation as of an operation. A backend calls this first.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let expected = self.expectations.iter().map(|e| (&e.key, e.value.as_ref()));
        let written = self.operations.iter().filter_map(|operation| match operation {
            Operation::Put { key, value, .. } => Some((key, Some(value))),
            Operation::Delete { key, .. } => Some((key, None)),
            Operation::DeleteRange { .. } => None,
        });
        for (key, value) in expected.chain(written) {
            if key.len() > limits.max_key {
                let message = "a key is longer than this backend takes";
                return Err(Error::new(ErrorKind::TooLarge, message)
                    .with("bytes", key.len())
                    .with("limit", limits.max_key));
            }
            if let Some(value) = value.filter(|value| value.len() > limits.max_value) {
                let message = "a value is longer than this backend takes";
                let error = Error::new(ErrorKind::TooLarge, message).with("bytes", value.len());
                return Err(error.with("limit", limits.max_value));
            }
        }
        Ok(())
    }
}

impl Expectation {
    /// The error that [`Backend::commit`] answers when this expectation does not hold.
    pub fn failed(&self) -> Error {
        let key: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        Error::new(ErrorKind::Conflict, "the store was changed by somebody else; read again and retry")
            .with("keyspace", self.keyspace.number())
            .with("key", key)
    }
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key upwards.
    Forward,
    /// From the greatest key downwards.
    Backward,
}

/// A request for one page of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scan {
    /// In which keyspace.
    pub keyspace: Keyspace,
    /// The smallest key of the range, inclusive.
    pub start: Bytes,
    /// The end of the range, exclusive; `None`: no end.
    pub end: Option<Bytes>,
    /// Which end comes first.
    pub direction: Direction,
    /// The most rows that the page may hold; at least 1.
    pub max_rows: usize,
    /// The page ends after the row with which its keys and values reach this many bytes.
    pub max_bytes: usize,
}

impl Scan {
    /// The whole keyspace, forward, in pages of at most 1,024 rows or 64 KiB.
    pub fn new(keyspace: Keyspace) -> Scan {
        let direction = Direction::Forward;
        Scan { keyspace, start: Bytes::new(), end: None, direction, max_rows: 1024, max_bytes: 64 << 10 }
    }

    /// The range from `start` (inclusive) to `end` (exclusive; `None`: no end).
    pub fn range(keyspace: Keyspace, start: impl Into<Bytes>, end: Option<Bytes>) -> Scan {
        Scan { start: start.into(), end, ..Scan::new(keyspace) }
    }

    /// All keys that begin with these bytes.
    pub fn prefix(keyspace: Keyspace, prefix: &[u8]) -> Scan {
        Scan::range(keyspace, prefix.to_vec(), after_prefix(prefix))
    }

    /// From the greatest key downwards.
    #[must_use]
    pub fn backward(mut self) -> Scan {
        self.direction = Direction::Backward;
        self
    }

    /// At most so many rows.
    #[must_use]
    pub fn rows(mut self, max_rows: usize) -> Scan {
        self.max_rows = max_rows;
        self
    }

    /// About so many bytes.
    #[must_use]
    pub fn bytes(mut self, max_bytes: usize) -> Scan {
        self.max_bytes = max_bytes;
        self
    }

    /// The same scan, continued after the last row of a page.
    #[must_use]
    pub fn after(mut self, last_key: &[u8]) -> Scan {
        match self.direction {
            Direction::Forward => {
                let mut next = Vec::with_capacity(last_key.len() + 1);
                next.extend_from_slice(last_key);
                next.push(0);
                self.start = next.into();
            }
            Direction::Backward => self.end = Some(Bytes::copy_from_slice(last_key)),
        }
        self
    }

    /// True if no key can lie in the range.
    pub fn is_empty_range(&self) -> bool {
        self.end.as_ref().is_some_and(|end| self.start >= *end)
    }

    /// Answers [`ErrorKind::InvalidInput`] for a scan that asks for no rows. A backend calls this first.
    pub fn check(&self) -> Result<()> {
        if self.max_rows == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "a scan must ask for at least one row"));
        }
        Ok(())
    }
}

/// The first key after all keys that begin with `prefix`; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end.into())
}

/// Rows of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Keys and values, in the order of the scan.
    pub rows: Vec<(Bytes, Bytes)>,
    /// True if the range holds further rows; [`Scan::after`] the last key gets them.
    pub more: bool,
}

impl Page {
    /// A page of these rows.
    pub fn new(rows: Vec<(Bytes, Bytes)>, more: bool) -> Page {
        Page { rows, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix(b"ab"), Some(Bytes::from_static(b"ac")));
        assert_eq!(after_prefix(&[1, 0xff, 0xff]), Some(Bytes::from_static(&[2])));
        assert_eq!(after_prefix(&[0xff]), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn a_scan_continues_where_it_stopped() {
        let scan = Scan::prefix(Keyspace::new(3), b"k");
        assert_eq!(scan.clone().after(b"k1").start, Bytes::from_static(b"k1\0"));
        assert_eq!(scan.backward().after(b"k1").end, Some(Bytes::from_static(b"k1")));
    }

    #[test]
    fn limits_are_checked() {
        let limits = Limits { max_key: 4, max_value: 4 };
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::new(0), "1234", "1234");
        assert!(batch.check(&limits).is_ok());
        batch.delete(Keyspace::new(0), "12345");
        assert_eq!(batch.check(&limits).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
