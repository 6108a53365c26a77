//! One key by a view, beside a raw get of the row that holds it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use eidetica::Durability;
use eidetica::backend::{Backend, Keyspace, Scan, WriteBatch};
use eidetica::store::DocStore;

use crate::base::{Bases, Open, STORE, commit};
use crate::clock::{Rounds, Took, Watch};
use crate::raw::{Raw, RawSqlite, rows_of};
use crate::raw_redb::RawRedb;
use crate::workloads::{self, NEAR};
use crate::{Recorder, Result, base, limits};

/// Where the layout of Eidetica keeps what is true now.
const STATE: Keyspace = Keyspace::new(6);

/// Reads of a history of some length, and stores that hold the same.
pub struct Reads {
    open: Open,
    view: DocStore,
    n: u64,
    turn: u64,
    engine: Arc<dyn Backend>,
    raw: Option<Raw>,
    /// Another connection to the same file.
    writer: Option<RawSqlite>,
    /// The keys of the rows that hold the values.
    rows: Vec<Bytes>,
}

/// Times per read.
#[derive(Default)]
pub struct Figures {
    /// Eidetica's, where nothing changes.
    pub read: Rounds,
    /// Eidetica's, each directly after a commit.
    pub after_commit: Rounds,
    /// A snapshot of the backend and a get in it.
    pub engine: Rounds,
    /// A query of the engine itself.
    pub raw: Rounds,
    /// The same, each directly after another connection has written; in memory, a snapshot and a get, each directly after
    /// a signature and the same rows.
    pub raw_after_commit: Rounds,
}

impl Reads {
    /// Of a SQLite file with `n` commits.
    pub async fn on_sqlite(bases: &Bases, n: u64) -> Result<Reads> {
        let open = bases.open(base::sqlite(&bases.copy(n)?).await?).await?;
        let engine = Arc::new(base::sqlite(&bases.copy(n)?).await?);
        let file = bases.copy(n)?;
        let raw = RawSqlite::open(&file, "NORMAL")?;
        let writer = RawSqlite::open(&file, "NORMAL")?;
        let mut reads = Reads::new(open, n, engine, Some(Raw::Sqlite(raw))).await?;
        reads.writer = Some(writer);
        Ok(reads)
    }

    /// Of a file of redb with `n` commits.
    pub async fn on_redb(bases: &Bases, n: u64) -> Result<Reads> {
        let open = bases.open(base::redb(&bases.redb(n).await?).await?).await?;
        let engine = Arc::new(base::redb(&bases.redb(n).await?).await?);
        let raw = Raw::Redb(RawRedb::copy_of(&*engine, &bases.fresh(), false).await?);
        Reads::new(open, n, engine, Some(raw)).await
    }

    /// In memory with `n` commits.
    pub async fn on_memory(bases: &Bases, n: u64) -> Result<Reads> {
        let open = bases.open_recorder(Recorder::beside(bases.memory(n).await?)).await?;
        Reads::new(open, n, bases.memory(n).await?, None).await
    }

    async fn new(open: Open, n: u64, engine: Arc<dyn Backend>, raw: Option<Raw>) -> Result<Reads> {
        let view = open.database.get_store_viewer::<DocStore>(STORE).await?;
        let rows = engine.snapshot().await?;
        let mut keys = Vec::new();
        let mut next = Some(Scan::new(STATE));
        while let Some(scan) = next.take() {
            let page = rows.scan(scan.clone()).await?;
            next = page.rows.last().filter(|_| page.more).map(|(last, _)| scan.after(last));
            keys.extend(page.rows.into_iter().map(|(key, _)| key));
        }
        Ok(Reads { open, view, n, turn: 0, engine, raw, writer: None, rows: keys })
    }

    /// Some number below `below`; all kinds come with equal orders of them.
    fn pick(turn: u64, below: u64) -> u64 {
        turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % below
    }

    /// Reads so many keys.
    pub async fn read(&mut self, times: u64) -> Result<Took> {
        let keys: Vec<String> = (0..times).map(|turn| workloads::key(Self::pick(self.turn + turn, self.n))).collect();
        let watch = Watch::start();
        for key in &keys {
            self.view.get_string(key).await?;
        }
        Ok(watch.stop())
    }

    /// Reads so many keys, each after a commit, which is not in the time.
    pub async fn after_commits(&mut self, times: u64) -> Result<Took> {
        let mut took = Took::default();
        for turn in 0..times {
            let put = workloads::puts(NEAR, self.n + self.turn + turn..self.n + self.turn + turn + 1);
            commit(&self.open.database, &put, Durability::Buffered).await?;
            let key = workloads::key(Self::pick(self.turn + turn, self.n));
            let start = Instant::now();
            self.view.get_string(&key).await?;
            took.wall += start.elapsed();
        }
        Ok(took)
    }

    /// Gets so many rows, each through a snapshot of its own.
    pub async fn engine(&mut self, times: u64) -> Result<Took> {
        let watch = Watch::start();
        for turn in 0..times {
            let key = &self.rows[Self::pick(self.turn + turn, self.rows.len() as u64) as usize];
            if self.engine.snapshot().await?.get(STATE, key).await?.is_none() {
                return Err("a row is missing".into());
            }
        }
        Ok(watch.stop())
    }

    /// Gets so many rows from the engine itself.
    pub fn raw(&self, times: u64) -> Result<Option<Took>> {
        let Some(raw) = &self.raw else { return Ok(None) };
        let watch = Watch::start();
        for turn in 0..times {
            let key = &self.rows[Self::pick(self.turn + turn, self.rows.len() as u64) as usize];
            if raw.get(STATE, key)?.is_none() {
                return Err("a row is missing".into());
            }
        }
        Ok(Some(watch.stop()))
    }

    /// Gets so many rows, each after writing the same rows as Eidetica did, which is not in the time: from SQLite itself, or
    /// through a snapshot of the engine in memory, which has found its rows in the caches of the processor until a signature,
    /// without which there is no commit, took their place.
    pub async fn raw_after_commits(&mut self, batches: Vec<WriteBatch>) -> Result<Took> {
        let mut took = Took::default();
        for (turn, batch) in (0..).zip(batches) {
            let key = &self.rows[Self::pick(self.turn + turn, self.rows.len() as u64) as usize];
            if let (Some(raw), Some(writer)) = (&self.raw, &self.writer) {
                writer.commit(&batch)?;
                let start = Instant::now();
                raw.get(STATE, key)?;
                took.wall += start.elapsed();
            } else {
                limits::sign(1);
                self.engine.commit(rows_of(&batch)).await?;
                let start = Instant::now();
                self.engine.snapshot().await?.get(STATE, key).await?;
                took.wall += start.elapsed();
            }
        }
        Ok(took)
    }

    /// Rounds of all of it, turn by turn.
    pub async fn figures(&mut self, rounds: u64, times: u64) -> Result<Figures> {
        let mut figures = Figures::default();
        for round in 0..=rounds {
            let read = self.read(times).await?;
            let engine = self.engine(times).await?;
            let raw = self.raw(times)?;
            let few = (times / 10).max(1);
            self.open.recorder.keep();
            let after = self.after_commits(few).await?;
            let raw_after = self.raw_after_commits(self.open.recorder.take()).await?;
            self.turn += times;
            if round > 0 {
                figures.read.add(read, times);
                figures.engine.add(engine, times);
                figures.after_commit.add(after, few);
                raw.into_iter().for_each(|raw| figures.raw.add(raw, times));
                figures.raw_after_commit.add(raw_after, few);
            }
        }
        Ok(figures)
    }

    /// Ends it.
    pub async fn close(self) -> Result<()> {
        drop(self.view);
        self.open.close().await?;
        Ok(self.engine.close().await?)
    }
}
