//! What another side did without knowing of this one, taken in as one message, beside its signatures and the same rows
//! put raw.

use eidetica::Outcome;
use eidetica::backend::WriteBatch;
use eidetica::store::DocStore;

use crate::base::STORE;
use crate::clock::{Rounds, Took, Watch};
use crate::raw::{RawSqlite, in_bulk, rows_of};
use crate::sides::Sides;
use crate::work::ingest::Engine;
use crate::{Result, limits};

/// Times of whole merges.
#[derive(Default)]
pub struct Figures {
    /// By Eidetica: from bytes to the read of a merged key.
    pub merge: Rounds,
    /// Proving the entries as Eidetica does: decoding, hashes and signatures, on all cores.
    pub prove: Rounds,
    /// Their signatures alone, on all cores.
    pub signatures: Rounds,
    /// The same rows in one batch through the backend.
    pub engine: Rounds,
    /// The same rows in one transaction of SQLite itself.
    pub raw: Rounds,
    /// How many rows these are.
    pub rows: usize,
}

/// Merges once, into a near side of its own, and gives what was written, too.
pub async fn merge(sides: &Sides, engine: Engine) -> Result<(Took, Vec<WriteBatch>)> {
    let open = sides.open(engine).await?;
    let far = sides.far().to_vec();
    open.recorder.keep();
    let watch = Watch::start();
    let outcomes = open.database.ingest(far, "bench").await?;
    let view = open.database.get_store_viewer::<DocStore>(STORE).await?;
    let found = view.get_string(sides.last_key()).await;
    let took = watch.stop();
    found?;
    if let Some(other) = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Accepted)) {
        return Err(format!("an entry was answered with {other:?}").into());
    }
    let batches: Vec<WriteBatch> = open.recorder.take().iter().map(rows_of).collect();
    drop(view);
    open.close().await?;
    Ok((took, in_bulk(&batches, usize::MAX)))
}

/// Writes batches through the backend, to a near side of its own.
pub async fn through_backend(sides: &Sides, engine: Engine, batches: &[WriteBatch]) -> Result<Took> {
    let backend = sides.backend(engine).await?;
    let batches = batches.to_vec();
    let watch = Watch::start();
    for batch in batches {
        backend.commit(batch).await?;
    }
    let took = watch.stop();
    backend.close().await?;
    Ok(took)
}

/// Writes batches to SQLite itself, to a near side of its own.
pub fn raw(sides: &Sides, batches: &[WriteBatch]) -> Result<Took> {
    let raw = RawSqlite::open(&sides.copy()?, "NORMAL")?;
    let watch = Watch::start();
    for batch in batches {
        raw.commit(batch)?;
    }
    Ok(watch.stop())
}

/// Rounds of all of it, turn by turn. The first is not counted.
pub async fn figures(sides: &Sides, engine: Engine, rounds: u64) -> Result<Figures> {
    let mut figures = Figures::default();
    let entries = sides.far();
    for round in 0..=rounds {
        let (merged, batches) = merge(sides, engine).await?;
        let written = through_backend(sides, engine, &batches).await?;
        let raw = if engine == Engine::Sqlite { Some(raw(sides, &batches)?) } else { None };
        let proven = limits::prove(entries).await?;
        let signatures = limits::verify_on_all(entries.len() as u64).await?;
        sides.sweep()?;
        if round > 0 {
            figures.merge.add(merged, 1);
            figures.engine.add(written, 1);
            raw.into_iter().for_each(|raw| figures.raw.add(raw, 1));
            figures.prove.add(proven, 1);
            figures.signatures.add(signatures, 1);
            figures.rows = batches.iter().map(|batch| batch.operations.len()).sum();
        }
    }
    Ok(figures)
}
