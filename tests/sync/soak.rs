//! Eight peers in a random mesh, over mixed backends and transports, written to at random while connections are cut and peers are stopped
//! and started again. In the end all have the same, at once, and none has grown but by what it keeps.
//!
//! Half a minute with all the other tests; `EIDETICA_SOAK=600` soaks for so many seconds, and then looks at the memory, too
//! (`cargo xtask soak`).

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use eidetica::backend::Backend;
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::crdt::Doc;
use eidetica::sync::SyncOptions;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Durability, Id, Instance};
use eidetica_backend_redb::Redb;
use eidetica_conformance::proxy::{Proxy, Treatment};
use eidetica_sync::sim::Dice;
use tokio::time::sleep;

use super::kit::*;
use crate::backend::children;

const PEERS: usize = 8;
/// For so long it soaks without being asked for more.
const SOAK: Duration = Duration::from_secs(30);
/// At the end of that nothing is cut any longer; others go on writing.
const CALM: Duration = Duration::from_secs(4);
/// So long after the last write all must have all.
const IN_STEP: Duration = Duration::from_secs(5);
/// From a soak of so many seconds on the memory is judged, but for the first fifth of it.
const JUDGED: u64 = 300;
/// How much memory may grow in a minute, in bytes.
const SLOPE: f64 = 1048576.0;

/// A process of its own: its memory is that of these peers alone.
#[test]
fn eight_peers_come_to_the_same_whatever_happens_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let output = children::command("sync::soak::child_soaks", directory.path()).output().unwrap();
    children::check(&output);
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by eight_peers_come_to_the_same_whatever_happens_to_them"]
async fn child_soaks() {
    let Some(directory) = children::store() else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = number("EIDETICA_SEED").unwrap_or_else(|| std::process::id().into());
    let time = number("EIDETICA_SOAK").map_or(SOAK, Duration::from_secs);
    println!("EIDETICA_SEED={seed}, {} s", time.as_secs());
    // What a store in memory keeps is memory, so it takes no part where memory is judged.
    let judged = time.as_secs() >= JUDGED;
    let mut mesh = Mesh::grow(&directory, seed, !judged).await;
    let began = Instant::now();
    let mut memory = Vec::new();
    while began.elapsed() < time {
        mesh.step(began.elapsed() + CALM < time).await;
        if memory.len() < began.elapsed().as_secs() as usize {
            memory.push((began.elapsed().as_secs_f64(), resident() as f64));
        }
    }
    mesh.end().await;
    let slope = slope(&memory[memory.len() / 5..]) * 60.0;
    println!("memory: {slope:.0} bytes more each minute, {} in the end", resident());
    assert!(!judged || slope < SLOPE, "memory grows by {slope:.0} bytes a minute: {memory:?}");
}

/// One who takes part.
struct Peer {
    name: String,
    path: Option<std::path::PathBuf>,
    socket: SocketAddr,
    /// The way to it over HTTP.
    proxy: Proxy,
    /// `None` while it is stopped.
    runs: Option<(Device, Database)>,
}

struct Mesh {
    dice: Dice,
    peers: Vec<Peer>,
    id: Id,
    /// What was written, by whom: the entries that were told to be durable.
    durable: Vec<Id>,
    writes: u64,
    stops: u64,
}

impl Peer {
    /// Opens its store, and listens. It has its user already.
    async fn device(&self, memory: Option<Memory>) -> Device {
        let backend: Box<dyn Backend> = match &self.path {
            None => Box::new(memory.unwrap()),
            Some(path) if path.extension().is_some_and(|extension| extension == "redb") => {
                Box::new(Redb::builder(path).page_cache(4 << 20).open().await.unwrap())
            }
            Some(path) => Box::new(Sqlite::builder().path(path).page_cache(4 << 20).open().await.unwrap()),
        };
        let instance = Instance::open(backend).await.unwrap();
        if !instance.list_users().await.unwrap().contains(&self.name) {
            instance.create_user(&self.name, None).await.unwrap();
        }
        let http = HttpTransport::builder().bind(self.socket.to_string()).advertise(self.proxy.address("http").address);
        let mut options = SyncOptions::default();
        options.schedule.max_backoff = Duration::from_secs(1);
        let device = Device::with(instance, &self.name, None, http, options).await;
        let iroh = IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0");
        device.sync.register_transport("iroh", iroh).await.unwrap();
        device.listen().await;
        device
    }
}

impl Mesh {
    /// Peers that all write to one database, each connected with those that it was let in by, and some others.
    async fn grow(directory: &Path, seed: u64, memory: bool) -> Mesh {
        let mut dice = Dice::new(seed);
        let mut peers = Vec::new();
        let mut devices = Vec::new();
        for number in 0..PEERS {
            let name = format!("peer{number}");
            let path = match number % 3 {
                0 => Some(directory.join(format!("{name}.db"))),
                1 if memory => None,
                _ => Some(directory.join(format!("{name}.redb"))),
            };
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let proxy = Proxy::before(socket, seed + number as u64).await.unwrap();
            let peer = Peer { name, path, socket, proxy, runs: None };
            devices.push(peer.device(Some(Memory::new())).await);
            peers.push(peer);
        }
        let key = devices[0].key;
        let database = devices[0].user.create_database(Doc::new(), &key).await.unwrap();
        let id = *database.root_id();
        for device in &devices[1..] {
            let_in(&database, &device.key).await;
        }
        for (number, mut device) in devices.into_iter().enumerate() {
            let sync_settings = SyncSettings::default();
            let wish = TrackedDatabase { database_id: id, key_id: device.key, sync_settings };
            device.user.track_database(wish).await.unwrap();
            // A tree, so that all are connected, and some more ways.
            let mut parents: Vec<usize> = (0..number.min(1)).map(|_| dice.below(number as u64) as usize).collect();
            if number > 1 && dice.chance(0.6) {
                parents.push(dice.below(number as u64) as usize);
            }
            for parent in parents {
                let (parent, _) = peers[parent].runs.as_ref().unwrap();
                let addresses = parent.sync.get_all_server_addresses_async().await.unwrap();
                assert_eq!(addresses.len(), 2, "over HTTP and over iroh");
                let (_, address) = &addresses[dice.below(2) as usize];
                device.sync.sync_with_peer(address, Some(&id)).await.unwrap();
            }
            let database = device.user.open_database(&id).await.unwrap();
            peers[number].runs = Some((device, database));
        }
        Mesh { dice, peers, id, durable: Vec::new(), writes: 0, stops: 0 }
    }

    /// One thing happens; nothing bad unless `wild`.
    async fn step(&mut self, wild: bool) {
        let number = self.dice.below(PEERS as u64) as usize;
        match self.dice.below(100) {
            0..=3 if wild => {
                let treatment = match self.dice.below(4) {
                    0 => Treatment::Cut(4_000),
                    1 => Treatment::Delay(Duration::from_millis(20)),
                    2 => Treatment::Throttle(50_000),
                    _ => Treatment::Pass,
                };
                self.peers[number].proxy.treat(treatment);
            }
            4 if wild => self.restart(number).await,
            _ => self.write(number).await,
        }
        if !wild {
            self.peers.iter().for_each(|peer| peer.proxy.treat(Treatment::Pass));
        }
        sleep(Duration::from_millis(20 + self.dice.below(60))).await;
    }

    async fn write(&mut self, number: usize) {
        let Some((_, database)) = &self.peers[number].runs else { return };
        let transaction = database.new_transaction().await.unwrap();
        let notes = transaction.get_store::<eidetica::store::DocStore>("notes").await.unwrap();
        let value = format!("{} of {number}, {}", self.writes, self.dice.number());
        notes.set(&format!("key {}", self.dice.below(50)), value).await.unwrap();
        notes.increment("writes", 1).await.unwrap();
        self.writes += 1;
        if self.dice.chance(0.2) {
            self.durable.push(transaction.commit().await.unwrap());
        } else {
            transaction.commit_with(Durability::Buffered).await.unwrap();
        }
    }

    /// Stops a peer, and starts it again from its file.
    async fn restart(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        if peer.path.is_none() {
            return;
        }
        let Some((device, database)) = peer.runs.take() else { return };
        drop(database);
        let Device { instance, user, sync, .. } = device;
        drop((user, sync));
        instance.close().await.unwrap();
        sleep(Duration::from_millis(self.dice.below(500))).await;
        let device = peer.device(None).await;
        let database = device.user.open_database(&self.id).await.unwrap();
        peer.runs = Some((device, database));
        self.stops += 1;
    }

    /// All have all, soon after the last write, and all of it is in order.
    async fn end(self) {
        let last = Instant::now();
        let databases: Vec<&Database> =
            self.peers.iter().filter_map(|peer| peer.runs.as_ref()).map(|(_, database)| database).collect();
        assert_eq!(databases.len(), PEERS);
        until_within(IN_STEP, "all have the same", || async {
            let mut heads = Vec::new();
            for database in &databases {
                let mut tips = database.get_tips().await.unwrap();
                tips.sort();
                heads.push(tips);
            }
            heads.iter().all(|tips| *tips == heads[0])
        })
        .await;
        println!("{} writes, {} stops; in step {:?} after the last", self.writes, self.stops, last.elapsed());
        for database in &databases {
            let notes = database.get_store_viewer::<eidetica::store::DocStore>("notes").await.unwrap();
            assert_eq!(notes.get_as::<u64>("writes").await.unwrap(), self.writes, "a write is lost or counted twice");
            for id in &self.durable {
                database.get_entry(id).await.expect("what was durable is there");
            }
            let report = database.verify().await.unwrap();
            assert!(report.problems.is_empty(), "{:?}", report.problems);
        }
        for peer in self.peers {
            let Some((device, database)) = peer.runs else { continue };
            drop(database);
            device.instance.close().await.unwrap();
        }
    }
}

/// The memory that the process has now, in bytes, as Linux counts it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// The slope of the line through these points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}
