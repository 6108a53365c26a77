//! Long histories, made once for all tests, and peers that have them without taking them up entry by entry.

use std::sync::Arc;

use async_trait::async_trait;
use eidetica_contract::{Backend, BackendInfo, Maintenance, Result, Snapshot, WriteBatch};
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::{Database, Engine, Memory};
use tokio::sync::OnceCell;

use super::kit::{Forge, hand_in};

/// The lengths, without the root, that must make no difference.
pub const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// The lengths of which there are stores.
const STORES: [usize; 5] = [1_000, 10_000, 11_000, 90_000, 100_000];

/// One chain of entries, and stores that have taken up the first of it.
pub struct Grown {
    pub forge: Forge,
    pub chain: Vec<VerifiedEntry>,
    /// One for each of [`STORES`].
    stores: Vec<Memory>,
}

/// The histories. They take some seconds to be made.
pub async fn grown() -> &'static Grown {
    static GROWN: OnceCell<Grown> = OnceCell::const_new();
    GROWN.get_or_init(Grown::grow).await
}

impl Grown {
    async fn grow() -> Grown {
        let forge = Forge::new(1);
        let chain = forge.chain(&forge.root, STORES[4], "a");
        let memory = Arc::new(Memory::new());
        let engine = Engine::open(Box::new(Kept(memory.clone())), Default::default()).await.unwrap();
        let db = engine.adopt_database(forge.root.to_raw(), Some(forge.key.clone())).await.unwrap();
        let mut stores = Vec::new();
        let mut from = 0;
        for size in STORES {
            hand_in(&db, &chain[from..size]).await;
            assert_eq!(db.entry_count().await.unwrap(), size as u64 + 1);
            stores.push(memory.fork());
            from = size;
        }
        drop(db);
        engine.close().await.unwrap();
        Grown { forge, chain, stores }
    }

    /// A peer that has the root, the first `n` entries of the chain, and these.
    pub async fn peer(&self, n: usize, entries: &[VerifiedEntry]) -> Database {
        let place = STORES.iter().position(|size| *size == n).expect("one of STORES");
        let engine = Engine::open(Box::new(self.stores[place].fork()), Default::default()).await.unwrap();
        let db = engine.adopt_database(self.forge.root.to_raw(), Some(self.forge.key.clone())).await.unwrap();
        hand_in(&db, entries).await;
        db
    }
}

/// A store whose owner keeps it open.
struct Kept(Arc<Memory>);

#[async_trait]
impl Backend for Kept {
    fn info(&self) -> BackendInfo {
        self.0.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.0.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.0.snapshot().await
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.0.maintain(job).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
