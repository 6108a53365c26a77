//! Looking after a store: `verify`, `reindex`, `index`.

use std::time::Instant;

use eidetica::{ErrorKind, Id, Report};

use crate::arguments::Index;
use crate::failure::Failure;
use crate::names;
use crate::output::Output;
use crate::session::Session;

/// The databases that a command is about: one, or all.
async fn chosen(session: &Session, name: Option<&str>) -> Result<Vec<(String, Id)>, Failure> {
    match name {
        Some(name) => Ok(vec![(name.to_owned(), names::find(session, name).await?)]),
        None => Ok(names::all(session).await?.into_iter().map(|named| (named.name, named.id)).collect()),
    }
}

/// Checks databases, and their list. True if nothing is wrong and nothing is missing.
pub async fn verify(session: &Session, name: Option<&str>, output: &mut Output) -> Result<bool, Failure> {
    let listed = list(session, output).await?;
    let mut clean = listed;
    for (name, id) in chosen(session, name).await? {
        let begin = Instant::now();
        let database = match session.read(&id).await {
            // The list leads elsewhere, as was said above.
            Err(error) if !listed && matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NotFound) => continue,
            database => database?,
        };
        let report = database.verify().await?;
        clean &= report.is_clean() && report.is_whole();
        if output.json {
            output.document(&json(&name, &report))?;
            continue;
        }
        let verdict = match (report.is_clean(), report.is_whole()) {
            (true, true) => "no problems",
            (true, false) => "NOT WHOLE",
            (false, _) => "PROBLEMS",
        };
        output.line(&format!(
            "{name}: {verdict}; {} entries, {} cells and {} index rows checked in {:.2} s",
            report.entries,
            report.cells,
            report.index_rows,
            begin.elapsed().as_secs_f64(),
        ))?;
        for (what, times) in report.summary() {
            output.line(&format!("  {times} × {what}"))?;
        }
        if !report.is_clean() {
            output.line(match report.problems.iter().all(|problem| problem.reindex_mends) {
                true => "  the entries are sound; `eidetica reindex` mends this",
                false => "  entries themselves are damaged; restore the store from a backup",
            })?;
        }
        for store in &report.missing_bodies {
            let eidetica::MissingBodies { name, kind, entries, .. } = store;
            output.line(&format!(
                "  not checked: {name} ({kind}), since {entries} of its entries lack what they wrote to it"
            ))?;
        }
        if !report.is_whole() {
            output.line("  `eidetica restore` of an export that is whole completes it")?;
        }
        for kind in &report.unknown_kinds {
            output.line(&format!("  not checked: stores of the kind {kind}, which is not known here"))?;
        }
    }
    Ok(clean)
}

/// Checks what the store says of its databases as a whole. True if nothing is wrong.
async fn list(session: &Session, output: &mut Output) -> Result<bool, Failure> {
    let problems = session.instance.engine().verify_list().await?;
    let unreadable = names::unreadable(session).await?;
    if problems.is_empty() && unreadable.is_empty() {
        return Ok(true);
    }
    if output.json {
        let problems: Vec<_> = problems.iter().map(problem).collect();
        output.document(&serde_json::json!({ "list": problems, "unreadable_names": unreadable }))?;
        return Ok(false);
    }
    output.line("the list of databases: PROBLEMS")?;
    for problem in &problems {
        output.line(&format!("  {}", problem.what))?;
    }
    if !problems.is_empty() {
        output.line("  `eidetica reindex` makes it anew from the entries")?;
    }
    for name in unreadable {
        output.line(&format!(
            "  the name {name} leads nowhere and is not to be had from the entries; the database goes by the name in its \
             settings, or by its id"
        ))?;
    }
    Ok(false)
}

fn problem(problem: &eidetica::Problem) -> serde_json::Value {
    let entry = problem.entry.map(|id| id.to_string());
    serde_json::json!({ "what": problem.what, "entry": entry, "reindex_mends": problem.reindex_mends })
}

fn json(name: &str, report: &Report) -> serde_json::Value {
    let problems: Vec<_> = report.problems.iter().map(problem).collect();
    let unreadable: Vec<_> = report
        .unreadable
        .iter()
        .map(|(entry, store)| serde_json::json!({ "entry": entry.to_string(), "store": store }))
        .collect();
    let missing: Vec<_> = report
        .missing_bodies
        .iter()
        .map(|store| serde_json::json!({ "store": store.name, "kind": store.kind, "entries": store.entries }))
        .collect();
    serde_json::json!({
        "database": name, "clean": report.is_clean(), "whole": report.is_whole(), "missing_bodies": missing, "entries": report.entries, "cells": report.cells,
        "index_rows": report.index_rows, "problems": problems, "unreadable": unreadable,
        "unknown_kinds": report.unknown_kinds,
    })
}

/// Rebuilds databases, and their list, from their entries.
pub async fn reindex(session: &Session, name: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    if !session.instance.engine().rebuild_list().await?.is_empty() {
        output.say(
            "the list of databases: made anew from the entries",
            || serde_json::json!({ "list": "made anew from the entries" }),
        )?;
    }
    for (name, id) in chosen(session, name).await? {
        let begin = Instant::now();
        let database = session.read(&id).await?;
        database.reindex().await?;
        let (entries, seconds) = (database.entry_count().await?, begin.elapsed().as_secs_f64());
        output.say(
            &format!("{name}: rebuilt from {entries} entries in {seconds:.2} s"),
            || serde_json::json!({ "database": name, "entries": entries, "seconds": seconds }),
        )?;
    }
    Ok(())
}

/// Makes or drops an index.
pub async fn index(session: &Session, index: &Index, output: &mut Output) -> Result<(), Failure> {
    let (Index::Add { database: name, table, field } | Index::Drop { database: name, table, field }) = index;
    let database = super::database(session, name).await?;
    super::check_table(&database, table).await?;
    let done = match index {
        Index::Add { .. } => {
            database.ensure_index(table, field).await?;
            "has an index now"
        }
        Index::Drop { .. } => {
            database.drop_index(table, field).await?;
            "has no index now"
        }
    };
    database.flush().await?;
    let has = matches!(index, Index::Add { .. });
    output.say(
        &format!("the field {field} of {table} {done}"),
        || serde_json::json!({ "table": table, "field": field, "index": has }),
    )
}
