//! The simulated world: that each fault happens, that it follows from the seed, and that what shall hold does.

mod check;
mod crash;
mod faults;
mod in_place;
mod repeat;
mod session;
mod transport;
mod world;
