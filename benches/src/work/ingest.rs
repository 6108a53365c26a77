//! Entries of others, in pages and one by one, beside their verification and the same rows put raw.

use std::path::Path;
use std::sync::Arc;

use eidetica::backend::database::Memory;
use eidetica::backend::{Backend, WriteBatch};
use eidetica::entry::{RawEntry, verify};
use eidetica::{Database, Instance, Outcome};
use tokio::task::JoinSet;

use crate::base::Bases;
use crate::clock::{Rounds, Took, Watch};
use crate::raw::{Raw, in_bulk, rows_of};
use crate::{Recorder, Result, base};

/// Operations in one raw bulk batch: about those of a thousand entries.
const BULK: usize = 6_000;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// In memory.
    Memory,
    /// A SQLite file.
    Sqlite,
    /// A file of redb.
    Redb,
}

impl Engine {
    /// Opens a new store; in memory there is none to be opened again.
    pub async fn open(self, path: &Path) -> Result<Arc<dyn Backend>> {
        Ok(match self {
            Engine::Memory => Arc::new(Memory::new()),
            Engine::Sqlite => Arc::new(base::sqlite(path).await?),
            Engine::Redb => Arc::new(base::redb(path).await?),
        })
    }
}

/// Times per entry.
pub struct Figures {
    /// By Eidetica, from bytes to visible.
    pub ingest: Rounds,
    /// Proving an entry as Eidetica does, on one core.
    pub prove: Rounds,
    /// The same rows through the backend: in bulk, or in the batches that Eidetica made.
    pub engine: Rounds,
    /// The same rows in the engine itself.
    pub raw: Option<Rounds>,
}

/// Hands `entries` (the root first) to a new store: in pages of `page` entries, of which `at_once` are under way.
pub async fn ingest(
    bases: &Bases,
    engine: Engine,
    entries: &[RawEntry],
    page: usize,
    at_once: usize,
) -> Result<Figures> {
    let Written { took, head, batches } = store(bases, engine, entries, page, at_once).await?;
    let count = entries.len() as u64 - 1;
    let batches = if page == 1 { batches } else { in_bulk(&batches, BULK) };
    let path = bases.fresh();
    let plain = engine.open(&path).await?;
    for batch in head.iter().map(rows_of) {
        plain.commit(batch).await?;
    }
    let copies = batches.clone();
    let watch = Watch::start();
    for batch in copies {
        plain.commit(batch).await?;
    }
    let through_backend = watch.stop();
    plain.close().await?;

    let raw = match Raw::fresh(bases, engine).await? {
        None => None,
        Some(raw) => {
            let watch = Watch::start();
            for batch in &batches {
                raw.commit(batch)?;
            }
            Some(Rounds::once(watch.stop(), count))
        }
    };
    let some = &entries[1..entries.len().min(3_001)];
    let watch = Watch::start();
    for entry in some.iter().cloned() {
        verify(entry)?;
    }
    let prove = Rounds::once(watch.stop(), some.len() as u64);
    let (ingest, engine) = (Rounds::once(took, count), Rounds::once(through_backend, count));
    Ok(Figures { ingest, prove, engine, raw })
}

/// The same without its limits.
pub async fn only(bases: &Bases, engine: Engine, entries: &[RawEntry], page: usize, at_once: usize) -> Result<Took> {
    Ok(store(bases, engine, entries, page, at_once).await?.took)
}

struct Written {
    took: Took,
    /// What making the database known has written.
    head: Vec<WriteBatch>,
    batches: Vec<WriteBatch>,
}

async fn store(bases: &Bases, engine: Engine, entries: &[RawEntry], page: usize, at_once: usize) -> Result<Written> {
    let recorder = Recorder::new(engine.open(&bases.fresh()).await?);
    let instance = Instance::open(Box::new(recorder.clone())).await?;
    recorder.keep();
    let (root, rest) = entries.split_first().ok_or("no entries")?;
    let database = instance.engine().adopt_database(root.clone(), None).await?;
    let head = recorder.take();
    let rest = rest.to_vec();
    let took = match page {
        1 => one_by_one(&database, rest).await?,
        _ => in_pages(&database, rest, page, at_once).await?,
    };
    if database.entry_count().await? != entries.len() as u64 {
        return Err("not all entries came in".into());
    }
    drop(database);
    let batches: Vec<WriteBatch> = recorder.take().iter().map(rows_of).collect();
    instance.close().await?;
    Ok(Written { took, head, batches })
}

async fn one_by_one(database: &Database, entries: Vec<RawEntry>) -> Result<Took> {
    let watch = Watch::start();
    for entry in entries {
        check(&database.ingest(vec![entry], "bench").await?)?;
    }
    Ok(watch.stop())
}

async fn in_pages(database: &Database, entries: Vec<RawEntry>, page: usize, at_once: usize) -> Result<Took> {
    let pages: Vec<Vec<RawEntry>> = entries.chunks(page).map(<[RawEntry]>::to_vec).collect();
    drop(entries);
    let watch = Watch::start();
    let mut under_way = JoinSet::new();
    for page in pages {
        if under_way.len() >= at_once
            && let Some(done) = under_way.join_next().await
        {
            let outcomes: Vec<Outcome> = done??;
            check(&outcomes)?;
        }
        let database = database.clone();
        under_way.spawn(async move { database.ingest(page, "bench").await });
    }
    while let Some(done) = under_way.join_next().await {
        let outcomes: Vec<Outcome> = done??;
        check(&outcomes)?;
    }
    Ok(watch.stop())
}

/// With several pages under way an entry may come before its parents, and then waits for them.
fn check(outcomes: &[Outcome]) -> Result<()> {
    match outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Accepted | Outcome::Parked(_))) {
        None => Ok(()),
        Some(other) => Err(format!("an entry was answered with {other:?}").into()),
    }
}
