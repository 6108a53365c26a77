//! The side that borrows the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Backend, BackendInfo, Error, ErrorKind, Keyspace, Maintenance, Page, Result, Scan, Snapshot, WriteBatch,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::lender::AT_ONCE;
use crate::spoken::{self, Answer, Answered, Asked, Call, Hello, Job, VERSION, lost, strange, unknown};

/// A store that another process has open. When that process ends, every call answers `Closed`.
///
/// It keeps the contract of [`Backend`] less well than a store of one's own in these points. A commit whose answer is lost with the
/// lender answers `Io`, and may have been applied: open the store again, and look. What is more than 256 MiB at once, and the
/// 1,001st snapshot, are `TooLarge`. A borrower that is stopped holds its snapshots, and with them the space of what is deleted, until it goes on
/// or ends.
pub struct Borrowed {
    info: BackendInfo,
    line: Arc<Line>,
    /// The tasks that read and write; gone once the store was closed.
    tasks: Mutex<Option<JoinSet<()>>>,
    /// True if something may have been committed that is not flushed.
    wrote: AtomicBool,
}

impl Borrowed {
    /// Borrows the store of a [`Lender`](crate::Lender) that serves the other end of the stream.
    ///
    /// Errors: `Unsupported` if it speaks another version; `Closed` if the stream ends; `InvalidInput` if there is no lender.
    pub async fn connect(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Result<Borrowed> {
        let (mut read, mut write) = tokio::io::split(Box::pin(stream));
        let hello: Hello = spoken::read(&mut read).await?.ok_or_else(lost)?;
        if hello.version != VERSION {
            let message = "the process that lends this store is of another version; have both run the same";
            return Err(Error::new(ErrorKind::Unsupported, message).with("version", hello.version));
        }
        let (calls, mut waiting) = mpsc::channel(AT_ONCE);
        let line = Arc::new(Line {
            calls,
            numbers: AtomicU64::new(1),
            permits: Semaphore::new(AT_ONCE),
            open: Mutex::new(Some(Open::default())),
            released: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        let writer = line.clone();
        tasks.spawn(async move {
            loop {
                let (number, call) = tokio::select! {
                    asked = waiting.recv() => match asked {
                        Some((number, call)) => (number, Some(call)),
                        None => return,
                    },
                    () = writer.released.notified() => (0, None),
                };
                let released = writer.open().as_mut().map(|open| std::mem::take(&mut open.released));
                let Some(released) = released else { return };
                if call.is_none() && released.is_empty() {
                    continue;
                }
                let said = match spoken::frame(&Asked { number, released, call }) {
                    Ok(frame) => spoken::write(&mut write, &frame).await,
                    Err(error) => {
                        writer.answer(number, Err(error));
                        continue;
                    }
                };
                if said.is_err() {
                    return writer.hang_up();
                }
            }
        });
        let reader = line.clone();
        tasks.spawn(async move {
            while let Ok(Some(Answered { number, answer })) = spoken::read(&mut read).await {
                match answer {
                    Answer::Failed(error) => reader.answer(number, Err(error.into())),
                    answer => reader.answer(number, Ok(answer)),
                }
            }
            reader.hang_up();
        });
        Ok(Borrowed { info: hello.info(), line, tasks: Mutex::new(Some(tasks)), wrote: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Backend for Borrowed {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        batch.check(&self.info.limits)?;
        self.wrote.store(true, Ordering::Relaxed);
        self.line.done(Call::Commit(batch.try_into()?)).await
    }

    async fn flush(&self) -> Result<()> {
        let wrote = self.wrote.swap(false, Ordering::Relaxed);
        let flushed = self.line.done(Call::Flush).await;
        self.wrote.fetch_or(wrote && flushed.is_err(), Ordering::Relaxed);
        flushed
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        match self.line.call(Call::Snapshot).await? {
            Given::View(view) => Ok(Box::new(view)),
            Given::Answer(_) => Err(strange()),
        }
    }

    async fn changed(&self) -> Result<u64> {
        match self.line.call(Call::Changed).await? {
            Given::Answer(Answer::Changed(number)) => Ok(number),
            _ => Err(strange()),
        }
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        self.line.done(Call::Maintain(Job::of(job)?)).await
    }

    /// Waits for what is under way, flushes, and goes. The store stays open at its lender. If that has ended before, and there was
    /// nothing left to flush, nothing is lost, and that is no error.
    async fn close(&self) -> Result<()> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut tasks) = tasks else { return Ok(()) };
        // Calls that are under way hold permits; whoever comes later waits for one until there are none any more. So these are held until
        // it is hung up: a commit that got one before would be sent, and cut off.
        let all = self.line.permits.acquire_many(AT_ONCE as u32).await;
        let flushed = match &all {
            Ok(_) => self.line.exchange(Call::Flush).await.map(drop),
            Err(_) => Err(lost()),
        };
        self.line.hang_up();
        tasks.shutdown().await;
        match flushed {
            Err(error) if error.kind() == ErrorKind::Closed && !self.wrote.load(Ordering::Relaxed) => Ok(()),
            flushed => flushed,
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // The tasks end with their set, and nobody must wait for what they would have brought.
        self.line.hang_up();
    }
}

/// A snapshot that the lender holds for this side.
struct View {
    line: Arc<Line>,
    number: u64,
}

#[async_trait]
impl Snapshot for View {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let call = Call::Get {
            snapshot: self.number,
            keyspace: keyspace.number(),
            keys: keys.iter().map(|key| Bytes::copy_from_slice(key)).collect(),
        };
        match self.line.call(call).await? {
            Given::Answer(Answer::Values(values)) if values.len() == keys.len() => Ok(values),
            _ => Err(strange()),
        }
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        let call = Call::Scan { snapshot: self.number, range: scan.into() };
        match self.line.call(call).await? {
            Given::Answer(Answer::Page { rows, more }) => Ok(Page::new(rows, more)),
            _ => Err(strange()),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(open) = &mut *self.line.open() {
            open.released.push(self.number);
        }
        self.line.released.notify_one();
    }
}

/// The stream to the lender.
struct Line {
    calls: mpsc::Sender<(u64, Call)>,
    numbers: AtomicU64,
    permits: Semaphore,
    /// `None` once it is closed.
    open: Mutex<Option<Open>>,
    /// Rings when there are snapshots to let go of.
    released: Notify,
}

#[derive(Default)]
struct Open {
    /// Who waits for the answer to a call.
    waiting: HashMap<u64, Waiting>,
    released: Vec<u64>,
}

struct Waiting {
    /// A snapshot is asked for.
    snapshot: bool,
    give: oneshot::Sender<Result<Given>>,
}

/// What a call has brought.
enum Given {
    /// Made where the answer is read, so that it is let go of wherever it is lost on its way.
    View(View),
    Answer(Answer),
}

impl Line {
    async fn done(&self, call: Call) -> Result<()> {
        match self.call(call).await? {
            Given::Answer(Answer::Done) => Ok(()),
            _ => Err(strange()),
        }
    }

    async fn call(&self, call: Call) -> Result<Given> {
        let _permit = self.permits.acquire().await.map_err(|_| lost())?;
        self.exchange(call).await
    }

    async fn exchange(&self, call: Call) -> Result<Given> {
        let writes = matches!(call, Call::Commit(_));
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (give, wait) = oneshot::channel();
        let waiting = Waiting { snapshot: matches!(call, Call::Snapshot), give };
        match &mut *self.open() {
            Some(open) => open.waiting.insert(number, waiting),
            None => return Err(lost()),
        };
        self.calls.send((number, call)).await.map_err(|_| lost())?;
        wait.await.unwrap_or_else(|_| Err(if writes { unknown() } else { lost() }))
    }

    fn answer(self: &Arc<Self>, number: u64, answer: Result<Answer>) {
        let waiting = self.open().as_mut().and_then(|open| open.waiting.remove(&number));
        let Some(Waiting { snapshot, give }) = waiting else { return };
        let given = answer.map(|answer| match answer {
            Answer::Done if snapshot => Given::View(View { line: self.clone(), number }),
            answer => Given::Answer(answer),
        });
        // Whoever has asked may have given up.
        drop(give.send(given));
    }

    /// Everybody who waits hears that the store is closed, and nobody calls again.
    fn hang_up(&self) {
        self.open().take();
        self.permits.close();
        self.released.notify_one();
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
