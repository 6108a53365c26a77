//! The ways in which stores merge, and the deltas they are made of.

use bytes::Bytes;
use eidetica_contract::Result;

use super::applier::Applier;
use super::cell::Cell;
use super::cells::{self, CellsDelta};
use super::doc::{self, DocOperations};
use super::events::Moment;
use super::table::{self, TableOperations};
use crate::auth::{self, Settings};
use crate::entry::VerifiedEntry;

/// How a store merges. Kinds of outsiders are all made of cells; what a cell means is their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algebra {
    Doc,
    /// Rights are kept apart; the values merge as a document.
    Settings,
    Table,
    Cells,
}

/// The delta of one store in one entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Delta {
    Doc(DocOperations),
    Table(TableOperations),
    Cells(CellsDelta),
}

impl Algebra {
    /// How a kind that belongs to this crate merges; `None` for a kind of somebody else.
    pub fn built_in(kind: &str) -> Option<Algebra> {
        match kind {
            doc::KIND => Some(Algebra::Doc),
            table::KIND => Some(Algebra::Table),
            auth::KIND => Some(Algebra::Settings),
            _ => None,
        }
    }

    /// The record of a cell as it was at given heads; `None` if nothing lived there.
    pub async fn replay(self, moment: &Moment<'_>, cell: &Cell) -> Result<Option<Bytes>> {
        Ok(match self {
            Algebra::Doc | Algebra::Settings => {
                let record = doc::replay(moment, cell).await?;
                (!record.is_empty()).then(|| record.to_bytes())
            }
            Algebra::Table => {
                let row = table::replay(moment, cell).await?;
                (!row.identities.is_empty()).then(|| row.to_bytes())
            }
            Algebra::Cells => {
                let values = cells::replay(moment, cell).await?;
                (!values.live.is_empty()).then(|| values.to_bytes())
            }
        })
    }

    /// The delta of a store in an entry; `None` if it is not here or cannot be read.
    pub fn delta_of(self, entry: &VerifiedEntry, name: &str, kind: &str) -> Option<Delta> {
        let (_, body) = entry.deltas().find(|(store, _)| store.name == name && store.kind == kind)?;
        let body = body.as_ref()?;
        match self {
            Algebra::Doc => DocOperations::prove(body).map(Delta::Doc),
            Algebra::Settings => Settings::parse(body).ok().map(|settings| Delta::Doc(settings.values)),
            Algebra::Table => TableOperations::prove(body).map(Delta::Table),
            Algebra::Cells => CellsDelta::parse(body).map(Delta::Cells),
        }
    }
}

impl Delta {
    /// How many steps the longest path has, where there are paths.
    pub fn deepest(&self) -> usize {
        match self {
            Delta::Doc(delta) => delta.deepest(),
            Delta::Table(_) | Delta::Cells(_) => 0,
        }
    }

    /// Applies the delta to the rows of its store.
    pub async fn apply(&self, applier: &mut Applier<'_>, indexes: &mut table::IndexWriter<'_>) -> Result<()> {
        match self {
            Delta::Doc(delta) => doc::apply(applier, delta).await,
            Delta::Table(delta) => table::apply(applier, delta, indexes).await,
            Delta::Cells(delta) => cells::apply(applier, delta).await,
        }
    }
}
