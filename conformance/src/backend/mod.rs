//! The contract of backends, case by case.

mod closing;
mod commit;
mod durability;
mod model;
mod opening;
mod process;
mod scan;
mod sharing;
mod snapshot;
mod steps;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Backend, ErrorKind, Keyspace, Result, Scan, Snapshot, WriteBatch};
use tokio::time::{Instant, sleep};

use crate::run::Seen;
use crate::{BackendSubject, Budget, Case, Place};

pub(crate) const CASES: &[&[Case]] = &[
    commit::CASES,
    snapshot::CASES,
    scan::CASES,
    durability::CASES,
    opening::CASES,
    sharing::CASES,
    upkeep::CASES,
    closing::CASES,
    process::CASES,
    model::CASES,
];

/// How long a lock may outlive the handle that was dropped.
const RELEASE: Duration = Duration::from_secs(10);

pub(crate) const ONE: Keyspace = Keyspace::new(1);
pub(crate) const OTHER: Keyspace = Keyspace::new(15);

/// What a case works on.
pub(crate) struct Ground {
    subject: Arc<dyn BackendSubject>,
    pub(crate) seed: u64,
    pub(crate) budget: Budget,
    seen: Seen,
}

impl Ground {
    pub(crate) fn new(subject: Arc<dyn BackendSubject>, seed: u64, budget: Budget, seen: Seen) -> Ground {
        Ground { subject, seed, budget, seen }
    }

    /// Notes that something has happened without which the case shows nothing.
    pub(crate) fn saw(&self, witness: &'static str) {
        self.seen.note(witness);
    }

    pub(crate) async fn place(&self) -> Box<dyn Place> {
        self.subject.fresh().await.expect("a new place for a store")
    }

    /// A new, empty store.
    pub(crate) async fn fresh(&self) -> Store {
        let place = self.place().await;
        let backend = place.open().await.expect("a new store opens").into();
        Store { backend, place }
    }
}

/// A store, and where it lies.
pub(crate) struct Store {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) place: Box<dyn Place>,
}

impl Store {
    /// Closes the store, and opens it again.
    pub(crate) async fn reopen(self) -> Store {
        self.backend.close().await.expect("the store closes");
        drop(self.backend);
        let backend = self.place.open().await.expect("what was closed opens again").into();
        Store { backend, place: self.place }
    }

    /// Drops the store without closing it, and opens it again.
    pub(crate) async fn kill(self) -> Store {
        drop(self.backend);
        let backend = open_soon(&*self.place).await.into();
        Store { backend, place: self.place }
    }

    pub(crate) async fn commit(&self, batch: WriteBatch) {
        self.backend.commit(batch).await.expect("the batch is applied");
    }

    pub(crate) async fn snapshot(&self) -> Box<dyn Snapshot> {
        self.backend.snapshot().await.expect("a snapshot")
    }

    pub(crate) async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.commit(put(ONE, key, value)).await;
    }

    pub(crate) async fn get(&self, keyspace: Keyspace, key: &[u8]) -> Option<Bytes> {
        self.snapshot().await.get(keyspace, key).await.expect("a key can be read")
    }

    /// Everything that the store holds.
    pub(crate) async fn dump(&self) -> Dump {
        dump(&*self.snapshot().await).await
    }
}

pub(crate) type Dump = Vec<(u8, Bytes, Bytes)>;

/// Everything that a snapshot shows.
pub(crate) async fn dump(view: &dyn Snapshot) -> Dump {
    let mut all = Vec::new();
    for keyspace in Keyspace::all() {
        let mut scan = Scan::new(keyspace);
        loop {
            let page = view.scan(scan.clone()).await.expect("a store can be read");
            let last = page.rows.last().map(|(key, _)| key.clone());
            all.extend(page.rows.into_iter().map(|(key, value)| (keyspace.number(), key, value)));
            match last {
                Some(last) if page.more => scan = scan.after(&last),
                _ => break,
            }
        }
    }
    all
}

/// Opens a store whose last handle was dropped just now, so that its lock may still go.
pub(crate) async fn open_soon(place: &dyn Place) -> Box<dyn Backend> {
    let deadline = Instant::now() + RELEASE;
    loop {
        match place.open().await {
            Err(error) if error.kind() == ErrorKind::Locked && Instant::now() < deadline => {
                sleep(Duration::from_millis(10)).await;
            }
            opened => return opened.expect("what was dropped opens again"),
        }
    }
}

/// A batch with one row.
pub(crate) fn put(keyspace: Keyspace, key: impl Into<Bytes>, value: impl Into<Bytes>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(keyspace, key, value);
    batch
}

pub(crate) fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}
