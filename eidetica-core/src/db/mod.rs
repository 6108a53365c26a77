//! Databases: what an application holds, and the task behind it that writes.

mod arrival;
pub(crate) mod as_of;
pub(crate) mod catalog;
mod changes;
mod coming;
pub(crate) mod core;
mod database;
pub(crate) mod entries;
mod group;
mod history;
mod ingest;
mod judging;
mod late;
mod lease;
pub(crate) mod marks;
pub(crate) mod meta;
mod missing;
mod page;
pub(crate) mod parking;
mod recent;
mod reindex;
mod sound;
mod strike;
mod summary;
mod transaction;
mod transfer;
#[cfg(test)]
mod upgrade_tests;
mod used;
mod verify;
mod verify_live;
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
