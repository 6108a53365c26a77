//! The HTTP transport on real sockets.

mod sockets;
