//! Sessions: what works, and what every attack comes to.

mod attacks;
mod bounds;
mod channel;
mod garbage;
mod handshake;
mod kit;
mod parts;
mod plain;
mod unread;
mod vectors;
