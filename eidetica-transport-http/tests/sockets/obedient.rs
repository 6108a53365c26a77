//! The service that tests of transports speak to: it does what it is told. Those of iroh use this file, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Caller, Error, ErrorKind, Result, Service};
use tokio::time::{sleep, timeout};

/// Does what the message says, and counts.
#[derive(Default)]
pub struct Obedient {
    pub seen: AtomicUsize,
    pub working: AtomicUsize,
    /// How many were under way at once, at most.
    pub peak: AtomicUsize,
    /// Answers to `counted` that the transport has not let go of.
    pub counted: Arc<AtomicUsize>,
}

/// A large answer that counts for as long as somebody holds it.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Service for Obedient {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        self.seen.fetch_add(1, Ordering::SeqCst);
        let working = self.working.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(working, Ordering::SeqCst);
        let _working = Working(&self.working);
        match &message[..] {
            b"panic" => panic!("as it was told"),
            b"full" => Err(Error::new(ErrorKind::Full, "as it was told").with("path", "secret.db")),
            b"corrupted" => Err(Error::new(ErrorKind::Corrupted, "as it was told")),
            b"closed" => Err(Error::new(ErrorKind::Closed, "as it was told")),
            b"denied" => Err(Error::new(ErrorKind::PermissionDenied, "as it was told")),
            b"who" => Ok(format!("{:?} {:?}", caller.origin, caller.proven).into()),
            b"later" => {
                sleep(Duration::from_millis(300)).await;
                Ok(vec![7; 4 << 20].into())
            }
            b"counted" => Ok(self.count(4 << 20)),
            b"much, counted" => Ok(self.count(32 << 20)),
            b"large" => Ok(vec![0; 1 << 20].into()),
            b"sleep" => {
                sleep(Duration::from_secs(60)).await;
                Ok(message)
            }
            b"nap" => {
                sleep(Duration::from_millis(500)).await;
                Ok(message)
            }
            _ => Ok(message),
        }
    }
}

impl Obedient {
    fn count(&self, length: usize) -> Bytes {
        self.counted.fetch_add(1, Ordering::SeqCst);
        Bytes::from_owner(Counted(vec![7; length], self.counted.clone()))
    }

    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    pub fn working(&self) -> usize {
        self.working.load(Ordering::SeqCst)
    }

    /// Waits until so many counted answers are held.
    pub async fn until_counted(&self, count: usize) {
        within(10, async {
            while self.counted.load(Ordering::SeqCst) != count {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until so many requests are under way.
    pub async fn until_working(&self, count: usize) {
        within(20, async {
            while self.working() != count {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// Fails where something hangs.
pub async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(seconds), work).await.expect("it takes too long")
}
