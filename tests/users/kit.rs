//! What the tests of users share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use eidetica::backend::database::Memory;
use eidetica::backend::{Backend, BackendInfo, Snapshot, WriteBatch};
use eidetica::crdt::Doc;
use eidetica::store::DocStore;
use eidetica::{Database, Error, ErrorKind, Id, Instance, Result, User};

use crate::local::counting::{Shared, dump};

pub async fn memory() -> Instance {
    Instance::open(Box::new(Memory::new())).await.unwrap()
}

/// A store with a user without a password, who is logged in.
pub async fn alice() -> (Instance, User) {
    let instance = memory().await;
    let user = join(&instance, "alice").await;
    (instance, user)
}

/// Makes a user without a password, and logs in.
pub async fn join(instance: &Instance, name: &str) -> User {
    instance.create_user(name, None).await.unwrap();
    instance.login_user(name, None).await.unwrap()
}

pub fn named(name: &str) -> Doc {
    [("name", name)].into_iter().collect()
}

/// An id of no database here.
pub async fn elsewhere() -> Id {
    let (_, mut user) = alice().await;
    let key = user.get_default_key().unwrap();
    *user.create_database(Doc::new(), &key).await.unwrap().root_id()
}

/// Writes something, which takes the right to write.
pub async fn write(database: &Database) -> Result<Id> {
    let transaction = database.new_transaction().await?;
    transaction.get_store::<DocStore>("notes").await?.set("key", 1i64).await?;
    transaction.commit().await
}

/// Kind and reason of an error.
pub fn why<T>(result: Result<T>) -> (ErrorKind, String) {
    match result {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => (error.kind(), error.context("reason").unwrap_or_default().to_owned()),
    }
}

/// Expects a refusal of this kind and for this reason.
#[track_caller]
pub fn refused<T>(result: Result<T>, kind: ErrorKind, reason: &str) {
    assert_eq!(why(result), (kind, reason.to_owned()));
}

/// All keys and values of a store.
pub async fn bytes_of(backend: &dyn Backend) -> Vec<u8> {
    let rows = dump(&*backend.snapshot().await.unwrap()).await;
    rows.into_iter().flat_map(|(_, key, value)| [&key[..], &value[..]].concat()).collect()
}

pub fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A store that several hold, and whose commits can be made to fail.
#[derive(Clone)]
pub struct Breaking {
    inner: Shared,
    broken: Arc<AtomicBool>,
}

impl Breaking {
    pub fn new() -> Breaking {
        Breaking { inner: Shared::at_once(Memory::new()), broken: Arc::default() }
    }

    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

#[async_trait]
impl Backend for Breaking {
    fn info(&self) -> BackendInfo {
        self.inner.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Full, "the disk is full, as the test wants it")),
            false => self.inner.commit(batch).await,
        }
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot().await
    }

    async fn changed(&self) -> Result<u64> {
        self.inner.changed().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
