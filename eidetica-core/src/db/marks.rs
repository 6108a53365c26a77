//! Which of the entries that are here do not count, and which of these are shown to nobody.

use bytes::Bytes;
use eidetica_contract::{Result, Scan, Snapshot};

use crate::cbor::{Read, Reader, Writer};
use crate::dag::{Numbers, Seen};
use crate::error::damaged;
use crate::layout::{DatabaseNumber, STRIKES, StoreNumber, TOUCHED, VOID, trailing_number};
use crate::store::applier::{Pages, scan_all};

/// The entries that are void, by their arrival numbers. Most databases have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// All that are void in the set of what is here.
    pub void: Numbers,
    /// Those of them on which nothing effective stands: they are not in the live set.
    pub dead: Numbers,
}

/// What the arrival of an entry has changed for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strike {
    /// Entries that count no longer.
    pub struck: Numbers,
    /// Entries that count again.
    pub lifted: Numbers,
}

impl Marks {
    pub async fn load(rows: &dyn Snapshot, database: DatabaseNumber) -> Result<Marks> {
        let mut marks: Vec<(u64, bool)> = Vec::new();
        for (key, row) in scan_all(rows, Scan::prefix(VOID, &database.prefix())).await? {
            marks.push((trailing_number(&key), row[..] == [DEAD]));
        }
        let dead = marks.iter().filter(|(_, dead)| *dead).map(|(number, _)| *number);
        Ok(Marks { dead: Numbers::of_all(dead), void: Numbers::of_all(marks.iter().map(|(number, _)| *number)) })
    }

    /// Whether a store has an entry that counts. Peers differ in the void ones that they have seen, and so in what their catalogs
    /// have.
    pub async fn counts_in(&self, rows: &dyn Snapshot, store: StoreNumber) -> Result<bool> {
        if self.void == Numbers::default() {
            return Ok(true);
        }
        let mut pages = Pages::new(rows, Scan::prefix(TOUCHED, &store.prefix()));
        while let Some(page) = pages.next().await? {
            if page.iter().any(|(key, _)| !self.void.contains(trailing_number(key))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The row of a void entry.
    pub fn row(&self, number: u64) -> Option<Bytes> {
        let row = if self.dead.contains(number) { DEAD } else { KEPT };
        self.void.contains(number).then(|| vec![row].into())
    }

    /// The live set, of all that have arrived before `next`.
    pub fn live(&self, next: u64) -> Seen {
        Seen::new(next, &self.dead)
    }

    /// The effective entries of all that have arrived before `next`.
    pub fn effective(&self, next: u64) -> Seen {
        Seen::new(next, &self.void)
    }
}

const KEPT: u8 = 0;
const DEAD: u8 = 1;

impl Strike {
    pub fn is_empty(&self) -> bool {
        self.struck.is_empty() && self.lifted.is_empty()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.list(2);
        self.struck.write(&mut out);
        self.lifted.write(&mut out);
        out.finish()
    }

    fn read(bytes: &[u8]) -> Read<Strike> {
        let mut input = Reader::new(bytes);
        input.list_of(2)?;
        let strike = Strike { struck: Numbers::read(&mut input)?, lifted: Numbers::read(&mut input)? };
        input.end()?;
        Ok(strike)
    }

    /// Those of the entries with numbers from `from` up to, not including, `to`, by the number of what has caused them.
    pub async fn between(
        rows: &dyn Snapshot,
        database: DatabaseNumber,
        from: u64,
        to: u64,
    ) -> Result<Vec<(u64, Strike)>> {
        let range = Scan::range(STRIKES, database.entry_key(from), Some(database.entry_key(to)));
        let strike = |(key, row): (Bytes, Bytes)| {
            Ok((trailing_number(&key), Strike::read(&row).map_err(|_| damaged("what an entry has struck"))?))
        };
        scan_all(rows, range).await?.into_iter().map(strike).collect()
    }
}
