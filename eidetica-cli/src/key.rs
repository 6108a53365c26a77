//! Files that hold a key: the recovery key of a database, kept apart from its store; and the one beside a store in which older
//! versions of this command kept the key to write with. That one is read and never written: the key goes into the store, as a
//! key of the default user.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eidetica::{Error, ErrorKind, SecretKey};
use zeroize::Zeroizing;

/// The first word of the file. A later form will have another one.
const MARK: &str = "eidetica-key-1 ";
/// Longer than any key file.
const MOST: u64 = 4096;

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

    /// The file with this name.
    pub fn at(path: &Path) -> KeyFile {
        KeyFile(path.to_owned())
    }

    /// Writes a key to the file, which must not be there, so that it is on the disk when this returns. Nobody else can read it.
    ///
    /// Errors: `AlreadyExists`; `Io`.
    pub fn create(&self, key: &SecretKey) -> Result<(), Error> {
        let text = Zeroizing::new(format!("{MARK}{}\n", STANDARD.encode(*key.seed())));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.0).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message =
                    "there is a file of this name already, and a key is never written over anything; name another one";
                Error::new(ErrorKind::AlreadyExists, message).with("path", self.0.display())
            }
            _ => self.failed("the key file cannot be made", error),
        })?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| self.failed("the key file cannot be written", error))
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

    #[cfg(unix)]
    fn check_private(&self, file: &File) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;
        let metadata = file.metadata().map_err(|error| self.failed("the key file cannot be examined", error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = "others may read or change the key file, so its key is not used; take that right away with \
                           `chmod 600`, and if somebody may have read it, write with another key from now on; or delete \
                           it, if this store has taken its key in before";
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
        Error::new(error.kind().into(), message).with("path", self.0.display()).caused_by(error)
    }
}
