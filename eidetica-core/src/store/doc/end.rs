//! Where lists end, so that appending to one need not read it.
//!
//! Of each list that position is kept which is the greatest of all that its elements ever had. It follows from the entries alone
//! and is never lowered, so what stands behind it stands behind everything in the list, now and in any view of the past.

use std::ops::Bound;

use bytes::Bytes;
use eidetica_contract::{Result, Snapshot};

use super::delta::{Action, Plain};
use super::path::Path;
use super::record::ValueCell;
use crate::error::damaged;
use crate::layout::ENDS;
use crate::store::applier::Applier;
use crate::store::cell::{Cell, ELEMENT, FIRST_BELOW};
use crate::store::handle::{ListCells, StoreHandle};
use crate::store::stage::DocStage;
use crate::store::stamp::Stamp;
use crate::value::Value;

/// A list, as far as appending to it takes.
pub(super) struct End {
    /// False if there is nothing yet, so that a list is to be begun.
    pub there: bool,
    /// No element is behind this; `None`: there has never been one.
    pub position: Option<Vec<u8>>,
}

/// The list at a path in a transaction, at a cost that does not depend on its length. `None` if that does not tell: where
/// something other than a list shows, where more is staged than elements, or in a store of an earlier layout.
pub(super) async fn of_list(handle: &StoreHandle, path: &Path) -> Result<Option<End>> {
    let prefix = path.prefix(Stamp::PENDING.id);
    let goes =
        |cell: &Cell| handle.staged(|staged| staged.doc_ref().is_some_and(|doc| doc.deletes(cell))) == Some(true);
    let Some(cells) = handle.list_cells(&prefix, goes).await? else { return Ok(None) };
    let values = cells.values.as_deref().map(ValueCell::parse).transpose().map_err(|_| damaged("a live record"))?;
    let shown = values.and_then(ValueCell::into_shown);
    let end = handle.staged(|staged| staged.doc_ref().and_then(|doc| doc.end_of(path, &cells, shown)));
    Ok(end.flatten())
}

impl DocStage {
    /// `shown` is what the values at the path come to.
    fn end_of(&self, path: &Path, cells: &ListCells, shown: Option<Value>) -> Option<End> {
        let prefix = path.order_prefix();
        let (first_below, elements) = ([&prefix[..], &FIRST_BELOW].concat(), key_of(&prefix));
        let staged_from = |start: &[u8]| {
            let from = (Bound::Included(start), Bound::Unbounded);
            self.actions.range::<[u8], _>(from).take_while(|(order, _)| order.starts_with(&prefix))
        };
        let is_element = |order: &Cell| order.starts_with(&elements);
        if (1..path.0.len()).any(|length| self.at(&path.above(length)).is_some())
            || staged_from(&first_below).next().is_some_and(|(order, _)| !is_element(order))
        {
            return None;
        }
        let there = match self.at(path) {
            Some(Action::Set(Plain::List)) => true,
            Some(_) => return None,
            None if cells.below => return None,
            None if cells.has_elements => true,
            None if staged_from(&elements).any(|(_, (_, action))| matches!(action, Action::Insert { .. })) => true,
            None => match shown {
                None => false,
                Some(Value::List(_)) => true,
                Some(_) => return None,
            },
        };
        let known = cells.end.as_deref().max(self.ends.get(&elements).map(Vec::as_slice));
        Some(End { there, position: known.map(<[u8]>::to_vec) })
    }

    fn deletes(&self, element: &Cell) -> bool {
        matches!(self.actions.get(element), Some((_, Action::Delete)))
    }

    /// Notes that an element of a list gets a position.
    pub(super) fn note_end(&mut self, list: &Path, position: &[u8]) {
        let end = self.ends.entry(key_of(&list.order_prefix())).or_default();
        if position > &end[..] {
            *end = position.to_vec();
        }
    }
}

/// What the keys of the elements of a list begin with; under this, the end of it is kept.
pub(crate) fn key_of(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[ELEMENT]].concat()
}

/// The list whose end an action may raise, and the position.
pub(crate) fn raised<'a, V>(path: &Path, action: &'a Action<V>) -> Option<(Vec<u8>, &'a [u8])> {
    path.element()?;
    let (Action::Insert { position, .. } | Action::Write { position: Some(position), .. }) = action else {
        return None;
    };
    Some((key_of(&path.prefix_above(path.0.len() - 1, Stamp::PENDING.id)), position))
}

/// Raises the ends of lists while a delta is applied. Its actions are ordered by path, so those on one list come together.
#[derive(Default)]
pub(super) struct Ends {
    list: Vec<u8>,
    end: Vec<u8>,
}

impl Ends {
    pub async fn note<V>(&mut self, applier: &mut Applier<'_>, path: &Path, action: &Action<V>) -> Result<()> {
        let Some((list, position)) = raised(path, action) else { return Ok(()) };
        if list != self.list {
            self.write(applier).await?;
            (self.list, self.end) = (list, Vec::new());
        }
        if position > &self.end[..] {
            self.end = position.to_vec();
        }
        Ok(())
    }

    /// Writes down the end of the list that came last.
    pub async fn write(&mut self, applier: &mut Applier<'_>) -> Result<()> {
        if self.list.is_empty() || !applier.info.keeps_ends {
            return Ok(());
        }
        let key = applier.store.key(&self.list);
        let known = applier.rows.get(ENDS, &key).await?;
        if known.is_none_or(|known| known[..] < self.end[..]) {
            applier.rows.put(ENDS, key, Bytes::copy_from_slice(&self.end));
        }
        Ok(())
    }
}
