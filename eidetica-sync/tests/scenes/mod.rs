//! Whole nodes on a simulated network.

mod access;
mod counts;
mod crossing;
mod cut;
mod kit;
mod odd;
mod random;
mod relay;
mod removed;
mod scissors;
mod tally;
mod wishes;
