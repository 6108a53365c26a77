//! Whether a history holds what makes merging hard. Properties that never met it would prove nothing.

use eidetica_core::Id;
use eidetica_core::store::cells::CellsDelta;
use eidetica_core::store::doc::{Action, DocDelta, Path, Step};
use eidetica_core::store::table::{RowAction, TableDelta};

use super::model::Model;

/// What happens at one place of one store.
struct Act {
    entry: Id,
    store: (String, String),
    place: Path,
    sort: Sort,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Takes away what is at and below the place.
    Delete,
    /// Puts something else there.
    Replace,
    /// Creates a counter there.
    Create,
    /// Starts a counter by counting.
    First,
    /// Adds to something there.
    Add,
}

impl Act {
    fn writes(&self) -> bool {
        self.sort != Sort::Delete
    }

    fn clears(&self, other: &Act) -> bool {
        let sorts = matches!(self.sort, Sort::Delete | Sort::Replace | Sort::Create);
        sorts && self.store == other.store && other.place.0.starts_with(&self.place.0)
    }
}

/// True if an entry deletes what a concurrent one writes.
pub fn delete_against_write(model: &Model) -> bool {
    let acts = acts(model);
    let deletes = acts.iter().filter(|act| act.sort == Sort::Delete);
    deletes.into_iter().any(|delete| {
        acts.iter().any(|write| write.writes() && delete.clears(write) && model.concurrent(&delete.entry, &write.entry))
    })
}

/// True if an entry ends a counter that lived in what it saw.
pub fn counter_reset(model: &Model) -> bool {
    let acts = acts(model);
    let lived = |epoch: &Act, end: &Act| {
        let before = |other: &&Act| {
            other.clears(epoch) && model.saw(&other.entry, &epoch.entry) && model.saw(&end.entry, &other.entry)
        };
        model.saw(&end.entry, &epoch.entry) && !acts.iter().any(|other| before(&other))
    };
    let epochs = acts.iter().filter(|act| matches!(act.sort, Sort::Create | Sort::First));
    epochs.into_iter().any(|epoch| acts.iter().any(|end| end.clears(epoch) && lived(epoch, end)))
}

/// True if two entries that do not know of each other are the first to touch one store.
pub fn concurrent_creation(model: &Model) -> bool {
    let touched = |id: &Id| -> Vec<(String, String)> {
        model.entry(id).header().stores.iter().map(|store| (store.name.clone(), store.kind.clone())).collect()
    };
    let creations: Vec<(Id, (String, String))> = model
        .admitted()
        .flat_map(|entry| touched(&entry.id()).into_iter().map(|store| (entry.id(), store)))
        .filter(|(id, store)| !model.below(id).iter().any(|lower| touched(lower).contains(store)))
        .collect();
    let apart = |a: &(Id, (String, String)), b: &(Id, (String, String))| a.1 == b.1 && model.concurrent(&a.0, &b.0);
    creations.iter().any(|a| creations.iter().any(|b| apart(a, b)))
}

fn acts(model: &Model) -> Vec<Act> {
    let mut acts = Vec::new();
    for entry in model.admitted() {
        for (store, body) in entry.deltas() {
            let Some(body) = body else { continue };
            let done: Vec<(Path, Sort)> = match store.kind.as_str() {
                "doc" => DocDelta::parse(body).unwrap_or_default().0.into_iter().map(doc_act).collect(),
                "table" => TableDelta::parse(body).unwrap_or_default().0.into_iter().map(row_act).collect(),
                _ => CellsDelta::parse(body)
                    .unwrap_or_default()
                    .0
                    .into_iter()
                    .map(|(key, value)| {
                        let sort = if value.is_some() { Sort::Replace } else { Sort::Delete };
                        (Path::key(&format!("{key:?}")), sort)
                    })
                    .collect(),
            };
            let store = (store.name.clone(), store.kind.clone());
            acts.extend(done.into_iter().map(|(place, sort)| Act {
                entry: entry.id(),
                store: store.clone(),
                place,
                sort,
            }));
        }
    }
    acts
}

fn doc_act((path, action): (Path, Action)) -> (Path, Sort) {
    let keys = path.0.iter().take_while(|step| matches!(step, Step::Key(_))).cloned().collect();
    let of_element = matches!(path.0.last(), Some(Step::Element(_)));
    let sort = match action {
        // Elements come and go within the list, and take nothing else away.
        _ if of_element => Sort::Add,
        Action::Delete => Sort::Delete,
        Action::Set(_) => Sort::Replace,
        Action::Create(_) => Sort::Create,
        Action::Increment { epoch: None, .. } => Sort::First,
        _ => Sort::Add,
    };
    (Path(keys), sort)
}

fn row_act((key, action): (String, RowAction)) -> (Path, Sort) {
    let sort = match action {
        RowAction::Delete => Sort::Delete,
        RowAction::Insert(_) => Sort::Replace,
        RowAction::Write { .. } => Sort::Add,
    };
    (Path::key(&key), sort)
}
