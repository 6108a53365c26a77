//! Backends: one model for all of them, and what only SQLite can get wrong.

mod children;
mod crash;
mod durability;
mod model;
mod redb_sketch;
mod sqlite_errors;
mod steps;
mod subject;
mod two_processes;
