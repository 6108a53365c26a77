//! Settings of a transport that is about to be made.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::http::HeaderName;
use eidetica_contract::{Address, Error, ErrorKind, Result, Transport, TransportBuilder, TransportContext};

use crate::client::{Client, Trust};
use crate::endpoint::Target;
use crate::kept::Kept;
use crate::server::Gate;
use crate::{HttpLimits, HttpTransport};

/// Makes an [`HttpTransport`]. Without [`bind`](HttpTransportBuilder::bind) it dials alone.
///
/// ```
/// use eidetica_transport_http::HttpTransport;
///
/// let builder = HttpTransport::builder().bind("0.0.0.0:8080").advertise("https://peer.example.com/notes");
/// # let _ = builder.into_transport()?;
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Debug)]
pub struct HttpTransportBuilder {
    bind: Option<String>,
    advertised: Vec<String>,
    limits: HttpLimits,
    origin_header: Option<String>,
    trust: Trust,
    gate: Arc<Gate>,
}

impl HttpTransportBuilder {
    pub(crate) fn new() -> HttpTransportBuilder {
        HttpTransportBuilder {
            bind: None,
            advertised: Vec::new(),
            limits: HttpLimits::default(),
            origin_header: None,
            trust: Trust::default(),
            gate: Arc::default(),
        }
    }

    /// Where to listen, as `host:port`. Port 0 is the one that this device has listened on last, if it is free, else one that the
    /// system chooses; [`addresses`](eidetica_contract::Transport::addresses) then tells it. Nothing listens before
    /// [`listen`](eidetica_contract::Transport::listen); a text of another form is refused when the transport is built.
    #[must_use]
    pub fn bind(mut self, address: impl Into<String>) -> HttpTransportBuilder {
        self.bind = Some(address.into());
        self
    }

    /// Tells peers this address instead of the bound one: for what lies behind a proxy, a router or a name. It has the form that
    /// is dialled, `host:port` or `http(s)://host:port/path`. May be called several times.
    #[must_use]
    pub fn advertise(mut self, address: impl Into<String>) -> HttpTransportBuilder {
        self.advertised.push(address.into());
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn limits(mut self, limits: HttpLimits) -> HttpTransportBuilder {
        self.limits = limits;
        self
    }

    /// Behind a proxy: the header in which it says where each caller comes from, such as `X-Forwarded-For`. The last address in the
    /// last header of this name counts, which the proxy has added by itself; a caller without any has the same origin as all who
    /// have none. Nobody but the proxy may reach the port, or he says what he likes. Without this the origin of a caller is the
    /// address that the connection comes from.
    #[must_use]
    pub fn origin_header(mut self, name: impl Into<String>) -> HttpTransportBuilder {
        self.origin_header = Some(name.into());
        self
    }

    /// Trusts these certificate authorities, in PEM, besides those of the system, for `https` addresses. May be called several
    /// times; what holds no certificate is refused when the transport is built.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn trust_pem(mut self, pem: impl Into<Vec<u8>>) -> HttpTransportBuilder {
        self.trust.add(pem.into());
        self
    }

    /// Routes to mount into an axum server of the application, under any prefix. They answer from
    /// [`listen`](eidetica_contract::Transport::listen) to `stop_listening`, and 503 otherwise.
    ///
    /// With it, `listen` needs no `bind`. Peers learn the address by [`advertise`](HttpTransportBuilder::advertise), prefix
    /// included. Connections, and how slowly heads may come in, are then the affair of that server; so is
    /// telling who calls, by `into_make_service_with_connect_info::<SocketAddr>()`.
    ///
    /// ```
    /// use axum::Router;
    /// use eidetica_transport_http::HttpTransport;
    ///
    /// let builder = HttpTransport::builder().advertise("https://example.com/sync");
    /// let app: Router = Router::new().nest("/sync", builder.router());
    /// # let _ = (app, builder.into_transport()?);
    /// # Ok::<(), eidetica_contract::Error>(())
    /// ```
    pub fn router(&self) -> Router {
        self.gate.mount()
    }

    /// Makes the transport, for use without a context. It knows of no last run.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for an address to bind or to advertise that cannot be read, for a limit out of range,
    /// for a name of a header that is none, or for certificates that are none.
    pub fn into_transport(self) -> Result<HttpTransport> {
        self.limits.check()?;
        if let Some(bind) = &self.bind {
            let port = bind.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) {
                let message = "what an HTTP transport binds is written as `host:port`, for example `127.0.0.1:8080`";
                return Err(Error::new(ErrorKind::InvalidInput, message).with("bind", bind));
            }
        }
        let advertised: Vec<Address> = self.advertised.into_iter().map(Address::http).collect();
        for address in &advertised {
            Target::parse(address)?;
        }
        let origin_header = self.origin_header.map(|name| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|error| {
                Error::new(ErrorKind::InvalidInput, "not the name of a header").with("header", name).caused_by(error)
            })
        });
        let origin_header = origin_header.transpose()?;
        let client = Client::new(self.limits.clone(), self.trust.load()?);
        Ok(HttpTransport::new(self.bind, advertised, self.limits, origin_header, self.gate, client))
    }
}

#[async_trait]
impl TransportBuilder for HttpTransportBuilder {
    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>> {
        Ok(Box::new(self.into_transport()?.keeping(Kept::load(context.state).await?)))
    }
}
