//! Backends with threads of their own, on a clock that stands still.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Backend, BackendInfo, Keyspace, Maintenance, Page, Result, Scan, Snapshot, WriteBatch};

/// How long a call may take, by the clock on the wall, before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A backend whose calls are awaited in place: the thread of the caller stands still until the backend has answered.
///
/// A paused clock goes on as soon as all tasks wait, and it takes a task that waits for a thread of a backend for one that
/// has nothing to do: timeouts pass while a disk writes. It does not go on while a task does not return. So the calls take no time
/// at all, and their answers come in the order of the calls, which makes runs repeat.
///
/// Only for a backend whose threads do all the work: one that needs a task of the same runtime gets stuck, which is a panic
/// after a minute.
#[derive(Debug)]
pub struct InPlace<B>(B);

impl<B: Backend> InPlace<B> {
    /// Wraps a backend.
    pub fn new(backend: B) -> InPlace<B> {
        InPlace(backend)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

/// Waits for a future without letting the thread do anything else: for what [`InPlace`] is for, outside of a backend, such as
/// opening one.
///
/// # Panics
///
/// If it takes longer than a minute.
pub fn in_place<F: Future>(work: F) -> F::Output {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    // Without the budget of the task, which would be used up by a loop here and never be renewed.
    let mut work = pin!(tokio::task::unconstrained(work));
    let begun = std::time::Instant::now();
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
            return output;
        }
        assert!(begun.elapsed() < PATIENCE, "what is awaited in place needs a task of this thread, or is stuck");
        std::thread::park_timeout(PATIENCE);
    }
}

#[async_trait]
impl<B: Backend> Backend for InPlace<B> {
    fn info(&self) -> BackendInfo {
        self.0.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        in_place(self.0.commit(batch))
    }

    async fn flush(&self) -> Result<()> {
        in_place(self.0.flush())
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        in_place(self.0.snapshot()).map(|view| Box::new(View(view)) as Box<dyn Snapshot>)
    }

    async fn changed(&self) -> Result<u64> {
        in_place(self.0.changed())
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        in_place(self.0.maintain(job))
    }

    async fn close(&self) -> Result<()> {
        in_place(self.0.close())
    }
}

struct View(Box<dyn Snapshot>);

#[async_trait]
impl Snapshot for View {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        in_place(self.0.get_many(keyspace, keys))
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        in_place(self.0.scan(scan))
    }

    async fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        in_place(self.0.get(keyspace, key))
    }
}
