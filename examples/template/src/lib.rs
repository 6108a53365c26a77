//! A backend and a transport for Eidetica, as small as they can be and still pass the conformance suite. Copy one of them, put your
//! engine or your network in its place, and keep `tests/certified.rs` green.
//!
//! * [`Journal`]: a store in one file, to which every batch is appended, and which is held in memory. Scheme `journal`.
//! * [`Tcp`]: messages over a plain TCP connection, each with a number and a length before it. Scheme `tcp`.

mod journal;
mod record;
mod tcp;
mod wire;

pub use journal::Journal;
pub use tcp::{Tcp, TcpBuilder};

use eidetica_contract::{BackendEntry, Capabilities, TransportEntry, inventory};

const ORIGIN: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

inventory::submit! {
    BackendEntry::new("journal", ORIGIN, |path| {
        let path = path.to_owned();
        Box::pin(async move { Ok(Box::new(Journal::open(path).await?) as Box<dyn eidetica_contract::Backend>) })
    })
    .with_capabilities(Capabilities::none().durable().compact())
}

inventory::submit! {
    TransportEntry::new("tcp", ORIGIN, |bind| Ok(Box::new(TcpBuilder::new(bind)?)))
}
