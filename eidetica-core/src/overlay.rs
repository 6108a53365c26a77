//! Changes on top of a snapshot, seen as one, until they are committed together.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Direction, Keyspace, Page, Result, Scan, Snapshot, WriteBatch};

/// A snapshot and the changes that are to follow it.
pub(crate) struct Overlay {
    base: Box<dyn Snapshot>,
    // Shared only with an overlay that is built on this one, when nothing more is changed here.
    changes: Arc<Changes>,
    bytes: usize,
}

/// The changes in each keyspace; `None` deletes.
pub(crate) type Changes = [BTreeMap<Bytes, Option<Bytes>>; Keyspace::COUNT as usize];

/// The changes of an overlay at a moment.
pub(crate) struct Saved {
    changes: Arc<Changes>,
    bytes: usize,
}

impl Overlay {
    pub fn new(base: Box<dyn Snapshot>) -> Overlay {
        Overlay { base, changes: Arc::default(), bytes: 0 }
    }

    /// On top of changes that are about to be committed. The snapshot may show them already.
    pub fn above(changes: Arc<Changes>, base: Box<dyn Snapshot>) -> Overlay {
        Overlay::new(Box::new(Overlay { base, changes, bytes: 0 }))
    }

    /// The changes so far, for an overlay that is to stand on them.
    pub fn changes(&self) -> Arc<Changes> {
        self.changes.clone()
    }

    fn changed_mut(&mut self, keyspace: Keyspace) -> &mut BTreeMap<Bytes, Option<Bytes>> {
        &mut Arc::make_mut(&mut self.changes)[usize::from(keyspace.number())]
    }

    pub fn put(&mut self, keyspace: Keyspace, key: Bytes, value: impl Into<Bytes>) {
        let value = value.into();
        self.bytes += key.len() + value.len();
        self.changed_mut(keyspace).insert(key, Some(value));
    }

    pub fn delete(&mut self, keyspace: Keyspace, key: Bytes) {
        self.bytes += key.len();
        self.changed_mut(keyspace).insert(key, None);
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
        self.changes.iter().all(BTreeMap::is_empty)
    }

    /// The changes, in the order of their keys.
    pub fn into_batch(self) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for (keyspace, changes) in Keyspace::all().zip(Arc::unwrap_or_clone(self.changes)) {
            for (key, value) in changes {
                match value {
                    Some(value) => batch.put(keyspace, key, value),
                    None => batch.delete(keyspace, key),
                }
            }
        }
        batch
    }

    fn in_keyspace(&self, keyspace: Keyspace) -> &BTreeMap<Bytes, Option<Bytes>> {
        &self.changes[usize::from(keyspace.number())]
    }

    fn changed_in(&self, scan: &Scan) -> impl DoubleEndedIterator<Item = (&Bytes, Option<&Bytes>)> {
        let end = scan.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (!scan.is_empty_range())
            .then(|| self.in_keyspace(scan.keyspace).range::<[u8], _>((Bound::Included(&scan.start[..]), end)));
        range.into_iter().flatten().map(|(key, value)| (key, value.as_ref()))
    }

    /// True if something is changed in a range. Looks for its start alone.
    fn changes_in(&self, scan: &Scan) -> bool {
        let from = (Bound::Included(&scan.start[..]), Bound::Unbounded);
        let first = self.in_keyspace(scan.keyspace).range::<[u8], _>(from).next();
        first.is_some_and(|(key, _)| scan.end.as_ref().is_none_or(|end| key < end))
    }
}

#[async_trait]
impl Snapshot for Overlay {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let changes = self.in_keyspace(keyspace);
        if changes.is_empty() {
            return self.base.get_many(keyspace, keys).await;
        }
        let changed: Vec<Option<&Option<Bytes>>> = keys.iter().map(|key| changes.get(*key)).collect();
        let unchanged: Vec<&[u8]> =
            keys.iter().zip(&changed).filter(|(_, c)| c.is_none()).map(|(key, _)| *key).collect();
        let mut below = match unchanged.is_empty() {
            true => Vec::new(),
            false => self.base.get_many(keyspace, &unchanged).await?,
        }
        .into_iter();
        Ok(changed.into_iter().map(|change| change.map_or_else(|| below.next().flatten(), Clone::clone)).collect())
    }

    async fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        match self.in_keyspace(keyspace).get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(keyspace, key).await,
        }
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        scan.check()?;
        if !self.changes_in(&scan) {
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
