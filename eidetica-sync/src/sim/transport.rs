//! A transport over a simulated network.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Caller, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport, TransportBuilder,
    TransportContext, TransportInfo,
};
use tokio::time::{Instant, timeout_at};

use super::courier::{Answer, Slot};
use super::network::{Label, Network};
use super::serve::Listener;
use super::trace::Kind;
use crate::bell::Bell;
use crate::transport::too_large;

/// The scheme of its addresses.
const SCHEME: &str = "sim";
/// Stands for a deadline beyond what the clock can tell.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// One transport of a host in a [`Network`]: dials the names in it, and listens under its own.
///
/// A dial asks, in one round trip, who listens. Otherwise it keeps the contract as far as the network lets it.
pub struct SimTransport {
    network: Network,
    host: Arc<str>,
    max_message: usize,
    device: Option<PublicKey>,
    /// Rings when it is closed, by its owner or by a crash of its host; channels hear it.
    closed: Arc<Bell>,
    /// The number of the listener.
    listening: Mutex<Option<u64>>,
}

impl SimTransport {
    pub(super) fn new(network: Network, host: Arc<str>, closed: Arc<Bell>) -> SimTransport {
        SimTransport { network, host, max_message: 1 << 20, device: None, closed, listening: Mutex::new(None) }
    }

    /// Sets the largest message that it carries, in bytes; the contract asks for 16 KiB at least.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> SimTransport {
        self.max_message = bytes;
        self
    }

    /// Makes it vouch for this device key, as a transport does that proves keys by itself.
    #[must_use]
    pub fn proves(mut self, device: PublicKey) -> SimTransport {
        self.device = Some(device);
        self
    }

    /// The address under which it listens.
    pub fn address(&self) -> Address {
        Address::new(SCHEME, &*self.host)
    }

    fn listening(&self) -> MutexGuard<'_, Option<u64>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<()> {
        if self.closed.rings() > 0 { Err(closed()) } else { Ok(()) }
    }

    /// Takes the listener off the network, if it is still there.
    fn take_listener(&self) -> Option<Listener> {
        let number = self.listening().take()?;
        let mut state = self.network.state();
        let same = state.listeners.get(&self.host).is_some_and(|listener| listener.number == number);
        if same { state.listeners.remove(&self.host) } else { None }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "this transport has been closed")
}

#[async_trait]
impl Transport for SimTransport {
    fn info(&self) -> TransportInfo {
        let info = TransportInfo::new(SCHEME, self.max_message);
        if self.device.is_some() { info.proves_identity() } else { info }
    }

    fn addresses(&self) -> Vec<Address> {
        let number = *self.listening();
        let state = self.network.state();
        let here = state.listeners.get(&self.host).map(|listener| listener.number);
        if number.is_some() && number == here { vec![self.address()] } else { Vec::new() }
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        self.open()?;
        if address.transport_type != SCHEME {
            let message = "this transport dials addresses of the scheme `sim` alone";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("scheme", &address.transport_type));
        }
        let mut caller = Caller::unknown().origin(&*self.host);
        caller.proven = self.device;
        let mut channel = SimChannel {
            network: self.network.clone(),
            from: self.host.clone(),
            to: address.address.as_str().into(),
            caller,
            max_message: self.max_message,
            peer: None,
            closed: self.closed.clone(),
        };
        let answer = channel.call(Kind::Dial, Bytes::new(), options).await?;
        answer.result?;
        // Whoever vouches for his own key wants to know the other one before anything is said.
        channel.peer = answer.device.filter(|_| self.device.is_some());
        Ok(Box::new(channel))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        self.open()?;
        let mut listening = self.listening();
        let mut state = self.network.state();
        let there = state.listeners.get(&self.host).map(|listener| listener.number);
        if there.is_some() && there == *listening {
            return Err(Error::new(ErrorKind::AlreadyExists, "this transport listens already"));
        }
        if there.is_some() {
            let message = "another transport listens under this name";
            return Err(Error::new(ErrorKind::Locked, message).with("name", &self.host));
        }
        let number = state.number();
        let listener = Listener::new(number, service, self.device, self.max_message);
        state.listeners.insert(self.host.clone(), listener);
        *listening = Some(number);
        Ok(())
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        let Some(mut listener) = self.take_listener() else { return Ok(()) };
        let end = Instant::now().checked_add(grace.min(FAR)).unwrap_or_else(Instant::now);
        let _ = timeout_at(end, async { while listener.tasks.join_next().await.is_some() {} }).await;
        listener.tasks.shutdown().await;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.closed.ring();
        self.stop_listening(Duration::ZERO).await
    }
}

/// A node is given the transport itself, which needs nothing of it.
#[async_trait]
impl TransportBuilder for SimTransport {
    async fn build(self: Box<Self>, _: TransportContext) -> Result<Box<dyn Transport>> {
        Ok(self)
    }
}

impl Drop for SimTransport {
    fn drop(&mut self) {
        // Channels that are still held answer that it has been closed.
        self.closed.ring();
        drop(self.take_listener());
    }
}

impl fmt::Debug for SimTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTransport").field("host", &self.host).field("info", &self.info()).finish_non_exhaustive()
    }
}

struct SimChannel {
    network: Network,
    from: Arc<str>,
    to: Arc<str>,
    caller: Caller,
    max_message: usize,
    peer: Option<PublicKey>,
    closed: Arc<Bell>,
}

impl SimChannel {
    async fn call(&self, kind: Kind, message: Bytes, options: CallOptions) -> Result<Answer> {
        if self.closed.rings() > 0 {
            return Err(closed());
        }
        let mut waiting = Slot::begin();
        let number = self.network.state().number();
        let label = Label { message: number, from: self.from.clone(), to: self.to.clone(), kind };
        self.network.inner.send(label, message, self.caller.clone(), waiting.slot.clone());
        let deadline = Instant::now() + options.timeout.min(FAR);
        // The slot is held here as well, so a message that was lost leaves the caller waiting.
        tokio::select! {
            biased;
            () = self.closed.after(0) => Err(closed()),
            answered = timeout_at(deadline, &mut waiting.answered) => match answered {
                Ok(Ok(answer)) => answer,
                _ => Err(Error::new(ErrorKind::Timeout, "no answer in time").with("name", &self.to)),
            },
        }
    }
}

#[async_trait]
impl Channel for SimChannel {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        if message.len() > self.max_message {
            return Err(too_large(message.len(), self.max_message));
        }
        let answer = self.call(Kind::Request, message, options).await?;
        let reply = answer.result?;
        let limit = self.max_message.min(answer.max_message);
        if reply.len() > limit {
            return Err(too_large(reply.len(), limit));
        }
        if self.peer.is_some() && answer.device != self.peer {
            return Err(Error::new(ErrorKind::Unreachable, "somebody else listens under this name now"));
        }
        Ok(reply)
    }

    fn peer(&self) -> Option<PublicKey> {
        self.peer
    }
}
