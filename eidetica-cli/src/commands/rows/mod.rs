//! `rows`: what a table holds.

mod cells;
mod sink;

use std::collections::BTreeMap;

use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::store::table::RowRange;
use eidetica::{Database, Snapshot};

use crate::arguments::RowsOf;
use crate::failure::Failure;
use crate::output::Output;
use sink::Sink;

/// How many rows are read at once, and how many bytes of them: what is shown at once costs no more than that.
const PAGE: usize = 1024;
const PAGE_BYTES: usize = 1 << 20;

/// Shows the rows that are asked for, now or at a snapshot.
pub async fn show(
    database: &Database,
    snapshot: Option<Snapshot>,
    wanted: &RowsOf,
    output: &mut Output,
) -> Result<(), Failure> {
    let now = snapshot.is_none();
    if now {
        super::check_table(database, &wanted.table).await?;
    }
    // Pages of one snapshot fit together even when somebody writes meanwhile.
    let snapshot = match snapshot {
        Some(snapshot) => snapshot,
        None => database.snapshot().await?,
    };
    let view = database.at(&snapshot).await?;
    let table = view.get_store_viewer::<Table<Doc>>(&wanted.table).await?;
    let mut sink = Sink::new(wanted, &table);
    let found = if now { indexed(database, wanted).await? } else { None };
    match found {
        Some(rows) => {
            for (key, row) in rows {
                if !sink.take(key, row, None, output).await? {
                    break;
                }
            }
        }
        None if wanted.conflicts => in_conflict(&table, wanted, &mut sink, output).await?,
        None => {
            let prefix = wanted.prefix.as_deref().unwrap_or_default();
            let mut start = prefix.to_owned();
            'pages: loop {
                let page = table.scan(RowRange::from(&start).limit(PAGE).bytes(PAGE_BYTES)).await?;
                // The next key there can be.
                let Some(next) = page.last().map(|(key, _)| format!("{key}\0")) else { break };
                for (key, row) in page {
                    if !key.starts_with(prefix) || !sink.take(key, row, None, output).await? {
                        break 'pages;
                    }
                }
                start = next;
            }
        }
    }
    sink.end(output)
}

/// Gives the rows that are in conflict to the sink, page by page.
async fn in_conflict(
    table: &Table<Doc>,
    wanted: &RowsOf,
    sink: &mut Sink<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let prefix = wanted.prefix.as_deref().unwrap_or_default();
    let mut range = RowRange::prefix(prefix);
    loop {
        let page = table.all_conflicts(range.limit(PAGE).bytes(PAGE_BYTES)).await?;
        // The next key there can be.
        let Some(next) = page.last().map(|(key, _)| format!("{key}\0")) else { return Ok(()) };
        for (key, conflicts) in page {
            if !key.starts_with(prefix) {
                return Ok(());
            }
            let row = table.get(&key).await?;
            if !sink.take(key, row, Some(conflicts), output).await? {
                return Ok(());
            }
        }
        range = RowRange::from(&next);
    }
}

/// The rows that an index gives; `None` if no index helps.
async fn indexed(database: &Database, wanted: &RowsOf) -> Result<Option<Vec<(String, Doc)>>, Failure> {
    let stores = database.stores().await?;
    let is_table = |store: &&eidetica::StoreSummary| store.name == wanted.table;
    let Some(store) = stores.iter().find(is_table) else { return Ok(None) };
    for condition in &wanted.conditions {
        if !store.indexes.contains(&condition.field) {
            continue;
        }
        let Some(values) = condition.indexed_values() else { continue };
        let table = database.get_store_viewer::<Table<Doc>>(&wanted.table).await?;
        let mut found = BTreeMap::new();
        for value in values {
            found.extend(table.find(&condition.field, value).await?);
        }
        return Ok(Some(found.into_iter().collect()));
    }
    Ok(None)
}
