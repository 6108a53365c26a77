//! QUIC on real sockets of this machine, without relays: the contract, restarts, ends, hostile peers, floods.

mod quic;
