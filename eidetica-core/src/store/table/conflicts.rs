//! What is in conflict in a table.

use bytes::Bytes;
use eidetica_contract::{PublicKey, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::parse;
use super::range::RowRange;
use super::rows::key_of;
use super::store::{Table, check};
use crate::clock::Time;
use crate::db::entries::entry_at;
use crate::error::damaged;
use crate::id::Id;
use crate::store::handle::{Cells, Opened, PAGE_CELLS};
use crate::store::row::RowCell;
use crate::store::stamp::Stamp;
use crate::value::Value;

/// A live value of a row that does not show.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowConflict {
    /// The entry that wrote it.
    pub entry: Id,
    /// Who wrote it: the key that has signed the entry.
    pub author: PublicKey,
    /// When: the time of the entry.
    pub time: Time,
    /// The field; `None`: it is another row under the same key, as a map. Two devices have made the row apart.
    pub field: Option<String>,
    /// What was written.
    pub value: Value,
}

impl<T: Serialize + DeserializeOwned + Send + Sync> Table<T> {
    /// The live values of a row that do not show, because stronger ones do. Empty where nobody wrote concurrently. What is staged
    /// does not count.
    pub async fn conflicts(&self, key: &str) -> Result<Vec<RowConflict>> {
        let cell = check(key)?;
        let Some(opened) = self.handle.open().await? else { return Ok(Vec::new()) };
        let row = parse(opened.record(&cell).await?.as_ref())?;
        self.hidden(&opened, &row).await
    }

    /// All rows of a range that have [`conflicts`](Table::conflicts), each with these, in the order of their keys. Reads the rows of
    /// the range, whatever their form; the limit of the range counts the rows that are returned, and its bytes those of their values.
    ///
    /// ```
    /// # use eidetica_core::store::{Table, table::RowRange};
    /// # async fn example(table: Table<std::collections::BTreeMap<String, i64>>) -> eidetica_contract::Result<()> {
    /// for (key, hidden) in table.all_conflicts(RowRange::all()).await? {
    ///     for one in hidden {
    ///         println!("{key}: {} wrote {:?} at {:?}", one.author, one.value, one.field);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn all_conflicts(&self, range: RowRange) -> Result<Vec<(String, Vec<RowConflict>)>> {
        let Some(opened) = self.handle.open().await? else { return Ok(Vec::new()) };
        let (mut found, mut bytes) = (Vec::new(), 0usize);
        let mut left = Some(Cells { start: range.start.clone(), end: range.end.clone() });
        while let Some(cells) = left.take() {
            let page;
            (page, left) = opened.records(cells, range.direction, PAGE_CELLS).await?;
            for (cell, record) in page {
                if found.len() >= range.limit || bytes >= range.bytes {
                    return Ok(found);
                }
                let conflicts = self.hidden(&opened, &parse(Some(&record))?).await?;
                if !conflicts.is_empty() {
                    let key = key_of(&cell)?;
                    bytes += key.len() + conflicts.iter().map(|one| one.value.to_bytes().len()).sum::<usize>();
                    found.push((key, conflicts));
                }
            }
        }
        Ok(found)
    }

    /// What is in the record of a row beside what shows.
    async fn hidden(&self, opened: &Opened<'_>, row: &RowCell) -> Result<Vec<RowConflict>> {
        let value = |bytes: &Bytes| Value::from_bytes(bytes).map_err(|_| damaged("a value in a row"));
        let Some((shown, others)) = row.identities.split_last() else { return Ok(Vec::new()) };
        let mut hidden: Vec<(Stamp, Option<String>, Value)> = Vec::new();
        for other in others.iter().rev() {
            let fields = other.shown().map(|(name, bytes)| Ok((name, value(bytes)?))).collect::<Result<Vec<_>>>()?;
            hidden.push((other.stamp, None, Value::Map(fields.into_iter().collect())));
        }
        for (name, writes) in &shown.fields {
            for write in writes.iter().rev().skip(1) {
                hidden.push((write.stamp, Some(name.clone()), value(&write.value)?));
            }
        }
        let mut conflicts = Vec::with_capacity(hidden.len());
        for (Stamp { number, time, id }, field, value) in hidden {
            let author = entry_at(&*opened.rows, self.handle.core().number, number).await?.entry.header().author;
            conflicts.push(RowConflict { entry: id, author, time, field, value });
        }
        Ok(conflicts)
    }
}
