//! Backends with a defect.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_backend_lent::Lender;
use eidetica_contract::{
    Backend, BackendInfo, Direction, Error, ErrorKind, Keyspace, Maintenance, Operation, Page, Result, Scan, Snapshot,
    WriteBatch,
};
use eidetica_core::Memory;

use super::lasting::{Disk, Lasting};
use crate::backend::{Dump, dump};
use crate::{BackendSubject, Place};

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BackendDefect {
    DropsTheLastOperation,
    AppliesWhatPrecedesAFailure,
    AppliesTwiceInReverse,
    IgnoresExpectations,
    TakesAbsentForEmpty,
    ComparesValuesByLength,
    NamesNoKeyInConflicts,
    NamesTheLastInConflicts,
    ChecksExpectationsTooEarly,
    SnapshotSeesLaterCommits,
    SnapshotIsLate,
    SnapshotIsTorn,
    ScanIncludesItsEnd,
    ScanSkipsItsStart,
    ScanGivesOneRowMore,
    ScanStopsBeforeItsBytes,
    ScanGivesNothingAboveItsBytes,
    ScanAlwaysKnowsOfMore,
    ScanNeverKnowsOfMore,
    ScanForNoRowsIsEmpty,
    ScanBackwardIsForward,
    ScanForgetsSmallKeys,
    EmptyRangeIsTheKeyspace,
    CutsValues,
    EndsValuesAtNul,
    CutsKeys,
    MergesKeyspaces,
    DeletesRangesWithTheirEnd,
    DeletesRangesEverywhere,
    RefusesEmptyBatches,
    TakesWhatIsTooLarge,
    AppliesWhatPrecedesTooLarge,
    RefusesTheLargest,
    HasSmallLimits,
    FlushDoesNothing,
    FlushKeepsHalf,
    FlushEmptiesTheStore,
    KillTearsBatches,
    KillLosesWhatIsInBetween,
    CloseLosesWhatWasNotFlushed,
    CloseTwiceFails,
    ClosedStoreAnswers,
    ClosedCommitIsApplied,
    SaysSomethingElseEachTime,
    SaysSomethingElseWhenClosed,
    CompactLosesRows,
    CheckLosesRows,
    CompactIsNotThere,
    CompactWorksUndeclared,
    CheckWorksUndeclared,
    OpensTwice,
    LosesCommitsOfOthers,
    HearsNobody,
    HearsItself,
    ShufflesManyKeys,
    DroppedCommitIsHalfApplied,
}

use BackendDefect::*;

/// The defects, and the cases that must catch them.
pub(super) const ALL: &[(BackendDefect, &[&str])] = &[
    (
        DropsTheLastOperation,
        &["backend.commit.keeps-order", "backend.commit.is-visible", "backend.model.random-histories"],
    ),
    (AppliesWhatPrecedesAFailure, &["backend.commit.is-atomic"]),
    (AppliesTwiceInReverse, &["backend.commit.keeps-order"]),
    (IgnoresExpectations, &["backend.commit.expectations-hold", "backend.commit.is-atomic"]),
    (TakesAbsentForEmpty, &["backend.commit.expectations-hold"]),
    (ComparesValuesByLength, &["backend.commit.expectations-hold"]),
    (NamesNoKeyInConflicts, &["backend.commit.conflict-names-the-first"]),
    (NamesTheLastInConflicts, &["backend.commit.conflict-names-the-first"]),
    (ChecksExpectationsTooEarly, &["backend.commit.one-of-many-wins"]),
    (SnapshotSeesLaterCommits, &["backend.snapshot.does-not-change"]),
    (SnapshotIsLate, &["backend.commit.is-visible"]),
    (SnapshotIsTorn, &["backend.snapshot.shows-whole-commits"]),
    (ScanIncludesItsEnd, &["backend.scan.stays-in-its-range"]),
    (ScanSkipsItsStart, &["backend.scan.stays-in-its-range"]),
    (ScanGivesOneRowMore, &["backend.scan.ends-at-its-rows"]),
    (ScanStopsBeforeItsBytes, &["backend.scan.ends-at-its-bytes"]),
    (ScanGivesNothingAboveItsBytes, &["backend.scan.ends-at-its-bytes"]),
    (ScanAlwaysKnowsOfMore, &["backend.scan.knows-of-more"]),
    (ScanNeverKnowsOfMore, &["backend.scan.knows-of-more", "backend.scan.goes-on-where-it-stopped"]),
    (ScanForNoRowsIsEmpty, &["backend.scan.for-no-rows-is-refused"]),
    (ScanBackwardIsForward, &["backend.scan.is-ordered-by-bytes"]),
    (ScanForgetsSmallKeys, &["backend.scan.is-ordered-by-bytes", "backend.commit.keeps-every-byte"]),
    (EmptyRangeIsTheKeyspace, &["backend.scan.empty-range-is-empty"]),
    (CutsValues, &["backend.commit.keeps-every-byte", "backend.model.kept-histories"]),
    (EndsValuesAtNul, &["backend.commit.keeps-every-byte"]),
    (CutsKeys, &["backend.snapshot.long-key-is-absent"]),
    (MergesKeyspaces, &["backend.commit.keyspaces-are-apart"]),
    (DeletesRangesWithTheirEnd, &["backend.commit.ranges-are-half-open"]),
    (DeletesRangesEverywhere, &["backend.commit.ranges-are-half-open", "backend.commit.keyspaces-are-apart"]),
    (RefusesEmptyBatches, &["backend.commit.empty-does-nothing"]),
    (TakesWhatIsTooLarge, &["backend.commit.too-large-is-refused"]),
    (AppliesWhatPrecedesTooLarge, &["backend.commit.too-large-is-refused"]),
    (RefusesTheLargest, &["backend.commit.too-large-is-refused"]),
    (HasSmallLimits, &["backend.upkeep.limits-are-enough"]),
    (
        FlushDoesNothing,
        &[
            "backend.durability.flushed-survives-a-kill",
            "backend.durability.flushes-at-once",
            "backend.durability.opens-by-itself",
        ],
    ),
    (FlushKeepsHalf, &["backend.durability.flushed-survives-a-kill"]),
    (FlushEmptiesTheStore, &["backend.durability.flush-changes-nothing"]),
    (KillTearsBatches, &["backend.durability.a-kill-leaves-a-prefix"]),
    (KillLosesWhatIsInBetween, &["backend.durability.a-kill-leaves-a-prefix"]),
    (CloseLosesWhatWasNotFlushed, &["backend.durability.closed-store-keeps-all"]),
    (CloseTwiceFails, &["backend.closing.twice-is-fine"]),
    (ClosedStoreAnswers, &["backend.closing.everything-says-so"]),
    (ClosedCommitIsApplied, &["backend.closing.late-commits-leave-nothing"]),
    (SaysSomethingElseEachTime, &["backend.upkeep.says-the-same"]),
    (SaysSomethingElseWhenClosed, &["backend.closing.everything-says-so"]),
    (CompactLosesRows, &["backend.upkeep.compacts"]),
    (CheckLosesRows, &["backend.upkeep.checks"]),
    (CompactIsNotThere, &["backend.upkeep.compacts"]),
    (CompactWorksUndeclared, &["backend.upkeep.refuses-to-compact"]),
    (CheckWorksUndeclared, &["backend.upkeep.refuses-to-check"]),
    (OpensTwice, &["backend.sharing.an-open-store-is-locked"]),
    (LosesCommitsOfOthers, &["backend.sharing.handles-see-one-order"]),
    (HearsNobody, &["backend.sharing.others-are-heard"]),
    (HearsItself, &["backend.sharing.own-commits-are-not"]),
    (ShufflesManyKeys, &["backend.snapshot.many-keys-in-their-order"]),
    (DroppedCommitIsHalfApplied, &["backend.commit.dropped-is-whole-or-not"]),
];

/// A backend with one defect, or none.
pub struct BackendMutant {
    defect: Option<BackendDefect>,
    shared: bool,
    jobs: bool,
}

impl BackendMutant {
    /// Without a defect; one that several handles may have open, or with housekeeping.
    pub fn sound(shared: bool, jobs: bool) -> BackendMutant {
        BackendMutant { defect: None, shared, jobs }
    }

    /// With this one.
    pub fn new(defect: BackendDefect) -> BackendMutant {
        let shared = matches!(defect, LosesCommitsOfOthers | HearsNobody);
        let jobs = !matches!(defect, CompactWorksUndeclared | CheckWorksUndeclared);
        BackendMutant { defect: Some(defect), shared, jobs }
    }
}

#[async_trait]
impl BackendSubject for BackendMutant {
    fn name(&self) -> String {
        match self.defect {
            Some(defect) => format!("{defect:?}"),
            None => format!("without a defect (shared: {}, housekeeping: {})", self.shared, self.jobs),
        }
    }

    async fn fresh(&self) -> Result<Box<dyn Place>> {
        let (defect, jobs) = (self.defect, self.jobs);
        let lender = match self.shared {
            true => Some(Lender::new(Arc::new(Lasting::open(Arc::default(), jobs).await?))),
            false => None,
        };
        Ok(Box::new(MutantPlace { defect, jobs, disk: Arc::default(), lender }))
    }
}

struct MutantPlace {
    defect: Option<BackendDefect>,
    jobs: bool,
    disk: Arc<Disk>,
    /// Gives handles on one store.
    lender: Option<Lender>,
}

#[async_trait]
impl Place for MutantPlace {
    async fn open(&self) -> Result<Box<dyn Backend>> {
        let inner: Box<dyn Backend> = match &self.lender {
            Some(lender) => Box::new(Handle { own: lender.own(), closed: false.into() }),
            None if self.defect == Some(OpensTwice) => {
                // Each opening has a disk of its own, with what the first one had.
                let disk = Disk::default();
                disk.keep(self.disk.image());
                Box::new(Lasting::open(Arc::new(disk), self.jobs).await?)
            }
            None => Box::new(Lasting::open(self.disk.clone(), self.jobs).await?),
        };
        let Some(defect) = self.defect else { return Ok(inner) };
        let (inner, disk) = (Arc::from(inner), self.disk.clone());
        let (calls, last, closed) = (AtomicU64::new(0), Mutex::new(None), AtomicU64::new(0));
        Ok(Box::new(Mutant { inner, defect, disk, calls, last, closed }))
    }
}

/// A handle on a store that others have open, too. Closing it ends this handle alone.
struct Handle {
    own: Box<dyn Backend>,
    closed: std::sync::atomic::AtomicBool,
}

impl Handle {
    fn open(&self) -> Result<()> {
        match self.closed.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Closed, "this handle was closed")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Handle {
    fn info(&self) -> BackendInfo {
        self.own.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.open()?;
        self.own.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.open()?;
        self.own.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.open()?;
        self.own.snapshot().await
    }

    async fn changed(&self) -> Result<u64> {
        self.open()?;
        self.own.changed().await
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.open()?;
        self.own.maintain(job).await
    }

    async fn close(&self) -> Result<()> {
        if !self.closed.swap(true, Ordering::SeqCst) {
            self.own.flush().await?;
        }
        Ok(())
    }
}

struct Mutant {
    inner: Arc<dyn Backend>,
    defect: BackendDefect,
    disk: Arc<Disk>,
    calls: AtomicU64,
    /// The batch before this one, or the last image.
    last: Mutex<Option<WriteBatch>>,
    closed: AtomicU64,
}

impl Mutant {
    fn call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst)
    }

    /// Applies operations whatever is expected.
    async fn force(&self, operations: Vec<Operation>) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.operations = operations;
        self.inner.commit(batch).await
    }

    fn keep_last(&self, batch: &WriteBatch) -> Option<WriteBatch> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(batch.clone())
    }

    async fn image(&self) -> Result<Dump> {
        Ok(dump(&*self.inner.snapshot().await?).await)
    }

    /// Takes every other row away.
    async fn lose(&self) -> Result<()> {
        let mut batch = WriteBatch::new();
        for (keyspace, key, _) in self.image().await?.into_iter().step_by(2) {
            batch.delete(Keyspace::new(keyspace), key);
        }
        self.inner.commit(batch).await
    }
}

fn conflict(batch: &WriteBatch) -> Option<Error> {
    batch.expectations.last().map(eidetica_contract::Expectation::failed)
}

#[async_trait]
impl Backend for Mutant {
    fn info(&self) -> BackendInfo {
        let mut info = self.inner.info();
        match self.defect {
            SaysSomethingElseEachTime => info.location = self.call().to_string(),
            SaysSomethingElseWhenClosed if self.closed.load(Ordering::SeqCst) > 0 => {
                info.location = "closed".to_owned()
            }
            HasSmallLimits => (info.limits.max_key, info.limits.max_value) = (64, 4096),
            _ => {}
        }
        info
    }

    async fn commit(&self, mut batch: WriteBatch) -> Result<()> {
        let limits = self.inner.info().limits;
        match self.defect {
            DropsTheLastOperation => drop(batch.operations.pop()),
            AppliesWhatPrecedesAFailure => {
                let operations = batch.operations.clone();
                let result = self.inner.commit(batch).await;
                if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
                    self.force(operations.into_iter().take(1).collect()).await?;
                }
                return result;
            }
            AppliesTwiceInReverse => {
                let again = batch.operations.iter().rev().cloned().collect();
                self.inner.commit(batch).await?;
                return self.force(again).await;
            }
            IgnoresExpectations => batch.expectations.clear(),
            TakesAbsentForEmpty => {
                let view = self.inner.snapshot().await?;
                for expectation in &mut batch.expectations {
                    let absent = view.get(expectation.keyspace, &expectation.key).await?.is_none();
                    if absent && expectation.value.as_ref().is_some_and(Bytes::is_empty) {
                        expectation.value = None;
                    }
                }
            }
            ComparesValuesByLength => {
                let view = self.inner.snapshot().await?;
                for expectation in &mut batch.expectations {
                    let found = view.get(expectation.keyspace, &expectation.key).await?;
                    if let (Some(found), Some(value)) = (found, &mut expectation.value)
                        && found.len() == value.len()
                    {
                        *value = found;
                    }
                }
            }
            NamesNoKeyInConflicts => {
                return self.inner.commit(batch).await.map_err(|error| match error.kind() {
                    ErrorKind::Conflict => Error::new(ErrorKind::Conflict, "somebody else was faster"),
                    _ => error,
                });
            }
            NamesTheLastInConflicts => {
                let last = conflict(&batch);
                return self.inner.commit(batch).await.map_err(|error| match (error.kind(), last) {
                    (ErrorKind::Conflict, Some(last)) => last,
                    _ => error,
                });
            }
            ChecksExpectationsTooEarly => {
                // Compared with a view that may be old when the batch is applied.
                let view = self.inner.snapshot().await?;
                for expectation in &batch.expectations {
                    if view.get(expectation.keyspace, &expectation.key).await? != expectation.value {
                        return Err(expectation.failed());
                    }
                }
                tokio::task::yield_now().await;
                return self.force(batch.operations).await;
            }
            SnapshotIsLate => {
                // Each batch becomes visible with the next one.
                batch.check(&limits)?;
                let Some(before) = self.keep_last(&batch) else { return Ok(()) };
                return self.inner.commit(before).await;
            }
            SnapshotIsTorn | DroppedCommitIsHalfApplied => {
                let rest = batch.operations.split_off(batch.operations.len().min(1));
                self.inner.commit(batch).await?;
                tokio::task::yield_now().await;
                return self.force(rest).await;
            }
            CutsValues => {
                batch.check(&limits)?;
                for operation in &mut batch.operations {
                    if let Operation::Put { value, .. } = operation {
                        value.truncate(65_536);
                    }
                }
            }
            EndsValuesAtNul => {
                for operation in &mut batch.operations {
                    if let Operation::Put { value, .. } = operation
                        && value.len() < 300
                    {
                        value.truncate(value.iter().position(|byte| *byte == 0).unwrap_or(value.len()));
                    }
                }
            }
            MergesKeyspaces => {
                for operation in &mut batch.operations {
                    let (Operation::Put { keyspace, .. }
                    | Operation::Delete { keyspace, .. }
                    | Operation::DeleteRange { keyspace, .. }) = operation
                    else {
                        continue;
                    };
                    if keyspace.number() == 6 {
                        *keyspace = Keyspace::new(5);
                    }
                }
            }
            DeletesRangesWithTheirEnd => {
                let mut also = WriteBatch::new();
                for operation in &batch.operations {
                    if let Operation::DeleteRange { keyspace, start, end: Some(end) } = operation
                        && start < end
                    {
                        also.delete(*keyspace, end.clone());
                    }
                }
                batch.operations.extend(also.operations);
            }
            DeletesRangesEverywhere => {
                let mut also = WriteBatch::new();
                for operation in &batch.operations {
                    if let Operation::DeleteRange { start, end, .. } = operation {
                        Keyspace::all().for_each(|keyspace| also.delete_range(keyspace, start.clone(), end.clone()));
                    }
                }
                also.operations.extend(std::mem::take(&mut batch.operations));
                batch.operations = also.operations;
            }
            RefusesEmptyBatches if batch.is_empty() => {
                return Err(Error::new(ErrorKind::InvalidInput, "there is nothing to do"));
            }
            TakesWhatIsTooLarge if batch.check(&limits).is_err() => return Ok(()),
            AppliesWhatPrecedesTooLarge => {
                if let Err(error) = batch.check(&limits) {
                    self.force(batch.operations.into_iter().take(1).collect()).await?;
                    return Err(error);
                }
            }
            RefusesTheLargest => {
                let mut less = limits;
                less.max_value -= 1;
                batch.check(&less)?;
            }
            ClosedCommitIsApplied if self.closed.load(Ordering::SeqCst) > 0 => {
                // The store is closed; the disk is not.
                let mut image = self.disk.image();
                for operation in &batch.operations {
                    if let Operation::Put { keyspace, key, value } = operation {
                        image.push((keyspace.number(), key.clone(), value.clone()));
                    }
                }
                self.disk.keep(image);
                return Err(Error::new(ErrorKind::Closed, "the store was closed"));
            }
            ClosedStoreAnswers if self.closed.load(Ordering::SeqCst) > 0 => return Ok(()),
            LosesCommitsOfOthers => batch.expectations.clear(),
            KillTearsBatches | KillLosesWhatIsInBetween => {
                let torn = batch.operations.clone();
                self.inner.commit(batch).await?;
                if self.call() % 20 == 10 {
                    // Something of it reaches the disk by itself: half of it, or it alone.
                    let mut image = self.disk.image();
                    let some = if self.defect == KillTearsBatches { 1 } else { torn.len() };
                    for operation in torn.into_iter().take(some) {
                        if let Operation::Put { keyspace, key, value } = operation {
                            image.push((keyspace.number(), key, value));
                        }
                    }
                    self.disk.keep(image);
                }
                return Ok(());
            }
            _ => {}
        }
        self.inner.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        match self.defect {
            FlushDoesNothing => self.inner.snapshot().await.map(drop),
            FlushKeepsHalf => {
                self.inner.flush().await?;
                let image = self.image().await?;
                let half = image.len().div_ceil(2);
                self.disk.keep(image.into_iter().take(half).collect());
                Ok(())
            }
            FlushEmptiesTheStore => {
                let mut batch = WriteBatch::new();
                batch.delete_range(Keyspace::new(1), "", None);
                self.inner.commit(batch).await?;
                self.inner.flush().await
            }
            // What has reached the disk too early is not made good.
            KillTearsBatches | KillLosesWhatIsInBetween => {
                let before = self.disk.image();
                self.inner.flush().await?;
                let image = self.disk.image();
                let known = |row: &(u8, Bytes, Bytes)| image.iter().any(|one| (one.0, &one.1) == (row.0, &row.1));
                let late: Dump = before.into_iter().filter(|row| !known(row)).collect();
                self.disk.keep(image.into_iter().chain(late).collect());
                Ok(())
            }
            ClosedStoreAnswers if self.closed.load(Ordering::SeqCst) > 0 => Ok(()),
            _ => self.inner.flush().await,
        }
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let view: Box<dyn Snapshot> = match self.defect {
            ClosedStoreAnswers if self.closed.load(Ordering::SeqCst) > 0 => {
                return Memory::new().snapshot().await;
            }
            SnapshotSeesLaterCommits => Box::new(Current(self.inner.clone())),
            _ => self.inner.snapshot().await?,
        };
        Ok(Box::new(MutantSnapshot { view, defect: self.defect }))
    }

    async fn changed(&self) -> Result<u64> {
        match self.defect {
            HearsNobody => self.inner.changed().await.map(|_| 0),
            HearsItself => {
                let rows = self.image().await?.len();
                Ok(rows as u64)
            }
            _ => self.inner.changed().await,
        }
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        match (self.defect, job) {
            (CompactLosesRows, Maintenance::Compact) | (CheckLosesRows, Maintenance::Check) => {
                self.inner.maintain(job).await?;
                self.lose().await
            }
            (CompactIsNotThere, Maintenance::Compact) => Err(Error::new(ErrorKind::Unsupported, "not yet")),
            (CompactWorksUndeclared, Maintenance::Compact) | (CheckWorksUndeclared, Maintenance::Check) => Ok(()),
            _ => self.inner.maintain(job).await,
        }
    }

    async fn close(&self) -> Result<()> {
        let times = self.closed.fetch_add(1, Ordering::SeqCst);
        match self.defect {
            CloseTwiceFails if times > 0 => Err(Error::new(ErrorKind::Closed, "it was closed already")),
            CloseLosesWhatWasNotFlushed => {
                let before = self.disk.image();
                self.inner.close().await?;
                self.disk.keep(before);
                Ok(())
            }
            _ => self.inner.close().await,
        }
    }
}

/// Reads whatever is there now.
struct Current(Arc<dyn Backend>);

#[async_trait]
impl Snapshot for Current {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        self.0.snapshot().await?.get_many(keyspace, keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.0.snapshot().await?.scan(scan).await
    }
}

struct MutantSnapshot {
    view: Box<dyn Snapshot>,
    defect: BackendDefect,
}

#[async_trait]
impl Snapshot for MutantSnapshot {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        match self.defect {
            ShufflesManyKeys if keys.len() > 1 => {
                let mut sorted = keys.to_vec();
                sorted.sort();
                self.view.get_many(keyspace, &sorted).await
            }
            CutsKeys => {
                let cut: Vec<&[u8]> = keys.iter().map(|key| &key[..key.len().min(1024)]).collect();
                self.view.get_many(keyspace, &cut).await
            }
            _ => self.view.get_many(keyspace, keys).await,
        }
    }

    async fn scan(&self, mut scan: Scan) -> Result<Page> {
        let asked = scan.clone();
        match self.defect {
            ScanIncludesItsEnd => {
                if let Some(end) = &scan.end
                    && scan.start < *end
                {
                    scan.end = Some([&end[..], b"\0"].concat().into());
                }
            }
            ScanSkipsItsStart if !scan.start.is_empty() => scan.start = [&scan.start[..], b"\0"].concat().into(),
            ScanGivesOneRowMore => scan.max_rows = scan.max_rows.saturating_add(1),
            ScanForNoRowsIsEmpty if scan.max_rows == 0 => return Ok(Page::default()),
            ScanBackwardIsForward => scan.direction = Direction::Forward,
            EmptyRangeIsTheKeyspace if scan.is_empty_range() => scan = Scan::new(scan.keyspace),
            _ => {}
        }
        let mut page = self.view.scan(scan).await?;
        match self.defect {
            ScanStopsBeforeItsBytes if page.more && page.rows.len() > 1 => drop(page.rows.pop()),
            ScanGivesNothingAboveItsBytes => {
                let fits = |(key, value): &(Bytes, Bytes)| key.len() + value.len() <= asked.max_bytes;
                if page.rows.len() == 1 && !fits(&page.rows[0]) {
                    page.rows.clear();
                    page.more = false;
                }
            }
            ScanAlwaysKnowsOfMore => page.more = !page.rows.is_empty(),
            ScanNeverKnowsOfMore => page.more = false,
            ScanForgetsSmallKeys => page.rows.retain(|(key, _)| !key.is_empty()),
            _ => {}
        }
        Ok(page)
    }
}
