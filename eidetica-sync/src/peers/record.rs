//! What is kept of a peer, as others see it.

use eidetica_contract::{Address, PublicKey};
use eidetica_core::{Id, Time};

use super::info::{PeerName, SyncAuth};

/// How much is kept of peers. What an application declares or joins is bounded in size alone, and gives way to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerLimits {
    /// Peers that have shown a right to some database, and that nobody here has declared or joined. Default: 1,024.
    pub learnt: usize,
    /// Those of them that one key vouches for: as many devices are learnt of one user. Default: 32.
    pub learnt_per_key: usize,
    /// Peers learnt by contact that no database is synced with. Default: 128.
    pub strangers: usize,
    /// Databases that one peer is learnt to sync. Default: 4,096.
    pub learnt_databases: usize,
    /// Learnt addresses of one peer. Default: 16.
    pub learnt_addresses: usize,
    /// Declared addresses of one peer. Default: 64.
    pub declared_addresses: usize,
}

impl Default for PeerLimits {
    fn default() -> PeerLimits {
        PeerLimits {
            learnt: 1024,
            learnt_per_key: 32,
            strangers: 128,
            learnt_databases: 4096,
            learnt_addresses: 16,
            declared_addresses: 64,
        }
    }
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerRecord {
    /// Who it is.
    pub name: PeerName,
    /// What it is called by people: as declared, else as it calls itself.
    pub display_name: Option<String>,
    /// Whether an application has declared it. Such a peer stays until it is removed.
    pub declared: bool,
    /// Since when it is known.
    pub since: Time,
    /// When it last proved its key here or there, give or take an hour.
    pub seen: Option<Time>,
    /// Where it can be reached: the address that is most likely to do first.
    pub addresses: Vec<KnownAddress>,
}

/// An address of a peer, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownAddress {
    /// The address.
    pub address: Address,
    /// Whether an application has declared it. Such an address stays until it is removed.
    pub declared: bool,
    /// When it was declared or learnt.
    pub since: Time,
    /// When the peer was last reached by it, give or take an hour.
    pub worked: Option<Time>,
    /// Failures since.
    pub failures: u32,
}

/// A database that is synced with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relationship {
    /// The peer.
    pub peer: PeerName,
    /// The database.
    pub database: Id,
    /// Whether an application has declared it, or it was learnt by contact.
    pub declared: bool,
    /// The user key to ask with; `None`: any for which a grant is stored.
    pub auth: Option<SyncAuth>,
    /// Since when it is known.
    pub since: Time,
    /// The key whose right the peer has shown, if the relationship has come about by its calling: that of a user, or its own.
    /// `None`: somebody here has declared it, or has joined the database there.
    pub vouched: Option<PublicKey>,
}

/// What has become of something that was learnt of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Learnt {
    /// Whether it was not known before.
    pub is_new: bool,
    /// Who and what was forgotten to make room for it.
    pub forgotten: Forgotten,
}

/// What was forgotten to make room for others. Its rows are gone; what runs is to be ended by whoever is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// Peers, with all that was known of them.
    pub peers: Vec<PublicKey>,
    /// Relationships of peers that are still known.
    pub relationships: Vec<(PublicKey, Id)>,
}
