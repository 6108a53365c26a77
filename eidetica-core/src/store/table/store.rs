//! The table, as an application sees it.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result, Scan};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::convert::{from_fields, shown_fields, to_fields};
use super::delta::{Fields, RowAction};
use super::range::RowRange;
use super::rows::{Rows, key_of};
use super::{index, parse};
use crate::db::Touched;
use crate::error::{damaged, invalid};
use crate::id::Id;
use crate::layout::INDEX;
use crate::limits::MAX_CELL;
use crate::store::cell::{self, Cell};
use crate::store::handle::{StoreHandle, StoreType};
use crate::store::row::{Identity, RowCell};
use crate::store::stage::Staged;
use crate::value::Value;

/// Rows of a type of yours, ordered by the bytes of their keys.
///
/// The fields of a row merge one by one: two people who change different fields of one row apart both keep their change. Of
/// two who change the same field, the later `(time, id)` shows, and the other is a conflict. Fields that `T` does not
/// know are kept; fields that a row lacks are for serde's defaults.
///
/// Any peer that may write can put a row there that is no `T`. Reading it answers [`ErrorKind::WrongType`], and the error
/// names its key as `row`; so do [`scan`](Table::scan), [`select`](Table::select), [`search`](Table::search) and
/// [`find`](Table::find), rather than leave out rows that somebody relies on. [`scan_each`](Table::scan_each) returns such
/// rows beside the others, each as its error, so that an application can pass over them. `Table<Doc>` reads rows of any
/// shape: open the same store as such to look at them, to mend or to delete them.
///
/// # Errors and cancellation
///
/// What a method says of its errors is what is special about it. Besides, every `async` method answers
/// [`ErrorKind::Closed`] once the store is closed, [`ErrorKind::Corrupted`] for records that cannot be read, and the errors
/// of the backend. A method that changes something stages it in the transaction: it answers [`ErrorKind::ReadOnly`] outside
/// one and [`ErrorKind::Closed`] after its commit. When a future is dropped, a change is staged whole or not at all, and a
/// read has changed nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::store::Table;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Book {
///     title: String,
///     lent: bool,
/// }
///
/// let transaction = database.new_transaction().await?;
/// let books = transaction.get_store::<Table<Book>>("books").await?;
/// let key = books.insert(&Book { title: "Emma".into(), lent: false }).await?;
/// books.update(&key, |book| book.lent = true).await?;
/// transaction.commit().await?;
///
/// let books = database.get_store_viewer::<Table<Book>>("books").await?;
/// assert_eq!(books.search(|book| book.lent).await?[0].1.title, "Emma");
/// # engine.close().await
/// # }
/// ```
pub struct Table<T> {
    pub(super) handle: StoreHandle,
    rows: PhantomData<fn() -> T>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Table { handle: self.handle.clone(), rows: PhantomData }
    }
}

impl<T: Send + Sync> StoreType for Table<T> {
    const KIND: &'static str = super::KIND;

    fn open(handle: StoreHandle) -> Self {
        Table { handle, rows: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync> Table<T> {
    /// Inserts a row under a new key: a ULID, which sorts after all that were made before while this store was open, also in
    /// the same millisecond or when the clock was set back. Those that were made elsewhere, or before the store was opened, it
    /// sorts among by the clock.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for a row that cannot be stored, [`ErrorKind::ReadOnly`] outside a transaction.
    pub async fn insert(&self, row: &T) -> Result<String> {
        let key = self.handle.core().storage.new_key()?;
        self.stage(&key, RowAction::Insert(to_fields(row)?))?;
        Ok(key)
    }

    /// The row with this key. Errors: [`ErrorKind::NotFound`]; [`ErrorKind::WrongType`] if it is no `T`.
    pub async fn get(&self, key: &str) -> Result<T> {
        let shown = self.shown(key).await?.ok_or_else(|| no_row(key))?;
        from_fields(key, shown.fields.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// True if there is a row with this key.
    pub async fn contains_key(&self, key: &str) -> Result<bool> {
        Ok(self.shown(key).await?.is_some())
    }

    /// Puts a row under a key. Where there is one, only the fields that differ are written, and only they can come into
    /// conflict; fields that `T` does not have stay. A field in conflict differs from one of its values in any case, so that it is written,
    /// and is in conflict no longer. Other rows under the same key stay: [`resolve`](Table::resolve) ends them, too.
    ///
    /// Errors: as for [`insert`](Table::insert), and [`ErrorKind::InvalidInput`] for a key that is too long.
    pub async fn set(&self, key: &str, row: &T) -> Result<()> {
        self.set_all([(key, row)]).await.map(drop)
    }

    /// Puts many rows, as [`set`](Table::set) does each, and returns how many of them changed something. Much faster than
    /// one by one: what is there is looked up together.
    ///
    /// Errors: as for [`set`](Table::set); nothing of it is staged then.
    pub async fn set_all<'a>(&self, rows: impl IntoIterator<Item = (&'a str, &'a T)> + Send) -> Result<usize>
    where
        T: 'a,
    {
        let mut wanted = Vec::new();
        for (key, row) in rows {
            wanted.push((check(key)?, key.to_owned(), to_fields(row)?));
        }
        let cells: Vec<Cell> = wanted.iter().map(|(cell, ..)| cell.clone()).collect();
        let records = self.handle.record_of_each(&cells).await?;
        let bases = records.iter().map(|record| parse(record.as_ref())).collect::<Result<Vec<_>>>()?;
        cells.iter().for_each(|cell| self.handle.touch(|| touched(cell)));
        self.handle.stage(|staged| {
            let Staged::Table(rows) = staged else { return 0 };
            let mut changed = 0;
            for ((_, key, fields), base) in wanted.into_iter().zip(&bases) {
                let before = rows.get(&key);
                if let Some(action) =
                    put(staged_row(base.shown(), before), fields, |name| is_disputed(base, before, name))
                {
                    stage(rows, key, action);
                    changed += 1;
                }
            }
            changed
        })
    }

    /// Changes the row with this key: writes the fields that are different then, and decides nothing about others. Errors:
    /// [`ErrorKind::NotFound`], and as for [`set`](Table::set).
    pub async fn update(&self, key: &str, change: impl FnOnce(&mut T) + Send) -> Result<()> {
        let mut row = self.get(key).await?;
        let before = to_fields(&row)?;
        change(&mut row);
        let (mut fields, cell) = (to_fields(&row)?, check(key)?);
        fields.retain(|name, value| before.get(name) != Some(value));
        let base = parse(self.handle.record(&cell).await?.as_ref())?;
        self.handle.stage(|staged| {
            if let Staged::Table(rows) = staged
                && let Some(action) = put(staged_row(base.shown(), rows.get(key)), fields, |_| false)
            {
                stage(rows, key.to_owned(), action);
            }
        })
    }

    /// Decides what a row is, whatever [`conflicts`](Table::conflicts) there are: it has these fields from then on, and those that `T` does not
    /// have as they show. Everything that was hidden by it is overtaken, other rows under the same key too.
    ///
    /// Where two devices have each made a row under the same key, both are there, and the one that shows hides the other one as a whole. That is
    /// what this ends, as [`set`](Table::set) does not.
    ///
    /// ```
    /// # use eidetica_core::store::Table;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Item { amount: u32, bought: bool }
    /// # async fn example(items: Table<Item>) -> eidetica_contract::Result<()> {
    /// if !items.conflicts("eggs").await?.is_empty() {
    ///     let mut shown = items.get("eggs").await?;
    ///     shown.amount = 12;
    ///     items.resolve("eggs", &shown).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Errors: as for [`set`](Table::set).
    pub async fn resolve(&self, key: &str, row: &T) -> Result<()> {
        let (cell, fields) = (check(key)?, to_fields(row)?);
        self.handle.touch(|| touched(&cell));
        let base = parse(self.handle.record(&cell).await?.as_ref())?;
        self.handle.stage(|staged| {
            let Staged::Table(rows) = staged else { return };
            let before = rows.get(key);
            let several =
                base.identities.len() > 1 && !matches!(before, Some(RowAction::Insert(_) | RowAction::Delete));
            let shown = staged_row(base.shown(), before);
            let action = match shown {
                Some(mut shown) if several => {
                    shown.fields.extend(fields);
                    Some(RowAction::Insert(shown.fields))
                }
                shown => put(shown, fields, |name| is_disputed(&base, before, name)),
            };
            if let Some(action) = action {
                stage(rows, key.to_owned(), action);
            }
        })
    }

    /// Deletes the row with this key. False if there was none, and nothing is written.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        let there = self.shown(key).await?.is_some();
        let has_base = self.handle.record(&check(key)?).await?.is_some();
        self.handle.stage(|staged| {
            let Staged::Table(rows) = staged else { return };
            match (there, has_base) {
                (true, true) => drop(rows.insert(key.to_owned(), RowAction::Delete)),
                (true, false) => drop(rows.remove(key)),
                (false, _) => {}
            }
        })?;
        Ok(there)
    }

    /// Rows in the order of their keys.
    ///
    /// Holds what it returns in memory: page through a large table with [`RowRange::from`] and [`RowRange::limit`] or
    /// [`RowRange::bytes`]. Beside that it holds a page of the store: as many rows as are wanted still, and 1,024 or 64 KiB at
    /// most, but for the row that comes last.
    ///
    /// Errors: [`ErrorKind::WrongType`] if a row of the range is no `T`; `row` names its key.
    pub async fn scan(&self, range: RowRange) -> Result<Vec<(String, T)>> {
        self.select(range, |_, _| true).await
    }

    /// Rows in the order of their keys, each by itself: one that is no `T` is there with its [`ErrorKind::WrongType`], and
    /// does not keep the others from being read.
    ///
    /// ```
    /// # use eidetica_core::store::{Table, table::RowRange};
    /// # async fn example(table: Table<std::collections::BTreeMap<String, i64>>) -> eidetica_contract::Result<()> {
    /// for (key, row) in table.scan_each(RowRange::all()).await? {
    ///     match row {
    ///         Ok(row) => println!("{key}: {row:?}"),
    ///         Err(error) => eprintln!("{key} is passed over: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn scan_each(&self, range: RowRange) -> Result<Vec<(String, Result<T>)>> {
        self.each(range, |_, _| true).await
    }

    /// The rows that a condition holds for, in the order of their keys. Reads the rows of the range one by one; for a
    /// single field, [`find`](Table::find) with an index is faster. The limit of the range counts what is returned.
    ///
    /// Errors: as for [`scan`](Table::scan), whether or not the condition would hold; with a limit, only if it comes by that
    /// row.
    pub async fn select(
        &self,
        range: RowRange,
        condition: impl Fn(&str, &T) -> bool + Send + Sync,
    ) -> Result<Vec<(String, T)>> {
        let rows = self.each(range, |key, row| row.as_ref().map_or(true, |row| condition(key, row))).await?;
        rows.into_iter().map(|(key, row)| Ok((key, row?))).collect()
    }

    async fn each(
        &self,
        range: RowRange,
        condition: impl Fn(&str, &Result<T>) -> bool + Send + Sync,
    ) -> Result<Vec<(String, Result<T>)>> {
        let (mut found, mut bytes) = (Vec::new(), 0usize);
        let mut rows = self.rows(&range).await?;
        while found.len() < range.limit
            && bytes < range.bytes
            && let Some((key, fields)) = rows.next().await?
        {
            let row = from_fields(&key, fields.iter().map(|(name, value)| (name.as_str(), value)));
            if condition(&key, &row) {
                bytes += key.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
                found.push((key, row));
            }
        }
        Ok(found)
    }

    /// All rows that a condition holds for. Errors: as for [`scan`](Table::scan).
    pub async fn search(&self, condition: impl Fn(&T) -> bool + Send + Sync) -> Result<Vec<(String, T)>> {
        self.select(RowRange::all(), |_, row| condition(row)).await
    }

    /// The rows whose field shows this value, in the order of their keys. Uses the index of the field if there is one and
    /// nothing is staged, else reads the table.
    ///
    /// Errors: as for [`scan`](Table::scan), for rows that are found. A row whose field holds another value is not looked at.
    pub async fn find(&self, field: &str, value: impl Into<Value>) -> Result<Vec<(String, T)>> {
        let value = value.into();
        let wanted = Bytes::from(value.to_bytes());
        let mut found = Vec::new();
        match self.find_in_index(field, &value).await? {
            Some(rows) => {
                for (key, fields) in rows.into_iter().filter(|(_, fields)| fields.get(field) == Some(&wanted)) {
                    let row = from_fields(&key, fields.iter().map(|(name, value)| (name.as_str(), value)))?;
                    found.push((key, row));
                }
            }
            None => {
                let mut rows = self.rows(&RowRange::all()).await?;
                while let Some((key, fields)) = rows.next().await? {
                    if fields.get(field) == Some(&wanted) {
                        let row = from_fields(&key, fields.iter().map(|(name, value)| (name.as_str(), value)))?;
                        found.push((key, row));
                    }
                }
            }
        }
        Ok(found)
    }

    /// How many rows there are. Reads them.
    pub async fn count(&self) -> Result<usize> {
        let mut rows = self.rows(&RowRange::all()).await?;
        let mut count = 0;
        while rows.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    fn stage(&self, key: &str, action: RowAction) -> Result<()> {
        let cell = check(key)?;
        self.handle.touch(|| touched(&cell));
        self.handle.stage(|staged| {
            if let Staged::Table(rows) = staged {
                stage(rows, key.to_owned(), action);
            }
        })
    }

    /// The row as it shows in this transaction or view.
    async fn shown(&self, key: &str) -> Result<Option<Shown>> {
        let cell = check(key)?;
        self.handle.touch(|| touched(&cell));
        let staged = self.handle.staged(|staged| match staged {
            Staged::Table(rows) => rows.get(key).cloned(),
            _ => None,
        });
        let staged = staged.flatten();
        if matches!(staged, Some(RowAction::Insert(_) | RowAction::Delete)) {
            return Ok(staged_row(None, staged.as_ref()));
        }
        let row = parse(self.handle.record(&cell).await?.as_ref())?;
        Ok(staged_row(row.shown(), staged.as_ref()))
    }

    async fn rows(&self, range: &RowRange) -> Result<Rows<'_>> {
        self.handle.touch(|| Touched::Range(range.start.clone(), range.end.clone()));
        let within = |cell: &Cell| *cell >= range.start && range.end.as_ref().is_none_or(|end| cell < end);
        let staged = self.handle.staged(|staged| match staged {
            Staged::Table(rows) => {
                rows.iter().map(|(k, action)| (cell::single(k.as_bytes()), action.clone())).collect()
            }
            _ => Vec::new(),
        });
        let staged = staged.unwrap_or_default().into_iter().filter(|(cell, _)| within(cell)).collect();
        Ok(Rows::new(&self.handle, staged, range))
    }

    async fn find_in_index(&self, field: &str, value: &Value) -> Result<Option<Vec<(String, Fields)>>> {
        self.handle.touch(|| Touched::Range(Bytes::new(), None));
        if self.handle.staged(|staged| !staged.is_empty()) == Some(true) {
            return Ok(None);
        }
        let Some(opened) = self.handle.open_for(true).await? else { return Ok(Some(Vec::new())) };
        let definition = opened.indexes().iter().find(|index| index.field == field && index.is_whole());
        let (Some(definition), Some(ordered), true) = (definition, index::ordered(value), opened.is_now()) else {
            return Ok(None);
        };
        let prefix = [&opened.store.index_prefix(definition.number)[..], &ordered].concat();
        let mut found = Vec::new();
        for (key, _) in crate::store::applier::scan_all(&*opened.rows, Scan::prefix(INDEX, &prefix)).await? {
            let cell = key.slice(prefix.len()..);
            let row = parse(opened.record(&cell).await?.as_ref())?;
            let shown = row.shown().ok_or_else(|| damaged("an index names a row that is not there"))?;
            found.push((key_of(&cell)?, shown_fields(shown)));
        }
        Ok(Some(found))
    }
}

/// A row as it shows.
pub(super) struct Shown {
    /// The entry that made it; `None` if this transaction does.
    identity: Option<Id>,
    pub fields: Fields,
}

pub(super) fn staged_row(base: Option<&Identity>, staged: Option<&RowAction>) -> Option<Shown> {
    match staged {
        Some(RowAction::Delete) => None,
        Some(RowAction::Insert(fields)) => Some(Shown { identity: None, fields: fields.clone() }),
        Some(RowAction::Write { fields: written, .. }) => {
            let base = base?;
            let mut fields = shown_fields(base);
            fields.extend(written.clone());
            Some(Shown { identity: Some(base.stamp.id), fields })
        }
        None => base.map(|base| Shown { identity: Some(base.stamp.id), fields: shown_fields(base) }),
    }
}

/// Whether a field has other values than the one that shows, and nothing that is staged decides it.
fn is_disputed(base: &RowCell, staged: Option<&RowAction>, name: &str) -> bool {
    let is_decided = match staged {
        Some(RowAction::Insert(_) | RowAction::Delete) => true,
        Some(RowAction::Write { fields, .. }) => fields.contains_key(name),
        None => false,
    };
    !is_decided && base.shown().and_then(|shown| shown.fields.get(name)).is_some_and(|writes| writes.len() > 1)
}

/// What has to be done so that a row has these fields, where those that are disputed are to be written in any case; `None` if it has them.
fn put(shown: Option<Shown>, fields: Fields, is_disputed: impl Fn(&str) -> bool) -> Option<RowAction> {
    let Some(shown) = shown else { return Some(RowAction::Insert(fields)) };
    let differs = |(name, value): &(String, Bytes)| shown.fields.get(name) != Some(value) || is_disputed(name);
    let differing: Fields = fields.into_iter().filter(differs).collect();
    match (differing.is_empty(), shown.identity) {
        (true, _) => None,
        (false, Some(identity)) => Some(RowAction::Write { identity, fields: differing }),
        (false, None) => Some(RowAction::Insert(shown.fields.into_iter().chain(differing).collect())),
    }
}

/// Adds an action to those of a transaction.
fn stage(rows: &mut BTreeMap<String, RowAction>, key: String, action: RowAction) {
    let merged = match (rows.remove(&key), action) {
        (Some(RowAction::Write { identity, mut fields }), RowAction::Write { fields: more, .. }) => {
            fields.extend(more);
            RowAction::Write { identity, fields }
        }
        (_, action) => action,
    };
    rows.insert(key, merged);
}

pub(super) fn check(key: &str) -> Result<Cell> {
    let cell = cell::single(key.as_bytes());
    if cell.len() > MAX_CELL {
        let error = invalid("the key of the row is too long; it has at most 764 bytes, fewer if it holds NUL bytes");
        return Err(error.with("bytes", key.len()));
    }
    Ok(cell)
}

fn touched(cell: &Cell) -> Touched {
    Touched::Range(cell.clone(), Some([cell, &b"\0"[..]].concat().into()))
}

fn no_row(key: &str) -> Error {
    Error::new(ErrorKind::NotFound, "the table has no row with this key").with("key", key)
}
