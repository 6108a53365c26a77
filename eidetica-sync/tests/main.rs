//! All tests of sync, in one binary.

mod access;
mod node;
mod peers;
mod reconcile;
mod scenes;
mod schedule;
mod session;
mod sim;
mod transport;
