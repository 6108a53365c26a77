//! A store of databases, as an application opens it.

use std::sync::Arc;
#[cfg(feature = "sync")]
use std::sync::Weak;
#[cfg(feature = "sync")]
use std::sync::{PoisonError, RwLock};

use eidetica_contract::{Backend, BackendInfo, Error, ErrorKind, Maintenance, PublicKey, Registry, Result};
use eidetica_core::auth::{Right, Setting, Subject};
use eidetica_core::crdt::Doc;
use eidetica_core::{Database, Engine, Exported, Id, Options, SecretKey};
use tokio::sync::watch;

#[cfg(feature = "sync")]
use eidetica_sync::{SyncOptions, Syncer};

use crate::device;
#[cfg(feature = "sync")]
use crate::sync::Wishing;
use crate::user::Attempts;
#[cfg(feature = "sync")]
use crate::usher::Usher;

// Linking a backend is what registers it; a crate that nothing names is dropped by the linker.
#[cfg(feature = "redb")]
use eidetica_backend_redb as _;
#[cfg(feature = "sqlite")]
use eidetica_backend_sqlite as _;

/// A store of databases in a backend. Cheap to clone; must be opened and used within a tokio runtime.
///
/// # Errors and cancellation
///
/// What a method says of its errors is what is special about it. Besides, every `async` method answers `Closed` once the store
/// has been closed, `Corrupted` for rows that cannot be read, and the errors of the backend, such as `Io`, `Full` and
/// `Locked`; a method that writes also `ReadOnly`. Dropping a future of a method that reads changes nothing; one that creates
/// something, a store or a database, has then created it whole or not at all.
///
/// ```
/// use eidetica::Instance;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica::Result<()> {
/// let instance = Instance::open_url("memory:").await?;
/// instance.create_user("alice", None).await?;
/// assert_eq!(instance.list_users().await?, ["alice"]);
/// assert!(instance.sync().is_none(), "sync is there once it was enabled");
/// instance.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Instance {
    engine: Engine,
    shared: Arc<Shared>,
}

/// What all clones have in common.
struct Shared {
    device: SecretKey,
    attempts: Attempts,
    /// Rings when users wish something else; see `wishes.rs`.
    wishes: watch::Sender<u64>,
    /// Sync, once it was enabled.
    #[cfg(feature = "sync")]
    sync: RwLock<Option<Syncer>>,
    /// Held while sync is being started.
    #[cfg(feature = "sync")]
    starting: tokio::sync::Mutex<()>,
    /// Lets in who shows an invitation.
    #[cfg(feature = "sync")]
    usher: Usher,
}

/// An instance, without keeping it alive.
#[cfg(feature = "sync")]
pub(crate) struct WeakInstance {
    engine: Engine,
    shared: Weak<Shared>,
}

#[cfg(feature = "sync")]
impl WeakInstance {
    /// The instance, if anybody still has it.
    pub fn upgrade(&self) -> Option<Instance> {
        Some(Instance { engine: self.engine.clone(), shared: self.shared.upgrade()? })
    }
}

impl Instance {
    /// Opens the store in a backend, or creates one in an empty backend.
    ///
    /// Errors: `NewerFormat` for a store of a newer version, which is left untouched; `ReadOnly` for one that cannot be written,
    /// since every opening counts; `Corrupted` for a backup that was cut off; those of the backend.
    pub async fn open(backend: Box<dyn Backend>) -> Result<Instance> {
        Instance::open_with(backend, Options::default()).await
    }

    /// Opens a store with time and randomness of your own.
    ///
    /// Errors: as for [`open`](Instance::open).
    pub async fn open_with(backend: Box<dyn Backend>, options: Options) -> Result<Instance> {
        let engine = Engine::open(backend, options).await?;
        let device = match device::load_or_make(&engine).await {
            Ok(device) => device,
            Err(error) => {
                // The tasks of the engine end, and the error says more than closing could.
                let _ = engine.close().await;
                return Err(error);
            }
        };
        let shared = Shared {
            device,
            attempts: Attempts::default(),
            wishes: watch::Sender::new(0),
            #[cfg(feature = "sync")]
            sync: RwLock::default(),
            #[cfg(feature = "sync")]
            starting: tokio::sync::Mutex::default(),
            #[cfg(feature = "sync")]
            usher: Usher::new(),
        };
        Ok(Instance { engine, shared: Arc::new(shared) })
    }

    /// Opens the store that a URL names, such as `sqlite:notes.db` or `memory:`.
    ///
    /// Errors: `NotFound` for a scheme that is not part of this program, listing those that are; as for
    /// [`open`](Instance::open).
    pub async fn open_url(url: &str) -> Result<Instance> {
        Instance::open(Registry::linked()?.open_backend(url).await?).await
    }

    /// What the store lies in.
    pub fn backend_info(&self) -> BackendInfo {
        self.engine.backend_info()
    }

    /// Who this store is to others: the public key of its device, made with the store and the same ever after. A backup that
    /// is opened is the same device; do not use both.
    ///
    /// The secret key lies in the store, unsealed, because a device works while nobody is logged in. What protects it is the
    /// mode of the store's files.
    pub fn device_id(&self) -> PublicKey {
        self.shared.device.public()
    }

    /// A new key, from the randomness of this instance. It is kept nowhere.
    pub fn generate_key(&self) -> Result<SecretKey> {
        SecretKey::generate(self.engine.environment())
    }

    /// Creates a database whose strongest admin is this key. Its settings start with the values given.
    ///
    /// Errors: `InvalidInput` for settings that cannot be stored, such as NaN.
    pub async fn create_database_with_key(&self, settings: Doc, key: &SecretKey) -> Result<Database> {
        self.engine.create_database(settings, key).await
    }

    /// Creates a database of which a recovery key is the strongest admin, and this key, which writes, the strongest of all others.
    /// The recovery key is to be kept apart: it can put another key in the place of any.
    ///
    /// Errors: as for [`create_database_with_key`](Instance::create_database_with_key); `InvalidInput` if both are the same key.
    pub async fn create_database_with_recovery_key(
        &self,
        settings: Doc,
        key: &SecretKey,
        recovery: &PublicKey,
    ) -> Result<Database> {
        if key.public() == *recovery {
            let message = "a recovery key must be another key than the one that is used every day";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("key", recovery));
        }
        let admin = |key, priority| (Subject::Key(key), Setting::Grant(Right::admin(priority)));
        let rights = vec![admin(*recovery, u32::MAX), admin(key.public(), u32::MAX - 1)];
        self.engine.create_database_with_rights(settings, rights, key).await
    }

    /// Opens a database, to write with this key; without a key, to read.
    ///
    /// Errors: `NotFound` if it is not in this store.
    pub async fn open_database_with_key(&self, id: &Id, key: Option<SecretKey>) -> Result<Database> {
        self.engine.open_database(id, key).await
    }

    /// The databases in this store.
    pub async fn databases(&self) -> Result<Vec<Id>> {
        self.engine.databases().await
    }

    /// Reads a whole history from a stream that [`Database::export`] has written.
    ///
    /// Errors: `InvalidInput` if the stream is cut off, damaged or no export; [`Exported::check`] tells so before anything
    /// is written. Entries before the error stay, and `database` and `entries_kept` among its context pairs say where and
    /// how many. Cancellation: as after an error.
    pub async fn import(
        &self,
        input: &mut (impl std::io::Read + Send),
        key: Option<SecretKey>,
    ) -> Result<(Database, Exported)> {
        self.engine.import(input, key).await
    }

    /// Copies everything in the store, as of now, into another backend, which must be empty. The store stays in use.
    /// Returns how many rows were copied. Users, their keys and the key of the device are copied along.
    ///
    /// Errors: `AlreadyExists` if the target holds something; those of both backends. Cancellation: the target then holds a
    /// part, which is refused as a store.
    pub async fn backup(&self, target: Box<dyn Backend>) -> Result<u64> {
        self.engine.backup(target).await
    }

    /// Does a piece of housekeeping in the backend. Errors: `Unsupported` if it has no such job; `Corrupted` as what a check has
    /// found. Cancellation: the job may go on.
    pub async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.engine.maintain(job).await
    }

    /// Starts sync: what users track is kept in step with peers from now on. Nothing listens and nobody is called before a
    /// transport is registered. Calling it again does nothing; after [`Syncer::close`] it starts sync anew, with transports to be registered
    /// anew.
    ///
    /// Errors: `Corrupted` for rows of sync that cannot be read. Cancellation: it is started or not.
    #[cfg(feature = "sync")]
    pub async fn enable_sync(&self) -> Result<()> {
        self.enable_sync_with(SyncOptions::default()).await
    }

    /// Starts sync with other limits and delays. While it is running, nothing changes.
    ///
    /// Errors and cancellation: as for [`enable_sync`](Instance::enable_sync).
    #[cfg(feature = "sync")]
    pub async fn enable_sync_with(&self, options: SyncOptions) -> Result<()> {
        let _starting = self.shared.starting.lock().await;
        if self.sync().is_some_and(|sync| !sync.is_closed()) {
            return Ok(());
        }
        let host = Wishing { engine: self.engine.clone(), bell: self.shared.wishes.clone() };
        let sync = Syncer::start(self.engine.clone(), self.shared.device.clone(), Arc::new(host), options).await?;
        self.shared.usher.start(sync.access_book().clone());
        *self.shared.sync.write().unwrap_or_else(PoisonError::into_inner) = Some(sync);
        Ok(())
    }

    /// Sync, as a cheap handle; `None` before [`enable_sync`](Instance::enable_sync).
    #[cfg(feature = "sync")]
    pub fn sync(&self) -> Option<Syncer> {
        self.shared.sync.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The grants by which this device carries databases for its users.
    #[cfg(feature = "sync")]
    pub(crate) fn grants(&self) -> eidetica_sync::access::Grants {
        eidetica_sync::access::Grants::new(self.engine.clone(), self.device_id())
    }

    /// What users of this device have asked of others.
    #[cfg(feature = "sync")]
    pub(crate) fn asked_requests(&self) -> eidetica_sync::access::AskedRequests {
        eidetica_sync::access::AskedRequests::new(self.engine.clone(), self.device_id())
    }

    #[cfg(feature = "sync")]
    pub(crate) fn usher(&self) -> &Usher {
        &self.shared.usher
    }

    #[cfg(feature = "sync")]
    pub(crate) fn downgrade(&self) -> WeakInstance {
        WeakInstance { engine: self.engine.clone(), shared: Arc::downgrade(&self.shared) }
    }

    pub(crate) fn attempts(&self) -> &Attempts {
        &self.shared.attempts
    }

    pub(crate) fn wishes_bell(&self) -> &watch::Sender<u64> {
        &self.shared.wishes
    }

    /// The engine below, for what this type does not offer.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stops sync and its servers, flushes, ends all tasks, and closes the backend. Handles that are still held answer `Closed` from then on.
    ///
    /// Errors: those of the last flush; it is closed all the same. Cancellation: closing may be left halfway, and the store is
    /// then found as after a crash.
    pub async fn close(self) -> Result<()> {
        #[cfg(feature = "sync")]
        {
            self.shared.usher.end().await;
            if let Some(sync) = self.sync() {
                sync.close().await;
            }
        }
        self.engine.close().await
    }
}
