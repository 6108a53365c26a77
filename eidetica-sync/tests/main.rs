//! The tests of sessions, of the transport in memory, and of the simulated world, in one binary.

mod session;
mod sim;
mod transport;
