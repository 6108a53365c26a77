//! A store that a command works on, and the user who writes.

use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use eidetica::auth::Permission;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Error, ErrorKind, Id, Instance, PublicKey, User};
use eidetica_backend_lent::Lender;
use tokio::sync::OnceCell;

use crate::arguments::Who;
use crate::key::KeyFile;
use crate::lock::CreationLock;
use crate::opening;
use crate::password;

/// Who writes unless `--user` says otherwise. This user has no password.
pub const DEFAULT_USER: &str = "default";

/// An open store. Reading takes no user: the store is not encrypted.
pub struct Session {
    pub instance: Instance,
    pub url: String,
    who: Who,
    /// `None` if the store is gone with the process.
    file: Option<PathBuf>,
    user: OnceCell<User>,
    lender: Option<Lender>,
}

/// What a command does with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It must be there.
    Use,
    /// It comes into being if need be.
    Create,
    /// It comes into being if need be, and other commands work on it meanwhile.
    Serve,
}

impl Session {
    /// Opens the store with this URL, or the default one.
    pub async fn open(url: Option<&str>, who: &Who, intent: Intent) -> Result<Session, Error> {
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
        let (instance, lender) = match intent {
            Intent::Use | Intent::Create => (opening::to_use(&url, file.as_deref()).await?, None),
            Intent::Serve => {
                let opened = opening::to_serve(&url, file.as_deref()).await?;
                (opened.instance, opened.lender)
            }
        };
        Ok(Session { instance, url, who: who.clone(), file, user: OnceCell::new(), lender })
    }

    /// The user who writes. Errors: `NotFound` if the store has no such user.
    pub async fn user(&self) -> Result<&User, Error> {
        self.user.get_or_try_init(|| self.log_in(false)).await
    }

    /// The user who writes; the one without a password is made if need be.
    pub async fn user_or_new(&self) -> Result<&User, Error> {
        self.user.get_or_try_init(|| self.log_in(true)).await
    }

    /// A user by name; a password is asked for if there is one.
    pub async fn log_in_as(&self, name: &str) -> Result<User, Error> {
        match self.instance.login_user(name, None).await {
            Err(error) if error.context("reason") == Some("missing_password") => {
                let password = password::ask(&self.who, name).await?;
                self.instance.login_user(name, Some(&password)).await
            }
            Err(error) if error.context("reason") == Some("unknown_user") => {
                let message = "this store has no such user; `eidetica user list` shows those it has, `eidetica user add` makes one";
                let error = error
                    .context_pairs()
                    .fold(Error::new(error.kind(), message), |error, (name, value)| error.with(name.to_owned(), value));
                Err(error)
            }
            result => result,
        }
    }

    async fn log_in(&self, make: bool) -> Result<User, Error> {
        if let Some(name) = &self.who.user {
            return self.log_in_as(name).await;
        }
        let old_key = self.key_file().map_or(Ok(None), |file| file.read())?;
        let mut user = match (self.instance.login_user(DEFAULT_USER, None).await, &old_key) {
            (Ok(user), _) => user,
            (Err(error), _) if error.kind() != ErrorKind::NotFound => return Err(error),
            (Err(error), None) if !make => return Err(self.without_key(error)),
            (Err(_), key) => {
                let made = match key {
                    Some(key) => self.instance.create_user_with_key(DEFAULT_USER, None, key.clone()).await,
                    None => self.instance.create_user(DEFAULT_USER, None).await,
                };
                // Another process may have been faster.
                if let Err(error) = made
                    && error.kind() != ErrorKind::AlreadyExists
                {
                    return Err(error);
                }
                self.instance.login_user(DEFAULT_USER, None).await?
            }
        };
        if let Some(key) = old_key {
            // Stored and flushed when this returns. The file stays: it is a copy, to be kept elsewhere or deleted.
            let id = user.import_private_key(key, Some("key file")).await?;
            self.track_all(&mut user, id).await?;
        }
        Ok(user)
    }

    /// Tracks what the key of an older store may write, once.
    async fn track_all(&self, user: &mut User, key: PublicKey) -> Result<(), Error> {
        let engine = self.instance.engine();
        let done = format!("key-file-taken/{key}");
        if engine.local(&done).await?.is_some() {
            return Ok(());
        }
        for id in engine.databases().await? {
            let right = self.read(&id).await?.now().right_of(key).await?;
            if right.permission() >= Some(Permission::Write) {
                self.track(user, id, key).await?;
            }
        }
        match engine.set_local(&done, None, "").await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            result => result,
        }
    }

    /// Tracks a database that is not tracked yet.
    pub async fn track(&self, user: &mut User, id: Id, key: PublicKey) -> Result<(), Error> {
        if user.databases().await?.iter().any(|tracked| tracked.database_id == id) {
            return Ok(());
        }
        let sync_settings = SyncSettings::default();
        user.track_database(TrackedDatabase { database_id: id, key_id: key, sync_settings }).await
    }

    /// The key that commands write with, as far as it shows without a password.
    pub async fn author(&self) -> Result<Option<PublicKey>, Error> {
        let name = self.who.user.as_deref().unwrap_or(DEFAULT_USER);
        match self.instance.login_user(name, None).await {
            Ok(user) => Ok(Some(user.get_default_key()?)),
            Err(error) if error.kind() == ErrorKind::NotFound && self.who.user.is_none() => {
                Ok(self.key_file().map_or(Ok(None), |file| file.read())?.map(|key| key.public()))
            }
            Err(error) if error.context("reason") == Some("missing_password") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The key that commands write a database with, as far as it shows without a password.
    pub async fn author_of(&self, id: &Id) -> Result<Option<PublicKey>, Error> {
        let name = self.who.user.as_deref().unwrap_or(DEFAULT_USER);
        let tracked = match self.instance.login_user(name, None).await {
            Ok(user) => user.databases().await?.into_iter().find(|tracked| tracked.database_id == *id),
            Err(_) => None,
        };
        match tracked {
            Some(tracked) => Ok(Some(tracked.key_id)),
            None => self.author().await,
        }
    }

    /// The file that the store lies in; `None` if it is gone with the process.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What lends the store to other commands; `None` if they can open it themselves.
    pub fn lender(&self) -> Option<&Lender> {
        self.lender.as_ref()
    }

    /// Where older versions of this command kept the key of the store.
    pub fn key_file(&self) -> Option<KeyFile> {
        self.file.as_deref().map(KeyFile::beside)
    }

    /// Keeps other processes from creating databases until the answer is dropped, so that two do not create the same one.
    pub async fn lock_creation(&self) -> Result<Option<CreationLock>, Error> {
        match &self.file {
            Some(file) => Ok(Some(CreationLock::take(file).await?)),
            None => Ok(None),
        }
    }

    /// A database to read.
    pub async fn read(&self, id: &Id) -> Result<Database, Error> {
        self.instance.open_database_with_key(id, None).await
    }

    /// A database to write. Errors: `NotFound` if the store has no user to write as; `PermissionDenied`.
    pub async fn write(&self, id: &Id) -> Result<Database, Error> {
        self.user().await.map_err(|error| error.with("database", id))?.open_database(id).await
    }

    fn without_key(&self, error: Error) -> Error {
        let message = "this store has no user to write as yet; `eidetica import` makes one with a database of its own, `eidetica user \
                       add` does without, `--user` names another one, and a key of an older store is taken in from `key_file`; to write a \
                       database of others, its key needs a right there";
        let error = Error::new(error.kind(), message);
        match self.key_file() {
            Some(file) => error.with("key_file", file.path().display()),
            None => error,
        }
    }
}

/// The file that a URL names; `None` for stores that are gone with the process.
pub fn file_of(url: &str) -> Option<PathBuf> {
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
    if intent != Intent::Use {
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
