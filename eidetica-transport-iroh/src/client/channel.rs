//! One request and its answer.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{CallOptions, Channel, Error, ErrorKind, PublicKey, Result};
use iroh::EndpointAddr;
use iroh::endpoint::{ReadError, RecvStream, WriteError};
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::closed;
use super::line::Line;
use crate::address::device;
use crate::codes::{lost, understood};
use crate::deadline::after;
use crate::frame::{Sending, Unread, length, rest};
use crate::host::Host;

/// A way to one peer, over a connection that is shared with other channels to it.
pub(crate) struct IrohChannel {
    host: Arc<Host>,
    to: EndpointAddr,
    line: Arc<Line>,
    closed: watch::Receiver<bool>,
}

impl IrohChannel {
    /// A channel to this peer; nothing is connected yet. Errors: `Closed`.
    pub(crate) fn new(host: &Arc<Host>, to: EndpointAddr) -> Result<IrohChannel> {
        let (line, closed) = (host.client.line(to.id)?, host.client.closed.subscribe());
        Ok(IrohChannel { host: host.clone(), to, line, closed })
    }

    /// Makes sure that there is a connection.
    pub(crate) async fn warm(&self, options: CallOptions) -> Result<()> {
        let warm = async { self.line.warm(&self.host.endpoint().await?, &self.to).await };
        self.within(options, warm).await
    }

    /// Runs a call until its deadline, or until the transport is closed.
    async fn within<T>(&self, options: CallOptions, call: impl Future<Output = Result<T>>) -> Result<T> {
        let mut end = self.closed.clone();
        let late = |_| Error::new(ErrorKind::Timeout, "no answer in time");
        let called = tokio::select! {
            biased;
            _ = end.wait_for(|closed| *closed) => Err(closed()),
            called = timeout_at(after(options.timeout), call) => called.map_err(late).flatten(),
        };
        called.map_err(|error| error.with("peer", device(self.to.id)))
    }

    async fn call(&self, message: Bytes) -> Result<Bytes> {
        let _place = self.line.place(message.len()).await.ok_or_else(closed)?;
        let endpoint = self.host.endpoint().await?;
        let (_call, send, mut receive) = self.line.open(&endpoint, &self.to).await?;
        // From here on the peer may have seen it. Dropping the streams tells the peer that nobody waits any more.
        let mut send = Sending::new(send);
        match send.send(message).await {
            // Who stops a request that is not whole says why where the answer would be.
            Ok(()) | Err(WriteError::Stopped(_)) => {}
            Err(WriteError::ConnectionLost(error)) => return Err(lost(error)),
            Err(error) => return Err(Error::new(ErrorKind::Unreachable, "cannot be sent").caused_by(error)),
        }
        self.answer(&mut receive).await.map_err(|unread| match unread {
            Unread::TooLarge => {
                let message = "the answer is larger than the transport carries";
                Error::new(ErrorKind::TooLarge, message).with("limit", self.host.settings.limits.max_message)
            }
            Unread::Broken => Error::new(ErrorKind::Unreachable, "what came is no answer"),
            Unread::Lost(ReadError::Reset(code)) => understood(code),
            Unread::Lost(ReadError::ConnectionLost(error)) => lost(error),
            Unread::Lost(error) => Error::new(ErrorKind::Unreachable, "no answer can be read").caused_by(error),
        })
    }

    async fn answer(&self, receive: &mut RecvStream) -> Result<Bytes, Unread> {
        let len = length(receive, self.host.settings.limits.max_message).await?;
        rest(receive, len).await
    }
}

#[async_trait]
impl Channel for IrohChannel {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        let limit = self.host.settings.limits.max_message;
        if message.len() > limit {
            let error = Error::new(ErrorKind::TooLarge, "the message is larger than the transport carries");
            return Err(error.with("bytes", message.len()).with("limit", limit));
        }
        self.within(options, self.call(message)).await
    }

    fn peer(&self) -> Option<PublicKey> {
        Some(device(self.to.id))
    }
}
