//! What an endpoint is made of.

use std::net::SocketAddr;

use iroh::{RelayUrl, SecretKey};

use crate::IrohLimits;
use crate::kept::Kept;

/// Which relays a transport uses. Through a relay, peers find each other that cannot be reached from outside; it sees who
/// speaks with whom and how much, and nothing of what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayMode {
    /// The public relays of the makers of iroh.
    #[default]
    Default,
    /// Their relays for trying out what is to come.
    Staging,
    /// These, as URLs (`https://relay.example.com`), and no others.
    Custom(Vec<String>),
    /// None: peers are reached directly.
    Disabled,
}

/// Settings that were checked.
pub(crate) struct Settings {
    pub(crate) secret: SecretKey,
    pub(crate) bind: Vec<SocketAddr>,
    pub(crate) advertised: Vec<SocketAddr>,
    pub(crate) relays: Relays,
    pub(crate) discovery: bool,
    #[cfg(feature = "mdns")]
    pub(crate) mdns: bool,
    pub(crate) listens: bool,
    /// Where the ports of the last run are found; for a transport that listens within a store.
    pub(crate) kept: Option<Kept>,
    pub(crate) limits: IrohLimits,
}

pub(crate) enum Relays {
    Default,
    Staging,
    Custom(Vec<RelayUrl>),
    Disabled,
}
