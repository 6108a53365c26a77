//! A store that outlives the process which uses it, and a clock that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use eidetica_contract::{Address, Backend, BackendInfo, PublicKey, Result, Snapshot, WriteBatch};
use eidetica_core::{Engine, Environment, Id, Memory, Options, Time};
use eidetica_sync::peers::{PeerLimits, PeerName, Peers, SyncPeerInfo};

pub const HOUR: u64 = 3_600_000;

/// A store in memory that is still there after it was closed. Its commits let others in before them, as those of a disk do.
#[derive(Clone)]
pub struct Disk(Arc<Memory>);

#[async_trait]
impl Backend for Disk {
    fn info(&self) -> BackendInfo {
        self.0.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        tokio::task::yield_now().await;
        self.0.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        tokio::task::yield_now().await;
        self.0.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.0.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// A clock in milliseconds since 1970.
#[derive(Clone)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Environment for Clock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(5);
        Ok(())
    }
}

/// A store, and how it is opened.
pub struct Place {
    pub disk: Disk,
    pub clock: Clock,
    pub engine: Engine,
}

impl Place {
    pub async fn new() -> Place {
        let (disk, clock) = (Disk(Arc::new(Memory::new())), Clock(Arc::new(AtomicU64::new(1000 * HOUR))));
        let engine = open(&disk, &clock).await;
        Place { disk, clock, engine }
    }

    pub fn peers(&self) -> Peers {
        self.limited(PeerLimits::default())
    }

    pub fn limited(&self, limits: PeerLimits) -> Peers {
        Peers::new(self.engine.clone(), limits)
    }

    /// Another process on the same store.
    pub async fn other(&self) -> Engine {
        open(&self.disk, &self.clock).await
    }

    pub async fn restart(&mut self) {
        self.engine.close().await.unwrap();
        self.engine = self.other().await;
    }

    /// Writes a row that nobody else would.
    pub async fn tamper(&self, name: &str, row: &'static [u8]) {
        let before = self.engine.local(name).await.unwrap();
        self.engine.set_local(name, before, row).await.unwrap();
    }

    /// All rows.
    pub async fn dump(&self) -> Vec<(String, bytes::Bytes)> {
        self.engine.locals("sync/").await.unwrap()
    }
}

async fn open(disk: &Disk, clock: &Clock) -> Engine {
    let options = Options::default().environment(Arc::new(clock.clone()));
    Engine::open(Box::new(disk.clone()), options).await.unwrap()
}

pub fn key(number: u16) -> PublicKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

pub fn name(number: u16) -> PeerName {
    PeerName::Key(key(number))
}

pub fn database(number: u16) -> Id {
    let mut bytes = [9; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Id::from_bytes(bytes)
}

pub fn address(number: u16) -> Address {
    Address::http(format!("127.0.0.1:{number}"))
}

pub fn info(peer: u16, of: u16) -> SyncPeerInfo {
    SyncPeerInfo {
        peer_pubkey: key(peer).to_string(),
        tree_id: database(of),
        addresses: vec![address(peer)],
        auth: None,
        display_name: None,
    }
}
