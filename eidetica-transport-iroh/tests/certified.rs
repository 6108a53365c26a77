//! The transport of this crate, certified, without relays.

use eidetica_transport_iroh as _;

eidetica_conformance::main! {
    transport("iroh:127.0.0.1:0?relay=disabled"),
}
