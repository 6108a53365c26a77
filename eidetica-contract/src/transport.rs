//! The contract of a transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Address, PublicKey, Result};

/// Moves one opaque message to a peer and one back.
///
/// A transport holds no trust, no state of the protocol and no knowledge of it: sessions above it authenticate and encrypt,
/// cut what is larger than [`TransportInfo::max_message`], and repeat what was lost.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// What this transport is. Constant; never waits.
    fn info(&self) -> TransportInfo;

    /// The addresses under which peers can reach this process now: empty unless it listens.
    fn addresses(&self) -> Vec<Address>;

    /// Opens a channel to a peer.
    ///
    /// A transport may connect at once or with the first request. Errors: [`ErrorKind::InvalidInput`] for an address of
    /// another scheme or one that cannot be read; [`ErrorKind::Unreachable`]; [`ErrorKind::Timeout`] at the deadline of
    /// the options; [`ErrorKind::Unauthenticated`] if the address names a key and the peer proved another.
    ///
    /// Cancellation: when the future is dropped, nothing stays behind.
    ///
    /// [`ErrorKind::InvalidInput`]: crate::ErrorKind::InvalidInput
    /// [`ErrorKind::Unreachable`]: crate::ErrorKind::Unreachable
    /// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
    /// [`ErrorKind::Unauthenticated`]: crate::ErrorKind::Unauthenticated
    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>>;

    /// Accepts requests and hands them to the service.
    ///
    /// When it returns, the address is bound and [`addresses`](Transport::addresses) names it. While it listens already:
    /// [`ErrorKind::AlreadyExists`]; a transport built for dialling only: [`ErrorKind::Unsupported`]; an address in use:
    /// [`ErrorKind::Locked`]. What a process that has ended left at an address, such as the file of a socket, is no use of it.
    ///
    /// An error of the service is an error at the caller: of the same kind, or [`ErrorKind::Unreachable`] where that kind speaks of this process alone, or the
    /// transport carries no kinds. Its message and its context need not cross, and a stranger must not see them: they may name files of this process.
    /// A service that panics costs the one request, which the caller sees as an error.
    ///
    /// Cancellation: it listens or it does not; calling [`stop_listening`](Transport::stop_listening) settles it.
    ///
    /// [`ErrorKind::AlreadyExists`]: crate::ErrorKind::AlreadyExists
    /// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
    /// [`ErrorKind::Locked`]: crate::ErrorKind::Locked
    /// [`ErrorKind::Unreachable`]: crate::ErrorKind::Unreachable
    async fn listen(&self, service: Arc<dyn Service>) -> Result<()>;

    /// Stops accepting, waits at most `grace` for requests under way, then drops them. On return no further request reaches
    /// the service, and a port that was open for listening alone is free.
    ///
    /// Afterwards it may listen again. Succeeds at once if it does not listen. Returns at most one second after the grace period.
    async fn stop_listening(&self, grace: Duration) -> Result<()>;

    /// Stops listening without grace, closes all channels and ends all tasks. From then on dialling, listening and requests answer
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed), those that were under way, too. Calling it again does nothing.
    async fn close(&self) -> Result<()>;
}

/// What a transport is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportInfo {
    /// The scheme of the addresses that it dials; requests are routed by it.
    pub scheme: String,
    /// The largest message, in bytes, that it carries in either direction; at least 16 KiB.
    pub max_message: usize,
    /// True if [`Channel::peer`] and [`Caller::proven`] name device keys that the transport itself has proven.
    pub proves_identity: bool,
}

impl TransportInfo {
    /// A transport that proves no identity.
    pub fn new(scheme: impl Into<String>, max_message: usize) -> TransportInfo {
        TransportInfo { scheme: scheme.into(), max_message, proves_identity: false }
    }

    /// Declares that it proves the device key of both sides.
    #[must_use]
    pub fn proves_identity(mut self) -> TransportInfo {
        self.proves_identity = true;
        self
    }
}

/// A way to one peer.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Sends a message and waits for its answer.
    ///
    /// Any number of requests may be under way at once, and their answers may come in any order; each request gets its own.
    /// The peer's service sees a request at most once: a transport never repeats one by itself.
    ///
    /// A channel is no connection: after one was lost, or was ended as idle, the next request may make another. Where it does not, that
    /// request and all later ones answer `Unreachable`, and whoever has asked dials again.
    ///
    /// Errors: [`TooLarge`](crate::ErrorKind::TooLarge) before anything is sent; `Timeout` at the deadline; `Unreachable`
    /// when the connection is lost; `Closed` when the transport of this side was closed; those of the service, as
    /// [`listen`](Transport::listen) says. After `Timeout` and `Unreachable` it is unknown whether the peer has seen the request.
    ///
    /// Cancellation: dropping the future abandons the call; the peer may or may not have seen it.
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes>;

    /// The device key that the transport itself has proven for the other side, if it proves any.
    fn peer(&self) -> Option<PublicKey>;
}

/// Limits of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// How long the call may take as a whole. Default: 30 seconds.
    pub timeout: Duration,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions { timeout: Duration::from_secs(30) }
    }
}

impl CallOptions {
    /// A call that may take so long.
    pub fn timeout(timeout: Duration) -> CallOptions {
        CallOptions { timeout }
    }
}

/// What answers the requests that a transport receives. Implemented above the contract, called by transports.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers one message.
    ///
    /// A transport may drop the future at any await, for example when the caller has gone; the service sees to it that
    /// work which must finish runs in a task of its own. Any number of calls may be under way at once.
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes>;
}

/// Who sent a request, as far as the transport knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The device key that the transport itself has proven.
    pub proven: Option<PublicKey>,
    /// Where the request came from, for logs and for limits per origin: an IP address, for example.
    pub origin: Option<String>,
    hears: Option<Hears>,
}

/// Where a transport hears what a service knows of a caller.
#[derive(Clone)]
struct Hears(Arc<dyn Fn(Option<PublicKey>) + Send + Sync>);

impl fmt::Debug for Hears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hears")
    }
}

impl PartialEq for Hears {
    fn eq(&self, other: &Hears) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Hears {}

impl Caller {
    /// A caller of whom nothing is known.
    pub fn unknown() -> Caller {
        Caller::default()
    }

    /// Sets the proven key.
    #[must_use]
    pub fn proven(mut self, key: PublicKey) -> Caller {
        self.proven = Some(key);
        self
    }

    /// Sets the origin.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Caller {
        self.origin = Some(origin.into());
        self
    }

    /// Sets where the transport hears what the service says by [`vouch`](Caller::vouch): at once, and on the task of the service. A
    /// transport that shares out places by origin may count those of a caller that the service vouches for by its key instead, so that
    /// it does not lose them to others behind the same address.
    #[must_use]
    pub fn hears(mut self, hear: impl Fn(Option<PublicKey>) + Send + Sync + 'static) -> Caller {
        self.hears = Some(Hears(Arc::new(hear)));
        self
    }

    /// Says to the transport, if it wants to hear it, who has sent this request: the proven key of a peer that the service knows, or
    /// `None` for one that might be anybody, who has as many keys as he likes. A service that does not know either says nothing.
    pub fn vouch(&self, key: Option<PublicKey>) {
        if let Some(Hears(hear)) = &self.hears {
            hear(key);
        }
    }
}

/// Makes a transport when an application registers it.
#[async_trait]
pub trait TransportBuilder: Send + 'static {
    /// True if [`TransportContext::device_secret`] is needed. A builder that was linked gets it; one that was loaded at run
    /// time gets it only if the application said so.
    fn wants_device_secret(&self) -> bool {
        false
    }

    /// Builds the transport. It does not listen yet, and opens no connection.
    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>>;
}

/// So that what a registry gives is used as what an application makes.
#[async_trait]
impl TransportBuilder for Box<dyn TransportBuilder> {
    fn wants_device_secret(&self) -> bool {
        (**self).wants_device_secret()
    }

    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>> {
        (*self).build(context).await
    }
}

/// What a transport is given when it is built.
#[non_exhaustive]
pub struct TransportContext {
    /// The public key of this device.
    pub device: PublicKey,
    /// The Ed25519 seed of the device key, if the builder asked for it and may have it.
    pub device_secret: Option<[u8; 32]>,
    /// A place for a small state that survives restarts.
    pub state: Arc<dyn TransportState>,
}

impl TransportContext {
    /// A context without the device secret.
    pub fn new(device: PublicKey, state: Arc<dyn TransportState>) -> TransportContext {
        TransportContext { device, device_secret: None, state }
    }

    /// Hands over the device secret.
    #[must_use]
    pub fn with_secret(mut self, seed: [u8; 32]) -> TransportContext {
        self.device_secret = Some(seed);
        self
    }
}

impl fmt::Debug for TransportContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.device_secret.is_some() { "present" } else { "absent" };
        f.debug_struct("TransportContext").field("device", &self.device).field("device_secret", &secret).finish()
    }
}

/// A small persistent state of one transport: at most 64 KiB under one name.
#[async_trait]
pub trait TransportState: Send + Sync {
    /// What was saved last, if anything was.
    async fn load(&self) -> Result<Option<Bytes>>;

    /// Replaces the state, atomically; durable on return. Larger than 64 KiB: [`TooLarge`](crate::ErrorKind::TooLarge).
    async fn save(&self, state: Bytes) -> Result<()>;
}
