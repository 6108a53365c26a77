//! One process at a time creates databases.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eidetica::{Error, ErrorKind};

/// How long one process waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The right to create databases, until it is dropped. It is a lock on a file beside the store, which is empty and stays.
/// The store itself cannot be locked: closing it would end the locks that SQLite holds on it.
pub struct CreationLock {
    _file: File,
}

impl CreationLock {
    /// Waits for its turn. Errors: `Locked` if another process takes too long.
    pub async fn take(store: &Path) -> Result<CreationLock, Error> {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = |error: io::Error| {
            let message = "the lock beside the store cannot be taken; check that its directory can be written";
            Error::new(ErrorKind::Io, message).with("path", path.display()).caused_by(error)
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(CreationLock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let message = "another process has been creating a database for too long; end it, and try again";
                    return Err(Error::new(ErrorKind::Locked, message).with("path", path.display()));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}
