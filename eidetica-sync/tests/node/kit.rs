//! Nodes for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{Address, Result};
use eidetica_core::auth::{Right, Setting, Subject};
use eidetica_core::crdt::Doc;
use eidetica_core::store::DocStore;
use eidetica_core::{Database, Durability, Engine, Id, Memory, Options, SecretKey};
use eidetica_sync::access::{Grants, Scope};
use eidetica_sync::schedule::Wish;
use eidetica_sync::transport::MemoryNetwork;
use eidetica_sync::{Host, SyncOptions, Syncer};
use tokio::sync::watch;

/// What is wished, as a test sets it.
pub struct Wishes {
    wishes: Mutex<BTreeMap<Id, Wish>>,
    bell: watch::Sender<u64>,
}

#[async_trait]
impl Host for Wishes {
    async fn wishes(&self) -> Result<BTreeMap<Id, Wish>> {
        Ok(self.wishes.lock().unwrap().clone())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}

/// A device with one user.
pub struct Node {
    pub name: &'static str,
    pub engine: Engine,
    pub user: SecretKey,
    pub syncer: Syncer,
    pub wishes: Arc<Wishes>,
    pub grants: Grants,
}

impl Node {
    /// A node that does not listen yet, and has no transport.
    pub async fn new(name: &'static str) -> Node {
        Node::with(name, SyncOptions::default()).await
    }

    /// The same with other limits and delays.
    pub async fn with(name: &'static str, options: SyncOptions) -> Node {
        let engine = Engine::open(Box::new(Memory::new()), Options::default()).await.unwrap();
        let device = SecretKey::generate(engine.environment()).unwrap();
        let user = SecretKey::generate(engine.environment()).unwrap();
        let wishes = Arc::new(Wishes { wishes: Mutex::default(), bell: watch::Sender::new(0) });
        let grants = Grants::new(engine.clone(), device.public());
        let syncer = Syncer::start(engine.clone(), device, wishes.clone(), options).await.unwrap();
        Node { name, engine, user, syncer, wishes, grants }
    }

    /// A node that listens under its name.
    pub async fn listening(network: &MemoryNetwork, name: &'static str) -> Node {
        let node = Node::new(name).await;
        node.join(network).await;
        node.syncer.accept_connections().await.unwrap();
        node
    }

    /// Registers a transport.
    pub async fn join(&self, network: &MemoryNetwork) {
        self.syncer.register_transport("memory", network.builder(self.name)).await.unwrap();
    }

    pub fn address(&self) -> Address {
        Address::new("memory", self.name)
    }

    /// Wishes a database synced, as its user.
    pub async fn track(&self, id: Id, wish: Wish) {
        self.grants.save(&self.user, Scope::Database(id)).await.unwrap();
        self.wish(id, wish).await;
    }

    /// Wishes a database synced, as nobody.
    pub async fn wish(&self, id: Id, wish: Wish) {
        self.wishes.wishes.lock().unwrap().insert(id, wish);
        self.wishes.bell.send_modify(|count| *count += 1);
        self.syncer.settle_wishes().await.unwrap();
    }

    pub async fn untrack(&self, id: Id) {
        self.wishes.wishes.lock().unwrap().remove(&id);
        self.wishes.bell.send_modify(|count| *count += 1);
        self.syncer.settle_wishes().await.unwrap();
    }

    /// Creates a database that these others may write to, and tracks it.
    pub async fn create(&self, others: &[&Node]) -> Database {
        let mut rights = vec![(Subject::Key(self.user.public()), Setting::Grant(Right::admin(u32::MAX)))];
        rights.extend(others.iter().map(|node| (Subject::Key(node.user.public()), Setting::Grant(Right::WRITE))));
        let database = self.engine.create_database_with_rights(Doc::new(), rights, &self.user).await.unwrap();
        self.track(*database.root_id(), Wish::live()).await;
        database
    }

    pub async fn open(&self, id: &Id) -> Database {
        self.engine.open_database(id, Some(self.user.clone())).await.unwrap()
    }
}

pub async fn set(database: &Database, key: &str, value: &str) {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, value).await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap();
}

pub async fn get(database: &Database, key: &str) -> Option<String> {
    let notes = database.get_store_viewer::<DocStore>("notes").await.ok()?;
    notes.get_string(key).await.ok()
}

/// Waits until both have the same heads.
pub async fn in_step(one: &Database, other: &Database) {
    let wait = async {
        while one.heads_digest().await.unwrap() != other.heads_digest().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("both come to the same heads");
}
