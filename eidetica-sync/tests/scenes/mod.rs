//! Whole nodes on a simulated network.

mod access;
mod counts;
mod crossing;
mod cut;
mod elder;
mod heckler;
mod kit;
mod odd;
mod presence;
mod random;
mod relay;
mod removed;
mod scissors;
mod tally;
mod wishes;
