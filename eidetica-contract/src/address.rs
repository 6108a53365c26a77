//! Where a peer can be reached.

use std::fmt;

/// The address of a peer: the scheme of a transport, and a text that only this transport understands.
///
/// ```
/// use eidetica_contract::Address;
///
/// let address = Address::http("127.0.0.1:8080");
/// assert_eq!(address.transport_type, "http");
/// assert_eq!(address.to_string(), "127.0.0.1:8080");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The scheme: the [`TransportInfo::scheme`](crate::TransportInfo::scheme) that requests are routed by.
    pub transport_type: String,
    /// What the transport dials.
    pub address: String,
}

impl Address {
    /// An address of the transport with this scheme.
    pub fn new(transport_type: impl Into<String>, address: impl Into<String>) -> Address {
        Address { transport_type: transport_type.into(), address: address.into() }
    }

    /// An HTTP address: `host:port`, or `http(s)://host:port[/path]`.
    pub fn http(address: impl Into<String>) -> Address {
        Address::new("http", address)
    }

    /// An iroh address: a ticket, or a bare endpoint id where discovery can resolve it.
    pub fn iroh(address: impl Into<String>) -> Address {
        Address::new("iroh", address)
    }
}

/// Shows what the constructor of its scheme takes back.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}
