//! The side that has the store open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Backend, BackendInfo, Error, ErrorKind, Maintenance, Result, Snapshot, WriteBatch};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::SpokenError;
use crate::ledger::{Ledger, Member};
use crate::spoken::{self, Answer, Answered, Asked, Call, Hello, keyspace};

/// How many calls of a borrower are under way at once.
pub(crate) const AT_ONCE: usize = 64;

/// How many snapshots a borrower may hold.
const SNAPSHOTS: usize = 1000;

/// A store that this process has open, for itself and for others. Clones are handles on the same one.
#[derive(Clone)]
pub struct Lender {
    backend: Arc<dyn Backend>,
    ledger: Arc<Ledger>,
}

impl Lender {
    /// Makes a store ready to be lent. From now on it must be used through [`own`](Lender::own) and [`serve`](Lender::serve)
    /// alone: nobody is told of commits that go past them.
    pub fn new(backend: Arc<dyn Backend>) -> Lender {
        Lender { backend, ledger: Arc::default() }
    }

    /// The store, for this process. Closing it closes the store for everybody.
    pub fn own(&self) -> Box<dyn Backend> {
        Box::new(Own { backend: self.backend.clone(), member: self.ledger.join() })
    }

    /// Serves a borrower until it goes, and ends when what it had begun has ended.
    ///
    /// Errors: `InvalidInput` if it says what cannot be understood; `Closed` if the stream breaks. Neither harms the store
    /// or others. Cancellation: the borrower is cut off; its commits that were under way are applied whole or not at all.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite) -> Result<()> {
        let (mut read, mut write) = tokio::io::split(Box::pin(stream));
        spoken::write(&mut write, &spoken::frame(&Hello::of(self.backend.info()))?).await?;
        let (answers, mut waiting) = mpsc::channel::<Vec<u8>>(AT_ONCE);
        let reading = async {
            let mut desk = Desk {
                guest: Arc::new(Guest {
                    backend: self.backend.clone(),
                    member: self.ledger.join(),
                    snapshots: Mutex::default(),
                    wrote: AtomicBool::new(false),
                }),
                answers,
                permits: Arc::new(Semaphore::new(AT_ONCE)),
                calls: JoinSet::new(),
            };
            let end = desk.take_calls(&mut read).await;
            while desk.calls.join_next().await.is_some() {}
            // Whoever is gone flushes no more, and nobody else knows that there is something to be flushed.
            if desk.guest.wrote.load(Ordering::Relaxed) {
                self.backend.flush().await?;
            }
            end
        };
        let writing = async {
            while let Some(frame) = waiting.recv().await {
                if spoken::write(&mut write, &frame).await.is_err() {
                    // It reads no longer. What it has begun comes to its end, and goes nowhere.
                    waiting.close();
                }
            }
        };
        tokio::join!(reading, writing).0
    }
}

/// The calls of one borrower.
struct Desk {
    guest: Arc<Guest>,
    answers: mpsc::Sender<Vec<u8>>,
    permits: Arc<Semaphore>,
    calls: JoinSet<()>,
}

impl Desk {
    async fn take_calls(&mut self, read: &mut (impl AsyncRead + Unpin)) -> Result<()> {
        while let Some(Asked { number, released, call }) = spoken::read(read).await? {
            while self.calls.try_join_next().is_some() {}
            self.guest.release(&released);
            let Some(call) = call else { continue };
            let Ok(permit) = self.permits.clone().acquire_owned().await else { return Ok(()) };
            let (guest, answers) = (self.guest.clone(), self.answers.clone());
            self.calls.spawn(async move {
                let answer = guest.call(number, call).await.unwrap_or_else(|error| failed(&error));
                let frame = spoken::frame(&Answered { number, answer })
                    .or_else(|error| spoken::frame(&Answered { number, answer: failed(&error) }));
                if let Ok(frame) = frame {
                    // It may be gone.
                    let _ = answers.send(frame).await;
                }
                drop(permit);
            });
        }
        Ok(())
    }
}

fn failed(error: &Error) -> Answer {
    Answer::Failed(SpokenError::from(error))
}

/// A borrower, as the store sees it.
struct Guest {
    backend: Arc<dyn Backend>,
    member: Arc<Member>,
    snapshots: Mutex<HashMap<u64, Arc<dyn Snapshot>>>,
    /// True if it may have committed something since its last flush.
    wrote: AtomicBool,
}

impl Guest {
    async fn call(&self, number: u64, call: Call) -> Result<Answer> {
        match call {
            Call::Commit(batch) => {
                self.wrote.store(true, Ordering::Relaxed);
                commit(&self.backend, &self.member, WriteBatch::try_from(batch)?).await?;
                Ok(Answer::Done)
            }
            Call::Flush => {
                let wrote = self.wrote.swap(false, Ordering::Relaxed);
                let flushed = self.backend.flush().await;
                self.wrote.fetch_or(wrote && flushed.is_err(), Ordering::Relaxed);
                flushed.map(|()| Answer::Done)
            }
            Call::Snapshot => {
                let snapshot: Arc<dyn Snapshot> = self.backend.snapshot().await?.into();
                let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
                if snapshots.len() >= SNAPSHOTS {
                    let message = "too many snapshots are held by one borrower of a store; drop some";
                    return Err(Error::new(ErrorKind::TooLarge, message).with("limit", SNAPSHOTS));
                }
                snapshots.insert(number, snapshot);
                Ok(Answer::Done)
            }
            Call::Get { snapshot, keyspace: number, keys } => {
                let keys: Vec<&[u8]> = keys.iter().map(Bytes::as_ref).collect();
                self.snapshot(snapshot)?.get_many(keyspace(number)?, &keys).await.map(Answer::Values)
            }
            Call::Scan { snapshot, range } => self.snapshot(snapshot)?.scan(range.try_into()?).await.map(Answer::from),
            Call::Changed => Ok(Answer::Changed(changed(&*self.backend, &self.member).await?)),
            Call::Maintain(job) => self.backend.maintain(job.into()).await.map(|()| Answer::Done),
        }
    }

    fn snapshot(&self, number: u64) -> Result<Arc<dyn Snapshot>> {
        let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || Error::new(ErrorKind::InvalidInput, "this borrower of a store holds no such snapshot");
        snapshots.get(&number).cloned().ok_or_else(missing)
    }

    fn release(&self, released: &[u64]) {
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        for number in released {
            snapshots.remove(number);
        }
    }
}

/// The store, for the process that has it open.
struct Own {
    backend: Arc<dyn Backend>,
    member: Arc<Member>,
}

#[async_trait]
impl Backend for Own {
    fn info(&self) -> BackendInfo {
        let mut info = self.backend.info();
        info.capabilities.shared = true;
        info
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        commit(&self.backend, &self.member, batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.backend.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.backend.snapshot().await
    }

    async fn changed(&self) -> Result<u64> {
        changed(&*self.backend, &self.member).await
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.backend.maintain(job).await
    }

    async fn close(&self) -> Result<()> {
        self.backend.close().await
    }
}

/// In a task of its own, so that its end is seen although nobody waits for it any longer: until then everybody has to take the
/// store for changed each time that they ask.
async fn commit(backend: &Arc<dyn Backend>, member: &Arc<Member>, batch: WriteBatch) -> Result<()> {
    let (backend, commit) = (backend.clone(), member.begin());
    let committing = tokio::spawn(async move {
        let result = backend.commit(batch).await;
        commit.end();
        result
    });
    committing.await.unwrap_or_else(|error| {
        let message = "a commit has ended early; its outcome is unknown";
        Err(Error::new(ErrorKind::Internal, message).caused_by(error))
    })
}

/// Adds what the engine itself tells, should it be one that several processes share. Both only grow or jump, so that the sum is
/// new where one of them is.
async fn changed(backend: &dyn Backend, member: &Member) -> Result<u64> {
    Ok(backend.changed().await?.wrapping_shl(32).wrapping_add(member.changed()))
}
