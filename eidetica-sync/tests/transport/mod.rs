//! Transports that are part of the engine.

mod memory;
