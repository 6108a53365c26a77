//! The tests that cross crates, in one binary: linking once is what makes them quick to build.

mod backend;
mod house;
mod local;
mod oracle;
mod sim;
mod spec;
#[cfg(feature = "http")]
mod sync;
mod testing;
mod users;
