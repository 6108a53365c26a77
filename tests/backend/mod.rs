//! Backends: one model for all of them, and what each of them can get wrong.

pub(crate) mod children;
mod crash;
pub(crate) mod durability;
mod modes;
mod redb_errors;
mod redb_flush;
pub(crate) mod sqlite_errors;
mod two_processes;
