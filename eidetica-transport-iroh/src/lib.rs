//! The iroh transport of Eidetica: QUIC from key to key, one stream for each message and its answer.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use eidetica_contract::{CallOptions, Caller, Result, Service, Transport};
//! use eidetica_transport_iroh::{IrohTransport, RelayMode};
//!
//! struct Echo;
//!
//! #[async_trait::async_trait]
//! impl Service for Echo {
//!     async fn handle(&self, _: Caller, message: bytes::Bytes) -> Result<bytes::Bytes> {
//!         Ok(message)
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // Without relays and on loopback, so that nobody else is asked for anything.
//! let builder = || IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0");
//! let server = builder().into_transport([1; 32])?;
//! server.listen(Arc::new(Echo)).await?;
//! let address = server.addresses().remove(0);
//!
//! let client = builder().into_transport([2; 32])?;
//! let channel = client.dial(&address, CallOptions::default()).await?;
//! assert_eq!(channel.request("hello".into(), CallOptions::default()).await?, "hello");
//!
//! client.close().await?;
//! server.close().await?;
//! # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
//! ```
//!
//! # Who is who
//!
//! The key of the endpoint is the key of the device, so QUIC proves on both sides whom one speaks with, and
//! [`Channel::peer`](eidetica_contract::Channel::peer) and [`Caller::proven`](eidetica_contract::Caller::proven) say it. An
//! address names a key; who answers there with another one is not spoken with. The key outlives restarts, and so does the
//! address: where any port will do, the one of the last run is tried first.
//!
//! # Addresses
//!
//! iroh's own tickets (`endpoint…`): the key, and where it may be found. Besides these a bare endpoint id, or the device key as it
//! is written elsewhere (`ed25519:…`), wherever discovery finds it.
//!
//! # Who else is asked
//!
//! By default the public relays and the discovery service of the makers of iroh, through which peers behind routers find each
//! other. What they carry is encrypted from device to device. [`RelayMode::Disabled`] leaves both out; nothing then leaves
//! this machine but what is said to peers. Relays are never waited for: without a network at all, peers on the same machine or
//! the same network reach each other at once. Routers are never asked for ports, and nothing is sent to a whole network, unless
//! the application asks for it (feature `mdns`).
//!
//! # On the wire
//!
//! QUIC with the protocol [`ALPN`]. The side that has dialled opens a stream in both directions for each request. Either side
//! sends the length of its message as four bytes, the most significant first, the message, and the end of the stream. A request
//! that is refused is answered by a reset of the stream, whose code is the number of an
//! [`ErrorKind`](eidetica_contract::ErrorKind). Whoever does not want an answer any more stops the stream, and the
//! work on it ends. On one connection at most four requests of more than 64 KiB are under way: more of them could wait for each
//! other, since what the other side has not read yet uses up what it lets in. No data is sent before the handshake has ended (0-RTT), since such data can be repeated by others.
//!
//! # What it promises
//!
//! * A request is sent once. If its connection breaks, the call fails, and whoever called decides.
//! * One connection is kept for each peer and made anew when it has died; each request has a stream of its own, so a large
//!   message does not hold up small ones. A peer that has vanished without a word is noticed after 15 seconds.
//! * What strangers can cost in memory, connections and time is bounded by [`IrohLimits`].

mod address;
mod builder;
mod client;
mod codes;
mod deadline;
mod frame;
mod host;
mod kept;
mod limits;
mod server;
mod settings;
mod text;
mod transport;

pub use builder::IrohTransportBuilder;
pub use limits::IrohLimits;
pub use settings::RelayMode;
pub use transport::IrohTransport;

/// The protocol that both sides agree on in the handshake.
pub const ALPN: &[u8] = b"eidetica/1";

/// Messages of more than this, 64 KiB, are large: both sides count them.
const SMALL: usize = 64 << 10;
/// The scheme of the addresses.
const SCHEME: &str = "iroh";

eidetica_contract::inventory::submit! {
    eidetica_contract::TransportEntry::new(
        SCHEME,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        |settings| Ok(Box::new(text::read(settings)?)),
    )
}
