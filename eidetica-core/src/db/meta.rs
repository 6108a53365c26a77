//! The one row that says where a database stands.

use eidetica_contract::{Result, Snapshot};

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::clock::Time;
use crate::error::damaged;
use crate::id::Id;
use crate::layout::{DatabaseNumber, META};

/// Heads and counters of a database. Every commit expects it unchanged, so that several processes can share a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The entries that nothing is above, ordered by id.
    pub tips: Vec<Tip>,
    /// The arrival number that the next entry gets.
    pub next: u64,
    /// The greatest time of an entry here.
    pub latest: Time,
    /// The epoch in which the store was opened last; part of every cursor.
    pub epoch: u64,
    /// Raised with every change of the catalog.
    pub catalog: u64,
    /// True while state and indexes are being rebuilt from the entries.
    pub rebuilding: bool,
}

/// An entry that nothing is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub id: Id,
    pub number: u64,
    pub height: u64,
    pub time: Time,
}

impl Meta {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.list(6)
            .uint(self.next)
            .uint(self.latest.number())
            .uint(self.epoch)
            .uint(self.catalog)
            .bool(self.rebuilding);
        out.list(self.tips.len());
        for tip in &self.tips {
            out.list(4).bytes(tip.id.as_bytes()).uint(tip.number).uint(tip.height).uint(tip.time.number());
        }
        out.finish()
    }

    /// The row as a snapshot shows it.
    pub async fn read(rows: &dyn Snapshot, database: DatabaseNumber) -> Result<Meta> {
        let row = rows.get(META, &database.meta_key()).await?;
        Meta::parse(&row.ok_or_else(|| damaged("the row of a database"))?)
    }

    pub fn parse(bytes: &[u8]) -> Result<Meta> {
        let mut input = Reader::new(bytes);
        let mut read = || -> Read<Meta> {
            input.list_of(6)?;
            let (next, latest) = (input.uint()?, Time::from_number(input.uint()?));
            let (epoch, catalog, rebuilding) = (input.uint()?, input.uint()?, input.bool()?);
            let mut tips = Vec::new();
            for _ in 0..input.list(usize::MAX)? {
                input.list_of(4)?;
                let id = Id::from_bytes(input.array()?);
                let (number, height) = (input.uint()?, input.uint()?);
                tips.push(Tip { id, number, height, time: Time::from_number(input.uint()?) });
            }
            input.end()?;
            let meta = Meta { tips, next, latest, epoch, catalog, rebuilding };
            if meta.is_consistent() { Ok(meta) } else { Err(Malformed) }
        };
        read().map_err(|_| damaged("the row of a database"))
    }

    /// True if the counters fit the heads: none of them has come after all that is counted, or is later. Entries that are not
    /// live are counted and no heads, so there may be more. What is being rebuilt has not got all of its heads yet.
    fn is_consistent(&self) -> bool {
        let next = self.tips.iter().map(|tip| tip.number.saturating_add(1)).max();
        let latest = self.tips.iter().map(|tip| tip.time).max();
        let ordered = self.tips.is_sorted_by(|a, b| a.id < b.id);
        let counted = next.is_some_and(|next| next <= self.next) && latest.is_some_and(|latest| latest <= self.latest);
        self.rebuilding || (ordered && counted)
    }

    /// Adds an entry above its parents.
    pub fn add(&mut self, tip: Tip, parents: &[Id]) {
        self.tips.retain(|tip| parents.binary_search(&tip.id).is_err());
        let at = self.tips.partition_point(|other| other.id < tip.id);
        self.tips.insert(at, tip);
        self.next = self.next.max(tip.number + 1);
        self.latest = self.latest.max(tip.time);
    }

    /// Counts an entry that is not live.
    pub fn count(&mut self, number: u64, time: Time) {
        self.next = self.next.max(number + 1);
        self.latest = self.latest.max(time);
    }

    /// The head with this id.
    pub fn tip(&self, id: &Id) -> Option<&Tip> {
        self.tips.binary_search_by_key(id, |tip| tip.id).ok().map(|at| &self.tips[at])
    }

    /// The greatest height of an entry here: it is that of a head.
    pub fn top(&self) -> Option<u64> {
        self.tips.iter().map(|tip| tip.height).max()
    }

    pub fn tip_ids(&self) -> Vec<Id> {
        self.tips.iter().map(|tip| tip.id).collect()
    }

    /// The BLAKE3-256 hash of the ids of the heads in ascending order: equal exactly if the heads are.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for tip in &self.tips {
            hasher.update(tip.id.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}
