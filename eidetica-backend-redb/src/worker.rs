//! A thread that does one job after the other.
//!
//! redb blocks the thread that calls it: while another commit runs, while it compacts or repairs, and above all while the
//! disk makes things durable. Such work must not run where tasks run, so each store owns a few of these.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

/// How many jobs may wait. More than that wait in their callers, at no cost here.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

enum Message {
    Job(Job),
    /// The thread ends after this one; what waits behind it is dropped.
    Last(Job),
}

/// An owned thread with a bounded queue. Dropping it lets the queue run empty and then waits for the thread.
pub(crate) struct Worker {
    // `None` only while it is being dropped.
    sender: Option<mpsc::Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    pub(crate) fn start(name: &str) -> Result<Worker> {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let work = move || {
            while let Some(message) = receiver.blocking_recv() {
                match message {
                    Message::Job(job) => job(),
                    Message::Last(job) => return job(),
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
            let message = "the system refused another thread; raise the limit or close something";
            Error::new(ErrorKind::Io, message).caused_by(error)
        })?;
        Ok(Worker { sender: Some(sender), thread: Mutex::new(Some(thread)) })
    }

    /// Runs a job when its turn comes. A caller that stops waiting does not stop a job that has been queued.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (job, answer) = prepare(work);
        self.queue(Message::Job(job)).await?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Runs a job as the last one; afterwards the thread is gone and every call answers [`ErrorKind::Closed`].
    pub(crate) async fn run_last<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (job, answer) = prepare(work);
        let answer = match self.queue(Message::Last(job)).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(closed())),
            Err(error) => Err(error),
        };
        // The job has answered, or was dropped by a thread that ends: there is next to nothing left to wait for.
        self.join();
        answer
    }

    /// Ends the thread after what is queued, and waits for that. Only for plain threads, such as another worker.
    pub(crate) fn stop(&self) {
        if let Some(sender) = &self.sender {
            // An error means that the thread is gone already.
            let _ = sender.blocking_send(Message::Last(Box::new(|| ())));
        }
        self.join();
    }

    async fn queue(&self, message: Message) -> Result<()> {
        let sender = self.sender.as_ref().ok_or_else(closed)?;
        sender.send(message).await.map_err(|_| closed())
    }

    fn join(&self) {
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Jobs catch their panics, so there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.sender = None;
        self.join();
    }
}

/// A job that sends its result to the receiver.
fn prepare<T, F>(work: F) -> (Job, oneshot::Receiver<Result<T>>)
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (answer, receiver) = oneshot::channel();
    let span = tracing::Span::current();
    let job = move || {
        let _entered = span.entered();
        // A panic is a defect of ours. It must not take the thread along, or every later call would fail as well.
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Internal,
                "a job of the redb backend panicked; this is a defect, please report it",
            ))
        });
        let _ = answer.send(result);
    };
    (Box::new(job), receiver)
}

/// The answer of everything after `close`.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "this redb store has been closed; open it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_and_survived() {
        let worker = Worker::start("test").unwrap();
        let error = worker.run::<(), _>(|| panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(worker.run(|| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn after_the_last_job_it_is_closed() {
        let worker = Worker::start("test").unwrap();
        assert_eq!(worker.run_last(|| Ok(7)).await.unwrap(), 7);
        assert_eq!(worker.run(|| Ok(7)).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(worker.run_last(|| Ok(7)).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}
