//! Eidetica: a local-first database that peers keep in step without a server in charge.
//!
//! An application writes to a database in atomic transactions. Each becomes one signed, immutable entry in a Merkle DAG, and
//! every peer that holds the same entries shows the same state.
//!
//! ```
//! use eidetica::backend::database::Memory;
//! use eidetica::crdt::Doc;
//! use eidetica::store::DocStore;
//! use eidetica::Instance;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> eidetica::Result<()> {
//! let instance = Instance::open(Box::new(Memory::new())).await?;
//! instance.create_user("alice", None).await?;
//! let mut user = instance.login_user("alice", None).await?;
//! let key = user.get_default_key()?;
//! let settings: Doc = [("name", "notes")].into_iter().collect();
//! let database = user.create_database(settings, &key).await?;
//!
//! let transaction = database.new_transaction().await?;
//! let notes = transaction.get_store::<DocStore>("notes").await?;
//! notes.set("greeting", "hello").await?;
//! transaction.commit().await?;
//!
//! let notes = database.get_store_viewer::<DocStore>("notes").await?;
//! assert_eq!(notes.get_string("greeting").await?, "hello");
//! instance.close().await
//! # }
//! ```

#[cfg(all(doctest, feature = "sqlite", feature = "http", feature = "iroh", feature = "testing"))]
mod book;
mod device;
mod instance;
#[cfg(feature = "sync")]
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod user;
#[cfg(feature = "sync")]
mod usher;
mod wishes;

pub use eidetica_contract::{Error, ErrorKind, PublicKey, Result, Retry};
pub use eidetica_core as core;
pub use eidetica_core::{
    CallbackGuard, Change, Committed, Cursor, Database, Durability, Environment, Exported, Foreseen, Id, LogEntry,
    MissingBodies, Options, Outcome, Parked, Problem, Refused, Report, RightChange, SecretKey, Snapshot, StoreSummary,
    SystemEnvironment, Time, Transaction, View, Warning, Watch, WriteEvent, crdt, entry, store,
};
pub use instance::Instance;
pub use user::User;
pub use wishes::Wishes;

/// Where data rests.
pub mod backend {
    pub use eidetica_contract::{
        Backend, BackendEntry, BackendInfo, Capabilities, Direction, Expectation, Keyspace, Limits, Maintenance,
        OpenFuture, Operation, Page, RegisteredBackend, Registry, Scan, Snapshot, WriteBatch,
    };

    /// The backends that are part of this program.
    pub mod database {
        #[cfg(feature = "redb")]
        pub use eidetica_backend_redb::Redb;
        #[cfg(feature = "sqlite")]
        pub use eidetica_backend_sqlite::Sqlite;
        pub use eidetica_core::Memory;
    }
}

/// Who may do what.
pub mod auth {
    pub use eidetica_core::auth::{Denied, Permission, Right, Setting, Subject};
}
