//! The stores of a database, as this node knows them.

use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{Result, Scan, Snapshot};

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::error::damaged;
use crate::layout::{CATALOG, DatabaseNumber, StoreNumber};
use crate::store::applier::scan_all;
use crate::store::table::IndexDefinition;

/// All stores of a database. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// By name; of one name there may be several kinds, in their order.
    stores: imbl::OrdMap<String, Vec<Arc<StoreInfo>>>,
    count: u32,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreInfo {
    pub number: u32,
    pub name: String,
    pub kind: String,
    /// Entries with smaller numbers are applied; `None`: all are, and new ones at once.
    pub applied_below: Option<u64>,
    /// True if the rows that are there are out of date, since a body came late; they go before anything is applied.
    pub stale: bool,
    /// True if bodies are missing here, so that the state is not all there is.
    pub partial: bool,
    /// How many steps the longest path has at which anything was ever applied: below one of this length nothing lives, so
    /// that one look tells what is there. [`UNKNOWN`](StoreInfo::UNKNOWN) where an earlier layout has not kept it.
    pub deepest: u32,
    /// True if it is known of each list which position its elements end with; an earlier layout has not kept that.
    pub keeps_ends: bool,
    pub indexes: Vec<IndexDefinition>,
}

impl Catalog {
    pub async fn load(rows: &dyn Snapshot, database: DatabaseNumber) -> Result<Catalog> {
        let (catalog, unreadable) = Catalog::survey(rows, database).await?;
        let stores = catalog.stores.values().flatten();
        // Stores are numbered as they come, and none ever goes.
        if unreadable > 0
            || stores.map(|info| info.number).max().map_or(0, |last| last.saturating_add(1)) != catalog.count
        {
            return Err(damaged("the catalog of stores"));
        }
        Ok(catalog)
    }

    /// What can be read of the catalog, and how many rows of it cannot.
    pub async fn survey(rows: &dyn Snapshot, database: DatabaseNumber) -> Result<(Catalog, usize)> {
        let (mut catalog, mut unreadable) = (Catalog::default(), 0);
        for (key, value) in scan_all(rows, Scan::prefix(CATALOG, &database.prefix())).await? {
            let number = key.get(4..).and_then(|number| Some(u32::from_be_bytes(number.try_into().ok()?)));
            let info = number.and_then(|number| StoreInfo::parse(number, &value).ok());
            match info.filter(|info| catalog.get(&info.name, &info.kind).is_none()) {
                Some(info) => catalog.put(info),
                None => unreadable += 1,
            }
        }
        Ok((catalog, unreadable))
    }

    pub fn get(&self, name: &str, kind: &str) -> Option<&Arc<StoreInfo>> {
        self.named(name).iter().find(|info| info.kind == kind)
    }

    pub fn put(&mut self, info: StoreInfo) {
        let kinds = self.stores.entry(info.name.clone()).or_default();
        match kinds.binary_search_by(|known| known.kind.cmp(&info.kind)) {
            Ok(at) => kinds[at] = Arc::new(info),
            Err(at) => {
                kinds.insert(at, Arc::new(info));
                self.count += 1;
            }
        }
    }

    /// The stores of this name.
    pub fn named(&self, name: &str) -> &[Arc<StoreInfo>] {
        self.stores.get(name).map_or(&[], Vec::as_slice)
    }

    /// The stores, ordered by name and kind.
    pub fn all(&self) -> Vec<Arc<StoreInfo>> {
        self.stores.values().flatten().cloned().collect()
    }

    /// A number that no store has.
    pub fn free_number(&self) -> u32 {
        self.count
    }
}

impl StoreInfo {
    /// Anything may lie below any path.
    pub const UNKNOWN: u32 = u32::MAX;

    /// True if nothing can lie below a path of so many steps.
    pub fn ends_at(&self, steps: usize) -> bool {
        self.deepest != StoreInfo::UNKNOWN && steps >= self.deepest as usize
    }

    pub fn at(&self, database: DatabaseNumber) -> StoreNumber {
        database.store(self.number)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let building = self.indexes.iter().any(|index| !index.is_whole());
        out.list(8 + usize::from(building)).text(&self.name).text(&self.kind);
        match self.applied_below {
            Some(number) => out.uint(number),
            None => out.null(),
        };
        out.bool(self.partial).bool(self.stale).list(self.indexes.len() * 2);
        for index in &self.indexes {
            out.uint(index.number.into()).text(&index.field);
        }
        out.uint(self.deepest.into()).bool(self.keeps_ends);
        if building {
            out.list(self.indexes.len());
            for index in &self.indexes {
                match &index.until {
                    Some(until) => out.bytes(until),
                    None => out.null(),
                };
            }
        }
        out.finish()
    }

    fn parse(number: u32, bytes: &[u8]) -> Read<StoreInfo> {
        let mut input = Reader::new(bytes);
        let parts = input.list(9)?;
        let (name, kind) = (input.text()?.to_owned(), input.text()?.to_owned());
        let applied_below = if input.is_null()? { None } else { Some(input.uint()?) };
        let (partial, stale) = (input.bool()?, input.bool()?);
        let mut indexes = Vec::new();
        for _ in 0..input.list(usize::MAX)? / 2 {
            let number = u32::try_from(input.uint()?).map_err(|_| Malformed)?;
            indexes.push(IndexDefinition { number, field: input.text()?.to_owned(), until: None });
        }
        let deepest = match parts {
            6 => StoreInfo::UNKNOWN,
            _ => u32::try_from(input.uint()?).map_err(|_| Malformed)?,
        };
        let keeps_ends = parts > 7 && input.bool()?;
        if parts > 8 {
            if input.list(usize::MAX)? != indexes.len() {
                return Err(Malformed);
            }
            for index in &mut indexes {
                index.until = if input.is_null()? { None } else { Some(Bytes::copy_from_slice(input.bytes()?)) };
            }
        }
        input.end()?;
        Ok(StoreInfo { number, name, kind, applied_below, stale, partial, deepest, keeps_ends, indexes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> StoreInfo {
        StoreInfo {
            number: 7,
            name: "s".to_owned(),
            kind: "k".to_owned(),
            applied_below: None,
            stale: false,
            partial: true,
            deepest: 2,
            keeps_ends: true,
            indexes: vec![IndexDefinition { number: 3, field: "f".into(), until: None }],
        }
    }

    #[test]
    fn of_stores_of_earlier_layouts_less_is_known() {
        let info = info();
        assert_eq!(StoreInfo::parse(7, &info.to_bytes()).unwrap(), info);
        assert!(info.ends_at(2) && !info.ends_at(1));
        let mut second = info.to_bytes();
        second.pop();
        second[0] -= 1;
        assert_eq!(StoreInfo::parse(7, &second).unwrap(), StoreInfo { keeps_ends: false, ..info.clone() });
        let mut first = second;
        first.pop();
        first[0] -= 1;
        let first = StoreInfo::parse(7, &first).unwrap();
        assert_eq!(first, StoreInfo { deepest: StoreInfo::UNKNOWN, keeps_ends: false, ..info });
        assert!(!first.ends_at(usize::MAX));
    }

    #[test]
    fn how_far_an_index_is_built_is_written_down() {
        let mut info = info();
        info.indexes.push(IndexDefinition { number: 4, field: "g".into(), until: Some(Bytes::from_static(b"cell")) });
        let read = StoreInfo::parse(7, &info.to_bytes()).unwrap();
        assert_eq!(read, info);
        assert!(read.indexes[0].is_whole() && !read.indexes[1].is_whole());
        let reaches = |cell: &'static [u8]| read.indexes[1].reaches(&Bytes::from_static(cell));
        assert!(reaches(b"cell") && reaches(b"ce") && !reaches(b"cellar"));
    }
}
