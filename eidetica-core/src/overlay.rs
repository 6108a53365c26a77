//! Changes on top of a snapshot, seen as one, until they are committed together.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Direction, Keyspace, Page, Result, Scan, Snapshot, WriteBatch};

/// A snapshot and the changes that are to follow it.
pub(crate) struct Overlay {
    base: Box<dyn Snapshot>,
    changes: BTreeMap<(Keyspace, Bytes), Option<Bytes>>,
    bytes: usize,
}

/// The changes of an overlay at a moment.
pub(crate) struct Saved {
    changes: BTreeMap<(Keyspace, Bytes), Option<Bytes>>,
    bytes: usize,
}

impl Overlay {
    pub fn new(base: Box<dyn Snapshot>) -> Overlay {
        Overlay { base, changes: BTreeMap::new(), bytes: 0 }
    }

    pub fn put(&mut self, keyspace: Keyspace, key: Bytes, value: impl Into<Bytes>) {
        let value = value.into();
        self.bytes += key.len() + value.len();
        self.changes.insert((keyspace, key), Some(value));
    }

    pub fn delete(&mut self, keyspace: Keyspace, key: Bytes) {
        self.bytes += key.len();
        self.changes.insert((keyspace, key), None);
    }

    /// What is changed so far, to come back to.
    pub fn save(&self) -> Saved {
        Saved { changes: self.changes.clone(), bytes: self.bytes }
    }

    /// Comes back to what was changed by then.
    pub fn restore(&mut self, saved: Saved) {
        self.changes = saved.changes;
        self.bytes = saved.bytes;
    }

    /// About how much would be written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, in the order of their keys.
    pub fn into_batch(self) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for ((keyspace, key), value) in self.changes {
            match value {
                Some(value) => batch.put(keyspace, key, value),
                None => batch.delete(keyspace, key),
            }
        }
        batch
    }

    fn changed_in(&self, scan: &Scan) -> impl DoubleEndedIterator<Item = (&Bytes, Option<&Bytes>)> {
        let start = (scan.keyspace, scan.start.clone());
        let end = match &scan.end {
            Some(end) => Bound::Excluded((scan.keyspace, end.clone())),
            // Behind all keys of the keyspace: keys are at most 1,024 bytes of at most 255.
            None => Bound::Excluded((scan.keyspace, Bytes::from_static(&[0xff; 1025]))),
        };
        let range = if scan.is_empty_range() { None } else { Some(self.changes.range((Bound::Included(start), end))) };
        range.into_iter().flatten().map(|((_, key), value)| (key, value.as_ref()))
    }
}

#[async_trait]
impl Snapshot for Overlay {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        if self.changes.is_empty() {
            return self.base.get_many(keyspace, keys).await;
        }
        let changed: Vec<Option<&Option<Bytes>>> =
            keys.iter().map(|key| self.changes.get(&(keyspace, Bytes::copy_from_slice(key)))).collect();
        let unchanged: Vec<&[u8]> =
            keys.iter().zip(&changed).filter(|(_, c)| c.is_none()).map(|(key, _)| *key).collect();
        let mut below = match unchanged.is_empty() {
            true => Vec::new(),
            false => self.base.get_many(keyspace, &unchanged).await?,
        }
        .into_iter();
        Ok(changed.into_iter().map(|change| change.map_or_else(|| below.next().flatten(), Clone::clone)).collect())
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        scan.check()?;
        if self.changed_in(&scan).next().is_none() {
            return self.base.scan(scan).await;
        }
        let mut rows: Vec<(Bytes, Bytes)> = Vec::new();
        let mut bytes = 0;
        let mut at = scan.clone();
        loop {
            let below = self.base.scan(at.clone()).await?;
            // The page speaks for the keys up to its last one; for the whole range if there is no more.
            let mut covered = at.clone();
            if let (true, Some((last, _))) = (below.more, below.rows.last()) {
                match at.direction {
                    Direction::Forward => covered.end = Some([last, &b"\0"[..]].concat().into()),
                    Direction::Backward => covered.start = last.clone(),
                }
            }
            let mut merged: BTreeMap<&Bytes, &Bytes> = below.rows.iter().map(|(key, value)| (key, value)).collect();
            for (key, value) in self.changed_in(&covered) {
                match value {
                    Some(value) => drop(merged.insert(key, value)),
                    None => drop(merged.remove(key)),
                }
            }
            let mut merged = merged.into_iter();
            while let Some((key, value)) = match scan.direction {
                Direction::Forward => merged.next(),
                Direction::Backward => merged.next_back(),
            } {
                if rows.len() == scan.max_rows || (!rows.is_empty() && bytes >= scan.max_bytes) {
                    return Ok(Page::new(rows, true));
                }
                bytes += key.len() + value.len();
                rows.push((key.clone(), value.clone()));
            }
            match below.rows.last() {
                Some((last, _)) if below.more => at = at.after(last),
                _ => return Ok(Page::new(rows, false)),
            }
        }
    }
}
