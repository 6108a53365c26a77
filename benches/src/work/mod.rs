//! The pieces of work, each with its limit.

pub mod commit;
pub mod diff;
pub mod import;
pub mod ingest;
pub mod merge;
pub mod open;
pub mod read;
pub mod sync;
