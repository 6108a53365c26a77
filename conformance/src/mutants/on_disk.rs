//! Backends that keep their store in a file which other processes open, too, and their defects.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Backend, BackendInfo, Capabilities, Error, ErrorKind, Keyspace, Result, Snapshot, WriteBatch};
use eidetica_core::Memory;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::backend::{Dump, dump};
use crate::{BackendSubject, Place};

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DiskDefect {
    FlushStaysInTheProcess,
    TearsItsFile,
    LosesWhatIsInBetween,
    LeavesItsLock,
    LeavesItsLockToWhatIsStarted,
    LocksThisProcessAlone,
    ForgetsOtherProcesses,
    HearsNoOtherProcess,
    LastsUndeclared,
    TakesEveryFile,
    MakesEveryPlace,
}

use DiskDefect::*;

/// The defects, and the cases that must catch them.
pub(super) const ALL: &[(DiskDefect, &[&str])] = &[
    (FlushStaysInTheProcess, &["backend.process.a-killed-one-leaves-a-prefix"]),
    (TearsItsFile, &["backend.process.a-killed-one-leaves-a-prefix"]),
    (LosesWhatIsInBetween, &["backend.process.a-killed-one-leaves-a-prefix"]),
    (LeavesItsLock, &["backend.process.a-killed-one-locks-nobody-out"]),
    (LeavesItsLockToWhatIsStarted, &["backend.process.starting-others-keeps-no-lock"]),
    (LocksThisProcessAlone, &["backend.process.another-one-is-locked-out"]),
    (ForgetsOtherProcesses, &["backend.process.two-see-one-order"]),
    (HearsNoOtherProcess, &["backend.process.others-are-heard"]),
    (LastsUndeclared, &["backend.process.nothing-lasts-undeclared"]),
    (TakesEveryFile, &["backend.opening.another-kind-is-refused"]),
    (MakesEveryPlace, &["backend.opening.a-missing-place-is-told"]),
];

/// What the text begins with that another process is told.
const SCHEME: &str = "mutant:";
/// The file with everything.
const ROWS: &str = "rows";

/// A backend in a file with one defect, or none.
#[derive(Clone, Copy, Debug)]
pub struct DiskMutant {
    defect: Option<DiskDefect>,
    shared: bool,
}

impl DiskMutant {
    /// Without a defect; one that several processes may have open, or not.
    pub fn sound(shared: bool) -> DiskMutant {
        DiskMutant { defect: None, shared }
    }

    /// With this one.
    pub fn new(defect: DiskDefect) -> DiskMutant {
        let shared = matches!(defect, ForgetsOtherProcesses | HearsNoOtherProcess | LastsUndeclared);
        DiskMutant { defect: Some(defect), shared }
    }

    fn has(&self, defect: DiskDefect) -> bool {
        self.defect == Some(defect)
    }
}

#[async_trait]
impl BackendSubject for DiskMutant {
    fn name(&self) -> String {
        match self.defect {
            Some(defect) => format!("{defect:?}"),
            None if self.shared => "a file of several processes".to_owned(),
            None => "a file of one process".to_owned(),
        }
    }

    async fn fresh(&self) -> Result<Box<dyn Place>> {
        let made = tempfile::Builder::new().prefix("eidetica-conformance-").tempdir();
        Ok(Box::new(DiskPlace { kind: *self, directory: made.map_err(failed)? }))
    }
}

struct DiskPlace {
    kind: DiskMutant,
    directory: TempDir,
}

#[async_trait]
impl Place for DiskPlace {
    async fn open(&self) -> Result<Box<dyn Backend>> {
        open(self.kind, self.directory.path()).await
    }

    fn elsewhere(&self) -> Option<String> {
        Some(format!("{SCHEME}{}:{}", self.kind.name(), self.directory.path().display()))
    }

    fn path(&self) -> Option<PathBuf> {
        Some(self.directory.path().join(ROWS))
    }
}

/// In another process: opens what a place here has told; `None` for anything else.
pub(crate) async fn open_elsewhere(told: &str) -> Option<Result<Box<dyn Backend>>> {
    let (name, directory) = told.strip_prefix(SCHEME)?.split_once(':')?;
    let mutants = ALL.iter().map(|(defect, _)| DiskMutant::new(*defect));
    let mut all = mutants.chain([false, true].map(DiskMutant::sound));
    let kind = all.find(|kind| kind.name() == name)?;
    Some(open(kind, Path::new(directory)).await)
}

async fn open(kind: DiskMutant, directory: &Path) -> Result<Box<dyn Backend>> {
    if kind.has(MakesEveryPlace) {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    if kind.has(TakesEveryFile) && read(directory).is_err() {
        std::fs::remove_file(directory.join(ROWS)).map_err(failed)?;
    }
    let lock = if kind.shared { None } else { Some(lock_for_good(kind, directory)?) };
    let mut state = State { memory: Arc::new(Memory::new()), number: 0, own: 0, lock, closed: false };
    state.reload(directory).await?;
    Ok(Box::new(OnDisk { kind, directory: directory.to_owned(), state: Mutex::new(state) }))
}

/// The lock of a store that is open once.
fn lock_for_good(kind: DiskMutant, directory: &Path) -> Result<Held> {
    let locked = || Error::new(ErrorKind::Locked, "somebody has this store open");
    let path = match kind.defect {
        // The system gives a lock back with its process; a file stays.
        Some(LeavesItsLock) => {
            let path = directory.join("taken");
            File::create_new(&path).map_err(|_| locked())?;
            return Ok(Held::File(path));
        }
        Some(LocksThisProcessAlone) => directory.join(format!("lock of {}", std::process::id())),
        _ => directory.join("lock"),
    };
    let file = File::create(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Held::Lock { file, unlock: kind.defect != Some(LeavesItsLockToWhatIsStarted) }),
        Err(TryLockError::WouldBlock) => Err(locked()),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

enum Held {
    /// Given back when it is closed.
    Lock { file: File, unlock: bool },
    /// Removed when this is dropped.
    File(PathBuf),
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Held::File(path) => drop(std::fs::remove_file(path)),
            Held::Lock { file, unlock: true } => drop(file.unlock()),
            Held::Lock { .. } => {}
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::new(error.kind().into(), "the file of the store").caused_by(error)
}

/// A store in memory beside a file with all of it.
struct OnDisk {
    kind: DiskMutant,
    directory: PathBuf,
    state: Mutex<State>,
}

struct State {
    memory: Arc<Memory>,
    /// How many commits the file has had, and how many of them were made here.
    number: u64,
    own: u64,
    /// For as long as the store is open, where that is once.
    lock: Option<Held>,
    closed: bool,
}

impl State {
    fn open(&self) -> Result<()> {
        match self.closed {
            true => Err(Error::new(ErrorKind::Closed, "this handle was closed")),
            false => Ok(()),
        }
    }

    /// Takes up what the file holds, if others have written it.
    async fn reload(&mut self, directory: &Path) -> Result<()> {
        let Some((number, rows)) = read(directory)? else { return Ok(()) };
        if number != self.number {
            let memory = Memory::new();
            let mut batch = WriteBatch::new();
            rows.into_iter().for_each(|(keyspace, key, value)| batch.put(Keyspace::new(keyspace), key, value));
            memory.commit(batch).await?;
            (self.memory, self.number) = (Arc::new(memory), number);
        }
        Ok(())
    }

    async fn image(&self) -> Result<Dump> {
        Ok(dump(&*self.memory.snapshot().await?).await)
    }
}

impl OnDisk {
    /// Nobody else writes until what this gives is dropped, where others may.
    fn alone(&self) -> Result<Option<File>> {
        if !self.kind.shared {
            return Ok(None);
        }
        let file = File::create(self.directory.join("commit")).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Some(file))
    }

    async fn look(&self, state: &mut State) -> Result<()> {
        state.open()?;
        if self.kind.shared && !self.kind.has(ForgetsOtherProcesses) {
            state.reload(&self.directory).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for OnDisk {
    fn info(&self) -> BackendInfo {
        let mut info = BackendInfo::new("file", self.directory.display().to_string());
        info.capabilities = match (self.kind.defect, self.kind.shared) {
            (Some(LastsUndeclared), _) => Capabilities::none(),
            (_, true) => Capabilities::none().durable().shared(),
            (_, false) => Capabilities::none().durable(),
        };
        info
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        let mut state = self.state.lock().await;
        let _alone = self.alone()?;
        self.look(&mut state).await?;
        state.memory.commit(batch.clone()).await?;
        state.number += 1;
        state.own += 1;
        if self.kind.shared {
            return write(&self.directory, state.number, state.image().await?);
        }
        if self.kind.has(TearsItsFile) || (self.kind.has(LosesWhatIsInBetween) && state.own % 2 == 0) {
            // Some of it reaches the disk before the rest.
            let (_, mut rows) = read(&self.directory)?.unwrap_or_default();
            let some = if self.kind.has(TearsItsFile) { 1 } else { usize::MAX };
            for operation in batch.operations.into_iter().take(some) {
                if let eidetica_contract::Operation::Put { keyspace, key, value } = operation {
                    rows.push((keyspace.number(), key, value));
                }
            }
            write(&self.directory, state.number, rows)?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        let state = self.state.lock().await;
        state.open()?;
        // Where several processes write, the file has each commit at once.
        if self.kind.shared || self.kind.has(FlushStaysInTheProcess) {
            return Ok(());
        }
        write(&self.directory, state.number, state.image().await?)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let mut state = self.state.lock().await;
        self.look(&mut state).await?;
        state.memory.snapshot().await
    }

    async fn changed(&self) -> Result<u64> {
        let mut state = self.state.lock().await;
        self.look(&mut state).await?;
        Ok(if self.kind.has(HearsNoOtherProcess) { 0 } else { state.number - state.own })
    }

    async fn close(&self) -> Result<()> {
        if self.state.lock().await.closed {
            return Ok(());
        }
        let flushed = self.flush().await;
        let mut state = self.state.lock().await;
        state.closed = true;
        state.lock = None;
        flushed
    }
}

/// The number of commits and all rows, as [`write`] has left them. `None`: there is nothing yet.
fn read(directory: &Path) -> Result<Option<(u64, Dump)>> {
    let bytes = match std::fs::read(directory.join(ROWS)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => Bytes::from(read.map_err(failed)?),
    };
    let mut rest = bytes;
    let mut next = |length: usize| -> Result<Bytes> {
        match rest.len() < length {
            true => Err(Error::new(ErrorKind::Corrupted, "the file of the store is cut off")),
            false => Ok(rest.split_to(length)),
        }
    };
    let number = |bytes: &Bytes| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let commits = number(&next(8)?);
    let mut rows = Dump::new();
    for _ in 0..number(&next(8)?) {
        let keyspace = next(1)?[0];
        let key = number(&next(4)?) as usize;
        let key = next(key)?;
        let value = number(&next(4)?) as usize;
        rows.push((keyspace, key, next(value)?));
    }
    Ok(Some((commits, rows)))
}

/// Replaces the file as one.
fn write(directory: &Path, commits: u64, rows: Dump) -> Result<()> {
    let mut bytes = [commits.to_be_bytes(), (rows.len() as u64).to_be_bytes()].concat();
    for (keyspace, key, value) in rows {
        bytes.push(keyspace);
        for part in [key, value] {
            bytes.extend((part.len() as u32).to_be_bytes());
            bytes.extend(&part);
        }
    }
    let new = directory.join("rows.new");
    std::fs::write(&new, bytes).map_err(failed)?;
    std::fs::rename(new, directory.join(ROWS)).map_err(failed)
}
