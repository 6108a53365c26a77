//! What a database shows.

use std::collections::BTreeMap;

use eidetica_contract::Result;
use eidetica_core::auth::{Right, Subject};
use eidetica_core::crdt::{Doc, Value};
use eidetica_core::store::doc::{Path, Step};
use eidetica_core::store::table::RowRange;
use eidetica_core::store::{DocStore, SettingsStore, Table};
use eidetica_core::{Database, Fingerprint, Id, Point};

use super::{broken, ensure};

/// What a database shows, whatever the order in which it came: entries, rights, and the contents of all stores of the kinds of
/// the engine, conflicts included. Stores of other kinds, and those that lack bodies here, are left out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Shown {
    /// The heads.
    pub tips: Vec<Id>,
    /// Their digest.
    pub digest: [u8; 32],
    /// The fingerprint of all entries.
    pub print: Fingerprint,
    /// The rights of all who were ever given some or lost them.
    pub rights: Vec<(Subject, Right)>,
    /// By name and kind of the store, and place in it, what shows there, as text.
    pub stores: BTreeMap<(String, String), BTreeMap<String, String>>,
}

/// Reads all that a database shows.
///
/// Errors: those of the database.
pub async fn shown(database: &Database) -> Result<Shown> {
    let mut stores = BTreeMap::new();
    for store in database.stores().await?.into_iter().filter(|store| !store.partial) {
        let contents = match store.kind.as_str() {
            "doc" => document(&database.get_store_viewer::<DocStore>(&store.name).await?).await?,
            "table" => table(&database.get_store_viewer::<Table<Doc>>(&store.name).await?).await?,
            "settings" => settings(&database.get_settings().await?).await?,
            _ => continue,
        };
        stores.insert((store.name, store.kind), contents);
    }
    let mut rights = database.now().rights().await?;
    rights.sort_unstable_by_key(|(subject, _)| *subject);
    let print = database.fingerprint(Point::START..Point::END).await?;
    Ok(Shown { tips: database.get_tips().await?, digest: database.heads_digest().await?, print, rights, stores })
}

async fn document(store: &DocStore) -> Result<BTreeMap<String, String>> {
    let whole = store.get_all().await?;
    let mut contents = BTreeMap::from([("all".to_owned(), format!("{whole:?}"))]);
    let mut todo = vec![(Vec::new(), whole)];
    while let Some((path, map)) = todo.pop() {
        for (key, value) in map.iter() {
            let path: Vec<Step> = path.iter().cloned().chain([Step::Key(key.to_owned())]).collect();
            let at = Path(path.clone());
            let conflicts = store.conflicts(&at).await?;
            if !conflicts.is_empty() {
                contents.insert(format!("conflicts at {at:?}"), format!("{conflicts:?}"));
            }
            if let Value::Map(map) = value {
                todo.push((path, map.clone()));
            }
        }
    }
    Ok(contents)
}

async fn table(store: &Table<Doc>) -> Result<BTreeMap<String, String>> {
    let mut contents = BTreeMap::new();
    for (key, row) in store.scan_each(RowRange::all()).await? {
        let conflicts = store.conflicts(&key).await?;
        contents.insert(key, format!("{:?} {conflicts:?}", row.map_err(|error| error.kind())));
    }
    Ok(contents)
}

async fn settings(store: &SettingsStore) -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([("all".to_owned(), format!("{:?}", store.get_all().await?))]))
}

impl Shown {
    /// Compares with what another replica shows.
    ///
    /// Errors: `Corrupted` for what differs first.
    pub fn compare(&self, other: &Shown) -> Result<()> {
        ensure(
            self.print == other.print,
            "two replicas hold different entries",
            (self.print.count, other.print.count),
        )?;
        ensure(self.tips == other.tips, "two replicas have different heads", (&self.tips, &other.tips))?;
        ensure(self.digest == other.digest, "two replicas have different digests of the same heads", &self.tips)?;
        ensure(self.rights == other.rights, "two replicas know different rights", (&self.rights, &other.rights))?;
        let names = |shown: &Shown| shown.stores.keys().cloned().collect::<Vec<_>>();
        ensure(names(self) == names(other), "two replicas have different stores", (names(self), names(other)))?;
        for ((store, one), another) in self.stores.iter().zip(other.stores.values()) {
            let all: BTreeMap<&String, ()> = one.keys().chain(another.keys()).map(|place| (place, ())).collect();
            if let Some(place) = all.into_keys().find(|place| one.get(*place) != another.get(*place)) {
                let error = broken("two replicas with the same entries show different things");
                let error = error.with("store", format!("{store:?}")).with("place", place);
                return Err(error
                    .with("one", format!("{:?}", one.get(place)))
                    .with("other", format!("{:?}", another.get(place))));
            }
        }
        Ok(())
    }
}
