//! Opening the file: whether it is ours, who else has it, and what it allows.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eidetica_contract::{Error, ErrorKind, Result};
use redb::{Database, ReadOnlyDatabase, ReadableDatabase};

use crate::disk::{Disk, Handle, Medium};
use crate::engine::Kind;
use crate::error::{damaged, locked, sheltered, translate, translate_io};
use crate::mark::{self, FORMAT, Found};
use crate::tables;

/// A store's place, and how it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Absolute, so that a later change of the working directory does no harm.
    pub(crate) path: PathBuf,
    /// Memory for pages in bytes.
    pub(crate) page_cache: usize,
}

/// The file, opened and locked.
struct Held {
    file: File,
    /// It may be written.
    writable: bool,
    /// It was made just now.
    new: bool,
}

impl Place {
    /// Opens the store, creating it if there is nothing yet.
    pub(crate) fn open(&self) -> Result<(Kind, Arc<Disk>)> {
        self.check_directory()?;
        let held = self.hold()?;
        let made = if held.new { held.file.try_clone().ok() } else { None };
        let opened = sheltered(&self.path, || self.open_held(held));
        if let (Err(_), Some(file)) = (&opened, made) {
            self.remove_unfinished(&file);
        }
        opened
    }

    /// Removes a file that never became a store, such as on a full disk, unless somebody else has made one of it meanwhile.
    fn remove_unfinished(&self, file: &File) {
        let unfinished = || matches!(mark::look(file), Ok(Found::Nothing | Found::Unfinished));
        if file.try_lock().is_ok() && self.is_at_path(file) && unfinished() {
            // It may stay: whoever opens it next makes it anew.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// False if the file has been removed, or replaced by another one.
    fn is_at_path(&self, file: &File) -> bool {
        match (file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    fn check_directory(&self) -> Result<()> {
        let error = |message| Err(Error::new(ErrorKind::InvalidInput, message).with("path", self.path.display()));
        match std::fs::metadata(self.directory()) {
            Err(cause) if cause.kind() == io::ErrorKind::NotADirectory => error(FILE_AS_DIRECTORY),
            Err(cause) => Err(translate_io(&self.path, cause)),
            Ok(directory) if !directory.is_dir() => error(FILE_AS_DIRECTORY),
            Ok(_) if self.path.is_dir() => error("a directory is no redb store; name a file in it"),
            Ok(_) if self.path.exists() && !self.path.is_file() => error("the path names no file; name one"),
            Ok(_) => Ok(()),
        }
    }

    /// The directory in which the file lies.
    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Opens the file without touching what is in it, and sees to it that nobody else has it.
    fn hold(&self) -> Result<Held> {
        let held = self.open_file().map_err(|error| self.not_opened(error))?;
        let lock = if held.writable { held.file.try_lock() } else { held.file.try_lock_shared() };
        match lock {
            Ok(()) if self.is_at_path(&held.file) => Ok(held),
            // Somebody has removed it between our opening it and our locking it.
            Ok(()) => Err(locked(&self.path)),
            Err(TryLockError::WouldBlock) => Err(locked(&self.path)),
            Err(TryLockError::Error(error)) => {
                let message = "this file system cannot lock files, which a redb store needs; use a local one";
                Err(Error::new(ErrorKind::Unsupported, message).with("path", self.path.display()).caused_by(error))
            }
        }
    }

    fn open_file(&self) -> io::Result<Held> {
        let writing = || OpenOptions::new().read(true).write(true).clone();
        // A new file is for its owner alone: secret keys lie in it. One that is there keeps the mode that it has.
        match writing().create_new(true).mode(0o600).open(&self.path) {
            Ok(file) => return Ok(Held { file, writable: true, new: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if !self.path.exists() => return Err(error),
            Err(_) => {}
        }
        match writing().open(&self.path) {
            Err(error) if may_be_readable(&error) => match File::open(&self.path) {
                Ok(file) => Ok(Held { file, writable: false, new: false }),
                Err(_) => Err(error),
            },
            opened => opened.map(|file| Held { file, writable: true, new: false }),
        }
    }

    fn not_opened(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => {
                let message = "no redb store can be made here, since nothing can be written; \
                               name a file elsewhere, or make the place writable";
                Error::new(ErrorKind::ReadOnly, message).with("path", self.path.display()).caused_by(error)
            }
            _ => translate_io(&self.path, error),
        }
    }

    fn open_held(&self, held: Held) -> Result<(Kind, Arc<Disk>)> {
        let failed = |error| translate_io(&self.path, error);
        let refused = |kind, message| Error::new(kind, message).with("path", self.path.display());
        match (mark::look(&held.file).map_err(failed)?, held.writable) {
            (Found::Nothing | Found::Unfinished, true) => self.create(held.file),
            (Found::Nothing | Found::Unfinished, false) => Err(refused(ErrorKind::ReadOnly, NOTHING_YET)),
            (Found::Ours { closed }, true) => {
                if !closed {
                    let _span = tracing::info_span!("redb write anew").entered();
                    write_anew(&held.file).map_err(failed)?;
                }
                let disk = self.disk(held.file)?;
                let database = self.redb().create_with_backend(Handle(disk.clone()));
                let database = database.map_err(|error| translate(&self.path, error))?;
                self.check_tables(&database)?;
                Ok((Kind::Writable(database), disk))
            }
            (Found::Ours { .. }, false) => {
                let disk = self.disk(held.file)?;
                let database: ReadOnlyDatabase = self
                    .redb()
                    .open_read_only_with_backend(Handle(disk.clone()))
                    .map_err(|error| translate(&self.path, error))?;
                self.check_tables(&database)?;
                Ok((Kind::Readable(database), disk))
            }
            (Found::Newer(format), _) => {
                let message = "the redb store was written by a newer version of this program; update it";
                Err(refused(ErrorKind::NewerFormat, message).with("format", format).with("known", FORMAT))
            }
            (Found::Redb, _) => Err(refused(ErrorKind::InvalidInput, ANOTHER_PROGRAM)),
            (Found::Foreign, _) => Err(refused(ErrorKind::Corrupted, FOREIGN)),
            (Found::Damaged(finding), _) => Err(damaged(&self.path, finding)),
        }
    }

    /// Makes a store. It counts as one when all of it is on the disk; what is found before that is made anew.
    fn create(&self, file: File) -> Result<(Kind, Arc<Disk>)> {
        let failed = |error| translate_io(&self.path, error);
        let begin = || {
            file.set_length(0)?;
            Medium::write(&file, 0, &mark::page(false))?;
            file.sync_all()
        };
        begin().map_err(failed)?;
        let marked = file.try_clone().map_err(failed)?;
        let disk = self.disk(file)?;
        let database = self.redb().create_with_backend(Handle(disk.clone()));
        let database = database.map_err(|error| translate(&self.path, error))?;
        tables::create(&database).map_err(|error| translate(&self.path, error))?;
        let finish = || {
            disk.settle()?;
            Medium::write(&marked, 0, &mark::page(true))?;
            marked.sync_data()?;
            File::open(self.directory())?.sync_all()
        };
        finish().map_err(failed)?;
        Ok((Kind::Writable(database), disk))
    }

    fn disk(&self, file: File) -> Result<Arc<Disk>> {
        let disk = Disk::new(Box::new(file), self.page_cache);
        disk.map(Arc::new).map_err(|error| translate_io(&self.path, error))
    }

    fn redb(&self) -> redb::Builder {
        let mut redb = Database::builder();
        redb.set_cache_size(self.page_cache);
        redb
    }

    fn check_tables(&self, database: &impl ReadableDatabase) -> Result<()> {
        let check = || -> std::result::Result<(), redb::Error> { tables::check(&database.begin_read()?) };
        check().map_err(|error| translate(&self.path, error))
    }
}

const FILE_AS_DIRECTORY: &str = "what should be the directory of the redb store is a file; check the path";
const NOTHING_YET: &str = "there is no store in this file yet, and it cannot be written";
const ANOTHER_PROGRAM: &str = "the file is a redb database of another program; check the path";
const FOREIGN: &str = "the file is no redb store, or its beginning is damaged; check the path, or restore a backup";

fn may_be_readable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Writes the file once more, byte for byte where it is, and syncs it.
///
/// A store that was not closed may hold what an earlier process has written and failed to sync. The cache of the system
/// shows it as if it were on the disk, and no sync ever writes it again. So nothing is built on it before it has been
/// written once more.
fn write_anew(file: &File) -> io::Result<()> {
    const STEP: usize = 1 << 20;
    let length = file.length()?;
    let mut step = vec![0; STEP];
    let mut at = 0;
    while let Some((start, end)) = next_data(file, at, length)? {
        at = start;
        while at < end {
            let step = &mut step[..usize::try_from(end - at).unwrap_or(STEP).min(STEP)];
            let read = Medium::read(file, at, step)?;
            if read == 0 {
                break;
            }
            Medium::write(file, at, &step[..read])?;
            at += read as u64;
        }
        at = end;
    }
    file.sync_all()
}

/// The next stretch that holds data. What was never written must stay a hole, or the file would take more room.
#[cfg(target_os = "linux")]
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    if at >= length {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        // Only a hole is left.
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        // A file system that does not tell.
        Err(_) => return Ok(Some((at, length))),
    };
    let end = seek(file, SeekFrom::Hole(start)).unwrap_or(length);
    Ok(Some((start, end.max(start + 1).min(length))))
}

#[cfg(not(target_os = "linux"))]
fn next_data(_: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    Ok((at < length).then_some((at, length)))
}
