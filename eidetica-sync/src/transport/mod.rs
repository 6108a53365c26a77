//! Transports that are part of the engine.

mod memory;

pub use memory::{MemoryNetwork, MemoryTransport, MemoryTransportBuilder};
#[cfg(feature = "sim")]
pub(crate) use memory::{too_large, unless_it_panics};
