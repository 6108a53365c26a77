//! Whole nodes on a simulated network.

mod kit;
mod random;
