//! The local database, end to end.

mod appending;
mod bad_bytes;
mod bad_place;
mod big;
mod bodies;
mod bounds;
pub(crate) mod counting;
mod counts;
mod disk;
mod documents;
mod follow;
mod fuzz;
mod growth;
mod interrupted;
mod kill;
pub(crate) mod kit;
mod lists;
mod memory;
mod odd;
mod rebuild;
mod redb_disk;
mod scans;
mod shapes;
mod share;
mod smoke;
mod summary;
mod transactions;
