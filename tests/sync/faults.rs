//! Real sockets that do what real networks do. Everything heals by itself, and nothing is lost.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use eidetica::backend::database::{Memory, Sqlite};
use eidetica::crdt::Doc;
use eidetica::store::DocStore;
use eidetica::sync::SyncOptions;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Id, Instance};
use eidetica_conformance::proxy::{Proxy, Treatment};
use tokio::time::sleep;

use super::kit::*;

/// A request that is swallowed is given up after half a minute; all that follows is a matter of seconds.
const HEALED: Duration = Duration::from_secs(90);

/// Anna listens behind the proxy, which is the only way to her; Ben calls.
struct Pair {
    socket: SocketAddr,
    proxy: Proxy,
    anna: Device,
    ben: Device,
    /// The database at anna's, and at ben's.
    there: Database,
    here: Database,
}

impl Pair {
    async fn new(seed: u64) -> Pair {
        let (anna, ben) = (Instance::open(Box::new(Memory::new())), Instance::open(Box::new(Memory::new())));
        Pair::of(anna.await.unwrap(), ben.await.unwrap(), seed).await
    }

    async fn of(anna: Instance, ben: Instance, seed: u64) -> Pair {
        for (instance, name) in [(&anna, "anna"), (&ben, "ben")] {
            instance.create_user(name, None).await.unwrap();
        }
        let socket = free_socket();
        let proxy = Proxy::before(socket, seed).await.unwrap();
        let mut anna = behind(anna, socket, &proxy).await;
        let mut ben = Device::with(ben, "ben", None, HttpTransport::builder(), hasty()).await;
        let there = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
        let id = *there.root_id();
        let_in(&there, &ben.key).await;
        track(&mut ben, id).await;
        anna.listen().await;
        ben.sync.sync_with_peer(&proxy.address("http"), Some(&id)).await.unwrap();
        let here = ben.user.open_database(&id).await.unwrap();
        Pair { socket, proxy, anna, ben, there, here }
    }

    /// Whether both have the same entries.
    async fn in_step(&self) -> bool {
        let (mut there, mut here) = (self.there.get_tips().await.unwrap(), self.here.get_tips().await.unwrap());
        there.sort();
        here.sort();
        there == here
    }

    async fn come_in_step(&self, within: Duration, after: &str) {
        until_within(within, &format!("both have the same after {after}"), || self.in_step()).await;
    }
}

/// Tries again soon, so that the tests do.
fn hasty() -> SyncOptions {
    let mut options = SyncOptions::default();
    options.schedule.max_backoff = Duration::from_secs(1);
    options
}

fn free_socket() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Anna's device with a server that can only be reached through a proxy.
async fn behind(instance: Instance, socket: SocketAddr, proxy: &Proxy) -> Device {
    let http = HttpTransport::builder().bind(socket.to_string()).advertise(proxy.address("http").address);
    Device::with(instance, "anna", None, http, hasty()).await
}

async fn track(device: &mut Device, id: Id) {
    let wish = TrackedDatabase { database_id: id, key_id: device.key, sync_settings: SyncSettings::default() };
    device.user.track_database(wish).await.unwrap();
}

/// Both write until what is done to their connections has been done so often; then nothing more is done to them.
async fn suffers(treatment: Treatment, times: u64, seed: u64) {
    let pair = Pair::new(seed).await;
    let before = pair.proxy.hurt();
    pair.proxy.treat(treatment);
    let began = Instant::now();
    let value = "x".repeat(2_000);
    let mut number = 0;
    while pair.proxy.hurt() < before + times {
        assert!(began.elapsed() < HEALED, "{treatment:?} was done {} times", pair.proxy.hurt() - before);
        for (name, database) in [("anna", &pair.there), ("ben", &pair.here)] {
            set(database, &format!("{name} {number}"), &value).await.unwrap();
        }
        number += 1;
        sleep(Duration::from_millis(5)).await;
    }
    pair.proxy.treat(Treatment::Pass);
    pair.come_in_step(HEALED, &format!("{treatment:?}")).await;
    for database in [&pair.there, &pair.here] {
        for name in ["anna", "ben"] {
            assert_eq!(get(database, &format!("{name} {}", number - 1)).await.as_ref(), Some(&value));
        }
        let report = database.verify().await.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
    // And live again, both ways.
    set(&pair.there, "after", "all").await.unwrap();
    pair.come_in_step(HEALED, "a commit of anna's").await;
    set(&pair.here, "after", "it").await.unwrap();
    pair.come_in_step(HEALED, "a commit of ben's").await;
}

#[tokio::test]
async fn cut_connections_heal() {
    suffers(Treatment::Cut(20_000), 3, 1).await;
}

#[tokio::test]
async fn half_closed_connections_heal() {
    suffers(Treatment::HalfClose(20_000), 3, 2).await;
}

#[tokio::test]
async fn changed_bytes_are_noticed_and_heal() {
    suffers(Treatment::Corrupt(50_000), 3, 3).await;
}

/// What one request has found out, those that only wait for news find out too: they would wait for another minute.
#[tokio::test]
async fn swallowed_bytes_heal() {
    let began = Instant::now();
    // Twice: news that somebody waits for, and what somebody sends. Of the second loss the sender learns.
    suffers(Treatment::Swallow, 2, 4).await;
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

/// Slow is no fault: it goes on at the pace of the connection.
#[tokio::test]
async fn slow_connections_bring_everything() {
    for treatment in [Treatment::Delay(Duration::from_millis(100)), Treatment::Throttle(200_000)] {
        let pair = Pair::new(5).await;
        pair.proxy.treat(treatment);
        for number in 0..200 {
            let (database, name) = if number % 2 == 0 { (&pair.there, "anna") } else { (&pair.here, "ben") };
            set(database, &format!("{name} {number}"), &"y".repeat(500)).await.unwrap();
        }
        pair.come_in_step(Duration::from_secs(60), &format!("{treatment:?}")).await;
    }
}

/// The server goes away in the middle of a transfer, within its time; it comes again at the same place, and is found.
#[tokio::test]
async fn a_server_stops_in_the_middle_and_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |path: &Path| Instance::open(Box::new(Sqlite::open(path).await.unwrap())).await.unwrap();
    let path = folder.path().join("anna.db");
    let pair = Pair::of(open(&path).await, Instance::open(Box::new(Memory::new())).await.unwrap(), 6).await;
    let id = *pair.there.root_id();
    pair.proxy.treat(Treatment::Throttle(100_000));
    // Hardly compresses, so that it takes its time: five megabytes, at a tenth of one in a second.
    for number in 0..400 {
        set(&pair.there, &format!("key {number}"), &noise(number)).await.unwrap();
    }
    let passed = pair.proxy.passed();
    until("something is under way", || async { pair.proxy.passed() > passed + 50_000 }).await;
    assert!(!pair.in_step().await);

    let Pair { socket, proxy, anna, ben, there, here } = pair;
    let tips = there.get_tips().await.unwrap();
    there.flush().await.unwrap();
    drop((there, anna.user, anna.sync));
    let began = Instant::now();
    anna.instance.close().await.unwrap();
    // Requests under way have two seconds, and the rest is what a slow machine takes. The transfer would go on for fifty.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(proxy.passed() - passed < 3_000_000, "all of it was waited for");
    until("nobody listens", || async { tokio::net::TcpStream::connect(socket).await.is_err() }).await;

    let anna = behind(open(&path).await, socket, &proxy).await;
    anna.listen().await;
    let there = anna.user.open_database(&id).await.unwrap();
    assert_eq!(there.get_tips().await.unwrap(), tips);
    proxy.treat(Treatment::Pass);
    let pair = Pair { socket, proxy, anna, ben, there, here };
    pair.come_in_step(HEALED, "a restart").await;
}

/// Text that hardly compresses.
fn noise(seed: u64) -> String {
    (0..200).map(|part| Id::of(format!("{seed} {part}").as_bytes()).to_string()).collect()
}

async fn counter(notes: &DocStore) -> i64 {
    notes.get("both").await.ok().and_then(|value| value.as_int()).unwrap_or(0)
}

/// Ten thousand transactions on one side while the other reads and writes, over a connection that is never well for long.
#[tokio::test]
async fn ten_thousand_transactions_over_a_bad_connection() {
    const TRANSACTIONS: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let store = |name: &str| folder.path().join(format!("{name}.db"));
    let open = async |name: &str| Instance::open(Box::new(Sqlite::open(store(name)).await.unwrap())).await.unwrap();
    let pair = Pair::of(open("anna").await, open("ben").await, 7).await;
    let id = *pair.there.root_id();

    let writing = async {
        for number in 0..TRANSACTIONS {
            let transaction = pair.there.new_transaction().await.unwrap();
            let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
            notes.set(&format!("anna {}", number % 500), number.to_string()).await.unwrap();
            notes.increment("both", 1).await.unwrap();
            transaction.commit().await.unwrap();
        }
    };
    let mut others = 0;
    let reading = async {
        let mut seen = 0;
        loop {
            let notes = pair.here.get_store_viewer::<DocStore>("notes").await.unwrap();
            // What was seen once stays seen.
            let now = counter(&notes).await;
            assert!(now >= seen, "{now} after {seen}");
            seen = now;
            let transaction = pair.here.new_transaction().await.unwrap();
            transaction.get_store::<DocStore>("notes").await.unwrap().increment("both", 1).await.unwrap();
            transaction.commit().await.unwrap();
            others += 1;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let worsening = async {
        let treatments = [
            Treatment::Cut(20_000),
            Treatment::Pass,
            Treatment::Corrupt(50_000),
            Treatment::Delay(Duration::from_millis(5)),
            Treatment::HalfClose(20_000),
            Treatment::Throttle(500_000),
        ];
        for treatment in treatments.into_iter().cycle() {
            pair.proxy.treat(treatment);
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => unreachable!("ben reads until anna has written all"),
        () = worsening => unreachable!("the treatments go round and round"),
    }
    pair.there.flush().await.unwrap();
    pair.here.flush().await.unwrap();
    // The last increment may have been dropped where it waited, or have been made.
    let least = (TRANSACTIONS + others) as i64;
    let hurt = pair.proxy.hurt();
    assert!(hurt >= 5 && others >= 20, "{hurt} faults, {others} transactions of ben's");
    pair.proxy.treat(Treatment::Pass);
    pair.come_in_step(HEALED, "ten thousand transactions").await;
    let entries = pair.there.entry_count().await.unwrap();
    assert_eq!(pair.here.entry_count().await.unwrap(), entries);

    // What both have is on both disks.
    let Pair { anna, ben, there, here, .. } = pair;
    drop((there, here, anna.user, anna.sync, ben.user, ben.sync));
    anna.instance.close().await.unwrap();
    ben.instance.close().await.unwrap();
    let mut values = Vec::new();
    for name in ["anna", "ben"] {
        let instance = open(name).await;
        let database = instance.open_database_with_key(&id, None).await.unwrap();
        let report = database.verify().await.unwrap();
        assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
        assert_eq!(database.entry_count().await.unwrap(), entries);
        let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
        for number in TRANSACTIONS - 500..TRANSACTIONS {
            let key = format!("anna {}", number % 500);
            assert_eq!(notes.get_string(&key).await.unwrap(), number.to_string());
        }
        values.push(counter(&notes).await);
        instance.close().await.unwrap();
    }
    assert_eq!(values[0], values[1]);
    assert!((least..=least + 1).contains(&values[0]), "{} of {least}", values[0]);
}
