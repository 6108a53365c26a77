//! The backend of this crate, certified: in a file and in memory.

use eidetica_backend_sqlite as _;

eidetica_conformance::main! {
    backend("sqlite:{tmp}/store.db"),
    backend("sqlite::memory:"),
}
