//! How much one transport takes upon itself.

use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};

/// Limits of one transport, on the side that dials and on the side that listens.
///
/// ```
/// use std::time::Duration;
/// use eidetica_transport_iroh::{IrohLimits, IrohTransport};
///
/// let mut limits = IrohLimits::default();
/// limits.connections_per_origin = 16;
/// limits.request_timeout = Duration::from_secs(10);
/// let transport = IrohTransport::builder().limits(limits).into_transport([7; 32])?;
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IrohLimits {
    /// The largest message in either direction, in bytes. Default: 4 MiB; at least 16 KiB.
    pub max_message: usize,
    /// Listening: connections at once. One more takes the place of the one that has been silent for longest; if none is silent,
    /// it is refused. Default: 1024.
    pub connections: usize,
    /// Listening: connections at once from one IPv4 address, from one IPv6 network of 64 bits, or through one relay, by the same
    /// rule. A connection of a device for which the service vouches ([`Caller::vouch`](eidetica_contract::Caller::vouch)) counts for
    /// none of these, and goes after all others. Default: 128.
    pub connections_per_origin: usize,
    /// Listening: connections at once of one device, by the same rule. Default: 4.
    pub connections_per_peer: usize,
    /// Listening: requests at once on one connection; a caller waits with more. Default: 128.
    pub requests_per_connection: u32,
    /// Listening: requests at once, over all connections; more are answered `Busy`, and one origin, or one device
    /// that was vouched for, gets half of them at most. Default: 1024.
    pub requests: usize,
    /// Listening: messages of more than 64 KiB that are in memory at once; more wait, and one origin, or one device
    /// that was vouched for, gets half of them at most. Default: 16, so 64 MiB of messages. What waits fills at most 1 MiB for each connection.
    pub large_messages: usize,
    /// Listening: how long a handshake may take. Default: 10 seconds.
    pub handshake_timeout: Duration,
    /// Listening: how long a request may take to come in as a whole. Default: 30 seconds.
    pub request_timeout: Duration,
    /// Listening: how long a caller may take to read its answer. Default: 60 seconds.
    pub answer_timeout: Duration,
    /// How long a connection may stay without a request. The side that has dialled gives it up after half of it, so that it rarely
    /// meets one that the other side is closing. Default: 60 seconds.
    pub idle_timeout: Duration,
    /// Dialling: requests at once to one peer; more wait within their deadline, and so do more than four of more than 64 KiB.
    /// Default: 128.
    pub calls_per_peer: usize,
    /// Dialling: how long finding the peer and connecting may take, within the deadline of the call. Default: 8 seconds, so that
    /// who gives a call ten hears that nobody answers, and tries another way.
    pub connect_timeout: Duration,
}

impl Default for IrohLimits {
    fn default() -> IrohLimits {
        IrohLimits {
            max_message: 4 << 20,
            connections: 1024,
            connections_per_origin: 128,
            connections_per_peer: 4,
            requests_per_connection: 128,
            requests: 1024,
            large_messages: 16,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            calls_per_peer: 128,
            connect_timeout: Duration::from_secs(8),
        }
    }
}

impl IrohLimits {
    pub(crate) fn check(&self) -> Result<()> {
        let least = [
            ("max_message", self.max_message, 16 << 10),
            ("connections", self.connections, 1),
            ("connections_per_origin", self.connections_per_origin, 1),
            ("connections_per_peer", self.connections_per_peer, 1),
            ("requests_per_connection", self.requests_per_connection as usize, 1),
            ("requests", self.requests, 2),
            ("large_messages", self.large_messages, 2),
            ("calls_per_peer", self.calls_per_peer, 1),
        ];
        // Semaphores count to this; messages stay far below the address space.
        let most = u32::MAX as usize >> 4;
        for (name, value, least) in least {
            if !(least..=most).contains(&value) {
                let message = "a limit of the iroh transport is out of range";
                let error = Error::new(ErrorKind::InvalidInput, message).with("limit", name).with("value", value);
                return Err(error.with("least", least).with("most", most));
            }
        }
        Ok(())
    }

    /// How long the side that has dialled keeps an idle connection.
    pub(crate) fn keep(&self) -> Duration {
        self.idle_timeout / 2
    }
}
