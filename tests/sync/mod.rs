//! Sync as an application sees it, over real sockets.

mod access;
mod faults;
mod guide;
mod identity;
mod kit;
mod live;
mod others;
mod presence;
mod removed;
mod several;
#[cfg(target_os = "linux")]
mod soak;
mod tickets;
mod ways;
