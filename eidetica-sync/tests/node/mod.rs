//! Whole nodes, over the transport in memory.

mod basics;
mod kit;
mod live;
mod strangers;
