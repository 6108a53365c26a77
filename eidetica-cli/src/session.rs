//! A store that a command works on.

use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use eidetica::{Database, Error, ErrorKind, Id, Instance, SecretKey};

use crate::key::KeyFile;

/// An open store, and the key to write with.
pub struct Session {
    pub instance: Instance,
    pub url: String,
    key: Key,
}

enum Key {
    File(KeyFile),
    /// The store is gone with the process, and so is its key.
    Process(SecretKey),
}

/// What a command does with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It must be there.
    Use,
    /// It comes into being.
    Create,
}

impl Session {
    /// Opens the store with this URL, or the default one.
    pub async fn open(url: Option<&str>, intent: Intent) -> Result<Session, Error> {
        let url = match url {
            Some(url) => url.to_owned(),
            None => default_url(intent)?,
        };
        crate::store_url::check_scheme(&url)?;
        let file = file_of(&url);
        if let (Some(file), Intent::Use) = (&file, intent)
            // A program may have made an empty file for a store that is to come.
            && std::fs::metadata(file).map_or(true, |found| found.is_file() && found.len() == 0)
        {
            let message = "there is no store here yet; `eidetica import` makes one, and --store names another one";
            return Err(Error::new(ErrorKind::NotFound, message).with("store", &url));
        }
        let instance = Instance::open_url(&url).await?;
        let key = match file {
            Some(file) => Key::File(KeyFile::beside(&file)),
            None => Key::Process(instance.generate_key()?),
        };
        Ok(Session { instance, url, key })
    }

    /// The key of the store; `None` as long as nothing was created in it.
    pub fn key(&self) -> Result<Option<SecretKey>, Error> {
        match &self.key {
            Key::File(file) => file.read(),
            Key::Process(key) => Ok(Some(key.clone())),
        }
    }

    /// The key of the store, made if need be.
    pub fn make_key(&self) -> Result<SecretKey, Error> {
        match (&self.key, self.key()?) {
            (_, Some(key)) => Ok(key),
            (Key::File(file), None) => file.create(&self.instance.generate_key()?),
            (Key::Process(key), None) => Ok(key.clone()),
        }
    }

    pub fn key_file(&self) -> Option<&KeyFile> {
        match &self.key {
            Key::File(file) => Some(file),
            Key::Process(_) => None,
        }
    }

    /// A database to read.
    pub async fn read(&self, id: &Id) -> Result<Database, Error> {
        self.instance.open_database_with_key(id, None).await
    }

    /// A database to write. Errors: `NotFound` if the store has no key.
    pub async fn write(&self, id: &Id) -> Result<Database, Error> {
        let key = self.key()?.ok_or_else(|| {
            let message = "this store has no key to write with; put a copy of the key that the database was written \
                           with at `key_file`, and let nobody else read it";
            let error = Error::new(ErrorKind::NotFound, message).with("database", id);
            match self.key_file() {
                Some(file) => error.with("key_file", file.path().display()),
                None => error,
            }
        })?;
        self.instance.open_database_with_key(id, Some(key)).await
    }
}

/// The file that a URL names; `None` for stores that are gone with the process.
fn file_of(url: &str) -> Option<PathBuf> {
    let (_, rest) = url.split_once(':')?;
    let volatile = rest.is_empty() || rest == ":memory:";
    (!volatile).then(|| Path::new(rest).to_owned())
}

fn default_url(intent: Intent) -> Result<String, Error> {
    let places = ProjectDirs::from("", "", "eidetica").ok_or_else(|| {
        let message = "this user has no home directory, so there is no default store; name one with --store";
        Error::new(ErrorKind::NotFound, message)
    })?;
    let directory = places.data_dir();
    if intent == Intent::Create {
        make_private(directory).map_err(|error| {
            let message = "the directory for the default store cannot be made; name a store elsewhere with --store";
            Error::new(ErrorKind::Io, message).with("path", directory.display()).caused_by(error)
        })?;
    }
    let file = directory.join("store.db");
    let path = file.to_str().ok_or_else(|| {
        let message = "the path of the data directory is not Unicode; name a store with --store";
        Error::new(ErrorKind::Unsupported, message).with("path", file.display())
    })?;
    Ok(format!("sqlite:{path}"))
}

/// Makes a directory that others cannot look into: the store is not encrypted.
fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
