//! How a database lies in the keyspaces of a backend.
//!
//! Databases and stores have short local numbers, so that keys stay short. Numbers are big-endian: they sort as they count.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | 0 meta | `e` | the epoch of the store, and the version of this layout |
//! | | `i` id | the number of the database |
//! | | `d` database | [`Meta`](crate::db::Meta): heads, next arrival number, … |
//! | | `p` database epoch | the arrival number at which the epoch began |
//! | | `r` database | who is rebuilding it: the epoch of the holder's opening, and how many steps it has done |
//! | 1 entries | database, arrival number | what is hidden from it, header, bodies |
//! | 2 ids | database, id | arrival number, height, time |
//! | 3 heights | database, height, id | arrival number |
//! | 4 catalog | database, store | name, kind, how far it is applied, indexes, how deep it is |
//! | 5 touched | database, store, arrival number | nothing |
//! | 6 state | database, store, cell | the live record |
//! | 7 past | database, store, cell, arrival number | [`Past`](crate::store) |
//! | 8 index | database, store, index, value, key of the row | nothing |
//! | 9 long | database, store, cell, part | the further parts of a live record that is too long for one row |
//! | 10 blocks | database, level, block | the [`Fingerprint`](crate::dag::Fingerprint) of a closed block of heights |
//! | 11 ends | database, store, the beginning of the keys of a list's elements | the greatest position that any of them ever had |
//! | 12 void | database, arrival number | whether the entry, which is void, is kept in the live set |
//! | 13 strikes | database, arrival number | which entries ceased to count when that one came, and which began to |
//! | 15 local | a name | what belongs to this node alone: keys, names, users |

use bytes::Bytes;
use eidetica_contract::{Keyspace, Result, Scan};

use crate::error::damaged;
use crate::id::Id;

pub(crate) const META: Keyspace = Keyspace::new(0);
pub(crate) const ENTRIES: Keyspace = Keyspace::new(1);
pub(crate) const IDS: Keyspace = Keyspace::new(2);
pub(crate) const HEIGHTS: Keyspace = Keyspace::new(3);
pub(crate) const CATALOG: Keyspace = Keyspace::new(4);
pub(crate) const TOUCHED: Keyspace = Keyspace::new(5);
pub(crate) const STATE: Keyspace = Keyspace::new(6);
pub(crate) const PAST: Keyspace = Keyspace::new(7);
pub(crate) const INDEX: Keyspace = Keyspace::new(8);
pub(crate) const LONG: Keyspace = Keyspace::new(9);
pub(crate) const BLOCKS: Keyspace = Keyspace::new(10);
pub(crate) const ENDS: Keyspace = Keyspace::new(11);
pub(crate) const VOID: Keyspace = Keyspace::new(12);
pub(crate) const STRIKES: Keyspace = Keyspace::new(13);
pub(crate) const LOCAL: Keyspace = Keyspace::new(15);

/// The version of this layout; a store with a greater one is not touched. Since 2 the catalog says how deep a store is, since 3
/// there are the ends of lists, since 4 it is written down which entries are void.
pub(crate) const VERSION: u64 = 4;

/// The local number of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DatabaseNumber(pub u32);

/// The local number of a store within its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StoreNumber {
    pub database: DatabaseNumber,
    pub store: u32,
}

pub(crate) fn epoch_key() -> Bytes {
    Bytes::from_static(b"e")
}

pub(crate) fn database_key(id: &Id) -> Bytes {
    [b"i", &id.as_bytes()[..]].concat().into()
}

impl DatabaseNumber {
    pub fn prefix(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    pub fn meta_key(self) -> Bytes {
        [b"d", &self.prefix()[..]].concat().into()
    }

    pub fn lease_key(self) -> Bytes {
        [b"r", &self.prefix()[..]].concat().into()
    }

    pub fn epoch_key(self, epoch: u64) -> Bytes {
        [b"p", &self.prefix()[..], &epoch.to_be_bytes()].concat().into()
    }

    /// The key of an entry.
    pub fn entry_key(self, number: u64) -> Bytes {
        [&self.prefix()[..], &number.to_be_bytes()].concat().into()
    }

    pub fn id_key(self, id: &Id) -> Bytes {
        [&self.prefix()[..], id.as_bytes()].concat().into()
    }

    pub fn height_key(self, height: u64, id: &Id) -> Bytes {
        [&self.prefix()[..], &height.to_be_bytes(), id.as_bytes()].concat().into()
    }

    /// Where the entries of a height begin.
    pub fn height_start(self, height: u64) -> Bytes {
        [&self.prefix()[..], &height.to_be_bytes()].concat().into()
    }

    /// The key of a block of heights.
    pub fn block_key(self, level: u8, block: u64) -> Bytes {
        [&self.prefix()[..], &[level], &block.to_be_bytes()].concat().into()
    }

    pub fn store(self, store: u32) -> StoreNumber {
        StoreNumber { database: self, store }
    }

    /// The entries with numbers from `start` up to, not including, `end`.
    pub fn entries(self, start: u64, end: u64) -> Scan {
        Scan::range(ENTRIES, self.entry_key(start), Some(self.entry_key(end)))
    }
}

impl StoreNumber {
    pub fn prefix(self) -> [u8; 8] {
        let mut prefix = [0; 8];
        prefix[..4].copy_from_slice(&self.database.prefix());
        prefix[4..].copy_from_slice(&self.store.to_be_bytes());
        prefix
    }

    pub fn catalog_key(self) -> Bytes {
        self.prefix().to_vec().into()
    }

    pub fn touched_key(self, number: u64) -> Bytes {
        [&self.prefix()[..], &number.to_be_bytes()].concat().into()
    }

    /// The key of something that begins with these bytes in the state or the past.
    pub fn key(self, cell: &[u8]) -> Bytes {
        [&self.prefix()[..], cell].concat().into()
    }

    pub fn past_key(self, cell: &[u8], number: u64) -> Bytes {
        [&self.prefix()[..], cell, &number.to_be_bytes()].concat().into()
    }

    pub fn long_key(self, cell: &[u8], part: u32) -> Bytes {
        [&self.prefix()[..], cell, &part.to_be_bytes()].concat().into()
    }

    /// Where the rows of one secondary index begin.
    pub fn index_prefix(self, index: u32) -> Vec<u8> {
        [&self.prefix()[..], &index.to_be_bytes()].concat()
    }
}

/// What stands behind the prefix of the store.
pub(crate) fn within_store(key: &Bytes) -> Bytes {
    key.slice(8..)
}

/// The number that ends a key.
pub(crate) fn trailing_number(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Cell and arrival number of a row of the past, whose key has lost the prefix of its store.
pub(crate) fn past_parts(key: &Bytes) -> (Bytes, u64) {
    let cell = key.len().saturating_sub(8);
    (key.slice(..cell), trailing_number(key))
}

/// Height and id of a row of the index by height.
pub(crate) fn height_parts(key: &[u8]) -> Result<(u64, Id)> {
    let parts = key.get(4..).and_then(|rest| rest.split_first_chunk::<8>());
    let parts = parts.and_then(|(height, id)| Some((u64::from_be_bytes(*height), Id::from_slice(id)?)));
    parts.ok_or_else(|| damaged("the index by height"))
}
