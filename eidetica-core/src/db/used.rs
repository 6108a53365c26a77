//! What a transaction has read or written, and whether something of it was touched since.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{Keyspace, Scan};

use super::catalog::Catalog;
use crate::auth;
use crate::layout::StoreNumber;
use crate::store::cell::{self, Cell};

/// Something that a transaction has read or written.
#[derive(Clone, Debug)]
pub(crate) struct Touch {
    pub name: Arc<str>,
    pub kind: Arc<str>,
    pub what: Touched,
}

/// A part of a store.
#[derive(Clone, Debug)]
pub(crate) enum Touched {
    /// A path of a document: the cells at, below and above it.
    Path(Vec<u8>),
    /// Cells from the first key up to, not including, the second.
    Range(Bytes, Option<Bytes>),
}

/// Everything that a transaction has used, ordered so that a cell is looked up in a few steps.
#[derive(Debug, Default)]
pub(crate) struct Used(HashMap<(Arc<str>, Arc<str>), Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// Ranges by their start, each with the greatest end of it and all before it; `None` is no end.
    ranges: Vec<(Bytes, Option<Bytes>)>,
    /// The prefixes of paths, sorted.
    paths: Vec<Bytes>,
}

impl Used {
    pub fn new(touches: Vec<Touch>) -> Used {
        let mut used = Used::default();
        for touch in touches {
            let parts = used.0.entry((touch.name, touch.kind)).or_default();
            match touch.what {
                Touched::Range(start, end) => parts.ranges.push((start, end)),
                Touched::Path(prefix) => {
                    let below = Scan::prefix(Keyspace::new(0), &prefix);
                    parts.ranges.push((below.start.clone(), below.end));
                    parts.paths.push(below.start);
                }
            }
        }
        used.0.values_mut().for_each(Parts::sort);
        used
    }

    /// The same with the stores by their numbers, to hold many cells against it.
    pub fn by_number<'a>(&'a self, catalog: &Catalog) -> UsedByNumber<'a> {
        let number = |name: &str, kind: &str| catalog.get(name, kind).map(|info| info.number);
        let parts = self.0.iter().filter_map(|((name, kind), parts)| Some((number(name, kind)?, parts))).collect();
        UsedByNumber { settings: number(auth::STORE, auth::KIND), parts }
    }
}

/// What a transaction has used, by the numbers of the stores.
pub(crate) struct UsedByNumber<'a> {
    settings: Option<u32>,
    parts: Vec<(u32, &'a Parts)>,
}

impl UsedByNumber<'_> {
    /// True if none of the touched cells belongs to what was used. Settings count as used always.
    pub fn is_left_alone_by(&self, touched: &[(StoreNumber, Cell)]) -> bool {
        touched.iter().all(|(store, cell)| {
            let used = self.parts.iter().any(|(number, parts)| *number == store.store && parts.meet(cell));
            Some(store.store) != self.settings && !used
        })
    }
}

impl Parts {
    fn sort(&mut self) {
        self.paths.sort_unstable();
        self.ranges.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut greatest: Option<Bytes> = Some(Bytes::new());
        for (_, end) in &mut self.ranges {
            greatest = match (greatest, end.take()) {
                (Some(greatest), Some(end)) => Some(greatest.max(end)),
                _ => None,
            };
            *end = greatest.clone();
        }
    }

    fn meet(&self, cell: &Cell) -> bool {
        let before = self.ranges.partition_point(|(start, _)| start <= cell);
        let in_range = before > 0 && self.ranges[before - 1].1.as_ref().is_none_or(|end| cell < end);
        // Above a path that was used: the path begins with the cell, but for the mark of its end.
        let above = &cell[..cell.len().saturating_sub(cell::END.len())];
        let path = self.paths.partition_point(|path| &path[..] < above);
        in_range || self.paths.get(path).is_some_and(|path| path.starts_with(above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::doc::Path;

    fn parts(touches: Vec<Touched>) -> Parts {
        let touch = |what| Touch { name: "s".into(), kind: "k".into(), what };
        Used::new(touches.into_iter().map(touch).collect()).0.into_values().next().unwrap()
    }

    fn cell(path: &str) -> Cell {
        Path::dotted(path).cell(crate::Id::from_bytes([0; 32]))
    }

    #[test]
    fn a_path_is_met_at_below_and_above_it() {
        let used = |path: &str| Touched::Path(Path::dotted(path).prefix(crate::Id::from_bytes([0; 32])));
        let parts = parts(vec![used("a.b"), used("x"), used("m.n.o")]);
        for met in ["a.b", "a.b.c", "a", "x", "x.y", "m", "m.n", "m.n.o.p"] {
            assert!(parts.meet(&cell(met)), "{met}");
        }
        for free in ["b", "a.c", "ab", "a.bb", "m.o", "m.n.p", "w", "y"] {
            assert!(!parts.meet(&cell(free)), "{free}");
        }
    }

    #[test]
    fn a_long_range_reaches_over_short_ones() {
        let range = |start: &'static str, end: Option<&'static str>| Touched::Range(start.into(), end.map(Bytes::from));
        let parts = parts(vec![range("a", Some("p")), range("b", Some("c")), range("t", None)]);
        for (key, met) in [("a", true), ("d", true), ("o", true), ("p", false), ("s", false), ("t", true), ("z", true)]
        {
            assert_eq!(parts.meet(&Cell::from(key)), met, "{key}");
        }
    }
}
