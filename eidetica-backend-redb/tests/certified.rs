//! The backend of this crate, certified.

use eidetica_backend_redb as _;

eidetica_conformance::main! {
    backend("redb:{tmp}/store.redb"),
}
