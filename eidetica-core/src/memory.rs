//! A backend that keeps everything in memory: the contract of [`Backend`], written down as code.
//!
//! Whoever writes another backend can read here what each method means. A persistent map makes every law short: a
//! snapshot is a copy of sixteen roots, so what comes later cannot show in it.

use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Backend, BackendEntry, BackendInfo, Direction, Error, ErrorKind, Keyspace, Operation, Page, Result, Scan, Snapshot,
    WriteBatch, inventory,
};
use imbl::OrdMap;

inventory::submit! {
    BackendEntry::new("memory", concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")), |rest| {
        let opened: Result<Box<dyn Backend>> = match rest {
            "" => Ok(Box::new(Memory::new())),
            _ => Err(Error::new(ErrorKind::InvalidInput, "a store in memory has no name; write `memory:`").with("name", rest)),
        };
        Box::pin(async move { opened })
    })
}

/// A store in memory. It is empty at first, and gone when it is dropped.
///
/// Snapshots that are held when it is closed stay usable.
///
/// ```
/// use eidetica_contract::{Backend, Keyspace, WriteBatch};
/// use eidetica_core::Memory;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// const NOTES: Keyspace = Keyspace::new(0);
/// let store = Memory::new();
/// let mut batch = WriteBatch::new();
/// batch.put(NOTES, "greeting", "hello");
/// store.commit(batch).await?;
/// assert_eq!(store.snapshot().await?.get(NOTES, b"greeting").await?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Memory {
    // `None` once it is closed. The lock is held for one batch, and never while waiting.
    state: Mutex<Option<State>>,
}

/// The sixteen maps. A snapshot shares them; the next commit then copies sixteen roots, not their contents.
type State = Arc<[OrdMap<Bytes, Bytes>; Keyspace::COUNT as usize]>;

impl Default for Memory {
    /// The same as [`Memory::new`]: empty, and open.
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    /// A new, empty store.
    pub fn new() -> Memory {
        Memory { state: Mutex::new(Some(State::default())) }
    }

    /// An independent store that holds what this one holds now, and is closed if this one is. Costs sixteen roots, however
    /// much is in them.
    #[must_use]
    pub fn fork(&self) -> Memory {
        Memory { state: Mutex::new(self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()) }
    }

    /// What `work` answers about the open store.
    fn with_open<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        // Nothing that runs under the lock leaves a map half changed, so a lock that was poisoned is as good as any.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.as_mut() {
            Some(open) => work(open),
            None => Err(Error::new(ErrorKind::Closed, "this store in memory has been closed")),
        }
    }
}

#[async_trait]
impl Backend for Memory {
    fn info(&self) -> BackendInfo {
        BackendInfo::new("memory", "memory")
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        batch.check(&self.info().limits)?;
        if let Some(unknown) = batch.operations.iter().find(|operation| !is_known(operation)) {
            let message = "this backend is older than the operation";
            return Err(Error::new(ErrorKind::Unsupported, message).with("operation", format!("{unknown:?}")));
        }
        self.with_open(|state| {
            for expectation in &batch.expectations {
                if map(state, expectation.keyspace).get(&expectation.key) != expectation.value.as_ref() {
                    return Err(expectation.failed());
                }
            }
            // From here on nothing can fail: that is what makes the batch atomic.
            let maps = Arc::make_mut(state);
            for operation in batch.operations {
                match operation {
                    Operation::Put { keyspace, key, value } => {
                        maps[keyspace.number() as usize].insert(key, value);
                    }
                    Operation::Delete { keyspace, key } => {
                        maps[keyspace.number() as usize].remove(&key);
                    }
                    Operation::DeleteRange { keyspace, start, end } => {
                        delete_range(&mut maps[keyspace.number() as usize], &start, end.as_deref());
                    }
                    _ => {} // refused above
                }
            }
            Ok(())
        })
    }

    async fn flush(&self) -> Result<()> {
        self.with_open(|_| Ok(()))
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.with_open(|state| Ok(Box::new(View(state.clone())) as Box<dyn Snapshot>))
    }

    async fn changed(&self) -> Result<u64> {
        self.with_open(|_| Ok(0))
    }

    async fn close(&self) -> Result<()> {
        let contents = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Freeing many rows takes time: not under the lock.
        drop(contents);
        Ok(())
    }
}

/// False for an operation that a later version of the contract has added.
fn is_known(operation: &Operation) -> bool {
    matches!(operation, Operation::Put { .. } | Operation::Delete { .. } | Operation::DeleteRange { .. })
}

fn map(state: &State, keyspace: Keyspace) -> &OrdMap<Bytes, Bytes> {
    &state[keyspace.number() as usize]
}

/// The bounds of a range, in the form that a map takes.
fn bounds<'a>(start: &'a [u8], end: Option<&'a [u8]>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded))
}

fn delete_range(map: &mut OrdMap<Bytes, Bytes>, start: &[u8], end: Option<&[u8]>) {
    // A range that ends before it starts is empty; the map would not take it.
    if end.is_some_and(|end| start >= end) {
        return;
    }
    let gone: Vec<Bytes> = map.range::<_, [u8]>(bounds(start, end)).map(|(key, _)| key.clone()).collect();
    for key in gone {
        map.remove(&key);
    }
}

/// A snapshot: the maps as they were.
struct View(State);

#[async_trait]
impl Snapshot for View {
    async fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let map = map(&self.0, keyspace);
        Ok(keys.iter().map(|key| map.get(*key).cloned()).collect())
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        scan.check()?;
        if scan.is_empty_range() {
            return Ok(Page::default());
        }
        let map = map(&self.0, scan.keyspace);
        Ok(match scan.direction {
            // Most scans read a row or two, and looking for the end would take as long as looking for the start.
            Direction::Forward => {
                let rows = map.range::<_, [u8]>((Bound::Included(&scan.start[..]), Bound::Unbounded));
                page(rows.take_while(|(key, _)| scan.end.as_ref().is_none_or(|end| *key < end)), &scan)
            }
            Direction::Backward => page(map.range::<_, [u8]>(bounds(&scan.start, scan.end.as_deref())).rev(), &scan),
        })
    }

    async fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(map(&self.0, keyspace).get(key).cloned())
    }
}

/// The first page of these rows: full with `max_rows` rows, or with the row that reaches `max_bytes`.
fn page<'a>(rows: impl Iterator<Item = (&'a Bytes, &'a Bytes)>, scan: &Scan) -> Page {
    let mut page = Page::default();
    let mut bytes = 0;
    for (key, value) in rows {
        let full = page.rows.len() == scan.max_rows || bytes >= scan.max_bytes;
        if full && !page.rows.is_empty() {
            page.more = true;
            break;
        }
        bytes += key.len() + value.len();
        page.rows.push((key.clone(), value.clone()));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Keyspace = Keyspace::new(3);

    #[tokio::test]
    async fn a_closed_store_says_so() {
        let store = Memory::new();
        store.close().await.unwrap();
        store.close().await.unwrap();
        assert_eq!(store.commit(WriteBatch::new()).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(store.flush().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(store.changed().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(store.snapshot().await.err().unwrap().kind(), ErrorKind::Closed);
    }

    #[tokio::test]
    async fn a_default_store_is_open() {
        Memory::default().commit(WriteBatch::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_fork_goes_its_own_way() {
        let store = Memory::new();
        let put = |value: &'static str| {
            let mut batch = WriteBatch::new();
            batch.put(SPACE, "k", value);
            batch
        };
        store.commit(put("one")).await.unwrap();
        let fork = store.fork();
        store.commit(put("two")).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(fork.snapshot().await.unwrap().get(SPACE, b"k").await.unwrap().unwrap(), "one");
        assert_eq!(store.fork().flush().await.unwrap_err().kind(), ErrorKind::Closed);
    }

    #[tokio::test]
    async fn a_page_ends_with_the_row_that_reaches_its_bytes() {
        let store = Memory::new();
        let mut batch = WriteBatch::new();
        for key in ["a", "b", "c"] {
            batch.put(SPACE, key, "123");
        }
        store.commit(batch).await.unwrap();
        let view = store.snapshot().await.unwrap();
        for (bytes, rows, more) in
            [(0, 1, true), (4, 1, true), (5, 2, true), (8, 2, true), (9, 3, false), (12, 3, false)]
        {
            let page = view.scan(Scan::new(SPACE).bytes(bytes)).await.unwrap();
            assert_eq!((page.rows.len(), page.more), (rows, more), "with {bytes} bytes");
        }
    }

    #[tokio::test]
    async fn a_reversed_range_holds_nothing() {
        let store = Memory::new();
        let mut batch = WriteBatch::new();
        batch.put(SPACE, "m", "");
        batch.delete_range(SPACE, "z", Some("a".into()));
        store.commit(batch).await.unwrap();
        let view = store.snapshot().await.unwrap();
        assert_eq!(view.scan(Scan::range(SPACE, "z", Some("a".into()))).await.unwrap(), Page::default());
        assert_eq!(view.scan(Scan::new(SPACE)).await.unwrap().rows.len(), 1);
    }
}
