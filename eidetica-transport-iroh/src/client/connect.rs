//! Finding a peer and making a connection.

use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};
use iroh::endpoint::{
    ConnectOptions, ConnectWithOptsError, ConnectingError, Connection, ConnectionError, TransportErrorCode,
};
use iroh::{Endpoint, EndpointAddr};
use tokio::time::timeout;

use crate::ALPN;
use crate::codes::BUSY;
use crate::host::dialling;

/// The TLS alert of who knows none of the protocols that were offered.
const NO_PROTOCOL: u8 = 120;

pub(super) async fn connect(endpoint: &Endpoint, to: &EndpointAddr, at_most: Duration) -> Result<Connection> {
    let options = ConnectOptions::new().with_transport_config(dialling());
    let connecting = async {
        let connecting = endpoint.connect_with_opts(to.clone(), ALPN, options).await.map_err(not_begun)?;
        connecting.await.map_err(not_made)
    };
    let late = |_| Error::new(ErrorKind::Unreachable, "nobody answers there");
    timeout(at_most, connecting).await.map_err(late)?
}

fn not_begun(error: ConnectWithOptsError) -> Error {
    let (kind, message) = match &error {
        ConnectWithOptsError::SelfConnect { .. } => {
            (ErrorKind::InvalidInput, "this is the address of this device itself")
        }
        ConnectWithOptsError::NoAddress { .. } => {
            let message = "nothing says where this peer is; a ticket does, or discovery, where it is on";
            (ErrorKind::Unreachable, message)
        }
        ConnectWithOptsError::EndpointClosed { .. } => return super::closed(),
        _ => (ErrorKind::Unreachable, "no connection can be made to the peer"),
    };
    Error::new(kind, message).caused_by(error)
}

fn not_made(error: ConnectingError) -> Error {
    let (kind, message) = match &error {
        ConnectingError::ConnectionError { source, .. } => reason(source),
        ConnectingError::HandshakeFailure { .. } => (ErrorKind::Unauthenticated, "the peer has proven no key"),
        _ => (ErrorKind::Unreachable, "no connection was made to the peer"),
    };
    Error::new(kind, message).caused_by(error)
}

fn reason(error: &ConnectionError) -> (ErrorKind, &'static str) {
    match error {
        // This side has ended the handshake, over what the other side showed.
        ConnectionError::TransportError(error) if (0x100..0x200).contains(&u64::from(error.code)) => {
            (ErrorKind::Unauthenticated, "who answers there has another key than the address names")
        }
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(NO_PROTOCOL) => {
            (ErrorKind::Unreachable, "who answers there speaks another protocol, or another version of this one")
        }
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
            (ErrorKind::Unreachable, "the peer is there, and takes no connections now")
        }
        ConnectionError::ApplicationClosed(close) if close.error_code == BUSY => {
            (ErrorKind::Busy, "the peer has too many connections")
        }
        ConnectionError::TimedOut => (ErrorKind::Unreachable, "nobody answers there"),
        _ => (ErrorKind::Unreachable, "the connection to the peer broke while it was made"),
    }
}
