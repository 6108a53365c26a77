//! Who rebuilds a database: one process at a time, and none for ever.
//!
//! A rebuild holds a lease: a row that names its holder and counts its steps. It changes in the batch of each step, and the batch
//! expects it as the step before has left it. So of two that rebuild only one goes on, and one that was taken for dead, and
//! is not, writes nothing more.
//!
//! The row says no time, since processes that share a store need not share a clock. Whoever wants the lease watches the row: if
//! it changes, its holder lives; if it does not for [`PATIENCE`], the holder is taken for dead.

use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result, Snapshot, WriteBatch};
use tokio::time::Instant;

use super::core::Core;
use crate::cbor::{Read, Reader, Writer};
use crate::layout::META;

/// How long a holder may take for one step. Steps are bounded in entries and bytes, so that they take a small part of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a row is looked at that may change.
const LOOK: Duration = Duration::from_millis(100);
/// How often a holder renews its lease while it has nothing to write.
const BEAT: Duration = Duration::from_secs(1);

/// The right to rebuild a database.
pub(super) struct Lease {
    key: Bytes,
    row: Bytes,
    holder: u64,
    steps: u64,
    renewed: Instant,
}

impl Lease {
    /// Waits until it is plain whether another process rebuilds the database. If it is free, this is the row that a new lease
    /// takes the place of: none, or that of a holder who is gone.
    ///
    /// Errors: `Locked` if another process is at it.
    pub async fn vacant(core: &Core) -> Result<Option<Bytes>> {
        let key = core.number.lease_key();
        let read = async || core.storage.snapshot().await?.get(META, &key).await;
        let Some(row) = read().await? else { return Ok(None) };
        if !core.storage.shared || holder_of(&row) == Some(core.storage.epoch) {
            return Ok(Some(row));
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK).await;
            match read().await? {
                Some(now) if now == row => {}
                Some(_) => return Err(elsewhere()),
                None => return Ok(None),
            }
        }
        tracing::warn!("a process that was rebuilding the database has stopped; this one takes it over");
        Ok(Some(row))
    }

    /// Takes the lease. `over` is what [`vacant`](Lease::vacant) has found.
    ///
    /// Errors: `Locked` if another process was faster.
    pub async fn take(core: &Core, over: Option<&Bytes>) -> Result<Lease> {
        let (key, holder) = (core.number.lease_key(), core.storage.epoch);
        loop {
            let before = core.storage.snapshot().await?.get(META, &key).await?;
            let mine = before.as_deref().is_none_or(|row| holder_of(row) == Some(holder));
            let steps = before.as_deref().and_then(parse).map_or(0, |(_, steps)| steps);
            // Of this process only one writer rebuilds, and it has nothing under way now.
            if !mine && core.storage.shared && before.as_ref() != over {
                return Err(elsewhere());
            }
            let row = before.clone().unwrap_or_default();
            let mut lease = Lease { key: key.clone(), row, holder, steps, renewed: Instant::now() };
            let mut batch = WriteBatch::new();
            match &before {
                Some(_) => lease.step(&mut batch),
                None => {
                    batch.expect_absent(META, key.clone());
                    batch.put(META, key.clone(), lease.next());
                }
            }
            match core.storage.commit(batch, 64).await {
                Ok(()) => {
                    lease.stepped();
                    return Ok(lease);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes a batch one of this lease: it fails if the lease is lost, and else renews it.
    pub fn step(&self, batch: &mut WriteBatch) {
        batch.expect_value(META, self.key.clone(), self.row.clone());
        batch.put(META, self.key.clone(), self.next());
    }

    /// Notes that such a batch was committed.
    pub fn stepped(&mut self) {
        self.row = self.next();
        self.steps = self.steps.wrapping_add(1);
        self.renewed = Instant::now();
    }

    /// Makes a batch the last one of this lease.
    pub fn end(&self, batch: &mut WriteBatch) {
        batch.expect_value(META, self.key.clone(), self.row.clone());
        batch.delete(META, self.key.clone());
    }

    /// Renews the lease if it is time. Errors: `Conflict` if it is lost.
    pub async fn renew(&mut self, core: &Core) -> Result<()> {
        if self.renewed.elapsed() < BEAT {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        self.step(&mut batch);
        match core.storage.commit(batch, 64).await {
            Ok(()) => self.stepped(),
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(lost()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Errors: `Conflict` if the lease is lost.
    pub async fn check(&self, rows: &dyn Snapshot) -> Result<()> {
        let row = rows.get(META, &self.key).await?;
        if row.as_ref() == Some(&self.row) { Ok(()) } else { Err(lost()) }
    }

    /// Ends the lease of a rebuild that has failed, or was to stop. If that fails, too, others find out by waiting.
    pub async fn give_up(self, core: &Core) {
        let mut batch = WriteBatch::new();
        self.end(&mut batch);
        if let Err(error) = core.storage.commit(batch, 64).await {
            tracing::debug!(%error, "the lease of a rebuild that has failed stays for a while");
        }
    }

    fn next(&self) -> Bytes {
        let mut out = Writer::new();
        out.list(2).uint(self.holder).uint(self.steps.wrapping_add(1));
        out.finish().into()
    }
}

fn holder_of(row: &[u8]) -> Option<u64> {
    parse(row).map(|(holder, _)| holder)
}

/// Who holds the lease, as the epoch that began when that store was opened, and how many steps were done. A row that cannot be
/// read is nobody's who goes on.
fn parse(row: &[u8]) -> Option<(u64, u64)> {
    let mut input = Reader::new(row);
    let mut read = || -> Read<(u64, u64)> {
        input.list_of(2)?;
        let parts = (input.uint()?, input.uint()?);
        input.end()?;
        Ok(parts)
    };
    read().ok()
}

fn elsewhere() -> Error {
    Error::new(ErrorKind::Locked, "another process is rebuilding the database; try again when it has ended")
}

pub(super) fn lost() -> Error {
    let message =
        "another process has taken over the rebuild of the database, since this one has stood still for too long";
    Error::new(ErrorKind::Conflict, message)
}
