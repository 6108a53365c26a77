//! Sync as an application sees it, over real sockets.

mod access;
mod faults;
mod guide;
mod kit;
mod live;
mod others;
mod proxy;
#[cfg(target_os = "linux")]
mod soak;
