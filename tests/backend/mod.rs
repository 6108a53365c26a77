//! Backends: one model for all of them, and what only SQLite can get wrong.

pub(crate) mod children;
mod crash;
pub(crate) mod durability;
mod model;
mod modes;
mod redb_sketch;
pub(crate) mod sqlite_errors;
mod steps;
mod subject;
mod two_processes;
