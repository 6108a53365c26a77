//! The transport of this crate, certified.

use eidetica_transport_http as _;

eidetica_conformance::main! {
    transport("http:127.0.0.1:0"),
}
