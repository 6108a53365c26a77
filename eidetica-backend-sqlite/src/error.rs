//! What an error of SQLite means to the caller.

use std::io;
use std::path::Path;

use eidetica_contract::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// Growing the shared index of the WAL failed. SQLite does so by writing, so in practice there is no room.
const IOERR_SHMSIZE: i32 = 4874;
/// The file ends before a page that must be there.
const IOERR_SHORT_READ: i32 = 522;
/// The file system says that it is damaged itself.
const IOERR_CORRUPTFS: i32 = 8458;

/// An error of SQLite on the store at `path`, in the terms of the contract.
pub(crate) fn translate(path: &Path, error: rusqlite::Error) -> Error {
    let (kind, message) = match error.sqlite_error() {
        Some(code) => meaning(path, code.code, code.extended_code),
        None => (ErrorKind::Corrupted, DAMAGED),
    };
    Error::new(kind, message).with("path", path.display()).caused_by(error)
}

/// An error of the operating system on a file or directory of the store.
pub(crate) fn translate_io(path: &Path, error: io::Error) -> Error {
    let (kind, message) = meaning_of_io(&error);
    Error::new(kind, message).with("path", path.display()).caused_by(error)
}

fn meaning_of_io(error: &io::Error) -> (ErrorKind, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, NO_DIRECTORY),
        io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, NOT_ALLOWED),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::Full, FULL),
        io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::ReadOnly, READ_ONLY),
        _ => (ErrorKind::Io, REFUSED),
    }
}

const NO_DIRECTORY: &str = "the directory of the SQLite store does not exist; create it first";
const FULL: &str = "no space is left for the SQLite store; nothing was lost; make room and try again";
const READ_ONLY: &str =
    "the SQLite store can be read but not written; give this program the right to write to the file and its directory";
const READ_ONLY_PLACE: &str =
    "no SQLite store can be made here, since nothing can be written; name a file elsewhere, or make the place writable";
const LOCKED: &str =
    "another process keeps the SQLite store locked; wait until it has finished, or end it, and try again";
const DAMAGED: &str = "the SQLite file is damaged; restore it from a backup";
const NOT_SQLITE: &str =
    "the file is not a SQLite database, or its beginning is damaged; check the path, or restore a backup";
const NOT_ALLOWED: &str =
    "this program may not open the SQLite store; give it the right to read and write the file and its directory";
const NO_MEMORY: &str = "there is not enough memory for this; close something and try again";
const REFUSED: &str = "the operating system refused an operation on the SQLite store; see the cause";
const CANNOT_OPEN: &str = "the SQLite store cannot be opened; check the path, the rights and how many files are open";
const DEFECT: &str = "the SQLite backend made a mistake; this is a defect, please report it";

fn meaning(path: &Path, code: ErrorCode, extended: i32) -> (ErrorKind, &'static str) {
    match (code, extended) {
        (ErrorCode::DiskFull, _) | (_, IOERR_SHMSIZE) => (ErrorKind::Full, FULL),
        (ErrorCode::ReadOnly, _) => (ErrorKind::ReadOnly, READ_ONLY),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed, _) => {
            (ErrorKind::Locked, LOCKED)
        }
        (ErrorCode::NotADatabase, _) => (ErrorKind::Corrupted, NOT_SQLITE),
        (ErrorCode::DatabaseCorrupt, _) | (_, IOERR_SHORT_READ | IOERR_CORRUPTFS) => (ErrorKind::Corrupted, DAMAGED),
        (ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied, _) => {
            (ErrorKind::PermissionDenied, NOT_ALLOWED)
        }
        (ErrorCode::CannotOpen, _) => cannot_open(path),
        (ErrorCode::OutOfMemory, _) => (ErrorKind::Io, NO_MEMORY),
        (ErrorCode::SystemIoFailure | ErrorCode::NoLargeFileSupport, _) => (ErrorKind::Io, REFUSED),
        (ErrorCode::TooBig, _) => (ErrorKind::TooLarge, "a row is larger than SQLite takes"),
        _ => (ErrorKind::Internal, DEFECT),
    }
}

/// SQLite does not say why it cannot open a file. Its directory often does.
///
/// The file itself must not be opened to find out: closing it would drop the locks that another handle of this process
/// may hold on it (POSIX locks belong to the process and the inode, not to the descriptor).
fn cannot_open(path: &Path) -> (ErrorKind, &'static str) {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return (ErrorKind::NotFound, NO_DIRECTORY);
        }
        Ok(directory) if !directory.is_dir() => {
            return (
                ErrorKind::InvalidInput,
                "what should be the directory of the SQLite store is a file; check the path",
            );
        }
        _ if path.is_dir() => return (ErrorKind::InvalidInput, "a directory is no SQLite store; name a file in it"),
        _ => {}
    }
    // What the system says to a file without a name in the same directory, it will have said to SQLite.
    match tempfile::tempfile_in(directory) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem && !path.exists() => {
            (ErrorKind::ReadOnly, READ_ONLY_PLACE)
        }
        Err(error) => meaning_of_io(&error),
        Ok(_) => (ErrorKind::Io, CANNOT_OPEN),
    }
}
