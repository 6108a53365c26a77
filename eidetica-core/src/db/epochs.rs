//! Where the epochs of a store begin in a database, so that a cursor from before a crash is told what the crash has lost.
//!
//! These rows do not follow from the entries. What is wrong with them and shows is mended so that a cursor rather sees an entry
//! twice than misses one.

use bytes::Bytes;
use eidetica_contract::{Result, Scan, Snapshot, WriteBatch};

use super::core::Core;
use super::meta::Meta;
use crate::layout::{DatabaseNumber, META};
use crate::storage::epoch_now;
use crate::store::applier::scan_all;

/// Writes down where the epoch of this opening begins for a database, unless a later opening has done so already.
pub(super) async fn begin(core: &Core) -> Result<()> {
    loop {
        let rows = core.storage.snapshot().await?;
        let before = core.at(&*rows).await?;
        if before.meta.epoch >= core.storage.epoch {
            return Ok(());
        }
        let mut after = (*before).clone();
        after.meta.epoch = core.storage.epoch;
        let mut batch = WriteBatch::new();
        batch.expect_value(META, core.number.meta_key(), before.meta.to_bytes());
        batch.put(META, core.number.meta_key(), after.meta.to_bytes());
        // An epoch in which nothing came says of every cursor what this one says.
        let began = (core.number.epoch_key(0), core.number.epoch_key(core.storage.epoch));
        let last = Scan::range(META, began.0, Some(began.1)).backward().rows(1);
        let last = rows.scan(last).await?.rows.pop();
        let next = after.meta.next.to_be_bytes();
        if let Some((key, _)) = last.filter(|(_, began)| began[..] == next) {
            batch.delete(META, key);
        }
        batch.put(META, core.number.epoch_key(core.storage.epoch), next.to_vec());
        if core.commit(batch, 64, after).await? {
            return Ok(());
        }
    }
}

/// The arrival number at which the first epoch after this one began, if one is known.
pub(super) async fn began_after(rows: &dyn Snapshot, database: DatabaseNumber, epoch: u64) -> Result<Option<u64>> {
    let (after, end) = (database.epoch_key(epoch.saturating_add(1)), database.epoch_key(u64::MAX));
    let page = rows.scan(Scan::range(META, after, Some(end)).rows(1)).await?;
    Ok(page.rows.first().and_then(|(_, row)| row[..].try_into().ok().map(u64::from_be_bytes)))
}

/// True if the rows are such as openings leave them: later epochs do not begin before earlier ones, and none beyond what is
/// here.
pub(super) async fn are_sound(rows: &dyn Snapshot, database: DatabaseNumber, meta: &Meta) -> Result<bool> {
    let latest = epoch_now(rows).await?;
    let mut last = (None, 0);
    for (key, row) in all(rows, database).await? {
        let Some((epoch, began)) = parse(&key, &row).filter(|(epoch, _)| *epoch <= latest) else { return Ok(false) };
        if began < last.1 || began > meta.next {
            return Ok(false);
        }
        last = (Some(epoch), began);
    }
    Ok(last.0.is_some_and(|epoch| epoch >= meta.epoch))
}

/// Adds to a batch what makes the rows sound.
pub(super) async fn mend(
    rows: &dyn Snapshot,
    database: DatabaseNumber,
    meta: &Meta,
    batch: &mut WriteBatch,
) -> Result<()> {
    let latest = epoch_now(rows).await?;
    let (mut limit, mut current) = (meta.next, false);
    for (key, row) in all(rows, database).await?.into_iter().rev() {
        let Some((epoch, began)) = parse(&key, &row).filter(|(epoch, _)| *epoch <= latest) else {
            batch.delete(META, key);
            continue;
        };
        current |= epoch >= meta.epoch;
        if began > limit {
            batch.put(META, key, limit.to_be_bytes().to_vec());
        }
        limit = limit.min(began);
    }
    if !current {
        batch.put(META, database.epoch_key(meta.epoch), meta.next.to_be_bytes().to_vec());
    }
    Ok(())
}

async fn all(rows: &dyn Snapshot, database: DatabaseNumber) -> Result<Vec<(Bytes, Bytes)>> {
    let first = database.epoch_key(0);
    scan_all(rows, Scan::prefix(META, &first[..first.len() - 8])).await
}

fn parse(key: &[u8], row: &[u8]) -> Option<(u64, u64)> {
    let epoch = key.get(5..)?.try_into().ok().map(u64::from_be_bytes)?;
    Some((epoch, row.try_into().ok().map(u64::from_be_bytes)?))
}
