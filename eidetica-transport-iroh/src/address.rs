//! Addresses as they are written, taken apart.

use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use iroh::{EndpointAddr, EndpointId, TransportAddr};
use iroh_tickets::endpoint::EndpointTicket;

use crate::SCHEME;

/// The longest address, in bytes.
const LONGEST: usize = 8192;
/// The most places that a ticket may name. Each of them is sent a packet.
const PLACES: usize = 32;

/// Reads a ticket, an endpoint id or a device key.
pub(crate) fn parse(address: &Address) -> Result<EndpointAddr> {
    if address.transport_type != SCHEME {
        let message = "the iroh transport dials addresses of the scheme `iroh` alone";
        return Err(Error::new(ErrorKind::InvalidInput, message).with("scheme", &address.transport_type));
    }
    read(&address.address).map_err(|reason| {
        let message = "not an iroh address; write a ticket (`endpoint…`) or an endpoint id";
        Error::new(ErrorKind::InvalidInput, message).with("address", shown(&address.address)).with("problem", reason)
    })
}

fn read(text: &str) -> Result<EndpointAddr, &'static str> {
    if text.len() > LONGEST {
        return Err("it is too long");
    }
    if let Some(digits) = text.strip_prefix("ed25519:") {
        let key: EndpointId = digits.parse().map_err(|_| "it is no key")?;
        return Ok(EndpointAddr::new(key));
    }
    if let Ok(id) = text.parse::<EndpointId>() {
        return Ok(EndpointAddr::new(id));
    }
    let ticket: EndpointTicket = text.parse().map_err(|_| "it is neither a ticket nor an endpoint id")?;
    let mut target = EndpointAddr::from(ticket);
    // Kinds of places that this version knows, and that are places.
    target.addrs.retain(|place| match place {
        TransportAddr::Ip(socket) => !socket.ip().is_unspecified() && !socket.ip().is_multicast() && socket.port() != 0,
        TransportAddr::Relay(_) => true,
        _ => false,
    });
    if target.addrs.len() > PLACES {
        return Err("it names too many places");
    }
    Ok(target)
}

/// Writes a ticket.
pub(crate) fn write(mut from: EndpointAddr) -> Address {
    // As many as are read again.
    while from.addrs.len() > PLACES {
        from.addrs.pop_last();
    }
    Address::iroh(EndpointTicket::new(from).to_string())
}

/// An address for messages, shortened.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The device behind an endpoint: the same key.
pub(crate) fn device(id: EndpointId) -> PublicKey {
    PublicKey::from_bytes(*id.as_bytes())
}

#[cfg(test)]
mod tests {
    use iroh::SecretKey;

    use super::*;

    fn id() -> EndpointId {
        SecretKey::from_bytes(&[7; 32]).public()
    }

    fn ticket(places: impl IntoIterator<Item = TransportAddr>) -> String {
        EndpointTicket::new(EndpointAddr::from_parts(id(), places)).to_string()
    }

    fn ip(text: &str) -> TransportAddr {
        TransportAddr::Ip(text.parse().unwrap())
    }

    #[test]
    fn forms_that_are_addresses() {
        let relay = TransportAddr::Relay("https://relay.example.com".parse().unwrap());
        for (text, places) in [
            (id().to_string(), 0),
            (device(id()).to_string(), 0),
            (ticket([]), 0),
            (ticket([ip("127.0.0.1:80"), ip("[::1]:80"), relay]), 3),
            // What is no place is left out.
            (ticket([ip("0.0.0.0:80"), ip("127.0.0.1:0"), ip("224.0.0.251:5353"), ip("10.0.0.1:1")]), 1),
        ] {
            let target = parse(&Address::iroh(&text)).unwrap();
            assert_eq!((target.id, target.addrs.len()), (id(), places), "{text}");
        }
        let many = (0..100).map(|port| ip(&format!("10.0.0.1:{}", port + 1)));
        let written = write(EndpointAddr::from_parts(id(), many));
        assert_eq!(parse(&written).unwrap().addrs.len(), PLACES);
    }

    #[test]
    fn forms_that_are_none() {
        let good = ticket([ip("127.0.0.1:80")]);
        let many = ticket((0..100).map(|port| ip(&format!("10.0.0.1:{}", port + 1))));
        for text in [
            "",
            "endpoint",
            "endpointaaaa",
            "127.0.0.1:80",
            "ed25519:",
            "ed25519:00",
            &good[..good.len() - 4],
            &format!("{good}a"),
            &format!("node{}", &good[8..]),
            &"f".repeat(63),
            &format!("endpoint{}", "a".repeat(100_000)),
            &many,
            "endpoint\0",
            "endpointäöü",
        ] {
            let error = parse(&Address::iroh(text)).map(|target| format!("{target:?}")).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
        assert!(parse(&Address::http(good)).is_err());
    }
}
