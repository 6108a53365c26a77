//! One who takes part, as a process of its own: does what it is told, line by line.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use eidetica::backend::Backend;
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::crdt::Doc;
use eidetica::store::DocStore;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::sync::{Address, SyncOptions};
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Durability, Id, Instance};
use eidetica_backend_redb::Redb;
use tokio::sync::mpsc;

use super::super::kit::*;
use super::process::{MARK, SETTINGS};
use crate::backend::children;
use eidetica_conformance::proxy::{Proxy, Treatment};

/// What the process is told when it starts.
pub struct Settings {
    pub name: String,
    pub store: Store,
    /// Where it is: it listens over iroh at a port that it keeps, and over HTTP at the first of these, which others reach by the second.
    pub ip: IpAddr,
    pub ports: [u16; 2],
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Sqlite,
    Redb,
    Memory,
}

impl Settings {
    pub fn write(&self) -> String {
        let Settings { name, store, ip, ports: [http, proxy], seed } = self;
        format!("{name} {store:?} {ip} {http} {proxy} {seed}")
    }

    fn read(text: &str) -> Settings {
        let words: Vec<&str> = text.split(' ').collect();
        let [name, store, ip, http, proxy, seed] = words[..] else { panic!("{text}") };
        let store = match store {
            "Sqlite" => Store::Sqlite,
            "Redb" => Store::Redb,
            _ => Store::Memory,
        };
        let ports = [http, proxy].map(|port| port.parse().unwrap());
        Settings { name: name.to_owned(), store, ip: ip.parse().unwrap(), ports, seed: seed.parse().unwrap() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by eight_peers_come_to_the_same_whatever_happens_to_them"]
async fn child_is_a_peer() {
    let (Some(directory), Ok(settings)) = (children::store(), std::env::var(SETTINGS)) else { return };
    let settings = Settings::read(&settings);
    let mut peer = Peer::start(directory, settings).await;
    say(&format!("ready {}", peer.device().key));
    // Whoever has started it says what is next, and ends it by saying nothing more.
    let (lines, mut orders) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        say(&peer.obey(&order).await);
    }
    peer.close().await;
}

fn say(what: &str) {
    println!("{MARK}{what}");
}

struct Peer {
    settings: Settings,
    directory: PathBuf,
    /// The way to it over HTTP.
    proxy: Proxy,
    device: Option<Device>,
    database: Option<Database>,
}

impl Peer {
    async fn start(directory: PathBuf, settings: Settings) -> Peer {
        let [http, before] = settings.ports.map(|port| SocketAddr::new(settings.ip, port));
        let proxy = Proxy::at(before, http, settings.seed).await.unwrap();
        let device = Some(listening(&settings, &directory).await);
        Peer { settings, directory, proxy, device, database: None }
    }

    fn device(&self) -> &Device {
        self.device.as_ref().unwrap()
    }

    fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    /// Does it, and says what has come of it.
    async fn obey(&mut self, order: &str) -> String {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "create" => {
                let Device { user, key, .. } = self.device.as_mut().unwrap();
                let database = user.create_database(Doc::new(), key).await.unwrap();
                let id = *database.root_id();
                self.database = Some(database);
                id.to_string()
            }
            "let-in" => {
                let_in(self.database(), &rest.parse().unwrap()).await;
                "done".to_owned()
            }
            "addresses" => {
                let all = self.device().sync.get_all_server_addresses_async().await.unwrap();
                all.iter().map(|(_, address)| address.address.clone()).collect::<Vec<_>>().join(" ")
            }
            "join" => {
                let (id, address) = rest.split_once(' ').unwrap();
                self.join(&id.parse().unwrap(), address).await;
                "done".to_owned()
            }
            "open" => {
                self.open(&rest.parse().unwrap()).await;
                "done".to_owned()
            }
            "write" => self.write(rest).await,
            "treat" => {
                self.proxy.treat(treatment(rest));
                "done".to_owned()
            }
            "reopen" => {
                let id = *self.database().root_id();
                self.end().await;
                self.device = Some(listening(&self.settings, &self.directory).await);
                self.open(&id).await;
                "done".to_owned()
            }
            "heads" => {
                let mut heads = self.database().get_tips().await.unwrap();
                heads.sort();
                heads.iter().map(Id::to_string).collect::<Vec<_>>().join(" ")
            }
            "lacks" => {
                let mut lacking = Vec::new();
                for id in rest.split_whitespace() {
                    if self.database().get_entry(&id.parse().unwrap()).await.is_err() {
                        lacking.push(id);
                    }
                }
                lacking.join(" ")
            }
            "count" => self.database().entry_count().await.unwrap().to_string(),
            "writes" => {
                let notes = self.database().get_store_viewer::<DocStore>("notes").await.unwrap();
                notes.get_as::<u64>("writes").await.unwrap().to_string()
            }
            "verify" => format!("{:?}", self.database().verify().await.unwrap().problems),
            _ => panic!("what is {order:?}?"),
        }
    }

    /// Follows the database, and has it from this peer, over the transport that the address is of.
    async fn join(&mut self, id: &Id, address: &str) {
        let address = match address.starts_with("endpoint") {
            true => Address::iroh(address),
            false => Address::http(address),
        };
        let Device { user, sync, key, .. } = self.device.as_mut().unwrap();
        let wish = TrackedDatabase { database_id: *id, key_id: *key, sync_settings: SyncSettings::default() };
        user.track_database(wish).await.unwrap();
        sync.sync_with_peer(&address, Some(id)).await.unwrap();
        self.open(id).await;
    }

    async fn open(&mut self, id: &Id) {
        self.database = Some(self.device().user.open_database(id).await.unwrap());
    }

    async fn write(&self, order: &str) -> String {
        let words: Vec<&str> = order.split(' ').collect();
        let [how, key, value] = words[..] else { panic!("{order}") };
        let transaction = self.database().new_transaction().await.unwrap();
        let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
        notes.set(key, value).await.unwrap();
        notes.increment("writes", 1).await.unwrap();
        let id = match how {
            "durable" => transaction.commit().await.unwrap(),
            _ => transaction.commit_with(Durability::Buffered).await.unwrap().id,
        };
        format!("{how} {id}")
    }

    async fn end(&mut self) {
        self.database = None;
        let Device { instance, user, sync, .. } = self.device.take().unwrap();
        drop((user, sync));
        instance.close().await.unwrap();
    }

    async fn close(mut self) {
        self.end().await;
    }
}

/// Opens its store, in which it makes its user if there is none, and listens.
async fn listening(settings: &Settings, directory: &Path) -> Device {
    let Settings { name, store, ip, ports: [http, before], .. } = settings;
    let path = directory.join(format!("{name}.{store:?}"));
    let backend: Box<dyn Backend> = match store {
        Store::Memory => Box::new(Memory::new()),
        Store::Redb => Box::new(Redb::builder(path).page_cache(4 << 20).open().await.unwrap()),
        Store::Sqlite => Box::new(Sqlite::builder().path(path).page_cache(4 << 20).open().await.unwrap()),
    };
    let instance = Instance::open(backend).await.unwrap();
    if !instance.list_users().await.unwrap().contains(name) {
        instance.create_user(name, None).await.unwrap();
    }
    let [http, before] = [http, before].map(|port| SocketAddr::new(*ip, *port).to_string());
    let mut options = SyncOptions::default();
    options.schedule.max_backoff = Duration::from_secs(1);
    let http = HttpTransport::builder().bind(http).advertise(before);
    let device = Device::with(instance, name, None, http, options).await;
    let iroh = IrohTransport::builder().relay_mode(RelayMode::Disabled).bind(SocketAddr::new(*ip, 0).to_string());
    device.sync.register_transport("iroh", iroh).await.unwrap();
    device.listen().await;
    device
}

fn treatment(name: &str) -> Treatment {
    match name {
        "cut" => Treatment::Cut(4_000),
        "delay" => Treatment::Delay(Duration::from_millis(20)),
        "throttle" => Treatment::Throttle(50_000),
        "pass" => Treatment::Pass,
        _ => panic!("what is {name:?}?"),
    }
}
