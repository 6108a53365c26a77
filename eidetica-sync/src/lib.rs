//! How peers of Eidetica talk: sessions that prove who is who and keep what is said between them, and the transport in
//! memory. Every byte stands in `docs/spec/wire.md`.

pub mod reconcile;
pub mod session;
pub mod transport;
