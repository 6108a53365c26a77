//! A database at a moment.

use std::sync::Arc;

use eidetica_contract::{PublicKey, Result};

use super::database::Database;
use crate::auth::{Right, Subject};
use crate::dag::Seen;
use crate::id::Id;
use crate::store::{StoreHandle, StoreType};

/// A name for a state of a database: its heads. A value, which keeps nothing open, and can be stored or sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot(pub Vec<Id>);

/// A database as it was at given heads, or as it is whenever it is read. Reading the past costs what is read, and not what
/// has happened since.
#[derive(Clone)]
pub struct View {
    database: Database,
    set: Option<Arc<Seen>>,
}

impl View {
    pub(crate) fn new(database: Database, set: Option<Arc<Seen>>) -> View {
        View { database, set }
    }

    /// A store, to read.
    ///
    /// Errors: as for [`Transaction::get_store`](super::Transaction::get_store).
    pub async fn get_store_viewer<S: StoreType>(&self, name: &str) -> Result<S> {
        let (core, writer) = (self.database.core.clone(), &self.database.writer);
        let handle = match &self.set {
            None => StoreHandle::now(core, writer, name, S::KIND).await?,
            Some(set) => StoreHandle::at(core, writer, name, S::KIND, set.clone()).await?,
        };
        Ok(S::open(handle))
    }

    /// The right of a key: its own or everybody's, whichever is greater, or removed.
    pub async fn right_of(&self, key: PublicKey) -> Result<Right> {
        let state = self.database.core.current().await?;
        let now = Seen::all_before(state.meta.next);
        Ok(state.rights.of(key, self.set.as_deref().unwrap_or(&now)))
    }

    /// The right that a key, or everybody, has by what was granted to it alone.
    pub async fn own_right_of(&self, subject: Subject) -> Result<Right> {
        let state = self.database.core.current().await?;
        let now = Seen::all_before(state.meta.next);
        Ok(state.rights.own(subject, self.set.as_deref().unwrap_or(&now)))
    }

    /// Every key that was ever granted or limited, and everybody, with their own rights.
    pub async fn rights(&self) -> Result<Vec<(Subject, Right)>> {
        let state = self.database.core.current().await?;
        let now = Seen::all_before(state.meta.next);
        Ok(state.rights.all(self.set.as_deref().unwrap_or(&now)))
    }
}
