//! The HTTP transport of Eidetica: moves one opaque message to a peer and one back, as a POST and its answer.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use eidetica_contract::{Address, CallOptions, Caller, Result, Service, Transport};
//! use eidetica_transport_http::HttpTransport;
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
//! let server = HttpTransport::builder().bind("127.0.0.1:0").into_transport()?;
//! server.listen(Arc::new(Echo)).await?;
//! let address = server.addresses().remove(0);
//!
//! let client = HttpTransport::builder().into_transport()?;
//! let channel = client.dial(&address, CallOptions::default()).await?;
//! assert_eq!(channel.request("hello".into(), CallOptions::default()).await?, "hello");
//!
//! server.stop_listening(Duration::from_secs(1)).await?;
//! # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
//! ```
//!
//! # On the wire
//!
//! `POST` to [`PATH`] below the path of the address, HTTP/1.1, `content-type: application/octet-stream`, the message as the
//! body, uncompressed. The answer is `200` of the same type. Anything else is a refusal: the header `eidetica-error` then holds
//! the number of an [`ErrorKind`](eidetica_contract::ErrorKind), and the body a sentence for people who look with other tools.
//! Nothing here is secret or proven: sessions above see to that, so that plain HTTP is as safe as `https`.
//!
//! # What it promises
//!
//! * A request is sent once. If its connection breaks, the call fails, and whoever called decides. The one exception is no
//!   repetition: what an idle connection refused before the first byte was handed to it goes out on another one.
//! * Connections are kept and used again; each carries one request at a time, so several are open while several requests are
//!   under way.
//! * What strangers can cost in memory, connections and time is bounded by [`HttpLimits`].
//! * No proxy settings, cookies, redirects or environment variables have a say. (With `tls`, `SSL_CERT_FILE` and `SSL_CERT_DIR`
//!   name the trusted roots, as usual.)
//!
//! # Features
//!
//! `tls` adds `https` for dialling, with rustls and ring, which this crate hands to rustls by itself: no provider has to be
//! installed in the process. Listening is always plain; a proxy in front does TLS, and [`HttpTransportBuilder::advertise`] tells
//! peers its address.

mod builder;
mod client;
mod deadline;
mod endpoint;
mod kept;
mod limits;
mod refusal;
mod server;
mod transport;

pub use builder::HttpTransportBuilder;
pub use limits::HttpLimits;
pub use transport::HttpTransport;

/// Where requests are posted to, below the path of an address.
pub const PATH: &str = "/eidetica/v1";

/// The scheme of the addresses.
const SCHEME: &str = "http";
/// The type of both messages. It is also one that no page of a browser can send to a strange server unasked.
const MESSAGE_TYPE: &str = "application/octet-stream";
/// How much is read ahead on one connection, about: 64 KiB. A head that has not ended by then, or soon after, is refused.
const BUFFER: usize = 64 << 10;
/// The greatest number of header lines.
const HEADERS: usize = 64;

eidetica_contract::inventory::submit! {
    eidetica_contract::TransportEntry::new(
        SCHEME,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        |bind| {
            let builder = HttpTransport::builder();
            Ok(Box::new(if bind.is_empty() { builder } else { builder.bind(bind) }))
        },
    )
}
