//! All tests of sync, in one binary.

mod access;
mod node;
mod peers;
mod reconcile;
mod schedule;
mod session;
mod sim;
mod transport;
