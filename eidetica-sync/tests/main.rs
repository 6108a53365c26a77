//! The tests of sessions and of the transport in memory, in one binary.

mod session;
mod transport;
