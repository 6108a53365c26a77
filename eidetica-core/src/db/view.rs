//! A database at a moment.

use std::sync::Arc;

use eidetica_contract::{PublicKey, Result};

use super::as_of::AsOf;
use super::database::Database;
use crate::auth::{Right, Subject};
use crate::id::Id;
use crate::store::{StoreHandle, StoreType};

/// A name for a state of a database: its heads. A value, which keeps nothing open, and can be stored or sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot(pub Vec<Id>);

/// A database as it was at given heads, or as it is whenever it is read. Reading the past costs what is read, and not what
/// has happened since.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::store::DocStore;
///
/// # for greeting in ["hello", "good night"] {
/// #     let transaction = database.new_transaction().await?;
/// #     transaction.get_store::<DocStore>("notes").await?.set("greeting", greeting).await?;
/// #     transaction.commit().await?;
/// # }
/// // The state on which the latest entry stands.
/// let parents = &database.log(None, 1).await?[0].parents;
/// let view = database.at_heads(parents).await?;
/// assert_eq!(view.get_store_viewer::<DocStore>("notes").await?.get_string("greeting").await?, "hello");
/// # engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct View {
    database: Database,
    set: Option<Arc<AsOf>>,
}

impl View {
    pub(crate) fn new(database: Database, set: Option<Arc<AsOf>>) -> View {
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
        Ok(state.right(key, self.set.as_deref()))
    }

    /// The right that a key, or everybody, has by what was granted to it alone.
    pub async fn own_right_of(&self, subject: Subject) -> Result<Right> {
        let state = self.database.core.current().await?;
        Ok(state.own_right(subject, self.set.as_deref()))
    }

    /// Every key of which an entry that counts has granted or limited something, and everybody, with their own rights.
    pub async fn rights(&self) -> Result<Vec<(Subject, Right)>> {
        let state = self.database.core.current().await?;
        Ok(state.all_rights(self.set.as_deref()))
    }
}
