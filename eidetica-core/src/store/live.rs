//! The rows of live records.
//!
//! A record holds all concurrent values of its cell, so nothing bounds its length but what people write at once. A backend
//! bounds the length of a value. A long record is therefore cut: its row holds a mark, the length and the first part, and
//! the further parts lie in a keyspace of their own.

use bytes::{BufMut, Bytes, BytesMut};
use eidetica_contract::{Result, Snapshot};

use super::cell::Cell;
use crate::error::damaged;
use crate::layout::{LONG, STATE, StoreNumber};
use crate::overlay::Overlay;

/// The longest part in bytes.
const PART: usize = 4 << 20;
/// The first byte of a row whose record goes on elsewhere. A record is a list, and no list begins with this byte.
const CUT: u8 = 0xd8;
/// The mark and the length.
const LEAD: usize = 9;

/// The live record of a cell.
pub(crate) async fn get(rows: &dyn Snapshot, store: StoreNumber, cell: &[u8]) -> Result<Option<Bytes>> {
    match rows.get(STATE, &store.key(cell)).await? {
        Some(row) => whole(rows, store, cell, row).await.map(Some),
        None => Ok(None),
    }
}

/// The live records of several cells.
pub(crate) async fn get_many(rows: &dyn Snapshot, store: StoreNumber, cells: &[Cell]) -> Result<Vec<Option<Bytes>>> {
    let keys: Vec<Bytes> = cells.iter().map(|cell| store.key(cell)).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let mut records = rows.get_many(STATE, &keys).await?;
    for (record, cell) in records.iter_mut().zip(cells) {
        if let Some(row) = record.take() {
            *record = Some(whole(rows, store, cell, row).await?);
        }
    }
    Ok(records)
}

/// The record that a row stands for.
pub(crate) async fn whole(rows: &dyn Snapshot, store: StoreNumber, cell: &[u8], row: Bytes) -> Result<Bytes> {
    let Some(length) = cut_length(&row) else { return Ok(row) };
    let mut record = BytesMut::with_capacity(length.min(4 * PART));
    record.put_slice(&row[LEAD..]);
    for part in 1..parts(length) {
        let part = rows.get(LONG, &store.long_key(cell, part)).await?;
        record.put_slice(&part.ok_or_else(|| damaged("a part of a long record is missing"))?);
    }
    if record.len() == length { Ok(record.freeze()) } else { Err(damaged("the length of a long record")) }
}

/// Replaces the live record of a cell. `before` is the length of the record that was there.
pub(crate) fn put(rows: &mut Overlay, store: StoreNumber, cell: &[u8], record: Option<Bytes>, before: usize) {
    let after = record.as_ref().map_or(0, Bytes::len);
    match record {
        None => rows.delete(STATE, store.key(cell)),
        Some(record) if record.len() <= PART => rows.put(STATE, store.key(cell), record),
        Some(record) => {
            let mut first = BytesMut::with_capacity(LEAD + PART);
            first.put_u8(CUT);
            first.put_u64(record.len() as u64);
            first.put_slice(&record[..PART]);
            rows.put(STATE, store.key(cell), first.freeze());
            for part in 1..parts(record.len()) {
                let end = record.len().min((part as usize + 1) * PART);
                rows.put(LONG, store.long_key(cell, part), record.slice(part as usize * PART..end));
            }
        }
    }
    for part in parts(after).max(1)..parts(before) {
        rows.delete(LONG, store.long_key(cell, part));
    }
}

fn cut_length(row: &[u8]) -> Option<usize> {
    let (mark, rest) = row.split_first()?;
    let length = rest.first_chunk::<8>().filter(|_| *mark == CUT)?;
    usize::try_from(u64::from_be_bytes(*length)).ok()
}

/// How many rows a record of this length has beside its first one.
pub(crate) fn further_parts(length: usize) -> u64 {
    parts(length).saturating_sub(1).into()
}

fn parts(length: usize) -> u32 {
    u32::try_from(length.div_ceil(PART)).unwrap_or(u32::MAX)
}
