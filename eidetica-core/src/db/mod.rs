//! Databases: what an application holds, and the task behind it that writes.

mod arrival;
pub(crate) mod catalog;
mod changes;
pub(crate) mod core;
mod database;
pub(crate) mod entries;
mod group;
mod history;
mod ingest;
pub(crate) mod meta;
mod missing;
mod page;
mod parking;
mod recent;
mod reindex;
mod sound;
mod summary;
mod transaction;
mod transfer;
mod used;
mod verify;
mod view;
pub(crate) mod work;
mod writer;

pub use changes::{CallbackGuard, Change, Cursor, Watch, WriteEvent};
pub use database::{Database, StoreSummary};
pub use history::LogEntry;
pub use ingest::{Outcome, Parked, Refused};
pub use missing::{Arrived, Beyond, Stand, Stretch};
pub(crate) use transaction::TransactionState;
pub use transaction::{Committed, Durability, Transaction, Warning};
pub use transfer::Exported;
pub(crate) use used::{Touch, Touched};
pub use verify::{MissingBodies, Problem, Report};
pub use view::{Snapshot, View};
pub(crate) use writer::WriterHandle;
