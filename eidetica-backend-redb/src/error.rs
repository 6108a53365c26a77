//! What an error of redb means to the caller.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use eidetica_contract::{Error, ErrorKind, Result};

use crate::disk;
use crate::worker::closed;

const FULL: &str = "no space is left for the redb store; nothing was lost; make room and try again";
const READ_ONLY: &str =
    "the redb store can be read but not written; give this program the right to write to the file and its directory";
const DAMAGED: &str = "the redb file is damaged; restore it from a backup, or start afresh and sync";
const NOT_ALLOWED: &str =
    "this program may not open the redb store; give it the right to read and write the file and its directory";
const REFUSED: &str = "the operating system refused an operation on the redb store; see the cause";
const PREVIOUS: &str =
    "an earlier operation on the redb store has failed; close the store, check the disk, and open it again";
const LOCKED: &str = "the redb store is open already, in this process or another; it can be open once at a time: \
                      close it there first, or keep the data in a SQLite store, which several processes may use";
const DEFECT: &str = "the redb backend made a mistake; this is a defect, please report it";
const NOT_CLOSED: &str = "the redb store was not closed when it was last used, and what may only be read cannot be set right; open it once for writing";
const NO_DIRECTORY: &str = "the directory of the redb store does not exist; create it first";

/// An error of redb on the store at `path`, in the terms of the contract.
pub(crate) fn translate(path: &Path, error: impl Into<redb::Error>) -> Error {
    use redb::Error::*;
    let error = error.into();
    let (kind, message) = match &error {
        DatabaseClosed => return closed(),
        Io(cause) => return translate_io(path, io::Error::new(cause.kind(), error)),
        Corrupted(_) | TableTypeMismatch { .. } | TableIsMultimap(_) | TypeDefinitionChanged { .. } => {
            (ErrorKind::Corrupted, DAMAGED)
        }
        TableDoesNotExist(_) => {
            (ErrorKind::Corrupted, "tables of the redb store are missing; restore it from a backup")
        }
        // A panic inside redb leaves these, and what makes redb panic is a file that it did not write so.
        LockPoisoned(_) | TransactionPoisoned => (ErrorKind::Corrupted, DAMAGED),
        UpgradeRequired(_) => (ErrorKind::Corrupted, DAMAGED),
        ValueTooLarge(_) => (ErrorKind::TooLarge, "a row is larger than redb takes"),
        DatabaseAlreadyOpen => (ErrorKind::Locked, LOCKED),
        PreviousIo => (ErrorKind::Io, PREVIOUS),
        RepairAborted => (ErrorKind::ReadOnly, NOT_CLOSED),
        _ => (ErrorKind::Internal, DEFECT),
    };
    Error::new(kind, message).with("path", path.display()).caused_by(error)
}

/// An error of the operating system on a file or directory of the store.
pub(crate) fn translate_io(path: &Path, error: io::Error) -> Error {
    let (kind, message) = match error.kind() {
        _ if disk::is_full(&error) => (ErrorKind::Full, FULL),
        io::ErrorKind::NotFound => (ErrorKind::NotFound, NO_DIRECTORY),
        io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, NOT_ALLOWED),
        io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::ReadOnly, READ_ONLY),
        // What redb says of a file that is none of its own, and what `disk.rs` says of one that ends too early.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => (ErrorKind::Corrupted, DAMAGED),
        _ => (ErrorKind::Io, REFUSED),
    };
    Error::new(kind, message).with("path", path.display()).caused_by(error)
}

pub(crate) fn locked(path: &Path) -> Error {
    Error::new(ErrorKind::Locked, LOCKED).with("path", path.display())
}

pub(crate) fn read_only(path: &Path) -> Error {
    Error::new(ErrorKind::ReadOnly, READ_ONLY).with("path", path.display())
}

pub(crate) fn damaged(path: &Path, finding: &str) -> Error {
    Error::new(ErrorKind::Corrupted, DAMAGED).with("path", path.display()).with("finding", finding)
}

/// Runs something of redb, which trusts its file: where one was changed from outside, it may panic in the middle.
pub(crate) fn sheltered<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged(path, "redb panicked over what it has read")))
}
