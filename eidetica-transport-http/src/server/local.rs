//! Under which addresses others reach a bound socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses of a socket that is bound: itself, or where it takes all addresses, those by which this machine speaks to
/// others; its own loopback if it speaks to nobody.
pub(crate) fn reachable(bound: SocketAddr) -> Vec<SocketAddr> {
    let found: Vec<IpAddr> = match bound.ip() {
        ip if !ip.is_unspecified() => return vec![bound],
        IpAddr::V4(_) => outward(Ipv4Addr::UNSPECIFIED.into()).into_iter().collect(),
        // Systems let such a socket take both, as long as nobody asks them not to.
        IpAddr::V6(_) => {
            [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].into_iter().filter_map(outward).collect()
        }
    };
    let loopback = if bound.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let found = if found.is_empty() { vec![loopback] } else { found };
    found.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

/// The address that this machine would send from. Connecting a UDP socket sends nothing; the targets are reserved for
/// documentation.
fn outward(any: IpAddr) -> Option<IpAddr> {
    let target: IpAddr = match any {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((target, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_becomes_something_that_can_be_dialled() {
        let bound: SocketAddr = "10.1.2.3:80".parse().unwrap();
        assert_eq!(reachable(bound), [bound]);
        for any in ["0.0.0.0:4321", "[::]:4321"] {
            let found = reachable(any.parse().unwrap());
            assert!(!found.is_empty());
            assert!(found.iter().all(|address| !address.ip().is_unspecified() && address.port() == 4321), "{found:?}");
        }
    }
}
