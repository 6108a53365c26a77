//! A database against the oracle.

use eidetica_contract::{ErrorKind, PublicKey};
use eidetica_core::auth::{self, Right, Subject};
use eidetica_core::crdt::{Doc, Value};
use eidetica_core::store::doc::{Path, Step};
use eidetica_core::store::table::RowRange;
use eidetica_core::store::{Cells, DocStore, SettingsStore, StoreHandle, StoreType, Table};
use eidetica_core::{Id, View};
use proptest::prelude::*;

use super::deliver::{Peer, fail};
use super::document::Document;
use super::history::{CELL_KIND, CELL_STORE, DOCS, TABLE};
use super::model::{Model, Set, Shown};
use super::plan::{self, FIELDS};
use super::rows;

/// What the oracle says of all stores of a history.
pub struct Stores {
    docs: Vec<(&'static str, Document)>,
    settings: Document,
    rows: rows::Rows,
    cells: rows::Cells,
}

/// The custom store of the histories.
pub struct OracleCells(pub Cells);

impl StoreType for OracleCells {
    const KIND: &'static str = CELL_KIND;

    fn open(handle: StoreHandle) -> Self {
        OracleCells(Cells::new(handle))
    }
}

impl Stores {
    pub fn new(model: &Model) -> Stores {
        Stores {
            docs: DOCS.iter().map(|name| (*name, Document::new(model, name, "doc"))).collect(),
            settings: Document::new(model, auth::STORE, auth::KIND),
            rows: rows::Rows::new(model, TABLE),
            cells: rows::Cells::new(model, CELL_STORE, CELL_KIND),
        }
    }

    /// True if the oracle sees a conflict among the values that these entries leave.
    pub fn has_conflict(&self, model: &Model, shown: &Shown) -> bool {
        let set = &shown.effective;
        let in_doc = |document: &Document| {
            let view = document.within(shown);
            document.paths().iter().any(|keys| !view.conflicts(keys).is_empty())
        };
        self.docs.iter().any(|(_, document)| in_doc(document))
            || self.rows.keys().iter().any(|key| !self.rows.conflicts(model, set, key).is_empty())
            || self.cells.keys().iter().any(|key| self.cells.get(set, key).len() > 1)
    }
}

/// Compares what a peer shows now: heads, rights, stores.
pub async fn now(peer: &Peer, model: &Model, stores: &Stores, keys: &[PublicKey]) -> Result<(), TestCaseError> {
    let held = model.held(&peer.given());
    let live = model.live(&held);
    tips(peer, model).await?;
    prop_assert_eq!(peer.database.entry_count().await.map_err(fail)?, live.len() as u64, "the number of entries");
    view(&peer.database.now(), model, stores, &live, &model.shown(held), keys).await
}

/// Compares the heads.
pub async fn tips(peer: &Peer, model: &Model) -> Result<(), TestCaseError> {
    let tips = peer.database.get_tips().await.map_err(fail)?;
    prop_assert_eq!(tips, model.tips(&model.live(&model.held(&peer.given()))), "the heads");
    Ok(())
}

/// Compares a view, of a database in which the entries `live` are, with the oracle on `shown`.
pub async fn view(
    view: &View,
    model: &Model,
    stores: &Stores,
    live: &Set,
    shown: &Shown,
    keys: &[PublicKey],
) -> Result<(), TestCaseError> {
    let (held, set) = (live, &shown.closed);
    for key in keys {
        prop_assert_eq!(view.right_of(*key).await.map_err(fail)?, model.right(*key, set), "the right of {}", key);
    }
    let rights = view.rights().await.map_err(fail)?;
    let own = |subject: &Subject| (*subject, model.own(*subject, set));
    prop_assert_eq!(&rights, &rights.iter().map(|(subject, _)| own(subject)).collect::<Vec<_>>(), "the own rights");
    let unlisted = |key: &&PublicKey| !rights.iter().any(|(subject, _)| *subject == Subject::Key(**key));
    for key in keys.iter().filter(unlisted) {
        prop_assert_eq!(model.own(Subject::Key(*key), set), Right::NONE, "{} is missing from the list of rights", key);
    }
    for (name, document) in &stores.docs {
        let Some(store) = open::<DocStore>(view, model, held, name).await? else { continue };
        compare_document(name, &store, document, shown).await?;
    }
    let settings: SettingsStore = view.get_store_viewer(auth::STORE).await.map_err(fail)?;
    prop_assert_eq!(settings.get_all().await.map_err(fail)?, stores.settings.within(shown).all(), "the settings");
    if let Some(table) = open::<Table<Doc>>(view, model, held, TABLE).await? {
        compare_rows(&table, model, &stores.rows, &shown.effective).await?;
    }
    if let Some(cells) = open::<OracleCells>(view, model, held, CELL_STORE).await? {
        for key in stores.cells.keys() {
            let values = cells.0.get(&key).await.map_err(fail)?;
            let values: Vec<_> = values.into_iter().filter_map(|live| Some((live.entry?, live.value))).collect();
            prop_assert_eq!(values, stores.cells.get(&shown.effective, &key), "cell {:?}", key);
        }
        let all = cells.0.scan_prefix(b"").await.map_err(fail)?.into_iter().map(|(key, _)| key);
        let there = stores.cells.keys().into_iter().filter(|key| !stores.cells.get(&shown.effective, key).is_empty());
        prop_assert_eq!(all.collect::<Vec<_>>(), there.collect::<Vec<_>>(), "the keys of the cells");
    }
    Ok(())
}

/// Opens a store that may not be there, where another kind may have its name.
async fn open<S: StoreType>(view: &View, model: &Model, held: &Set, name: &str) -> Result<Option<S>, TestCaseError> {
    let touches =
        |id: &Id| model.entry(id).header().stores.iter().any(|store| store.name == name && store.kind == S::KIND);
    match view.get_store_viewer::<S>(name).await {
        Ok(store) => Ok(Some(store)),
        Err(error) if error.kind() == ErrorKind::WrongType && !held.iter().any(touches) => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

async fn compare_document(name: &str, store: &DocStore, document: &Document, set: &Shown) -> Result<(), TestCaseError> {
    let oracle = document.within(set);
    prop_assert_eq!(store.get_all().await.map_err(fail)?, oracle.all(), "the document {}", name);
    for keys in document.paths() {
        let path = Path(keys.iter().cloned().map(Step::Key).collect());
        let conflicts = store.conflicts(&path).await.map_err(fail)?;
        let conflicts: Vec<(Id, Value)> = conflicts.into_iter().map(|c| (c.entry, c.value)).collect();
        prop_assert_eq!(conflicts, oracle.conflicts(&keys), "the conflicts at {:?} of {}", keys, name);
        // Point reads go another way than reading the whole.
        let shown = store.get_at(&path).await;
        prop_assert_eq!(found(shown)?, oracle.get(&keys), "the value at {:?} of {}", keys, name);
    }
    Ok(())
}

async fn compare_rows(table: &Table<Doc>, model: &Model, rows: &rows::Rows, set: &Set) -> Result<(), TestCaseError> {
    let all = rows.all(set);
    let shown = table.scan(RowRange::all()).await.map_err(fail)?;
    prop_assert_eq!(shown, all.clone().into_iter().collect::<Vec<_>>(), "the rows");
    for (value, _) in plan::fields() {
        let found = table.find(FIELDS[0], value.clone()).await.map_err(fail)?;
        let rows = all.iter().filter(|(_, row)| row.get(FIELDS[0]) == Some(&value));
        let rows: Vec<_> = rows.map(|(key, row)| (key.clone(), row.clone())).collect();
        prop_assert_eq!(found, rows, "the rows with {} = {:?}", FIELDS[0], value);
    }
    for key in rows.keys() {
        prop_assert_eq!(found(table.get(&key).await)?, all.get(&key).cloned(), "row {:?}", &key);
        let conflicts = table.conflicts(&key).await.map_err(fail)?;
        let mut conflicts: Vec<_> = conflicts.into_iter().map(|c| (c.field, c.entry, c.value)).collect();
        conflicts.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        prop_assert_eq!(conflicts, rows.conflicts(model, set, &key), "the conflicts of row {:?}", key);
    }
    Ok(())
}

/// What was found; nothing, if it is not there.
fn found<T>(answer: eidetica_contract::Result<T>) -> Result<Option<T>, TestCaseError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
    }
}
