//! What is kept of peers: rows that survive a restart, are bounded, and may be changed by several at once.

mod book;
mod bounds;
mod frontiers;
mod garbage;
mod kit;
mod races;
