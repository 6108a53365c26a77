//! The tests of access, of sessions and of the transport in memory, in one binary.

mod access;
mod schedule;
mod session;
mod transport;
