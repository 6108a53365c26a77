//! What travels between two peers of one database: that they come to the same, and what it costs.

mod cut;
mod garbage;
mod grown;
mod hear;
mod hostile;
mod kit;
mod ladder;
mod overtaken;
mod property;
mod vectors;
mod void;
