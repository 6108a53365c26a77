//! One key in one commit, beside a signature and the same rows put raw.

use std::sync::Arc;

use eidetica::Durability;
use eidetica::backend::{Backend, WriteBatch};

use crate::base::{Bases, Open, commit};
use crate::clock::{Rounds, Took, Watch};
use crate::raw::{Raw, RawSqlite, rows_of};
use crate::raw_redb::RawRedb;
use crate::workloads::{NEAR, puts};
use crate::{Recorder, Result, base, limits};

/// Commits on a history of some length, and stores that hold the same to write the same rows to.
pub struct Commits {
    open: Open,
    next: u64,
    /// The engine behind the contract of backends.
    engine: Arc<dyn Backend>,
    /// The engine alone; `None` in memory.
    raw: Option<Raw>,
    durability: Durability,
}

/// Times per commit.
#[derive(Default)]
pub struct Figures {
    /// Eidetica's.
    pub commit: Rounds,
    /// One signature.
    pub sign: Rounds,
    /// The same rows, in one batch through the backend.
    pub engine: Rounds,
    /// The same rows, in one transaction of the engine itself.
    pub raw: Rounds,
    /// Operations in a batch.
    pub rows: f64,
    /// Snapshots taken for a commit.
    pub snapshots: f64,
}

impl Commits {
    /// On a SQLite file with `n` commits.
    pub async fn on_sqlite(bases: &Bases, n: u64, durability: Durability) -> Result<Commits> {
        let open = bases.open(base::sqlite(&bases.copy(n)?).await?).await?;
        let engine = Arc::new(base::sqlite(&bases.copy(n)?).await?);
        let synchronous = if durability == Durability::Flushed { "FULL" } else { "NORMAL" };
        let raw = Some(Raw::Sqlite(RawSqlite::open(&bases.copy(n)?, synchronous)?));
        Ok(Commits { open, next: n, engine, raw, durability })
    }

    /// On a file of redb with `n` commits.
    pub async fn on_redb(bases: &Bases, n: u64, durability: Durability) -> Result<Commits> {
        let open = bases.open(base::redb(&bases.redb(n).await?).await?).await?;
        let engine = Arc::new(base::redb(&bases.redb(n).await?).await?);
        let flushed = durability == Durability::Flushed;
        let raw = Some(Raw::Redb(RawRedb::copy_of(&*engine, &bases.fresh(), flushed).await?));
        Ok(Commits { open, next: n, engine, raw, durability })
    }

    /// In memory with `n` commits.
    pub async fn on_memory(bases: &Bases, n: u64) -> Result<Commits> {
        let open = bases.open_recorder(Recorder::beside(bases.memory(n).await?)).await?;
        let engine = bases.memory(n).await?;
        Ok(Commits { open, next: n, engine, raw: None, durability: Durability::Buffered })
    }

    /// Makes so many commits, one after the other, and keeps what they write.
    pub async fn commit(&mut self, times: u64) -> Result<Took> {
        self.open.recorder.keep();
        let new: Vec<_> = puts(NEAR, self.next..self.next + times);
        self.next += times;
        let watch = Watch::start();
        for put in new.chunks(1) {
            commit(&self.open.database, put, self.durability).await?;
        }
        Ok(watch.stop())
    }

    /// What was written by the commits since the last call.
    pub fn written(&self) -> Vec<WriteBatch> {
        self.open.recorder.take().iter().map(rows_of).collect()
    }

    /// Writes batches through the backend, each durable before the next if the commits are.
    pub async fn engine(&mut self, batches: &[WriteBatch]) -> Result<Took> {
        let batches = batches.to_vec();
        let watch = Watch::start();
        for batch in batches {
            self.engine.commit(batch).await?;
            if self.durability == Durability::Flushed {
                self.engine.flush().await?;
            }
        }
        Ok(watch.stop())
    }

    /// Writes batches to the engine itself.
    pub fn raw(&self, batches: &[WriteBatch]) -> Result<Option<Took>> {
        let Some(raw) = &self.raw else { return Ok(None) };
        let watch = Watch::start();
        for batch in batches {
            raw.commit(batch)?;
        }
        Ok(Some(watch.stop()))
    }

    /// Rounds of all of it, turn by turn, so that a slow moment of the machine meets them alike.
    pub async fn figures(&mut self, rounds: u64, times: u64) -> Result<Figures> {
        let mut figures = Figures::default();
        for round in 0..=rounds {
            let before = self.open.recorder.counts().snapshots;
            let took = self.commit(times).await?;
            let snapshots = self.open.recorder.counts().snapshots - before;
            let batches = self.written();
            let engine = self.engine(&batches).await?;
            let raw = self.raw(&batches)?;
            // The first round fills caches.
            if round > 0 {
                figures.commit.add(took, times);
                figures.sign.add(limits::sign(times), times);
                figures.engine.add(engine, times);
                raw.into_iter().for_each(|raw| figures.raw.add(raw, times));
                let operations: usize = batches.iter().map(|batch| batch.operations.len()).sum();
                figures.snapshots = snapshots as f64 / times as f64;
                figures.rows = operations as f64 / times as f64;
            }
        }
        Ok(figures)
    }

    /// Ends it.
    pub async fn close(self) -> Result<()> {
        self.open.close().await?;
        Ok(self.engine.close().await?)
    }
}

/// What many committers on one database do together.
pub struct Crowd {
    /// The time of all commits together.
    pub took: Took,
    /// The same for each commit.
    pub commit: Rounds,
    /// Disk flushes that the backend was asked for, per commit.
    pub flushes: f64,
    /// The same batches in SQLite itself, unflushed.
    pub raw: Rounds,
}

/// Lets `committers` commit `times` keys each, flushed, on a SQLite file with `n` commits.
pub async fn crowd(bases: &Bases, n: u64, committers: u64, times: u64) -> Result<Crowd> {
    let open = bases.open(base::sqlite(&bases.copy(n)?).await?).await?;
    commit(&open.database, &puts(NEAR, n..n + 1), Durability::Flushed).await?;
    let before = open.recorder.counts().flushes;
    open.recorder.keep();
    let watch = Watch::start();
    let tasks: Vec<_> = (0..committers)
        .map(|committer| {
            let database = open.database.clone();
            let first = n + 1 + committer * times;
            tokio::spawn(async move {
                for put in puts(NEAR, first..first + times).chunks(1) {
                    commit(&database, put, Durability::Flushed).await?;
                }
                Result::<()>::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let took = watch.stop();
    let after = open.recorder.counts().flushes;
    let batches: Vec<WriteBatch> = open.recorder.take().iter().map(rows_of).collect();
    open.close().await?;
    let commits = committers * times;
    let raw = RawSqlite::open(&bases.copy(n)?, "NORMAL")?;
    let watch = Watch::start();
    for batch in &batches {
        raw.commit(batch)?;
    }
    let raw = Rounds::once(watch.stop(), commits);
    Ok(Crowd { took, raw, commit: Rounds::once(took, commits), flushes: (after - before) as f64 / commits as f64 })
}
