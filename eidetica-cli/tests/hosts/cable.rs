//! Virtual cables between hosts.

use super::host::{Host, ip, lose, regain};

/// A cable between two hosts; each of its ends has an address.
pub struct Cable {
    /// The namespace and the interface of each end.
    ends: [(String, String); 2],
    pub addresses: [String; 2],
}

impl Cable {
    /// Joins two hosts, in a network of its own. Nobody passes on what comes in by one cable to another one.
    pub fn between(one: &Host, other: &Host, network: u8) -> Cable {
        let ends = [&one.namespace, &other.namespace];
        let interface = format!("cable{network}");
        ip(&["-n", ends[0], "link", "add", &interface, "type", "veth", "peer", "name", &interface, "netns", ends[1]]);
        let addresses = [1, 2].map(|host| format!("10.117.{network}.{host}"));
        for (namespace, address) in ends.iter().zip(&addresses) {
            ip(&["-n", namespace, "address", "add", &format!("{address}/24"), "dev", &interface]);
            ip(&["-n", namespace, "link", "set", &interface, "up"]);
        }
        Cable { ends: ends.map(|namespace| (namespace.clone(), interface.clone())), addresses }
    }

    /// What is sent to many goes by this cable. An address alone does not make Linux send it anywhere.
    pub fn carry_multicast(&self) {
        for (namespace, interface) in &self.ends {
            ip(&["-n", namespace, "route", "add", "224.0.0.0/4", "dev", interface]);
        }
    }

    /// Nothing gets through, and nobody is told.
    pub fn cut(&self) {
        for ((namespace, interface), to) in self.ends.iter().zip(self.addresses.iter().rev()) {
            lose(namespace, interface, to);
        }
    }

    pub fn heal(&self) {
        for ((namespace, interface), to) in self.ends.iter().zip(self.addresses.iter().rev()) {
            regain(namespace, interface, to);
        }
    }
}
