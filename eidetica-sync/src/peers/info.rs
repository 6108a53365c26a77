//! What an application says of a peer.

use std::fmt;

use eidetica_contract::{Address, PublicKey, Result};
use eidetica_core::Id;

/// A peer that a database is to be synced with, for good.
///
/// ```
/// use eidetica_contract::{Address, PublicKey};
/// use eidetica_core::Id;
/// use eidetica_sync::SyncPeerInfo;
///
/// let info = SyncPeerInfo {
///     peer_pubkey: PublicKey::from_bytes([7; 32]).to_string(),
///     tree_id: Id::of(b"a root"),
///     addresses: vec![Address::http("192.0.2.7:8080")],
///     auth: None,
///     display_name: Some("Ben's laptop".into()),
/// };
/// # let _ = info;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPeerInfo {
    /// The device key of the peer, as text. One that is no key is kept, and shown as the error that it is.
    pub peer_pubkey: String,
    /// The database.
    pub tree_id: Id,
    /// Where the peer can be reached. Without any, it is synced when it comes by itself.
    pub addresses: Vec<Address>,
    /// The user key to ask with; `None`: any for which a grant is stored.
    pub auth: Option<SyncAuth>,
    /// What the peer is called by people.
    pub display_name: Option<String>,
}

/// With which right a peer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncAuth {
    /// The user key.
    pub key: PublicKey,
}

impl SyncAuth {
    /// With the right of this user key.
    pub fn key(key: PublicKey) -> SyncAuth {
        SyncAuth { key }
    }
}

/// Who a peer is said to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerName {
    /// A device key.
    Key(PublicKey),
    /// A text that is no key: nobody can prove to be this one.
    Text(String),
}

impl PeerName {
    /// Reads a key; every other text is one that is no key.
    pub fn of(text: &str) -> PeerName {
        text.parse().map_or_else(|_| PeerName::Text(text.to_owned()), PeerName::Key)
    }

    /// The device key.
    ///
    /// Errors: [`InvalidInput`](eidetica_contract::ErrorKind::InvalidInput) for a text that is none.
    pub fn key(&self) -> Result<PublicKey> {
        match self {
            PeerName::Key(key) => Ok(*key),
            PeerName::Text(text) => text.parse(),
        }
    }
}

impl From<PublicKey> for PeerName {
    fn from(key: PublicKey) -> PeerName {
        PeerName::Key(key)
    }
}

impl From<&PublicKey> for PeerName {
    fn from(key: &PublicKey) -> PeerName {
        PeerName::Key(*key)
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerName::Key(key) => key.fmt(f),
            PeerName::Text(text) => f.write_str(text),
        }
    }
}
