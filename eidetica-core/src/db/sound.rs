//! Whether stored entries are what they were when they came in.

use eidetica_contract::{Error, ErrorKind, Result, Snapshot};

use super::core::Core;
use super::entries::StoredEntry;
use super::lease::Lease;
use crate::entry::verify;
use crate::layout::trailing_number;

/// Signatures and hashes, on all cores, or in line. What is wrong with each of these entries.
pub(super) async fn prove(stored: &[StoredEntry], in_line: bool) -> Result<Vec<Result<(), String>>> {
    let raw: Vec<_> = stored.iter().map(|entry| (entry.entry.to_raw(), entry.entry.bodies().to_vec())).collect();
    let prove = |(raw, bodies): (_, Vec<_>)| match verify(raw) {
        Ok(entry) if entry.bodies() == bodies => Ok(()),
        Ok(_) => Err("a body is not the one that its header commits to".to_owned()),
        Err(reason) => Err(reason.to_string()),
    };
    if in_line {
        return Ok(raw.into_iter().map(prove).collect());
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut shares = Vec::new();
    for part in raw.chunks(raw.len().div_ceil(cores).max(1)) {
        let part = part.to_vec();
        shares.push(tokio::task::spawn_blocking(move || part.into_iter().map(prove).collect::<Vec<_>>()));
    }
    let mut all = Vec::new();
    for share in shares {
        all.extend(share.await.map_err(|_| crate::error::closed())?);
    }
    Ok(all)
}

/// Proves the entries of a database with these numbers, for whoever is about to make everything else from them.
///
/// Errors: [`ErrorKind::Corrupted`] for the first one that is missing, cannot be read, or is not what its author has signed;
/// `Closed` once the store is being closed.
pub(super) async fn prove_all(
    core: &Core,
    rows: &dyn Snapshot,
    numbers: std::ops::Range<u64>,
    lease: &mut Lease,
) -> Result<()> {
    let (mut at, end) = (numbers.start, numbers.end);
    while at < end {
        core.check_open()?;
        lease.renew(core).await?;
        let page = rows.scan(core.number.entries(at, end).bytes(1 << 20)).await?;
        let mut stored = Vec::with_capacity(page.rows.len());
        for (key, row) in &page.rows {
            let number = trailing_number(key);
            if number != at {
                return Err(damaged_entry(at, "it is missing"));
            }
            at += 1;
            stored.push(StoredEntry::parse(number, row).map_err(|_| damaged_entry(number, "its row cannot be read"))?);
        }
        if stored.is_empty() {
            return Err(damaged_entry(at, "it is missing"));
        }
        for (entry, proven) in stored.iter().zip(prove(&stored, core.storage.options.proves_in_line).await?) {
            proven.map_err(|reason| damaged_entry(entry.number, &reason).with("entry", entry.entry.id()))?;
            if entry.entry.database() != core.id {
                return Err(damaged_entry(entry.number, "it belongs to another database"));
            }
        }
    }
    Ok(())
}

pub(super) fn damaged_entry(number: u64, reason: &str) -> Error {
    let message = "an entry in the store is damaged, and it is not to be had from the rest; take up the history again \
                   from a backup, an export or a peer, in another store, and keep this one until that is done";
    Error::new(ErrorKind::Corrupted, message).with("number", number).with("reason", reason)
}
