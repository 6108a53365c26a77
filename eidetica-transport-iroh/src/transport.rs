//! The transport: both sides, and when they begin and end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{Address, CallOptions, Channel, Error, ErrorKind, Result, Service, Transport, TransportInfo};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::address::{device, parse, write};
use crate::client::{IrohChannel, closed};
use crate::deadline::after;
use crate::host::Host;
use crate::server::Serving;
use crate::settings::Settings;
use crate::{IrohTransportBuilder, SCHEME};

/// Dials peers and listens for them over QUIC, as the device that it runs on.
///
/// ```
/// use eidetica_contract::{CallOptions, Caller, Result, Service, Transport};
/// use eidetica_transport_iroh::{IrohTransport, RelayMode};
///
/// /// Says who has called.
/// struct Who;
///
/// #[async_trait::async_trait]
/// impl Service for Who {
///     async fn handle(&self, caller: Caller, _: bytes::Bytes) -> Result<bytes::Bytes> {
///         Ok(caller.proven.map(|key| key.to_string()).unwrap_or_default().into())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // On this machine, and nobody else is asked for anything.
/// let on = |secret| IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0").into_transport(secret);
/// let (listening, dialling) = (on([1; 32])?, on([2; 32])?);
/// listening.listen(std::sync::Arc::new(Who)).await?;
///
/// let channel = dialling.dial(&listening.addresses()[0], CallOptions::default()).await?;
/// let answer = channel.request("who am I?".into(), CallOptions::default()).await?;
/// assert!(answer.starts_with(b"ed25519:") && channel.peer().is_some(), "both know with whom they speak");
///
/// dialling.close().await?;
/// listening.close().await?;
/// # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
/// ```
///
/// Made by [`IrohTransport::builder`]. Dropping it ends both sides, as [`close`](Transport::close) does, which also waits until
/// peers have heard of it.
///
/// * The port is bound by the first [`dial`](Transport::dial) or [`listen`](Transport::listen), both of which use it, and stays so
///   until the end: it was never open for listening alone. Both may therefore answer [`ErrorKind::Locked`] for a port in use,
///   [`ErrorKind::PermissionDenied`] for one that needs a right, and [`ErrorKind::InvalidInput`] for an address that this
///   machine does not have. While nobody listens, connections are refused.
/// * [`dial`](Transport::dial) connects, so that it shows there who is not reached: after 8 seconds at most, unless the limits
///   say otherwise, since a closed UDP port answers nothing. The kept connection to a peer is used whatever address led to it.
/// * [`addresses`](Transport::addresses) is one ticket. It names more places as they are found, such as a relay; each of them is
///   good from its making on.
/// * [`Channel::request`] sends once. A refusal of the peer has the kind that its service gave, as far as that says something
///   about the request, else `Unreachable`. Dropping the call stops its stream, and the peer drops its work.
pub struct IrohTransport {
    host: Arc<Host>,
    listening: Mutex<Option<Listening>>,
    /// Held while listening begins.
    starting: tokio::sync::Mutex<()>,
}

struct Listening {
    /// Set to when the last request under way may end. Dropping it means now.
    stop: watch::Sender<Option<Instant>>,
    ended: watch::Receiver<bool>,
}

impl IrohTransport {
    /// Settings for one.
    ///
    /// ```
    /// use eidetica_contract::Transport;
    /// use eidetica_transport_iroh::{IrohTransport, RelayMode};
    ///
    /// let builder = IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0");
    /// // The seed of the key of the device; `register_transport` hands it over by itself.
    /// let transport = builder.into_transport([7; 32])?;
    /// assert!(transport.info().proves_identity);
    /// // Nothing is bound, and nobody is told, before it listens.
    /// assert!(transport.addresses().is_empty());
    /// # Ok::<(), eidetica_contract::Error>(())
    /// ```
    pub fn builder() -> IrohTransportBuilder {
        IrohTransportBuilder::new()
    }

    pub(crate) fn new(settings: Settings) -> IrohTransport {
        IrohTransport { host: Host::new(settings), listening: Mutex::default(), starting: Default::default() }
    }

    fn listening(&self) -> MutexGuard<'_, Option<Listening>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a listener that is about to end.
    fn ending(&self) -> Result<Option<watch::Receiver<bool>>> {
        match &*self.listening() {
            Some(listening) if *listening.ended.borrow() => Ok(None),
            Some(listening) if listening.stop.borrow().is_some() => Ok(Some(listening.ended.clone())),
            Some(_) => Err(Error::new(ErrorKind::AlreadyExists, "this transport listens already")),
            None => Ok(None),
        }
    }

    /// Begins to listen.
    async fn start(&self, service: Arc<dyn Service>) -> Result<()> {
        let _starting = self.starting.lock().await;
        self.host.bound()?;
        if let Some(mut ended) = self.ending()? {
            let _ = ended.wait_for(|ended| *ended).await;
        }
        self.host.endpoint().await?;
        let serving = Serving::new(service, &self.host.settings.limits);
        let (stop, stopped) = watch::channel(None);
        let (end, ended) = watch::channel(false);
        let mut listening = self.listening();
        // Looked at under the lock that closing takes after it has noted that it closes.
        if self.host.bound().is_err() {
            return Err(closed());
        }
        *listening = Some(Listening { stop, ended });
        let gate = self.host.gate.clone();
        gate.open(serving.clone());
        // Ends by `stop`, which it sees dropped as well.
        tokio::spawn(async move {
            serving.until_stopped(gate, stopped).await;
            end.send_replace(true);
        });
        Ok(())
    }
}

#[async_trait]
impl Transport for IrohTransport {
    fn info(&self) -> TransportInfo {
        TransportInfo::new(SCHEME, self.host.settings.limits.max_message).proves_identity()
    }

    fn addresses(&self) -> Vec<Address> {
        let listens = self.listening().as_ref().is_some_and(|listening| listening.stop.borrow().is_none());
        let endpoint = self.host.bound().ok().flatten().filter(|_| listens);
        endpoint.map(|endpoint| write(endpoint.addr())).into_iter().collect()
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        let channel = IrohChannel::new(&self.host, parse(address)?)?;
        channel.warm(options).await?;
        Ok(Box::new(channel))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        if !self.host.settings.listens {
            return Err(Error::new(ErrorKind::Unsupported, "this iroh transport was built to dial alone"));
        }
        self.start(service).await?;
        self.host.keep().await;
        Ok(())
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        let mut ended = {
            let listening = self.listening();
            let Some(listening) = &*listening else { return Ok(()) };
            // Whoever is in more of a hurry has it his way.
            let deadline = after(grace);
            listening.stop.send_if_modified(|stop| {
                let sooner = stop.is_none_or(|earlier| deadline < earlier);
                if sooner {
                    *stop = Some(deadline);
                }
                sooner
            });
            listening.ended.clone()
        };
        let _ = ended.wait_for(|ended| *ended).await;
        self.listening().take_if(|listening| *listening.ended.borrow());
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        let closing = self.host.close();
        self.stop_listening(Duration::ZERO).await?;
        closing.await;
        Ok(())
    }
}

impl Drop for IrohTransport {
    fn drop(&mut self) {
        drop(self.host.close());
    }
}

impl fmt::Debug for IrohTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrohTransport")
            .field("device", &device(self.host.settings.secret.public()))
            .field("bind", &self.host.settings.bind)
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}
