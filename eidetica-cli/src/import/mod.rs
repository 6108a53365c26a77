//! `import`: a file becomes the rows of a table.
//!
//! The file is read twice. The first pass writes nothing: it finds the types of the columns and everything that is wrong
//! with the keys. The second one writes, while it reads on.

mod check;
mod columns;
mod csv_source;
mod duplicates;
mod jsonl_source;
mod progress;
mod size;
mod source;
mod write;

use std::time::Instant;

use eidetica::core::limits::MAX_STORE_NAME;
use eidetica::{Database, Error, ErrorKind};

use crate::arguments::{Import, Who};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::key::KeyFile;
use crate::names;
use crate::output::{Output, remark};
use crate::session::{Intent, Session};
use check::Plan;
use progress::Progress;
use write::Counts;

/// Imports a file.
pub async fn run(
    store: Option<&str>,
    who: &Who,
    arguments: &Import,
    output: &mut Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let progress = Progress::new(output.json);
    check_names(arguments).map_err(Failure::Usage)?;
    // What is wrong with the file shows before a store is touched.
    let plan = Plan::make(arguments, &progress, interrupt).await?;
    let session = Session::open(store, who, Intent::Create).await?;
    let result = into_store(&session, arguments, &plan, &progress, interrupt).await;
    progress.finish();
    let closed = session.instance.close().await;
    let (database, created, counts) = result?;
    closed?;
    if created && !output.json {
        remark(&format!("created the database {} in {}", arguments.database, session.url));
        if let Some(file) = &arguments.recovery_key {
            remark(&format!("its recovery key is in {}; keep it apart from this device", file.display()));
        }
    }
    report(arguments, &plan, &database, &counts, begin.elapsed().as_secs_f64(), output)?;
    if counts.complete { Ok(()) } else { Err(Failure::Interrupted) }
}

/// Refuses names that no database and no table can have, before anything is made.
fn check_names(arguments: &Import) -> Result<(), Error> {
    names::check(&arguments.database)?;
    let table = arguments.table.as_str();
    let message = match table {
        "" => "the name of a table must not be empty",
        _ if table.len() > MAX_STORE_NAME => "the name of a table has at most 128 bytes",
        "_settings" => "this name belongs to the settings of the database; choose another one for the table",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidInput, message).with("table", table))
}

async fn into_store(
    session: &Session,
    arguments: &Import,
    plan: &Plan,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<(Database, bool, Counts), Failure> {
    let recovery = arguments.recovery_key.as_deref().map(KeyFile::at);
    let (database, created) = names::find_or_create(session, &arguments.database, recovery.as_ref()).await?;
    let counts = write::all(&database, &arguments.table, plan, progress, interrupt).await?;
    Ok((database, created, counts))
}

fn report(
    arguments: &Import,
    plan: &Plan,
    database: &Database,
    counts: &Counts,
    seconds: f64,
    output: &mut Output,
) -> Result<(), Failure> {
    let rate = counts.rows as f64 / seconds.max(1e-9);
    let Counts { rows, written, unchanged, complete } = counts;
    let (table, name) = (&arguments.table, &arguments.database);
    let mut text = format!("imported {rows} rows into {table} of {name} in {seconds:.2} s ({rate:.0} rows/s): ");
    text.push_str(&format!("{written} written, {unchanged} unchanged"));
    if !complete {
        text.push_str(&format!("\nstopped after row {rows} of {}; import again to complete it", plan.rows));
    }
    output.say(&text, || {
        serde_json::json!({
            "database": name, "id": database.root_id().to_string(), "table": table, "complete": complete,
            "rows": rows, "written": written, "unchanged": unchanged, "rows_in_file": plan.rows,
            "seconds": seconds, "rows_per_second": rate, "columns": plan.columns_as_json(),
        })
    })?;
    output.flush()
}
