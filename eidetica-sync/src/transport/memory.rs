//! A transport in memory: the contract of [`Transport`], written down as code.
//!
//! Whoever writes another transport can read here what each method means. Requests run in tasks of their own, so they
//! are as concurrent as over a network.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Caller, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport, TransportBuilder,
    TransportContext, TransportInfo,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// The scheme of its addresses.
const SCHEME: &str = "memory";
/// How many requests a listener works on at once; more wait.
const AT_ONCE: usize = 1024;

/// What transports in memory reach each other through. Two networks know nothing of each other.
///
/// ```
/// use eidetica_sync::transport::MemoryNetwork;
///
/// let network = MemoryNetwork::new();
/// let (anna, ben) = (network.transport("anna"), network.transport("ben").max_message(64 << 10));
/// # let _ = (anna, ben);
/// ```
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<BTreeMap<String, mpsc::Sender<Delivery>>>>);

impl MemoryNetwork {
    /// A network that nobody is in.
    pub fn new() -> MemoryNetwork {
        MemoryNetwork::default()
    }

    /// A transport that listens under this name and carries 1 MiB.
    pub fn transport(&self, name: impl Into<String>) -> MemoryTransport {
        let (closed, _) = watch::channel(false);
        let (network, name) = (self.clone(), name.into());
        MemoryTransport {
            network,
            name,
            max_message: 1 << 20,
            device: None,
            dial_only: false,
            closed,
            listening: Mutex::new(None),
        }
    }

    /// What makes such a transport when it is registered.
    pub fn builder(&self, name: impl Into<String>) -> MemoryTransportBuilder {
        MemoryTransportBuilder(self.transport(name))
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Delivery>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryNetwork").field(&self.names().keys().collect::<Vec<_>>()).finish()
    }
}

/// A request on its way to a listener.
struct Delivery {
    caller: Caller,
    /// `None` asks who listens.
    message: Option<Bytes>,
    answer: oneshot::Sender<Result<Answer>>,
}

struct Answer {
    message: Bytes,
    device: Option<PublicKey>,
    max_message: usize,
}

/// One transport in a [`MemoryNetwork`]: dials the names in it, and listens under its own.
pub struct MemoryTransport {
    network: MemoryNetwork,
    name: String,
    max_message: usize,
    device: Option<PublicKey>,
    dial_only: bool,
    /// True once it is closed; channels watch it.
    closed: watch::Sender<bool>,
    listening: Mutex<Option<Listening>>,
}

/// Hands over a transport in memory when it is registered.
#[derive(Debug)]
pub struct MemoryTransportBuilder(MemoryTransport);

impl MemoryTransportBuilder {
    /// Makes it dial alone: `listen` is `Unsupported`.
    #[must_use]
    pub fn dial_only(mut self) -> MemoryTransportBuilder {
        self.0.dial_only = true;
        self
    }
}

#[async_trait]
impl TransportBuilder for MemoryTransportBuilder {
    async fn build(self: Box<Self>, _: TransportContext) -> Result<Box<dyn Transport>> {
        Ok(Box::new(self.0))
    }
}

struct Listening {
    /// Says how long requests under way may still take, when it ends.
    stop: oneshot::Sender<Duration>,
    ended: oneshot::Receiver<()>,
}

impl MemoryTransport {
    /// Sets the largest message that it carries, in bytes; the contract asks for 16 KiB at least.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> MemoryTransport {
        self.max_message = bytes;
        self
    }

    /// Makes it vouch for this device key, as a transport does that proves keys by itself.
    #[must_use]
    pub fn proves(mut self, device: PublicKey) -> MemoryTransport {
        self.device = Some(device);
        self
    }

    fn listening(&self) -> MutexGuard<'_, Option<Listening>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<()> {
        if *self.closed.borrow() {
            Err(Error::new(ErrorKind::Closed, "this transport has been closed"))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn info(&self) -> TransportInfo {
        let info = TransportInfo::new(SCHEME, self.max_message);
        if self.device.is_some() { info.proves_identity() } else { info }
    }

    fn addresses(&self) -> Vec<Address> {
        let listens = self.listening().is_some();
        listens.then(|| Address::new(SCHEME, self.name.clone())).into_iter().collect()
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        self.open()?;
        if address.transport_type != SCHEME {
            let message = "this transport dials addresses of the scheme `memory` alone";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("scheme", &address.transport_type));
        }
        let mut caller = Caller::unknown().origin(self.name.clone());
        caller.proven = self.device;
        let (network, name, closed) = (self.network.clone(), address.address.clone(), self.closed.subscribe());
        let mut channel = MemoryChannel { network, name, caller, max_message: self.max_message, peer: None, closed };
        // Whoever vouches for his own key wants to know the other one before anything is said.
        channel.peer = channel.deliver(None, options).await?.device.filter(|_| self.device.is_some());
        Ok(Box::new(channel))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        self.open()?;
        if self.dial_only {
            return Err(Error::new(ErrorKind::Unsupported, "this transport in memory was built to dial alone"));
        }
        let mut listening = self.listening();
        if listening.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, "this transport listens already"));
        }
        let (sender, requests) = mpsc::channel(AT_ONCE);
        let mut names = self.network.names();
        if names.contains_key(&self.name) {
            let message = "another transport listens under this name";
            return Err(Error::new(ErrorKind::Locked, message).with("name", &self.name));
        }
        names.insert(self.name.clone(), sender);
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (device, max_message) = (self.device, self.max_message);
        tokio::spawn(async move {
            serve(service, requests, stopped, device, max_message).await;
            let _ = end.send(());
        });
        *listening = Some(Listening { stop, ended });
        Ok(())
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        let Some(listening) = self.listening().take() else { return Ok(()) };
        self.network.names().remove(&self.name);
        let _ = listening.stop.send(grace);
        let _ = listening.ended.await;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.closed.send_replace(true);
        self.stop_listening(Duration::ZERO).await
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        // The task of the listener sees that nobody can stop it any more, and ends.
        if self.listening().take().is_some() {
            self.network.names().remove(&self.name);
        }
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").field("name", &self.name).field("info", &self.info()).finish_non_exhaustive()
    }
}

/// Serves until it is told to stop, then for the grace period.
async fn serve(
    service: Arc<dyn Service>,
    mut requests: mpsc::Receiver<Delivery>,
    mut stopped: oneshot::Receiver<Duration>,
    device: Option<PublicKey>,
    max_message: usize,
) {
    let mut tasks = JoinSet::new();
    let grace = loop {
        tokio::select! {
            biased;
            grace = &mut stopped => break grace.unwrap_or_default(),
            // Tasks that have ended are let go of at once.
            Some(_) = tasks.join_next() => {}
            Some(delivery) = requests.recv(), if tasks.len() < AT_ONCE => {
                tasks.spawn(answer(service.clone(), delivery, device, max_message));
            }
        }
    };
    // Whoever is still in the queue gets no answer, and so learns that nobody is there.
    drop(requests);
    let _ = timeout_at(Instant::now() + grace, async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
}

async fn answer(service: Arc<dyn Service>, delivery: Delivery, device: Option<PublicKey>, max_message: usize) {
    let Delivery { caller, message, answer: mut back } = delivery;
    let Some(message) = message else {
        let _ = back.send(Ok(Answer { message: Bytes::new(), device, max_message }));
        return;
    };
    if message.len() > max_message {
        let _ = back.send(Err(too_large(message.len(), max_message)));
        return;
    }
    // The caller may go while the service works; dropping the work then ends it.
    let handled = tokio::select! {
        () = back.closed() => return,
        handled = unless_it_panics(service.handle(caller, message)) => handled,
    };
    let _ = back.send(handled.map(|message| Answer { message, device, max_message }));
}

/// A service that panics costs the one request.
pub(crate) async fn unless_it_panics(work: impl Future<Output = Result<Bytes>>) -> Result<Bytes> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let message = "the other side failed while it worked on the request";
            Poll::Ready(Err(Error::new(ErrorKind::Unreachable, message)))
        })
    })
    .await
}

struct MemoryChannel {
    network: MemoryNetwork,
    name: String,
    caller: Caller,
    max_message: usize,
    peer: Option<PublicKey>,
    closed: watch::Receiver<bool>,
}

impl MemoryChannel {
    async fn deliver(&self, message: Option<Bytes>, options: CallOptions) -> Result<Answer> {
        let unreachable =
            || Error::new(ErrorKind::Unreachable, "nobody listens under this name").with("name", &self.name);
        let mut closed = self.closed.clone();
        let call = async {
            let listener = self.network.names().get(&self.name).cloned().ok_or_else(unreachable)?;
            let (answer, answered) = oneshot::channel();
            let delivery = Delivery { caller: self.caller.clone(), message, answer };
            listener.send(delivery).await.map_err(|_| unreachable())?;
            drop(listener);
            answered.await.map_err(|_| unreachable())?
        };
        let late = |_| Error::new(ErrorKind::Timeout, "no answer in time").with("name", &self.name);
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(Error::new(ErrorKind::Closed, "this transport has been closed")),
            answered = timeout_at(Instant::now() + options.timeout, call) => answered.map_err(late)?,
        }
    }
}

#[async_trait]
impl Channel for MemoryChannel {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        if message.len() > self.max_message {
            return Err(too_large(message.len(), self.max_message));
        }
        let answer = self.deliver(Some(message), options).await?;
        let limit = self.max_message.min(answer.max_message);
        if answer.message.len() > limit {
            return Err(too_large(answer.message.len(), limit));
        }
        if self.peer.is_some() && answer.device != self.peer {
            return Err(Error::new(ErrorKind::Unreachable, "somebody else listens under this name now"));
        }
        Ok(answer.message)
    }

    fn peer(&self) -> Option<PublicKey> {
        self.peer
    }
}

pub(crate) fn too_large(bytes: usize, limit: usize) -> Error {
    let message = "the message is larger than the transport carries";
    Error::new(ErrorKind::TooLarge, message).with("bytes", bytes).with("limit", limit)
}
