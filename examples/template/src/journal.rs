//! A store in one file: each batch is appended to it, and all rows are held in memory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Backend, BackendInfo, Capabilities, Direction, Error, ErrorKind, Keyspace, Maintenance, Operation, Page, Result,
    Scan, Snapshot, WriteBatch,
};
use imbl::OrdMap;

use super::record;

/// What a file of this kind begins with.
const MAGIC: &[u8] = b"eidetica-template journal 1\n";

/// A store in one file.
pub struct Journal {
    info: BackendInfo,
    state: Arc<Mutex<State>>,
}

/// Persistent maps: a snapshot is a copy that costs nothing, and a commit touches what it changes.
type Rows = [OrdMap<Bytes, Bytes>; Keyspace::COUNT as usize];

struct State {
    rows: Arc<Rows>,
    path: PathBuf,
    /// `None` once the store was closed.
    file: Option<Arc<Files>>,
    /// Where the next record goes: behind the last one that is whole.
    end: u64,
    /// Why nothing can be written any more: a sync that has failed may have lost what it did not write.
    broken: Option<io::ErrorKind>,
}

struct Files {
    journal: File,
    /// Held for as long as the store is open. The journal itself is replaced when it is compacted.
    lock: Arc<Lock>,
}

/// A file that is locked.
struct Lock(File);

impl Drop for Lock {
    /// By hand: a process that this one is just starting has the file, too, until its own program runs.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Journal {
    /// Opens the store in a file, or makes a new one. What a crash has cut off at its end goes.
    ///
    /// Errors: `InvalidInput` for a file of another kind, which is left as it is; `NotFound`, `Locked`, `PermissionDenied`,
    /// `Full`, `Io`.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Journal> {
        let path = path.into();
        let open = move || {
            let state = open(&path)?;
            let info = BackendInfo::new("journal", path.display().to_string());
            let info = info.with_capabilities(Capabilities::none().durable().compact());
            Ok(Journal { info, state: Arc::new(Mutex::new(state)) })
        };
        aside(open).await
    }

    /// Runs something that waits for the disk, on a thread that may.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Mutex<State>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let state = self.state.clone();
        aside(move || work(&state)).await
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Internal, "work on the disk has ended early").caused_by(error))?
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn open(path: &Path) -> Result<State> {
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, ".lock")).map_err(failed)?;
    let lock = match lock.try_lock() {
        Ok(()) => Arc::new(Lock(lock)),
        Err(TryLockError::WouldBlock) => {
            let message = "this store is open already, here or in another process; close it there first";
            return Err(Error::new(ErrorKind::Locked, message).with("path", path.display()));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => drop(file.read_to_end(&mut bytes).map_err(failed)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut rows = Rows::default();
    if !bytes.is_empty() {
        if !bytes.starts_with(MAGIC) {
            let message = "this file is no journal of this version; name another one";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("path", path.display()));
        }
        let mut rest = Bytes::from(bytes).split_off(MAGIC.len());
        // What does not fit its checksum was cut off by a crash, and all behind it was never flushed. That a flipped bit looks the same is the
        // price of being small: a store that people trust keeps a mark of what was flushed, and answers `Corrupted` before it.
        while let Some((operations, length)) = record::read(&rest) {
            operations.iter().for_each(|operation| apply(&mut rows, operation));
            rest = rest.split_off(length);
        }
    }
    // Written anew: what was found may be what a process before has failed to sync.
    let rows = Arc::new(rows);
    let (journal, end) = write_anew(path, &rows)?;
    let file = Some(Arc::new(Files { journal, lock }));
    Ok(State { rows, path: path.to_owned(), file, end, broken: None })
}

/// Writes a journal of these rows in the place of the one there is.
fn write_anew(path: &Path, rows: &Rows) -> Result<(File, u64)> {
    let new = beside(path, ".new");
    let write = || -> Result<(File, u64)> {
        let mut file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&new).map_err(failed)?;
        file.write_all(MAGIC).map_err(failed)?;
        for (number, rows) in rows.iter().enumerate() {
            let Some(keyspace) = Keyspace::from_number(number as u8) else { continue };
            for (key, value) in rows {
                let put = Operation::Put { keyspace, key: key.clone(), value: value.clone() };
                file.write_all(&record::write(&[put])?).map_err(failed)?;
            }
        }
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)?;
        // The name, too, is durable only then.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        let end = file.stream_position().map_err(failed)?;
        Ok((file, end))
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&new)))
}

fn apply(rows: &mut Rows, operation: &Operation) {
    match operation {
        Operation::Put { keyspace, key, value } => {
            // Copied, so that a small row does not keep the whole batch that it came in.
            rows[keyspace.number() as usize].insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
        Operation::Delete { keyspace, key } => drop(rows[keyspace.number() as usize].remove(key)),
        Operation::DeleteRange { end: Some(end), start, .. } if start >= end => {}
        Operation::DeleteRange { keyspace, start, end } => {
            let rows = &mut rows[keyspace.number() as usize];
            let end = end.clone().map_or(Bound::Unbounded, Bound::Excluded);
            let gone: Vec<Bytes> =
                rows.range((Bound::Included(start.clone()), end)).map(|(key, _)| key.clone()).collect();
            for key in gone {
                rows.remove(&key);
            }
        }
        // `record::write` has refused it.
        _ => {}
    }
}

impl State {
    fn file(&self) -> Result<Arc<Files>> {
        self.file.clone().ok_or_else(|| Error::new(ErrorKind::Closed, "this store was closed"))
    }

    fn sound(&self) -> Result<Arc<Files>> {
        let file = self.file()?;
        match self.broken {
            None => Ok(file),
            Some(kind) => Err(failed(kind.into())),
        }
    }

    fn append(&mut self, batch: &WriteBatch) -> Result<()> {
        let files = self.sound()?;
        for expectation in &batch.expectations {
            if self.rows[expectation.keyspace.number() as usize].get(&expectation.key) != expectation.value.as_ref() {
                return Err(expectation.failed());
            }
        }
        if batch.operations.is_empty() {
            return Ok(());
        }
        let record = record::write(&batch.operations)?;
        let mut journal = &files.journal;
        let written = journal.seek(SeekFrom::Start(self.end)).and_then(|_| journal.write_all(&record));
        if let Err(error) = written {
            // What is there of it must not be found later.
            if let Err(error) = journal.set_len(self.end) {
                self.broken = Some(error.kind());
            }
            return Err(failed(error));
        }
        self.end += record.len() as u64;
        let rows = Arc::make_mut(&mut self.rows);
        batch.operations.iter().for_each(|operation| apply(rows, operation));
        Ok(())
    }
}

fn sync(state: &Mutex<State>) -> Result<()> {
    // Not held while the disk works: commits go on.
    let files = lock(state).sound()?;
    files.journal.sync_data().map_err(|error| {
        lock(state).broken = Some(error.kind());
        failed(error)
    })
}

#[async_trait]
impl Backend for Journal {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        batch.check(&self.info.limits)?;
        lock(&self.state).append(&batch)
    }

    async fn flush(&self) -> Result<()> {
        self.on_disk(sync).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let state = lock(&self.state);
        state.file()?;
        Ok(Box::new(View(state.rows.clone())))
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        if job != Maintenance::Compact {
            let message = "this backend has no such maintenance job";
            return Err(Error::new(ErrorKind::Unsupported, message).with("job", format!("{job:?}")));
        }
        self.on_disk(|state| {
            // Nobody commits meanwhile, or it would go to the file that is replaced.
            let mut state = lock(state);
            let files = state.sound()?;
            let written = write_anew(&state.path, &state.rows);
            // The file may have been replaced already, and what is written to the old one is lost.
            let (journal, end) = written.inspect_err(|_| state.broken = Some(io::ErrorKind::Other))?;
            (state.file, state.end) = (Some(Arc::new(Files { journal, lock: files.lock.clone() })), end);
            Ok(())
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.on_disk(|state| {
            let mut state = lock(state);
            let Some(files) = state.file.take() else { return Ok(()) };
            match state.broken {
                None => files.journal.sync_data().map_err(failed),
                Some(kind) => Err(failed(kind.into())),
            }
        })
        .await
    }
}

struct View(Arc<Rows>);

#[async_trait]
impl Snapshot for View {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let rows = &self.0[keyspace.number() as usize];
        Ok(keys.iter().map(|key| rows.get(*key).cloned()).collect())
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        scan.check()?;
        if scan.is_empty_range() {
            return Ok(Page::default());
        }
        let end = scan.end.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.0[scan.keyspace.number() as usize].range((Bound::Included(scan.start), end));
        let mut next = || match scan.direction {
            Direction::Forward => range.next(),
            Direction::Backward => range.next_back(),
        };
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < scan.max_rows {
            let Some((key, value)) = next() else { return Ok(Page::new(rows, false)) };
            bytes += key.len() + value.len();
            rows.push((key.clone(), value.clone()));
            if bytes >= scan.max_bytes {
                break;
            }
        }
        Ok(Page::new(rows, next().is_some()))
    }
}

fn failed(error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "the directory of the store does not exist; make it first",
        io::ErrorKind::PermissionDenied => "the file of the store may not be used",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full; make room",
        io::ErrorKind::ReadOnlyFilesystem => "the file system of the store cannot be written",
        _ => "the file of the store cannot be read or written",
    };
    Error::new(error.kind().into(), message).caused_by(error)
}
