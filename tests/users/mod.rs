//! Users: accounts, passwords, keys, databases, and what of them lies on the disk.

mod accounts;
mod databases;
mod guide;
mod keys;
mod kit;
mod passwords;
mod processes;
mod slowed;
mod stored;
mod wishes;
