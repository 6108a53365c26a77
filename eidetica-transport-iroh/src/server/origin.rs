//! Where connections come from.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use iroh::endpoint::IncomingAddr;

/// Where a connection comes from.
#[derive(Clone)]
pub(crate) struct Origin {
    /// What is told: an IP address, or a relay.
    pub(crate) shown: String,
    /// What counts as one: an IPv4 address, an IPv6 network of 64 bits, which one household has to itself, or a relay. Not the key,
    /// of which anybody has as many as he likes.
    pub(crate) one: Arc<str>,
}

impl Origin {
    pub(crate) fn of(address: &IncomingAddr) -> Origin {
        match address {
            IncomingAddr::Ip(socket) => {
                let ip = socket.ip().to_canonical();
                Origin { shown: ip.to_string(), one: network(ip).to_string().into() }
            }
            IncomingAddr::Relay { url, .. } => {
                let shown = format!("relay {url}");
                Origin { one: shown.as_str().into(), shown }
            }
            _ => Origin { shown: "elsewhere".to_owned(), one: "elsewhere".into() },
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_one_origin() {
        let one = |text: &str| {
            let origin = Origin::of(&IncomingAddr::Ip(text.parse().unwrap()));
            (origin.shown, origin.one.to_string())
        };
        assert_eq!(one("10.1.2.3:1"), ("10.1.2.3".to_owned(), "10.1.2.3".to_owned()));
        assert_eq!(one("[::ffff:10.1.2.3]:1"), ("10.1.2.3".to_owned(), "10.1.2.3".to_owned()));
        assert_eq!(one("[2001:db8:1:2:3:4:5:6]:1"), ("2001:db8:1:2:3:4:5:6".to_owned(), "2001:db8:1:2::".to_owned()));
        let id = iroh::SecretKey::from_bytes(&[1; 32]).public();
        let relay = IncomingAddr::Relay { url: "https://relay.example.com".parse().unwrap(), endpoint_id: id };
        assert_eq!(&*Origin::of(&relay).one, "relay https://relay.example.com/");
    }
}
