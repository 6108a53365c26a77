//! What the tests of the local database share: a clock that stands still, keys, and entries made by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use eidetica::auth::{Right, Setting, Subject};
use eidetica::backend::Backend;
use eidetica::backend::database::Memory;
use eidetica::core::auth::SettingsDelta;
use eidetica::core::store::cells::CellsDelta;
use eidetica::crdt::Value;
use eidetica::entry::{Header, Origin, RawEntry, VerifiedEntry};
use eidetica::store::doc::{Action, DocDelta, Path, Plain, Step};
use eidetica::{Database, Environment, Instance, Options, Outcome, Result, SecretKey, Time};

/// When the histories of the tests begin: in milliseconds since 1970.
pub const BEGIN: u64 = 1_700_000_000_000;
/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that only moves when it is told to, and randomness that repeats.
pub struct Held {
    now: AtomicU64,
    state: Mutex<u64>,
}

impl Held {
    /// A day after the histories begin, so that nothing in them lies ahead.
    pub fn new() -> Arc<Held> {
        let now = Time::from_millis(BEGIN + 86_400_000).number();
        Arc::new(Held { now: now.into(), state: Mutex::new(1) })
    }

    pub fn advance(&self, by: Duration) {
        self.now.fetch_add((by.as_millis() as u64) << 16, Ordering::SeqCst);
    }

    pub fn options(self: &Arc<Held>) -> Options {
        Options::default().environment(self.clone())
    }
}

impl Environment for Held {
    fn now(&self) -> Time {
        Time::from_number(self.now.load(Ordering::SeqCst))
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        buffer.fill_with(|| splitmix(&mut state) as u8);
        Ok(())
    }
}

/// The next number of a generator whose seed is its state (Steele, Lea and Flood, 2014).
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed of a random test: printed, and taken from `EIDETICA_SEED` if that is set.
pub fn seed() -> u64 {
    let given = std::env::var("EIDETICA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 % 1_000_000_000
    });
    println!("EIDETICA_SEED={seed}");
    seed
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub async fn memory() -> Instance {
    Instance::open(Box::new(Memory::new())).await.unwrap()
}

/// Makes entries of one database by hand, also such as no honest program would make.
#[derive(Clone)]
pub struct Forge {
    pub root: VerifiedEntry,
    pub key: SecretKey,
}

impl Forge {
    pub fn new(seed: u8) -> Forge {
        let key = key(seed);
        let rights = vec![(Subject::Key(key.public()), Setting::Grant(Right::admin(u32::MAX)))];
        let settings = SettingsDelta { rights, values: DocDelta::default() }.to_bytes();
        let header = Header {
            origin: Origin::Root { nonce: [seed; 16] },
            parents: Vec::new(),
            height: 0,
            time: Time::from_millis(BEGIN),
            author: key.public(),
            stores: Vec::new(),
            signature: [0; 64],
        };
        let deltas = vec![("_settings".to_owned(), "settings".to_owned(), settings)];
        Forge { root: VerifiedEntry::sign(header, deltas, &key).unwrap(), key }
    }

    /// The header of an honest entry above these.
    pub fn header(&self, parents: &[&VerifiedEntry]) -> Header {
        let mut ids: Vec<_> = parents.iter().map(|parent| parent.id()).collect();
        ids.sort_unstable();
        let latest = parents.iter().map(|parent| parent.header().time.number()).max().unwrap();
        Header {
            origin: Origin::Database(self.root.id()),
            parents: ids,
            height: parents.iter().map(|parent| parent.header().height + 1).max().unwrap(),
            time: Time::from_number(latest + 1),
            author: self.key.public(),
            stores: Vec::new(),
            signature: [0; 64],
        }
    }

    pub fn sign(&self, header: Header, deltas: Vec<(String, String, Bytes)>) -> VerifiedEntry {
        VerifiedEntry::sign(header, deltas, &self.key).unwrap()
    }

    /// An honest entry that sets one key of the document `notes`.
    pub fn entry(&self, parents: &[&VerifiedEntry], key: &str, value: impl Into<Value>) -> VerifiedEntry {
        self.sign(self.header(parents), vec![set("notes", key, value)])
    }

    /// Such entries in a row, each above the one before.
    pub fn chain(&self, from: &VerifiedEntry, length: usize, key: impl Fn(usize) -> String) -> Vec<VerifiedEntry> {
        let mut chain: Vec<VerifiedEntry> = Vec::with_capacity(length);
        for index in 0..length {
            let below = chain.last().unwrap_or(from);
            chain.push(self.entry(&[below], &key(index), index as i64));
        }
        chain
    }

    /// The database in a store of its own.
    pub async fn database(&self) -> (Instance, Database) {
        self.database_with(Box::new(Memory::new()), Options::default()).await
    }

    pub async fn database_with(&self, backend: Box<dyn Backend>, options: Options) -> (Instance, Database) {
        let instance = Instance::open_with(backend, options).await.unwrap();
        let database = self.adopt(&instance).await;
        (instance, database)
    }

    pub async fn adopt(&self, instance: &Instance) -> Database {
        instance.engine().adopt_database(self.root.to_raw(), Some(self.key.clone())).await.unwrap()
    }
}

/// The delta of a document that sets one key.
pub fn set(store: &str, key: &str, value: impl Into<Value>) -> (String, String, Bytes) {
    let path = Path(vec![Step::Key(key.to_owned())]);
    let delta = DocDelta(vec![(path, Action::Set(Plain::Scalar(value.into())))]);
    (store.to_owned(), "doc".to_owned(), delta.to_bytes())
}

/// The delta of a store of cells that puts one value.
pub fn put(store: &str, kind: &str, key: &str, value: &[u8]) -> (String, String, Bytes) {
    let cell = (Bytes::copy_from_slice(key.as_bytes()), Some(Bytes::copy_from_slice(value)));
    (store.to_owned(), kind.to_owned(), CellsDelta(vec![cell]).to_bytes())
}

pub fn raw(entries: &[VerifiedEntry]) -> Vec<RawEntry> {
    entries.iter().map(VerifiedEntry::to_raw).collect()
}

/// Hands in one entry.
pub async fn hand_in(database: &Database, entry: RawEntry) -> Outcome {
    database.ingest(vec![entry], "peer").await.unwrap().pop().unwrap()
}

/// Hands in many in pages, all of which must be accepted.
pub async fn hand_in_all(database: &Database, entries: &[VerifiedEntry]) {
    for page in entries.chunks(1024) {
        let outcomes = database.ingest(raw(page), "peer").await.unwrap();
        let other = outcomes.iter().find(|outcome| **outcome != Outcome::Accepted);
        assert!(other.is_none(), "{other:?}");
    }
}

/// Nothing is wrong with the database.
pub async fn check(database: &Database) -> eidetica::Report {
    let report = database.verify().await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.summary());
    report
}

/// Waits until a condition holds, for a bounded time.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let begun = std::time::Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
