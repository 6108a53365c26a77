//! Certifies the backend and the transport of this crate.

use eidetica_template as _;

eidetica_conformance::main! {
    backend("journal:{tmp}/store"),
    transport("tcp:127.0.0.1:0"),
    network(["journal:{tmp}/store"], ["tcp:127.0.0.1:0"]),
}
