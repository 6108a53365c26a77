//! What a transaction is about to do to a store.

use std::collections::BTreeMap;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};

use super::algebra::Delta;
use super::cells::CellsDelta;
use super::doc::{Action, DocDelta, DocOperations, Path};
use super::table::{RowAction, TableDelta, TableOperations};
use crate::auth::{self, Setting, SettingsDelta, Subject};
use crate::store::cell::Cell;
use crate::store::{doc, table};

/// The delta in the making, in the normal form of its kind: one action for each path, row or key.
#[derive(Clone, Debug)]
pub(crate) enum Staged {
    Doc(DocStage),
    Settings { rights: BTreeMap<Subject, Setting>, values: DocStage },
    Table(BTreeMap<String, RowAction>),
    Cells(BTreeMap<Bytes, Option<Bytes>>),
}

/// Actions on a document, by the order of their paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct DocStage {
    pub actions: BTreeMap<Cell, (Path, Action)>,
    /// The index that the next list element gets.
    pub next_element: u32,
    /// The greatest position that an element of each list was given here.
    pub ends: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Staged {
    pub fn new(kind: &str) -> Staged {
        match kind {
            doc::KIND => Staged::Doc(DocStage::default()),
            table::KIND => Staged::Table(BTreeMap::new()),
            auth::KIND => Staged::Settings { rights: BTreeMap::new(), values: DocStage::default() },
            _ => Staged::Cells(BTreeMap::new()),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Staged::Doc(doc) => doc.actions.is_empty(),
            Staged::Settings { rights, values } => rights.is_empty() && values.actions.is_empty(),
            Staged::Table(rows) => rows.is_empty(),
            Staged::Cells(cells) => cells.is_empty(),
        }
    }

    /// True if it takes a right away: such an entry keeps the parents of its transaction.
    pub fn limits_rights(&self) -> bool {
        matches!(self, Staged::Settings { rights, .. } if rights.values().any(|s| matches!(s, Setting::Limit(_))))
    }

    /// The delta and its bytes. What peers could not read is an error here and not a loss there.
    pub fn into_delta(self) -> Result<(Delta, Bytes)> {
        let unreadable = || Error::new(ErrorKind::Internal, "the transaction makes a delta that could not be read");
        Ok(match self {
            Staged::Doc(doc) => {
                let bytes = doc.into_delta().to_bytes();
                (Delta::Doc(DocOperations::prove(&bytes).ok_or_else(unreadable)?), bytes)
            }
            Staged::Settings { rights, values } => {
                let delta = SettingsDelta { rights: rights.into_iter().collect(), values: values.into_delta() };
                let values = DocOperations::prove(&delta.values.to_bytes()).ok_or_else(unreadable)?;
                // Signing checks the rights.
                (Delta::Doc(values), delta.to_bytes())
            }
            Staged::Table(rows) => {
                let bytes = TableDelta(rows.into_iter().collect()).to_bytes();
                (Delta::Table(TableOperations::prove(&bytes).ok_or_else(unreadable)?), bytes)
            }
            Staged::Cells(cells) => {
                let delta = CellsDelta(cells.into_iter().collect());
                let bytes = delta.to_bytes();
                (Delta::Cells(delta), bytes)
            }
        })
    }

    /// The document in it. Document stores and settings have one.
    pub fn doc(&mut self) -> Option<&mut DocStage> {
        match self {
            Staged::Doc(doc) | Staged::Settings { values: doc, .. } => Some(doc),
            _ => None,
        }
    }

    pub fn doc_ref(&self) -> Option<&DocStage> {
        match self {
            Staged::Doc(doc) | Staged::Settings { values: doc, .. } => Some(doc),
            _ => None,
        }
    }
}

impl DocStage {
    pub fn into_delta(self) -> DocDelta {
        DocDelta(self.actions.into_values().collect())
    }
}
