//! What must never be lost.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eidetica_contract::{ErrorKind, Result};
use eidetica_core::{Database, Engine, Id};

use super::broken;
use super::history::log;

/// What a node has been told to be durable, to be compared with what it holds after a crash.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeSet<Id>,
    locals: BTreeMap<String, Option<Bytes>>,
}

impl Ledger {
    /// A ledger in which nothing stands.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Notes an entry whose flushed commit has returned.
    pub fn note(&mut self, entry: Id) {
        self.entries.insert(entry);
    }

    /// Notes a value of a node whose change has returned; `None`: it was removed.
    pub fn note_local(&mut self, name: &str, value: Option<Bytes>) {
        self.locals.insert(name.to_owned(), value);
    }

    /// Flushes a database, and notes all that was in it before.
    ///
    /// Errors: those of reading and flushing, and then nothing is noted.
    pub async fn flush(&mut self, database: &Database) -> Result<()> {
        let held = log(database).await?;
        database.flush().await?;
        self.entries.extend(held.into_iter().map(|entry| entry.id));
        Ok(())
    }

    /// How many entries stand in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if no entry stands in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All that stands in it is there; what was struck since is kept, though the log does not show it.
    ///
    /// Errors: `Corrupted` for what is not; those of the database.
    pub async fn check(&self, database: &Database) -> Result<()> {
        let held: BTreeSet<Id> = log(database).await?.into_iter().map(|entry| entry.id).collect();
        for id in self.entries.difference(&held) {
            match database.get_entry(id).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(broken("an entry is lost that was flushed").with("entry", id).caused_by(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The values of the node are those that stand in it.
    ///
    /// Errors: `Corrupted` for one that is not; those of the store.
    pub async fn check_locals(&self, engine: &Engine) -> Result<()> {
        for (name, value) in &self.locals {
            if engine.local(name).await? != *value {
                return Err(broken("a value of the node is not the one that was flushed").with("name", name));
            }
        }
        Ok(())
    }
}
