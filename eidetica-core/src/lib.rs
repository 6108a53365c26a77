//! The database engine of Eidetica: entries, the graph they form, merging, permissions, stores. It knows no network.
//!
//! The way of a change: a [`Transaction`] stages it; its commit becomes a signed entry ([`entry`]); the writer of the
//! database lets it through the door ([`auth`]) and applies it to the [`store`]s on an overlay over a snapshot of the
//! backend; one batch makes it visible. Entries of others come through the same door by [`Database::ingest`].

pub mod auth;
mod cbor;
mod clock;
mod dag;
mod db;
mod doc;
mod engine;
pub mod entry;
mod error;
mod id;
mod key;
mod layout;
pub mod limits;
mod listing;
mod memory;
mod overlay;
mod serde_impls;
mod storage;
pub mod store;
mod value;

/// Values that merge.
pub mod crdt {
    pub use crate::doc::Doc;
    pub use crate::value::Value;
}

pub use clock::{Environment, SystemEnvironment, Time};
pub use dag::{Fingerprint, Point};
pub use db::{
    Arrived, Beyond, CallbackGuard, Change, Committed, Cursor, Database, Durability, Exported, Foreseen, LogEntry,
    MissingBodies, Outcome, Parked, Problem, Refused, Report, RightChange, Snapshot, Stand, StoreSummary, Stretch,
    Transaction, View, Warning, Watch, WriteEvent,
};
pub use engine::{Engine, LocalChange, Options};
pub use id::Id;
pub use key::{SecretKey, attested};
pub use memory::Memory;
