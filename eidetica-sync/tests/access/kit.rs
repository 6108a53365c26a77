//! What the tests of access share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Backend, BackendInfo, Error, ErrorKind, Keyspace, PublicKey, Result, Scan, Snapshot, WriteBatch,
};
use eidetica_core::auth::Permission;
use eidetica_core::crdt::Doc;
use eidetica_core::store::SettingsStore;
use eidetica_core::{Database, Engine, Environment, Id, Memory, Options, SecretKey, SystemEnvironment, Time};
use eidetica_sync::access::{Answer, Book, BookLimits, Request, RequestId, Wanted};

pub const LOCAL: Keyspace = Keyspace::new(15);
pub const MINUTE: u64 = 60_000;
pub const DAY: u64 = 24 * 60 * MINUTE;

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// Any number of keys that differ.
pub fn nth_key(n: u64) -> SecretKey {
    SecretKey::from_seed(blake3::hash(&n.to_be_bytes()).as_bytes())
}

pub fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// A clock that a test sets.
pub struct Clock(AtomicU64);

impl Clock {
    pub fn new() -> Arc<Clock> {
        Arc::new(Clock(AtomicU64::new(1_700_000_000_000)))
    }

    pub fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    pub fn millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Environment for Clock {
    fn now(&self) -> Time {
        Time::from_millis(self.millis())
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        SystemEnvironment.random(buffer)
    }
}

/// A store that outlives the engines on it, and counts what is written to it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Memory>,
    commits: Arc<AtomicUsize>,
    pub clock: Arc<Clock>,
}

impl Store {
    pub fn new() -> Store {
        Store { inner: Arc::new(Memory::new()), commits: Arc::default(), clock: Clock::new() }
    }

    pub async fn open(&self) -> Engine {
        let options = Options::default().environment(self.clock.clone());
        Engine::open(Box::new(self.clone()), options).await.unwrap()
    }

    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    /// The rows of this node whose names begin so.
    pub async fn rows(&self, prefix: &str) -> Vec<(Bytes, Bytes)> {
        let found = self.inner.snapshot().await.unwrap();
        found.scan(Scan::prefix(LOCAL, prefix.as_bytes())).await.unwrap().rows
    }

    pub async fn put(&self, name: &Bytes, value: impl Into<Bytes>) {
        let mut batch = WriteBatch::new();
        batch.put(LOCAL, name.clone(), value);
        self.inner.commit(batch).await.unwrap();
    }
}

#[async_trait]
impl Backend for Store {
    fn info(&self) -> BackendInfo {
        let mut info = self.inner.info();
        info.capabilities.shared = true;
        info
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        // As on a disk, others come in between what was read and what is written.
        tokio::task::yield_now().await;
        self.inner.commit(batch).await?;
        self.commits.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot().await
    }

    async fn changed(&self) -> Result<u64> {
        // What one engine commits, another one has to notice.
        Ok(self.commits() as u64)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// A database whose strongest admin is this key.
pub async fn database(engine: &Engine, admin: &SecretKey) -> Database {
    engine.create_database(Doc::new(), admin).await.unwrap()
}

pub async fn grant(database: &Database, key: &PublicKey, permission: Permission) {
    grant_with(database, key, permission, 0).await;
}

pub async fn grant_with(database: &Database, key: &PublicKey, permission: Permission, priority: u32) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_auth_key(key, permission, priority).await.unwrap();
    transaction.commit().await.unwrap();
}

pub async fn revoke(database: &Database, key: &PublicKey) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.revoke_auth_key(key).await.unwrap();
    transaction.commit().await.unwrap();
}

pub async fn everybody(database: &Database, permission: Option<Permission>) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_global_permission(permission).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Kind and reason of an error.
pub fn why<T>(result: Result<T>) -> (ErrorKind, String) {
    match result {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => (error.kind(), reason(&error)),
    }
}

pub fn reason(error: &Error) -> String {
    error.context("reason").unwrap_or_default().to_owned()
}

#[track_caller]
pub fn refused<T>(result: Result<T>, kind: ErrorKind, reason: &str) {
    assert_eq!(why(result), (kind, reason.to_owned()));
}

/// The device that is asked in these tests, and one that asks.
pub const HERE: u8 = 100;
pub const THERE: u8 = 101;

pub async fn book(engine: &Engine) -> Book {
    Book::open(engine.clone(), public(HERE), BookLimits::default()).await.unwrap()
}

/// A request of a user key, from the usual device.
pub fn request(database: Id, user: &SecretKey, permission: Permission) -> Request {
    request_from(THERE, database, user, permission)
}

pub fn request_from(device: u8, database: Id, user: &SecretKey, permission: Permission) -> Request {
    let wanted = Wanted::new(database, user.public(), Some(permission), "Anna");
    Request::sign(wanted, public(device), public(HERE), user).unwrap()
}

/// Asks, and puts the request down if that is to be done.
pub async fn ask(book: &Book, request: &Request, served: Option<&Database>) -> Answer {
    let (answer, filing) = book.ask(request, None, served).await.unwrap();
    if let Some(filing) = filing {
        filing.file().await.unwrap();
    }
    answer
}

/// Asks for something that has to be decided.
pub async fn ask_pending(book: &Book, request: &Request, database: &Database) -> RequestId {
    match ask(book, request, Some(database)).await {
        Answer::Pending(id) => id,
        other => panic!("{other:?}"),
    }
}
