//! Backends with threads of their own, on a clock that stands still.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{Backend, BackendInfo, Result, Snapshot, WriteBatch};
use eidetica_core::Memory;
use eidetica_sync::sim::{InPlace, in_place};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// Flushes on a thread of its own, which takes 30 ms by the clock on the wall.
struct Threaded {
    memory: Memory,
    jobs: Mutex<Sender<oneshot::Sender<()>>>,
}

impl Threaded {
    fn new() -> Threaded {
        let (jobs, work) = channel::<oneshot::Sender<()>>();
        std::thread::spawn(move || {
            while let Ok(job) = work.recv() {
                std::thread::sleep(Duration::from_millis(30));
                let _ = job.send(());
            }
        });
        Threaded { memory: Memory::new(), jobs: Mutex::new(jobs) }
    }
}

#[async_trait]
impl Backend for Threaded {
    fn info(&self) -> BackendInfo {
        self.memory.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.memory.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        let (done, wait) = oneshot::channel();
        self.jobs.lock().unwrap().send(done).unwrap();
        wait.await.unwrap();
        Ok(())
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.memory.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_runs_ahead_of_threads_but_not_in_place() {
    let hour = Duration::from_secs(3600);
    let bare = Threaded::new();
    assert!(timeout(hour, bare.flush()).await.is_err(), "the clock has not run ahead, and `InPlace` is of no use");
    let begun = Instant::now();
    let held = InPlace::new(Threaded::new());
    timeout(hour, held.flush()).await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

/// A task may poll a channel so often and no more before it lets others go first; a loop in place must not wait for that.
#[tokio::test(start_paused = true)]
async fn the_budget_of_a_task_does_not_run_out_in_place() {
    let begun = std::time::Instant::now();
    for number in 0..1_000 {
        let (done, wait) = oneshot::channel();
        done.send(number).unwrap();
        assert_eq!(in_place(wait).unwrap(), number);
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
}
