//! Rows of a real file into a table, beside the same rows put raw.

use std::path::Path;

use eidetica::backend::WriteBatch;
use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::{Durability, Instance};

use crate::base::{self, Bases};
use crate::clock::{Rounds, Took, Watch};
use crate::raw::{Raw, rows_of};
use crate::work::ingest::Engine;
use crate::{Recorder, Result};

const AIRPORTS: &str = include_str!("../../../examples/data/airports.csv");

/// The file as text, its lines repeated with new first fields until there are `rows`.
pub fn text(rows: usize) -> String {
    let mut lines = AIRPORTS.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    let lines: Vec<&str> = lines.collect();
    for (place, line) in lines.iter().cycle().take(rows).enumerate() {
        if place >= lines.len() {
            text.push_str(&format!("{}-", place / lines.len()));
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Times per row.
pub struct Figures {
    /// From the text of the file to durable rows.
    pub import: Rounds,
    /// Only reading the file and making values of it.
    pub parse: Rounds,
    /// The same batches through the backend, with a flush at the end.
    pub engine: Rounds,
    /// The same batches in the engine itself.
    pub raw: Option<Rounds>,
    /// Bytes in the file of the engine per row; 0 in memory.
    pub bytes: f64,
}

/// Imports the text in batches of `batch` rows; `together`: the rows of a batch are staged in one call.
pub async fn import(bases: &Bases, engine: Engine, text: &str, batch: usize, together: bool) -> Result<Figures> {
    let path = bases.fresh();
    let (took, batches) = store(&path, engine, text, batch, together).await?;
    let bytes = if engine == Engine::Memory { 0.0 } else { std::fs::metadata(&path)?.len() as f64 };

    let watch = Watch::start();
    let count = parse(text)?.try_fold(0, |count, row| row.map(|_| count + 1))?;
    let parse = watch.stop();
    let (through_backend, raw) = limits(bases, engine, &batches).await?;
    let each = |took: Took| Rounds::once(took, count);
    let (import, parse, engine) = (each(took), each(parse), each(through_backend));
    Ok(Figures { import, parse, engine, raw: raw.map(each), bytes: bytes / count as f64 })
}

/// The same without its limits.
pub async fn only(bases: &Bases, engine: Engine, text: &str, batch: usize, together: bool) -> Result<Took> {
    Ok(store(&bases.fresh(), engine, text, batch, together).await?.0)
}

async fn store(
    path: &Path,
    engine: Engine,
    text: &str,
    batch: usize,
    together: bool,
) -> Result<(Took, Vec<WriteBatch>)> {
    let recorder = Recorder::new(engine.open(path).await?);
    let instance = Instance::open(Box::new(recorder.clone())).await?;
    let database = instance.create_database_with_key(Doc::new(), &base::key()).await?;
    recorder.keep();
    let watch = Watch::start();
    let mut rows = parse(text)?;
    let mut count = 0;
    loop {
        let some = rows.by_ref().take(batch).collect::<Result<Vec<(String, Doc)>>>()?;
        if some.is_empty() {
            break;
        }
        count += some.len();
        let transaction = database.new_transaction().await?;
        let table = transaction.get_store::<Table<Doc>>("airports").await?;
        if together {
            table.set_all(some.iter().map(|(key, row)| (key.as_str(), row))).await?;
        } else {
            for (key, row) in &some {
                table.set(key, row).await?;
            }
        }
        transaction.commit_with(Durability::Buffered).await?;
    }
    database.flush().await?;
    let took = watch.stop();
    drop(rows);
    let found = database.get_store_viewer::<Table<Doc>>("airports").await?.count().await?;
    if found != count {
        return Err(format!("{found} rows of {count} are there").into());
    }
    let batches: Vec<WriteBatch> = recorder.take().iter().map(rows_of).collect();
    drop(database);
    instance.close().await?;
    Ok((took, batches))
}

async fn limits(bases: &Bases, engine: Engine, batches: &[WriteBatch]) -> Result<(Took, Option<Took>)> {
    let copies = batches.to_vec();
    let plain = engine.open(&bases.fresh()).await?;
    let watch = Watch::start();
    for batch in copies {
        plain.commit(batch).await?;
    }
    plain.flush().await?;
    let through_backend = watch.stop();
    plain.close().await?;
    let Some(raw) = Raw::fresh(bases, engine).await? else { return Ok((through_backend, None)) };
    let watch = Watch::start();
    for batch in batches {
        raw.commit(batch)?;
    }
    Ok((through_backend, Some(watch.stop())))
}

/// The rows of the file: the first field is the key, numbers are numbers.
fn parse(text: &str) -> Result<impl Iterator<Item = Result<(String, Doc)>>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers()?.iter().skip(1).map(str::to_owned).collect();
    Ok(reader.into_records().map(move |record| {
        let record = record?;
        let mut row = Doc::new();
        for (name, field) in names.iter().zip(record.iter().skip(1)) {
            match field.parse::<f64>() {
                Ok(number) if number.is_finite() => row.set(name.as_str(), number),
                _ => row.set(name.as_str(), field),
            };
        }
        Ok((record.get(0).unwrap_or_default().to_owned(), row))
    }))
}
