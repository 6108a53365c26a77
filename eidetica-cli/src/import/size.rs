//! Whether a row fits into a table, and how much of an entry it takes.

use eidetica::core::limits::{MAX_BODIES, MAX_CELL};
use eidetica::crdt::{Doc, Value};

/// The most bytes of a row: an entry holds one such row, and what frames it.
pub const LARGEST: usize = MAX_BODIES - (64 << 10);
/// What frames a value or a key at most.
pub const FRAME: usize = 9;

/// At most how many bytes a row has in an entry.
pub fn of_row(key: &str, fields: &Doc) -> usize {
    2 * FRAME + key.len() + of_map(fields)
}

fn of_map(map: &Doc) -> usize {
    FRAME + map.iter().map(|(name, value)| FRAME + name.len() + of_value(value)).sum::<usize>()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Text(text) => FRAME + text.len(),
        Value::Bytes(bytes) => FRAME + bytes.len(),
        Value::List(values) => FRAME + values.iter().map(of_value).sum::<usize>(),
        Value::Map(map) => of_map(map),
        _ => FRAME,
    }
}

/// True if a row may have this key.
pub fn key_fits(key: &str) -> bool {
    // A NUL takes two bytes, and what frames a key takes four.
    key.len() + key.bytes().filter(|byte| *byte == 0).count() + 4 <= MAX_CELL
}
