//! The tests of sessions and of the transport in memory, in one binary.

mod schedule;
mod session;
mod transport;
