//! How peers of Eidetica come to the same state.
//!
//! [`Syncer`] is what an application holds; it keeps the databases of a store in step with those of peers. Below it, from
//! the bytes upwards: a [`transport`] carries messages; a [`session`] proves who is who and keeps what is said between
//! the two; [`access`] says who may read what, and how to ask for it; in [`reconcile`] two sides find out what each lacks;
//! [`schedule`] says when, and [`peers`] remembers with whom. A
//! [`ticket`] is all that somebody needs to join. Every byte stands in `docs/spec/wire.md`.

pub mod access;
mod bell;
mod message;
mod node;
pub mod peers;
mod presence;
pub mod reconcile;
pub mod schedule;
pub mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod ticket;
pub mod transport;

pub use eidetica_contract::Address;
pub use node::{
    Host, Presence, PresenceEvent, Present, Rate, StrangerLimits, SyncEvent, SyncHandle, SyncOptions, SyncReport,
    SyncState, SyncStatus, SyncedDatabase, Syncer,
};
pub use peers::{SyncAuth, SyncPeerInfo};
pub use presence::{Departed, MAX_LIFETIME, MAX_PAYLOAD, MAX_REACH};
