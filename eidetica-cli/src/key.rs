//! The key that a store writes with, in a file of its own beside the store.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eidetica::{Error, ErrorKind, SecretKey};
use zeroize::Zeroizing;

/// The first word of the file. A later form will have another one.
const MARK: &str = "eidetica-key-1 ";
/// Longer than any key file.
const MOST: u64 = 4096;
/// How long one process waits for another one that creates a database.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of a key.
#[derive(Clone, Debug)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// The key of the store in this file.
    pub fn beside(store: &Path) -> KeyFile {
        let mut name = store.as_os_str().to_owned();
        name.push(".key");
        KeyFile(name.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The key, if the file is there.
    pub fn read(&self) -> Result<Option<SecretKey>, Error> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("the key file cannot be opened", error)),
        };
        self.check_private(&file)?;
        let mut text = Zeroizing::new(String::new());
        let read = file.take(MOST).read_to_string(&mut text);
        read.map_err(|error| self.failed("the key file cannot be read", error))?;
        let seed = text.trim_end().strip_prefix(MARK).and_then(|seed| {
            let bytes = Zeroizing::new(STANDARD.decode(seed).ok()?);
            Some(Zeroizing::new(<[u8; 32]>::try_from(&bytes[..]).ok()?))
        });
        let damaged = || {
            let message = "the key file holds no key; restore it from a copy";
            Error::new(ErrorKind::Corrupted, message).with("path", self.0.display())
        };
        Ok(Some(SecretKey::from_seed(&*seed.ok_or_else(damaged)?)))
    }

    /// Writes a new key. If another process was faster its key stays, and counts.
    pub fn create(&self, key: &SecretKey) -> Result<SecretKey, Error> {
        let failed = |error| self.failed("the key file cannot be written", error);
        let directory = match self.0.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // Such a file is made with mode 0600, and gets its name when it is whole, unless the name is taken.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        let text = Zeroizing::new(format!("{MARK}{}\n", *Zeroizing::new(STANDARD.encode(*key.seed()))));
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        match file.persist_noclobber(&self.0) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error.error)),
        }
        #[cfg(unix)]
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        self.read()?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Keeps other processes from creating databases until the answer is dropped, so that two do not create the same one.
    pub async fn lock(&self) -> Result<File, Error> {
        let file = File::open(&self.0).map_err(|error| self.failed("the key file cannot be opened", error))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let message = "another process has been creating a database for too long; end it, and try again";
                    return Err(Error::new(ErrorKind::Locked, message).with("path", self.0.display()));
                }
                Err(std::fs::TryLockError::Error(error)) => {
                    return Err(self.failed("the key file cannot be locked", error));
                }
            }
        }
    }

    #[cfg(unix)]
    fn check_private(&self, file: &File) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;
        let metadata = file.metadata().map_err(|error| self.failed("the key file cannot be examined", error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = "others may read or change the key file, so its key is not used; take that right away with \
                           `chmod 600`, and if somebody may have read it, write with another key from now on";
            let error = Error::new(ErrorKind::PermissionDenied, message).with("path", self.0.display());
            return Err(error.with("mode", format!("{mode:04o}")));
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_private(&self, _: &File) -> Result<(), Error> {
        Ok(())
    }

    fn failed(&self, message: &'static str, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            io::ErrorKind::StorageFull => ErrorKind::Full,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            _ => ErrorKind::Io,
        };
        Error::new(kind, message).with("path", self.0.display()).caused_by(error)
    }
}
