//! A replay of all entries as the specification reads, and as slow as it reads.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eidetica_contract::Result;
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::{Database, Id, Time};

use super::history::log;
use super::{broken, documents};

/// What decides among concurrent values.
pub(super) type Stamp = (Time, Id);

/// The entries of a database, and what each has seen.
pub(super) struct Replay {
    entries: Vec<VerifiedEntry>,
    /// Those that do not count, and stand here for what stands on them.
    void: BTreeSet<Id>,
    below: BTreeMap<Id, BTreeSet<Id>>,
}

/// All tables and documents show what a naive replay of the entries comes to.
///
/// It takes memory and time that grow with the square of the history. Errors: `Corrupted` for what differs; those of the
/// database.
pub async fn rows(database: &Database) -> Result<()> {
    let replay = Replay::of(database).await?;
    for store in database.stores().await?.into_iter().filter(|store| !store.partial) {
        match store.kind.as_str() {
            "table" => super::rows::table(database, &replay, &store.name).await?,
            "doc" => documents::document(database, &replay, &store.name).await?,
            _ => {}
        }
    }
    Ok(())
}

impl Replay {
    async fn of(database: &Database) -> Result<Replay> {
        let mut below = BTreeMap::<Id, BTreeSet<Id>>::new();
        let (mut ids, mut void) = (Vec::new(), BTreeSet::new());
        for entry in log(database).await? {
            let mut seen: BTreeSet<Id> = entry.parents.iter().copied().collect();
            for parent in &entry.parents {
                let of_parent = below.get(parent);
                seen.extend(of_parent.ok_or_else(|| broken("a parent of an entry is not here, or came later"))?);
            }
            below.insert(entry.id, seen);
            ids.push(entry.id);
            if entry.void {
                void.insert(entry.id);
            }
        }
        Ok(Replay { entries: database.get_entries(&ids).await?, void, below })
    }

    /// What the entries that count do to a store of this name and kind.
    pub fn bodies(&self, name: &str, kind: &str) -> Result<Vec<(Stamp, Bytes)>> {
        let mut bodies = self.bodies_of_all(name, kind)?;
        bodies.retain(|(by, _)| !self.is_void(by));
        Ok(bodies)
    }

    /// True if what was done by this has no effect.
    pub fn is_void(&self, by: &Stamp) -> bool {
        self.void.contains(&by.1)
    }

    /// What all entries would do to it, those that are void included.
    pub fn bodies_of_all(&self, name: &str, kind: &str) -> Result<Vec<(Stamp, Bytes)>> {
        let mut bodies = Vec::new();
        for entry in &self.entries {
            let by = (entry.header().time, entry.id());
            for (_, body) in entry.deltas().filter(|(store, _)| store.name == name && store.kind == kind) {
                bodies.push((by, body.clone().ok_or_else(|| broken("an entry lacks a body that should be here"))?));
            }
        }
        Ok(bodies)
    }

    /// Whether one entry is above another.
    pub fn saw(&self, above: &Stamp, other: &Stamp) -> bool {
        self.below.get(&above.1).is_some_and(|seen| seen.contains(&other.1))
    }
}
