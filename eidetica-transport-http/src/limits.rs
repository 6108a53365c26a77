//! How much one transport takes upon itself.

use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};

/// Limits of one transport, as a client and as a server.
///
/// ```
/// use std::time::Duration;
/// use eidetica_transport_http::{HttpLimits, HttpTransport};
///
/// let mut limits = HttpLimits::default();
/// limits.connections_per_origin = 16;
/// limits.header_timeout = Duration::from_secs(3);
/// let transport = HttpTransport::builder().bind("127.0.0.1:8080").limits(limits).into_transport()?;
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// The largest message in either direction, in bytes. Default: 4 MiB; at least 16 KiB.
    pub max_message: usize,
    /// Server: connections at once. One more takes the place of the one that has been silent for longest; if none is silent, it
    /// is closed. No more than half of the files that the process may have open when it begins to listen (`ulimit -n`), so that
    /// connections never take those of its stores. Default: 1024.
    pub connections: usize,
    /// Server: connections at once from one IPv4 address, or from one IPv6 network of 64 bits, by the same rule; one more also takes
    /// the place of one whose request has been coming in for more than three seconds. A connection on which the service has last
    /// vouched for its peer ([`Caller::vouch`](eidetica_contract::Caller::vouch)) counts for that peer instead, and goes after all
    /// others. To be raised behind a proxy, where all connections come from one address. Default: 128.
    pub connections_per_origin: usize,
    /// Server: requests at once, over all connections; more are answered `Busy`. Default: 1024.
    pub requests: usize,
    /// Server: messages of more than 64 KiB that are in memory at once; more wait, and one origin, or one peer that was vouched for,
    /// gets half of them at most.
    /// Default: 16, so 64 MiB of messages.
    pub large_messages: usize,
    /// Server: how long the head of a request may take. Default: 10 seconds.
    pub header_timeout: Duration,
    /// Server: how long the body of a request may take, as a whole. Default: 30 seconds.
    pub body_timeout: Duration,
    /// Server: how long a connection may stay without a request, and how long a caller may take to read its answer. A client
    /// gives an idle connection up after half of it, so that it rarely meets one that the server is closing. Default: 60 seconds.
    pub idle_timeout: Duration,
    /// Client: connections at once to one peer (a `host:port` and a path), and so requests under way; more wait within their deadline.
    /// Default: 32.
    pub connections_per_peer: usize,
    /// Client: how long finding the host and connecting may take, within the deadline of the call. Default: 10 seconds.
    pub connect_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            max_message: 4 << 20,
            connections: 1024,
            connections_per_origin: 128,
            requests: 1024,
            large_messages: 16,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            connections_per_peer: 32,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

impl HttpLimits {
    pub(crate) fn check(&self) -> Result<()> {
        let least = [
            ("max_message", self.max_message, 16 << 10),
            ("connections", self.connections, 1),
            ("connections_per_origin", self.connections_per_origin, 1),
            ("requests", self.requests, 1),
            ("large_messages", self.large_messages, 2),
            ("connections_per_peer", self.connections_per_peer, 1),
        ];
        // Semaphores count to this; messages stay far below the address space.
        let most = u32::MAX as usize >> 4;
        for (name, value, least) in least {
            if !(least..=most).contains(&value) {
                let message = "a limit of the HTTP transport is out of range";
                let error = Error::new(ErrorKind::InvalidInput, message).with("limit", name).with("value", value);
                return Err(error.with("least", least).with("most", most));
            }
        }
        Ok(())
    }

    /// How long a client keeps an idle connection.
    pub(crate) fn keep(&self) -> Duration {
        self.idle_timeout / 2
    }
}
