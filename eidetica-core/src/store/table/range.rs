//! Which rows are asked for.

use bytes::Bytes;
use eidetica_contract::{Direction, Scan};

use crate::layout::INDEX;
use crate::store::cell;

/// Which rows a scan returns.
///
/// ```
/// use eidetica_core::store::table::RowRange;
///
/// let newest = RowRange::prefix("2026-").reversed().limit(10);
/// # let _ = newest;
/// ```
#[derive(Clone, Debug)]
pub struct RowRange {
    pub(super) start: Bytes,
    pub(super) end: Option<Bytes>,
    pub(super) limit: usize,
    pub(super) bytes: usize,
    pub(super) direction: Direction,
}

impl RowRange {
    /// All rows.
    pub fn all() -> RowRange {
        RowRange { start: Bytes::new(), end: None, limit: usize::MAX, bytes: usize::MAX, direction: Direction::Forward }
    }

    /// The rows whose keys begin so.
    pub fn prefix(prefix: &str) -> RowRange {
        let mut open = Vec::new();
        cell::push_open(&mut open, prefix.as_bytes());
        let range = Scan::prefix(INDEX, &open);
        RowRange { start: range.start, end: range.end, ..RowRange::all() }
    }

    /// The rows with keys from `start` (inclusive) to `end` (exclusive).
    pub fn between(start: &str, end: &str) -> RowRange {
        RowRange { start: cell::single(start.as_bytes()), end: Some(cell::single(end.as_bytes())), ..RowRange::all() }
    }

    /// The rows with this key and all greater ones.
    pub fn from(start: &str) -> RowRange {
        RowRange { start: cell::single(start.as_bytes()), ..RowRange::all() }
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> RowRange {
        self.limit = limit;
        self
    }

    /// Ends after the row with which the keys and fields that were returned have this many bytes: for pages of rows whose size
    /// is not known. A page holds one row at least, if there is one.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> RowRange {
        self.bytes = bytes;
        self
    }

    /// Greatest key first.
    #[must_use]
    pub fn reversed(mut self) -> RowRange {
        self.direction = Direction::Backward;
        self
    }
}
