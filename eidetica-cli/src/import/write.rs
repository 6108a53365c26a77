//! The second pass over a file: rows become transactions.

use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::{Database, Durability, Error, ErrorKind};
use tokio::sync::mpsc;

use super::check::Plan;
use super::progress::Progress;
use super::size;
use super::source::Row;
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// How many rows one transaction holds.
const ROWS: usize = 1000;
/// How many bytes of rows go into one transaction, unless one row alone has more; an entry holds 8 MiB.
const BYTES: usize = 3 << 20;
/// How many batches are read ahead.
const AHEAD: usize = 2;

/// What an import has done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub rows: u64,
    /// Those that are new or differ from what was there.
    pub written: u64,
    pub unchanged: u64,
    /// False if it was stopped before the end of the file.
    pub complete: bool,
}

struct Batch {
    rows: Vec<Row>,
    position: u64,
}

/// Writes all rows of the file; stops after a batch when it is asked to.
pub async fn all(
    database: &Database,
    table: &str,
    plan: &Plan,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Counts, Failure> {
    progress.begin("importing", plan.bytes);
    let (send, mut batches) = mpsc::channel(AHEAD);
    let reader = tokio::task::spawn_blocking({
        let plan = plan.clone();
        move || read(&plan, &send)
    });
    let mut counts = Counts::default();
    let written = async {
        while !interrupt.is_raised() {
            let Some(batch) = batches.recv().await else {
                counts.complete = true;
                break;
            };
            let batch: Batch = batch?;
            write(database, table, plan, batch.rows, &mut counts).await?;
            progress.at(batch.position);
        }
        Ok(())
    }
    .await;
    // The reader ends when nobody takes what it reads.
    drop(batches);
    let read = reader.await;
    let flushed = database.flush().await;
    let done = |error: Error| error.with("rows_imported_before", counts.rows);
    written.map_err(done)?;
    read.map_err(|error| Error::new(ErrorKind::Internal, "the thread that reads the file has ended").caused_by(error))?;
    flushed?;
    Ok(counts)
}

fn read(plan: &Plan, send: &mpsc::Sender<Result<Batch, Error>>) {
    let result = (|| {
        let mut source = plan.open()?;
        let (mut rows, mut bytes) = (Vec::with_capacity(ROWS), 0);
        loop {
            let position = source.position();
            let row = source.next(plan.columns.as_deref())?;
            let end = row.is_none();
            let size = row.as_ref().map_or(0, |row| size::of_row(&row.key, &row.fields));
            if !rows.is_empty() && (end || rows.len() == ROWS || bytes + size > BYTES) {
                let full = std::mem::replace(&mut rows, Vec::with_capacity(ROWS));
                bytes = 0;
                if send.blocking_send(Ok(Batch { rows: full, position })).is_err() {
                    return Ok(());
                }
            }
            if end {
                return Ok(());
            }
            rows.extend(row);
            bytes += size;
        }
    })();
    if let Err(error) = result {
        // Without a receiver the import has ended for another reason, which it tells.
        let _ = send.blocking_send(Err(error));
    }
}

/// Writes a batch as one transaction. Of rows that are there only what differs is written, so a second import of the same
/// file writes nothing.
async fn write(database: &Database, name: &str, plan: &Plan, rows: Vec<Row>, counts: &mut Counts) -> Result<(), Error> {
    let transaction = database.new_transaction().await?;
    let table = transaction.get_store::<Table<Doc>>(name).await?;
    let written = match table.set_all(rows.iter().map(|row| (row.key.as_str(), &row.fields))).await {
        Ok(written) => written as u64,
        Err(error) => return Err(locate(error, &table, plan, &rows).await),
    };
    transaction.commit_with(Durability::Buffered).await?;
    counts.rows += rows.len() as u64;
    counts.written += written;
    counts.unchanged += rows.len() as u64 - written;
    Ok(())
}

/// The error of a batch with the line of the first row that has it by itself.
async fn locate(error: Error, table: &Table<Doc>, plan: &Plan, rows: &[Row]) -> Error {
    for row in rows {
        if let Err(error) = table.set(&row.key, &row.fields).await {
            return error.with("file", plan.path().display()).with("line", row.line);
        }
    }
    error
}
