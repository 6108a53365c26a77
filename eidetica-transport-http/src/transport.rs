//! The transport: both sides, and when they begin and end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::HeaderName;
use eidetica_contract::{Address, CallOptions, Channel, Error, ErrorKind, Result, Service, Transport, TransportInfo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Client, closed};
use crate::deadline::after;
use crate::endpoint::Target;
use crate::kept::Kept;
use crate::server::{Gate, Serving, bind, reachable, serve};
use crate::{HttpLimits, HttpTransportBuilder, SCHEME};

/// Dials peers over HTTP, and listens for them if it is told where.
///
/// ```
/// use eidetica_contract::{CallOptions, Caller, Result, Service, Transport};
/// use eidetica_transport_http::HttpTransport;
///
/// /// Says back what it hears.
/// struct Echo;
///
/// #[async_trait::async_trait]
/// impl Service for Echo {
///     async fn handle(&self, _: Caller, message: bytes::Bytes) -> Result<bytes::Bytes> {
///         Ok(message)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let listening = HttpTransport::builder().bind("127.0.0.1:0").into_transport()?;
/// listening.listen(std::sync::Arc::new(Echo)).await?;
///
/// // Without an address to bind it dials alone.
/// let dialling = HttpTransport::builder().into_transport()?;
/// let channel = dialling.dial(&listening.addresses()[0], CallOptions::default()).await?;
/// assert_eq!(channel.request("hello".into(), CallOptions::default()).await?, "hello");
///
/// listening.close().await?;
/// assert!(channel.request("hello".into(), CallOptions::default()).await.is_err());
/// # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
/// ```
///
/// Made by [`HttpTransport::builder`]. Dropping it ends both sides at once, as [`close`](Transport::close) does.
///
/// * [`dial`](Transport::dial) connects, so that a refused connection shows there. A host name is looked up by the system.
/// * [`listen`](Transport::listen): besides the errors of the contract, [`ErrorKind::PermissionDenied`] where a port needs a
///   right, and [`ErrorKind::InvalidInput`] for an address that this machine does not have.
/// * [`Channel::request`] sends once, and waits within its deadline for one of the connections
///   ([`HttpLimits::connections_per_peer`]). A refusal of the peer has the kind that its service gave, as far as that says
///   something about the request, else `Unreachable`. Dropping the call closes its connection, by which the peer notices.
pub struct HttpTransport {
    bind: Option<String>,
    advertised: Vec<Address>,
    limits: HttpLimits,
    origin_header: Option<HeaderName>,
    /// Where the port of the last run is found, for a transport within a store.
    kept: Option<Kept>,
    gate: Arc<Gate>,
    client: Arc<Client>,
    state: Mutex<State>,
    /// Held while listening begins, which includes looking up the name to bind.
    starting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    listening: Option<Listening>,
    closed: bool,
}

struct Listening {
    bound: Option<SocketAddr>,
    /// Set to when the last request under way may end. Dropping it means now.
    stop: watch::Sender<Option<Instant>>,
    ended: watch::Receiver<bool>,
}

impl HttpTransport {
    /// Settings for one; without any it dials alone.
    ///
    /// ```
    /// use eidetica_contract::Transport;
    /// use eidetica_transport_http::HttpTransport;
    ///
    /// let transport = HttpTransport::builder().bind("127.0.0.1:0").advertise("https://peer.example.com").into_transport()?;
    /// assert_eq!(transport.info().scheme, "http");
    /// // What others are told, from when it listens.
    /// assert!(transport.addresses().is_empty());
    /// # Ok::<(), eidetica_contract::Error>(())
    /// ```
    pub fn builder() -> HttpTransportBuilder {
        HttpTransportBuilder::new()
    }

    pub(crate) fn new(
        bind: Option<String>,
        advertised: Vec<Address>,
        limits: HttpLimits,
        origin_header: Option<HeaderName>,
        gate: Arc<Gate>,
        client: Arc<Client>,
    ) -> HttpTransport {
        let (state, starting) = (Mutex::default(), tokio::sync::Mutex::default());
        HttpTransport { bind, advertised, limits, origin_header, kept: None, gate, client, state, starting }
    }

    pub(crate) fn keeping(self, kept: Kept) -> HttpTransport {
        HttpTransport { kept: Some(kept), ..self }
    }

    /// Routes to mount into a server of the application; see [`HttpTransportBuilder::router`].
    pub fn router(&self) -> Router {
        self.gate.mount()
    }

    /// Binds this; where any port will do, that of the last run, if it is free.
    async fn bind(&self, wanted: &str) -> Result<TcpListener> {
        if let Some(again) = self.kept.as_ref().and_then(|kept| kept.again(wanted)) {
            match bind(&again).await {
                Ok(listener) => return Ok(listener),
                Err(error) => tracing::debug!(%error, "the port of the last run is not free"),
            }
        }
        let listener = bind(wanted).await?;
        if let (Some(kept), Ok(bound)) = (&self.kept, listener.local_addr()) {
            kept.keep(wanted, bound.port()).await;
        }
        Ok(listener)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a listener that is about to end.
    fn ending(&self) -> Result<Option<watch::Receiver<bool>>> {
        let state = self.state();
        match &state.listening {
            _ if state.closed => Err(closed()),
            Some(listening) if *listening.ended.borrow() => Ok(None),
            Some(listening) if listening.stop.borrow().is_some() => Ok(Some(listening.ended.clone())),
            Some(_) => Err(Error::new(ErrorKind::AlreadyExists, "this transport listens already")),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    fn info(&self) -> TransportInfo {
        TransportInfo::new(SCHEME, self.limits.max_message)
    }

    fn addresses(&self) -> Vec<Address> {
        let state = self.state();
        let Some(listening) = state.listening.as_ref().filter(|listening| listening.stop.borrow().is_none()) else {
            return Vec::new();
        };
        if !self.advertised.is_empty() {
            return self.advertised.clone();
        }
        let bound = listening.bound.map(reachable).unwrap_or_default();
        bound.into_iter().map(|address| Address::http(address.to_string())).collect()
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        let channel = self.client.channel(Target::parse(address)?)?;
        channel.warm(options).await?;
        Ok(Box::new(channel))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        let _starting = self.starting.lock().await;
        if let Some(mut ended) = self.ending()? {
            let _ = ended.wait_for(|ended| *ended).await;
        }
        let listener = match &self.bind {
            Some(address) => Some(self.bind(address).await?),
            None if self.gate.is_mounted() => None,
            None => {
                let message = "this HTTP transport was built without an address to bind, and so dials alone";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        let bound = match &listener {
            Some(listener) => {
                let bound = listener.local_addr();
                Some(bound.map_err(|error| Error::new(ErrorKind::Io, "cannot listen").caused_by(error))?)
            }
            None => None,
        };
        let serving = Serving::new(service, self.limits.clone(), self.origin_header.clone());
        let (stop, mut stopped) = watch::channel(None);
        let (end, ended) = watch::channel(false);
        let mut state = self.state();
        if state.closed {
            return Err(closed());
        }
        state.listening = Some(Listening { bound, stop, ended });
        self.gate.open(serving.clone());
        let gate = self.gate.clone();
        // Ends by `stop`, which it sees dropped as well.
        tokio::spawn(async move {
            match listener {
                Some(listener) => serve(listener, gate, serving, stopped).await,
                None => {
                    let _ = stopped.wait_for(Option::is_some).await;
                    gate.shut(&serving);
                    serving.drain(&mut stopped).await;
                }
            }
            end.send_replace(true);
        });
        Ok(())
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        let mut ended = {
            let state = self.state();
            let Some(listening) = &state.listening else { return Ok(()) };
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
        self.state().listening.take_if(|listening| *listening.ended.borrow());
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.state().closed = true;
        self.client.close();
        self.stop_listening(Duration::ZERO).await
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("bind", &self.bind)
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}
