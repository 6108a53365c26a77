//! What is kept of other devices: who they are, where they can be reached, which databases are synced with them, and what
//! both sides had last.
//!
//! All of it lies in values of the store that belong to this node alone
//! ([`Engine::local`](eidetica_core::Engine::local)), and so survives a restart:
//!
//! | name | what it holds |
//! | --- | --- |
//! | `sync/peer/` peer | [`PeerRecord`]: names, addresses, when it was seen |
//! | `sync/relation/` peer `/` database | [`Relationship`]: whether it was declared, with which key to ask |
//! | `sync/lane/` peer `/` database | [`Remembered`]: the heads that both sides had |
//!
//! A peer is *declared* by an application, or *joined* for a database that it has, and then stays until it is removed. Or it is
//! *learnt*, since it has called and shown a right; of these a bounded number is kept, for each key that vouches for them and in
//! all, and those seen longest ago give way. What cannot be read is an error that names the row, and is left as it is.

mod book;
mod contact;
mod frontiers;
mod info;
mod record;
mod room;
mod rows;

pub use book::Peers;
pub use contact::Contact;
pub use frontiers::{Frontiers, Remembered};
pub use info::{PeerName, SyncAuth, SyncPeerInfo};
pub use record::{Forgotten, KnownAddress, Learnt, PeerLimits, PeerRecord, Relationship};
