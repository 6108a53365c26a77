//! All tests of sync, in one binary.

mod access;
mod node;
mod reconcile;
//! The tests of sessions, peers and the schedule, and of the transport in memory, in one binary.

mod peers;
mod schedule;
mod session;
mod sim;
mod transport;
