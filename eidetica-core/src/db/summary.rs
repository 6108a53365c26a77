//! Ranges of the entries of a database, for whoever wants to find out what another peer lacks.

use std::ops::Range;

#[cfg(doc)]
use eidetica_contract::ErrorKind;
use eidetica_contract::{Result, Snapshot};

use super::database::Database;
use crate::dag::ranges::{MAX_PARTS, Ordered};
use crate::dag::{Fingerprint, Point};
use crate::error::invalid;
use crate::id::Id;

impl Database {
    /// The fingerprint of the entries from a point up to, not including, another one. All of them:
    /// `Point::START..Point::END`.
    ///
    /// Cost: of each level of blocks (16 heights, 256, 4096, …) at most 15 rows at either end; and one row for each entry in
    /// the two blocks of 16 heights where the ends lie, and at the at most 16 heights below the greatest. A height with very
    /// many entries is thus read as a whole if an end lies in it. Memory: a few rows.
    ///
    /// Errors: [`ErrorKind::Corrupted`] if a row of a block is missing or cannot be read; [`reindex`](Database::reindex)
    /// makes it anew. Cancellation: nothing has changed.
    pub async fn fingerprint(&self, range: Range<Point>) -> Result<Fingerprint> {
        let rows = self.core.storage.snapshot().await?;
        self.ordered(&*rows).await?.fingerprint(range).await
    }

    /// Height and id of the entries from a point up to, not including, another one, in this order, and at most `limit`.
    /// What comes after the last one begins at the point behind it.
    ///
    /// Cost: one row for each. Errors: [`ErrorKind::Corrupted`]. Cancellation: nothing has changed.
    pub async fn entries_in(&self, range: Range<Point>, limit: usize) -> Result<Vec<(u64, Id)>> {
        let rows = self.core.storage.snapshot().await?;
        self.ordered(&*rows).await?.entries(range, limit).await
    }

    /// Cuts a range into at most `parts` parts of about equal count, at least half and at most one and a half times the
    /// average: where each begins, and its fingerprint. The first begins where the range does, each ends where the next
    /// begins, and the last where the range ends. With fewer entries than `parts` each part has one; a range without entries
    /// is one part.
    ///
    /// Cost: that of [`fingerprint`](Database::fingerprint), and 16 rows for each block that a cut falls into, at each level;
    /// where it falls into a block of 16 heights, one row for each entry of the block. A height with many entries is cut by
    /// id. Memory: some hundred parts of blocks.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for no parts, or more than 16; [`ErrorKind::Corrupted`] as for
    /// [`fingerprint`](Database::fingerprint). Cancellation: nothing has changed.
    pub async fn split(&self, range: Range<Point>, parts: usize) -> Result<Vec<(Point, Fingerprint)>> {
        if !(1..=MAX_PARTS).contains(&parts) {
            return Err(invalid("a range is cut into 1 to 16 parts"));
        }
        let rows = self.core.storage.snapshot().await?;
        self.ordered(&*rows).await?.split(range, parts).await
    }

    async fn ordered<'a>(&self, rows: &'a dyn Snapshot) -> Result<Ordered<'a>> {
        let state = self.core.at(rows).await?;
        state.check_usable()?;
        Ok(Ordered { rows, database: self.core.number, top: state.meta.top().unwrap_or(0) })
    }
}
