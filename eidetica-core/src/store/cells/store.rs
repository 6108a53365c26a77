//! Reading and writing cells.

use std::collections::BTreeMap;

use bytes::Bytes;
use eidetica_contract::Result;

use crate::db::Touched;
use crate::error::{damaged, invalid};
use crate::id::Id;
use crate::limits::MAX_CELL;
use crate::store::cell::{self, Cell};
use crate::store::doc::{Payload, ValueCell};
use crate::store::handle::StoreHandle;
use crate::store::stage::Staged;
use crate::value::Value;

/// The cells of a store kind of your own: an ordered map from keys to live values.
///
/// Writing a key replaces the values there that the transaction has seen; what was written concurrently stays beside it
/// until somebody writes again. Removing a key removes what was seen.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::store::{Cells, StoreHandle, StoreType};
///
/// /// Pictures by name.
/// struct Pictures(Cells);
///
/// impl StoreType for Pictures {
///     const KIND: &'static str = "example.pictures";
///     fn open(handle: StoreHandle) -> Self {
///         Pictures(Cells::new(handle))
///     }
/// }
///
/// let transaction = database.new_transaction().await?;
/// transaction.get_store::<Pictures>("pictures").await?.0.put(b"cat", &b"miaow"[..]).await?;
/// let entry = transaction.commit().await?;
/// let found = database.get_store_viewer::<Pictures>("pictures").await?.0.get(b"cat").await?;
/// assert_eq!((found[0].entry, &found[0].value[..]), (Some(entry), &b"miaow"[..]));
/// # engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Cells(StoreHandle);

/// One of the live values of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveValue {
    /// The entry that wrote it; `None` if this transaction did.
    pub entry: Option<Id>,
    /// What was written.
    pub value: Bytes,
}

impl Cells {
    /// The cells of the store behind this handle.
    pub fn new(handle: StoreHandle) -> Cells {
        Cells(handle)
    }

    /// The live values of a key: mostly none or one; several if they were written concurrently, strongest last.
    pub async fn get(&self, key: &[u8]) -> Result<Vec<LiveValue>> {
        let cell = check(key)?;
        self.0.touch(|| touched(&cell));
        if let Some(Some(staged)) = self.0.staged(|staged| staged_value(staged, key)) {
            return Ok(staged.into_iter().map(|value| LiveValue { entry: None, value }).collect());
        }
        values(self.0.record(&cell).await?.as_ref())
    }

    /// The keys that begin so, in order, each with its live values.
    pub async fn scan_prefix(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Vec<LiveValue>)>> {
        let mut open = Vec::new();
        cell::push_open(&mut open, prefix);
        let range = eidetica_contract::Scan::prefix(crate::layout::STATE, &open);
        self.0.touch(|| Touched::Range(range.start, range.end));
        let mut found = BTreeMap::new();
        for (cell, record) in self.0.records_below(&open).await? {
            let key = cell::single_part(&cell).ok_or_else(|| damaged("the key of a cell"))?;
            found.insert(Bytes::from(key.into_owned()), values(Some(&record))?);
        }
        let staged = self.0.staged(|staged| match staged {
            Staged::Cells(cells) => {
                cells.range(Bytes::copy_from_slice(prefix)..).map(|(k, v)| (k.clone(), v.clone())).collect()
            }
            _ => Vec::new(),
        });
        for (key, value) in staged.unwrap_or_default().into_iter().take_while(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => drop(found.insert(key, vec![LiveValue { entry: None, value }])),
                None => drop(found.remove(&key)),
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Replaces the live values of a key that the transaction sees.
    ///
    /// Errors: `InvalidInput` for a key that is too long, `ReadOnly` outside a transaction.
    pub async fn put(&self, key: &[u8], value: impl Into<Bytes>) -> Result<()> {
        self.stage(key, Some(value.into()))
    }

    /// Removes the live values of a key that the transaction sees. Without any, nothing is written.
    ///
    /// Errors: as for [`put`](Cells::put).
    pub async fn remove(&self, key: &[u8]) -> Result<()> {
        let there = !values(self.0.record(&check(key)?).await?.as_ref())?.is_empty();
        if there {
            return self.stage(key, None);
        }
        let cell = check(key)?;
        self.0.touch(|| touched(&cell));
        self.0.stage(|staged| {
            if let Staged::Cells(cells) = staged {
                cells.remove(key);
            }
        })
    }

    fn stage(&self, key: &[u8], value: Option<Bytes>) -> Result<()> {
        let cell = check(key)?;
        self.0.touch(|| touched(&cell));
        self.0.stage(|staged| {
            if let Staged::Cells(cells) = staged {
                cells.insert(Bytes::copy_from_slice(key), value);
            }
        })
    }
}

fn check(key: &[u8]) -> Result<Cell> {
    let cell = cell::single(key);
    if cell.len() > MAX_CELL {
        let error = invalid("the key is too long; it has at most 764 bytes, fewer if it holds NUL bytes");
        return Err(error.with("bytes", key.len()));
    }
    Ok(cell)
}

fn touched(cell: &Cell) -> Touched {
    Touched::Range(cell.clone(), Some([cell, &b"\0"[..]].concat().into()))
}

fn staged_value(staged: &Staged, key: &[u8]) -> Option<Option<Bytes>> {
    let Staged::Cells(cells) = staged else { return None };
    cells.get(key).cloned()
}

fn values(record: Option<&Bytes>) -> Result<Vec<LiveValue>> {
    let Some(record) = record else { return Ok(Vec::new()) };
    let cell = ValueCell::parse(record).map_err(|_| damaged("a live record"))?;
    let value = |payload| match payload {
        Payload::Scalar(Value::Bytes(bytes)) => Ok(Bytes::from(bytes)),
        _ => Err(damaged("a live record")),
    };
    cell.live
        .into_iter()
        .map(|live| Ok(LiveValue { entry: Some(live.stamp.id), value: value(live.payload)? }))
        .collect()
}
