//! Nodes of a simulated world: each a device with one user, a disk that may crash, and sync over the network of the world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_backend_sqlite::Sqlite;
use eidetica_contract::{Address, Backend, PublicKey, Result};
use eidetica_core::auth::{Right, Setting, Subject};
use eidetica_core::crdt::Doc;
use eidetica_core::store::DocStore;
use eidetica_core::{Database, Durability, Engine, Id, Memory, Options, SecretKey};
use eidetica_sync::access::{Grants, Scope};
use eidetica_sync::schedule::Wish;
use eidetica_sync::sim::{Crashing, Delay, InPlace, Network, SimEnvironment, World, copy_rows, in_place};
use eidetica_sync::{Host, SyncHandle, SyncOptions, SyncPeerInfo, Syncer};
use tokio::sync::watch;

use super::scissors::Scissors;

/// What is wished, as a test sets it. It outlives the process, as the rows of users do.
pub struct Wishes {
    wishes: Mutex<BTreeMap<Id, Wish>>,
    bell: watch::Sender<u64>,
}

impl Wishes {
    /// Sets what is wished; tells what was before.
    pub fn set(&self, id: Id, wish: Option<Wish>) -> Option<Wish> {
        let mut wishes = self.wishes.lock().unwrap();
        let before = match wish {
            Some(wish) => wishes.insert(id, wish),
            None => wishes.remove(&id),
        };
        self.bell.send_modify(|count| *count += 1);
        before
    }
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

/// What a node keeps its rows on.
#[derive(Clone)]
pub enum Disk {
    Memory(Crashing<Memory>),
    Sqlite(Crashing<InPlace<Sqlite>>),
}

impl Disk {
    /// An empty one, on which a flush takes up to 20 ms.
    pub async fn new(seed: u64, sqlite: bool) -> Disk {
        let flush = Delay::Between(Duration::ZERO, Duration::from_millis(20));
        if !sqlite {
            return Disk::Memory(Crashing::memory(seed).flush_takes(flush));
        }
        let restore = |image: Memory| async move {
            let store = InPlace::new(in_place(Sqlite::in_memory())?);
            copy_rows(&image, &store).await?;
            Ok(store)
        };
        Disk::Sqlite(Crashing::new(seed, restore).await.unwrap().flush_takes(flush))
    }

    fn backend(&self) -> Box<dyn Backend> {
        match self {
            Disk::Memory(disk) => Box::new(disk.clone()),
            Disk::Sqlite(disk) => Box::new(disk.clone()),
        }
    }

    fn crash(&self) {
        match self {
            Disk::Memory(disk) => disk.crash(),
            Disk::Sqlite(disk) => disk.crash(),
        }
    }

    pub fn crash_after(&self, commits: u64) {
        match self {
            Disk::Memory(disk) => disk.crash_after(commits),
            Disk::Sqlite(disk) => disk.crash_after(commits),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Disk::Memory(disk) => disk.has_ended(),
            Disk::Sqlite(disk) => disk.has_ended(),
        }
    }

    async fn reopen(&self) -> Disk {
        match self {
            Disk::Memory(disk) => Disk::Memory(disk.reopen().await.unwrap()),
            Disk::Sqlite(disk) => Disk::Sqlite(disk.reopen().await.unwrap()),
        }
    }
}

/// A device with one user. It may run or not.
pub struct Node {
    pub name: String,
    pub environment: Arc<SimEnvironment>,
    pub disk: Disk,
    pub device: SecretKey,
    pub user: SecretKey,
    pub wishes: Arc<Wishes>,
    pub listens: bool,
    pub options: SyncOptions,
    /// The name on the network, if it is not its own.
    pub host: Option<String>,
    /// Breaks requests that this node sends.
    pub scissors: Scissors,
    /// The largest message that its transport carries.
    pub max_message: usize,
    network: Network,
    engine_options: Options,
    running: Option<Running>,
}

/// Anna, who listens and has made a database, and Ben, who may write there, knows her, and has it. He listens or does not.
pub async fn two_in_step(world: &World, listens: bool) -> (Node, Node, Database) {
    let anna = Node::start(world, "anna").await;
    let mut ben = Node::stopped(world, "ben", false).await;
    ben.listens = listens;
    ben.begin().await;
    let database = anna.create(&[ben.user.public()]).await;
    let id = *database.root_id();
    ben.track(id, Wish::live()).await;
    ben.know(&anna, id).await;
    come_in_step(&[&anna, &ben], &id, Duration::from_secs(30)).await;
    (anna, ben, database)
}

/// Anna, who has made a database, Ben, who knows her, and Cleo, who knows Ben and never meets Anna. All may write, and have it.
pub async fn three_in_a_row(world: &World) -> (Node, Node, Node, Database) {
    let (anna, cleo) = (Node::start(world, "anna").await, Node::start(world, "cleo").await);
    let ben = Node::start(world, "ben").await;
    world.network.partition(&["anna"], &["cleo"]);
    let database = anna.create(&[ben.user.public(), cleo.user.public()]).await;
    let id = *database.root_id();
    for (node, other) in [(&ben, &anna), (&cleo, &ben)] {
        node.track(id, Wish::live()).await;
        node.know(other, id).await;
    }
    come_in_step(&[&anna, &ben, &cleo], &id, Duration::from_secs(150)).await;
    (anna, ben, cleo, database)
}

/// What a process of a node is made of.
struct Running {
    engine: Engine,
    syncer: Syncer,
}

impl Node {
    /// A node that runs and listens.
    pub async fn start(world: &World, name: &str) -> Node {
        let mut node = Node::stopped(world, name, false).await;
        node.begin().await;
        node
    }

    /// A node that does not run yet.
    pub async fn stopped(world: &World, name: &str, sqlite: bool) -> Node {
        let environment = world.environment(name);
        let engine_options = world.options(&environment);
        let mut dice = world.dice(&format!("node {name}"));
        let mut key = || SecretKey::from_seed(blake3::hash(&dice.number().to_be_bytes()).as_bytes());
        let (device, user) = (key(), key());
        let disk = Disk::new(dice.number(), sqlite).await;
        Node {
            name: name.to_owned(),
            environment,
            disk,
            device,
            user,
            wishes: Arc::new(Wishes { wishes: Mutex::default(), bell: watch::Sender::new(0) }),
            listens: true,
            options: SyncOptions::default(),
            host: None,
            scissors: Scissors::default(),
            max_message: 1 << 20,
            network: world.network.clone(),
            engine_options,
            running: None,
        }
    }

    /// Starts the process.
    pub async fn begin(&mut self) {
        let engine = Engine::open(self.disk.backend(), self.engine_options.clone()).await.unwrap();
        let (device, wishes) = (self.device.clone(), self.wishes.clone());
        let syncer = Syncer::start(engine.clone(), device, wishes, self.options).await.unwrap();
        let transport = self.network.transport(self.host()).max_message(self.max_message);
        syncer.register_transport("sim", self.scissors.around(transport)).await.unwrap();
        if self.listens {
            syncer.accept_connections().await.unwrap();
        }
        self.running = Some(Running { engine, syncer });
    }

    /// Ends the process as a kill does, and the host with it: what was not flushed may be lost.
    pub async fn crash(&mut self) {
        self.disk.crash();
        self.fall().await;
    }

    /// Lets the process end that has lost its disk.
    async fn fall(&mut self) {
        self.network.crash(self.host());
        self.running = None;
        self.disk = self.disk.reopen().await;
    }

    /// True if the disk has crashed by itself; then the process has ended as well.
    pub async fn has_fallen(&mut self) -> bool {
        let fallen = self.running.is_some() && self.disk.has_ended();
        if fallen {
            self.fall().await;
        }
        fallen
    }

    /// Ends the process as it should.
    pub async fn end(&mut self) {
        if let Some(Running { engine, syncer }) = self.running.take() {
            syncer.close().await;
            if engine.close().await.is_err() {
                self.disk.crash();
            }
            drop((engine, syncer));
            self.network.crash(self.host());
            self.disk = self.disk.reopen().await;
        }
    }

    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    pub fn engine(&self) -> &Engine {
        &self.running.as_ref().unwrap().engine
    }

    pub fn syncer(&self) -> &Syncer {
        &self.running.as_ref().unwrap().syncer
    }

    pub fn key(&self) -> PublicKey {
        self.device.public()
    }

    pub fn address(&self) -> Address {
        address(self.host())
    }

    fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.name)
    }

    pub fn grants(&self) -> Grants {
        Grants::new(self.engine().clone(), self.key())
    }

    /// Wishes a database synced, as its user.
    pub async fn track(&self, id: Id, wish: Wish) {
        self.grants().save(&self.user, Scope::Database(id)).await.unwrap();
        self.wishes.set(id, Some(wish));
        self.syncer().settle_wishes().await.unwrap();
    }

    pub async fn untrack(&self, id: Id) {
        self.wishes.set(id, None);
        self.syncer().settle_wishes().await.unwrap();
    }

    /// How others know it.
    pub fn info(&self, id: Id) -> SyncPeerInfo {
        info(self.key(), id, vec![self.address()])
    }

    /// Declares a peer, with its address.
    pub async fn know(&self, peer: &Node, id: Id) -> SyncHandle {
        self.syncer().register_sync_peer(peer.info(id)).await.unwrap()
    }

    /// Creates a database that these users may write to, and tracks it.
    pub async fn create(&self, others: &[PublicKey]) -> Database {
        let mut rights = vec![(Subject::Key(self.user.public()), Setting::Grant(Right::admin(u32::MAX)))];
        rights.extend(others.iter().map(|user| (Subject::Key(*user), Setting::Grant(Right::WRITE))));
        let database = self.engine().create_database_with_rights(Doc::new(), rights, &self.user).await.unwrap();
        database.flush().await.unwrap();
        self.track(*database.root_id(), Wish::live()).await;
        database
    }

    /// The database, if it is here.
    pub async fn database(&self, id: &Id) -> Option<Database> {
        self.engine().open_database(id, Some(self.user.clone())).await.ok()
    }

    pub async fn open(&self, id: &Id) -> Database {
        self.engine().open_database(id, Some(self.user.clone())).await.unwrap()
    }
}

pub fn address(name: &str) -> Address {
    Address::new("sim", name)
}

pub fn info(peer: PublicKey, id: Id, addresses: Vec<Address>) -> SyncPeerInfo {
    SyncPeerInfo { peer_pubkey: peer.to_string(), tree_id: id, addresses, auth: None, display_name: None }
}

pub async fn set(database: &Database, key: &str, value: &str) -> Id {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, value).await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap().id
}

pub async fn get(database: &Database, key: &str) -> Option<String> {
    let notes = database.get_store_viewer::<DocStore>("notes").await.ok()?;
    notes.get_string(key).await.ok()
}

/// Whether all of these hold the database, with the same heads.
pub async fn in_step(nodes: &[&Node], id: &Id) -> bool {
    let mut first = None;
    for node in nodes {
        let Some(database) = node.database(id).await else { return false };
        let digest = database.heads_digest().await.unwrap();
        if *first.get_or_insert(digest) != digest {
            return false;
        }
    }
    true
}

/// Waits until all of these have the same heads, and says how long that took.
pub async fn come_in_step(nodes: &[&Node], id: &Id, within: Duration) -> Duration {
    let begun = tokio::time::Instant::now();
    while !in_step(nodes, id).await {
        if begun.elapsed() > within {
            let mut stand = String::new();
            for node in nodes {
                let count = match node.database(id).await {
                    Some(database) => format!("{} entries", database.entry_count().await.unwrap()),
                    None => "not here".to_owned(),
                };
                stand += &format!("\n{}: {count}", node.name);
                if let Some(database) = node.database(id).await {
                    for other in nodes {
                        let user = other.user.public();
                        let right = database.now().right_of(user).await.unwrap();
                        stand += &format!("\n  {} ({user}) has {right:?}", other.name);
                    }
                    for entry in database.log(None, 100).await.unwrap() {
                        stand += &format!("\n  {entry:?}");
                    }
                }
                for other in nodes.iter().filter(|other| other.name != node.name) {
                    let status = node.syncer().handle(&other.key(), id).status();
                    stand += &format!("\n  to {}: {status:?}", other.name);
                }
            }
            panic!("not in step within {within:?}: {stand}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}
