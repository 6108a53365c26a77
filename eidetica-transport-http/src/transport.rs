//! The transport: both sides, and when they begin and end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use eidetica_contract::{Address, CallOptions, Channel, Error, ErrorKind, Result, Service, Transport, TransportInfo};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Client, closed};
use crate::deadline::after;
use crate::endpoint::Target;
use crate::server::{Gate, Serving, bind, reachable, serve};
use crate::{HttpLimits, HttpTransportBuilder, SCHEME};

/// Dials peers over HTTP, and listens for them if it is told where.
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
    pub fn builder() -> HttpTransportBuilder {
        HttpTransportBuilder::new()
    }

    pub(crate) fn new(
        bind: Option<String>,
        advertised: Vec<Address>,
        limits: HttpLimits,
        gate: Arc<Gate>,
        client: Arc<Client>,
    ) -> HttpTransport {
        let (state, starting) = (Mutex::default(), tokio::sync::Mutex::default());
        HttpTransport { bind, advertised, limits, gate, client, state, starting }
    }

    /// Routes to mount into a server of the application; see [`HttpTransportBuilder::router`].
    pub fn router(&self) -> Router {
        self.gate.mount()
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
            Some(address) => Some(bind(address).await?),
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
        let serving = Serving::new(service, self.limits.clone());
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
