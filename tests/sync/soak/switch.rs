//! A network of hosts, each of which reaches each.

use std::net::IpAddr;

use super::host::{Host, ip, lose, regain};

/// What joins the hosts.
pub struct Switch {
    hosts: Vec<Host>,
    _itself: Host,
}

/// The interface of each host.
const INTERFACE: &str = "cable";

impl Switch {
    pub fn with(hosts: usize) -> Switch {
        let itself = Host::new("switch");
        ip(&["-n", &itself.namespace, "link", "add", "switch", "type", "bridge"]);
        ip(&["-n", &itself.namespace, "link", "set", "switch", "up"]);
        let hosts: Vec<Host> = (0..hosts).map(|number| Host::new(&format!("peer{number}"))).collect();
        for (number, Host { namespace }) in hosts.iter().enumerate() {
            let port = format!("port{number}");
            let cable = ["link", "add", &port, "type", "veth", "peer", "name", INTERFACE, "netns", namespace];
            ip(&[&["-n", &itself.namespace][..], &cable].concat());
            ip(&["-n", &itself.namespace, "link", "set", &port, "master", "switch", "up"]);
            let address = format!("{}/24", address(number));
            ip(&["-n", namespace, "address", "add", &address, "dev", INTERFACE]);
            ip(&["-n", namespace, "link", "set", INTERFACE, "up"]);
        }
        Switch { hosts, _itself: itself }
    }

    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// Nothing gets from one to the other any longer, and nobody is told.
    pub fn cut(&self, from: usize, to: usize) {
        lose(&self.hosts[from].namespace, INTERFACE, &address(to).to_string());
    }

    pub fn heal(&self, from: usize, to: usize) {
        regain(&self.hosts[from].namespace, INTERFACE, &address(to).to_string());
    }
}

/// The address of a host.
pub fn address(number: usize) -> IpAddr {
    [10, 118, 0, number as u8 + 1].into()
}
