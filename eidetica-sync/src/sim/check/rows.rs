//! The rows of tables, from the entries alone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eidetica_contract::Result;
use eidetica_core::Database;
use eidetica_core::crdt::{Doc, Value};
use eidetica_core::store::Table;
use eidetica_core::store::table::{Fields, RowAction, RowRange, TableDelta};
use minicbor::Decoder;
use minicbor::data::Type;

use super::replay::{Replay, Stamp};
use super::{broken, ensure};

/// One action on one row.
struct Action {
    by: Stamp,
    key: String,
    what: RowAction,
}

/// A table shows what a naive replay of the entries comes to: of each row the identity that was made last and that nothing
/// has ended that saw it, and of each of its fields what was written last.
pub(super) async fn table(database: &Database, replay: &Replay, name: &str) -> Result<()> {
    let expected = replay.rows(name)?;
    let mut shown = BTreeMap::new();
    for (key, row) in database.get_store_viewer::<Table<Doc>>(name).await?.scan_each(RowRange::all()).await? {
        shown.insert(key, row?);
    }
    let keys: BTreeSet<&String> = expected.keys().chain(shown.keys()).collect();
    for key in keys {
        let (expected, shown) = (expected.get(key), shown.get(key));
        ensure(expected == shown, "a row is not what its entries say", (name, key, expected, shown))?;
    }
    Ok(())
}

impl Replay {
    fn rows(&self, table: &str) -> Result<BTreeMap<String, Doc>> {
        let mut actions = Vec::new();
        for (by, body) in self.bodies(table, "table")? {
            let delta =
                TableDelta::parse(&body).ok_or_else(|| broken("an entry has no delta that a table can read"))?;
            actions.extend(delta.0.into_iter().map(|(key, what)| Action { by, key, what }));
        }
        let mut rows = BTreeMap::<String, (Stamp, &Fields)>::new();
        for Action { by, key, what } in &actions {
            let RowAction::Insert(fields) = what else { continue };
            let ends = |other: &&Action| other.key == *key && !matches!(other.what, RowAction::Write { .. });
            let ended = actions.iter().filter(ends).any(|other| self.saw(&other.by, by));
            if !ended && rows.get(key).is_none_or(|(other, _)| other < by) {
                rows.insert(key.clone(), (*by, fields));
            }
        }
        rows.into_iter().map(|(key, (by, fields))| self.row(&actions, &key, by, fields).map(|row| (key, row))).collect()
    }

    /// The fields of one identity.
    fn row(&self, actions: &[Action], key: &str, made: Stamp, fields: &Fields) -> Result<Doc> {
        let mut latest: BTreeMap<&String, (Stamp, &Bytes)> =
            fields.iter().map(|(field, value)| (field, (made, value))).collect();
        for action in actions.iter().filter(|action| action.key == key && self.saw(&action.by, &made)) {
            let RowAction::Write { identity, fields } = &action.what else { continue };
            for (field, value) in fields.iter().filter(|_| *identity == made.1) {
                if latest.get(field).is_none_or(|(other, _)| *other < action.by) {
                    latest.insert(field, (action.by, value));
                }
            }
        }
        let mut row = Doc::new();
        for (field, (_, value)) in latest {
            let value = value_of(&mut Decoder::new(value)).map_err(|_| broken("the value of a field is none"))?;
            row.set(field, value);
        }
        Ok(row)
    }
}

fn value_of(input: &mut Decoder<'_>) -> Result<Value, minicbor::decode::Error> {
    Ok(match input.datatype()? {
        Type::Null => {
            input.null()?;
            Value::Null
        }
        Type::Bool => Value::Bool(input.bool()?),
        Type::F16 | Type::F32 | Type::F64 => Value::Float(input.f64()?),
        Type::String => Value::Text(input.str()?.to_owned()),
        Type::Bytes => Value::Bytes(input.bytes()?.to_vec()),
        Type::Array => {
            let len = input.array()?.unwrap_or_default();
            Value::List((0..len).map(|_| value_of(input)).collect::<Result<_, _>>()?)
        }
        Type::Map => {
            let mut map = Doc::new();
            for _ in 0..input.map()?.unwrap_or_default() {
                let key = input.str()?.to_owned();
                map.set(&key, value_of(input)?);
            }
            Value::Map(map)
        }
        _ => Value::Int(input.i64()?),
    })
}
