//! The tests of sessions, of reconciliation and of the transport in memory, in one binary.

mod reconcile;
mod session;
mod transport;
