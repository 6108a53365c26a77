//! Users: accounts, passwords, keys, databases, and what of them lies on the disk.

#[cfg(feature = "sync")]
mod access;
mod accounts;
mod databases;
#[cfg(feature = "sync")]
mod grants;
mod guide;
mod keys;
mod kit;
mod passwords;
mod processes;
#[cfg(feature = "sync")]
mod rights;
mod slowed;
mod stored;
mod wishes;
