//! The tests of access, of sessions and of the transport in memory, in one binary.
//! The tests of sessions, of the transport in memory, and of the simulated world, in one binary.

mod access;
mod schedule;
//! The tests of sessions, of reconciliation and of the transport in memory, in one binary.

mod reconcile;
mod session;
mod sim;
mod transport;
