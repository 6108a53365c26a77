//! How peers of Eidetica talk: sessions that prove who is who and keep what is said between them, and the transport in
//! memory. Every byte stands in `docs/spec/wire.md`.

pub mod access;
pub mod schedule;
pub mod reconcile;
pub mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod transport;
