//! Rows as cells of a table, and as JSON.

use std::collections::BTreeSet;

use eidetica::crdt::{Doc, Value};
use eidetica::store::table::RowConflict;

use crate::arguments::RowsOf;
use crate::typed;

/// A row on its way out.
pub struct Shown {
    pub key: String,
    pub row: Doc,
    pub conflicts: Vec<RowConflict>,
}

/// A field of a row; every row has the field `key`, unless it has one of its own by this name.
pub fn field_of(shown: &Shown, name: &str) -> Option<Value> {
    match (shown.row.get(name), name) {
        (None, "key") => Some(shown.key.as_str().into()),
        (found, _) => found.cloned(),
    }
}

pub fn headings(wanted: &RowsOf, rows: &[Shown]) -> Vec<String> {
    if wanted.conflicts {
        return ["key", "field", "shows", "hidden", "hidden in", "by", "time"].map(str::to_owned).to_vec();
    }
    let fields = match &wanted.fields {
        Some(fields) => return fields.clone(),
        None => rows.iter().flat_map(|shown| shown.row.keys()).collect::<BTreeSet<&str>>(),
    };
    std::iter::once("key").chain(fields.into_iter().filter(|name| *name != "key")).map(str::to_owned).collect()
}

pub fn line(shown: &Shown, headings: &[String]) -> Vec<String> {
    headings.iter().map(|name| field_of(shown, name).map_or(String::new(), |value| cell(&value))).collect()
}

pub fn conflict_lines(shown: &Shown) -> Vec<Vec<String>> {
    let line = |conflict: &RowConflict| {
        let field = conflict.field.as_deref();
        let shows = field.map_or_else(|| Some(shown.row.clone().into()), |field| shown.row.get(field).cloned());
        vec![
            shown.key.clone(),
            field.unwrap_or("(the whole row)").to_owned(),
            shows.map_or(String::new(), |value| cell(&value)),
            cell(&conflict.value),
            crate::snapshot::short(&conflict.entry),
            conflict.author.to_string().chars().take(16).collect(),
            crate::commands::history::time(conflict.time),
        ]
    };
    shown.conflicts.iter().map(line).collect()
}

/// A null cell is empty, as in the file it may have come from.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => typed::shown(value),
    }
}

/// A row for programs.
pub fn json(shown: &Shown, wanted: &RowsOf) -> serde_json::Value {
    let fields: serde_json::Map<String, serde_json::Value> = match &wanted.fields {
        Some(fields) => {
            let there = fields.iter().filter_map(|name| Some((name.clone(), field_of(shown, name)?.to_json())));
            there.collect()
        }
        None => shown.row.iter().map(|(name, value)| (name.to_owned(), value.to_json())).collect(),
    };
    let mut json = serde_json::json!({ "key": shown.key, "fields": fields });
    if wanted.conflicts {
        let conflict = |conflict: &RowConflict| {
            let (field, value) = (&conflict.field, conflict.value.to_json());
            let (entry, author) = (conflict.entry.to_string(), conflict.author.to_string());
            let time = crate::commands::history::time(conflict.time);
            serde_json::json!({ "field": field, "value": value, "entry": entry, "author": author, "time": time })
        };
        json["conflicts"] = shown.conflicts.iter().map(conflict).collect();
    }
    json
}
