//! What travels between two peers of one database: that they come to the same, and what it costs.

mod kit;
mod ladder;
