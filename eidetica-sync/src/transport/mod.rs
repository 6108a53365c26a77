//! Transports that are part of the engine.

mod memory;

pub use memory::{MemoryNetwork, MemoryTransport};
