//! Settings of a transport that is about to be made.

use std::net::SocketAddr;

use async_trait::async_trait;
use eidetica_contract::{Error, ErrorKind, Result, Transport, TransportBuilder, TransportContext};
use iroh::{RelayUrl, SecretKey};

use crate::kept::Kept;
use crate::settings::{Relays, Settings};
use crate::{IrohLimits, IrohTransport, RelayMode};

/// Makes an [`IrohTransport`]. As it is, it dials and listens, on a free port of all addresses of this machine, with the
/// public relays and discovery.
///
/// ```
/// use eidetica_transport_iroh::{IrohTransport, RelayMode};
///
/// // For a network of one's own.
/// let builder = IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("0.0.0.0:7070");
/// # let _ = builder.into_transport([7; 32])?;
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct IrohTransportBuilder {
    bind: Vec<String>,
    advertised: Vec<String>,
    relays: RelayMode,
    discovery: Option<bool>,
    #[cfg(feature = "mdns")]
    mdns: bool,
    dial_only: bool,
    limits: IrohLimits,
}

impl IrohTransportBuilder {
    pub(crate) fn new() -> IrohTransportBuilder {
        IrohTransportBuilder::default()
    }

    /// The UDP address for both directions, as `ip:port`; at most one of IPv4 and one of IPv6, and nothing else is bound then. Port
    /// 0 is the one that this device has listened on last, if it is free, else one that the system chooses. It is bound with the
    /// first [`dial`](Transport::dial) or [`listen`](Transport::listen); a text of another form is refused when the transport is
    /// built.
    #[must_use]
    pub fn bind(mut self, address: impl Into<String>) -> IrohTransportBuilder {
        self.bind.push(address.into());
        self
    }

    /// Tells peers this `ip:port` besides those that are found by themselves: where a router forwards a port, for example.
    #[must_use]
    pub fn advertise(mut self, address: impl Into<String>) -> IrohTransportBuilder {
        self.advertised.push(address.into());
        self
    }

    /// Which relays to use. Default: [`RelayMode::Default`].
    #[must_use]
    pub fn relay_mode(mut self, mode: RelayMode) -> IrohTransportBuilder {
        self.relays = mode;
        self
    }

    /// Whether where this device is to be found is told to the discovery service of the makers of iroh, and asked there of
    /// others, so that a bare endpoint id is an address. Default: only if their relays are used as well.
    #[must_use]
    pub fn discovery(mut self, on: bool) -> IrohTransportBuilder {
        self.discovery = Some(on);
        self
    }

    /// Whether peers on the local network are found by multicast DNS, which tells everybody there that this device exists, and
    /// where. Default: no.
    #[cfg(feature = "mdns")]
    #[must_use]
    pub fn mdns(mut self, on: bool) -> IrohTransportBuilder {
        self.mdns = on;
        self
    }

    /// Makes it dial alone, from any port: `listen` is `Unsupported`.
    #[must_use]
    pub fn dial_only(mut self) -> IrohTransportBuilder {
        self.dial_only = true;
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn limits(mut self, limits: IrohLimits) -> IrohTransportBuilder {
        self.limits = limits;
        self
    }

    /// Makes the transport, for use without a context, with the Ed25519 seed of the device. It knows of no last run.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for an address or a relay that cannot be read, for two addresses of one kind to bind,
    /// or for a limit out of range.
    pub fn into_transport(self, secret: [u8; 32]) -> Result<IrohTransport> {
        self.checked(secret).map(IrohTransport::new)
    }

    fn checked(self, secret: [u8; 32]) -> Result<Settings> {
        self.limits.check()?;
        let bind = self.bind.iter().map(|text| socket("bind", text)).collect::<Result<Vec<_>>>()?;
        let of_v4 = bind.iter().filter(|address| address.is_ipv4()).count();
        if of_v4 > 1 || bind.len() - of_v4 > 1 {
            let message = "an iroh transport binds one IPv4 address and one IPv6 address at most";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("bind", self.bind.join(", ")));
        }
        let advertised = self.advertised.iter().map(|text| socket("advertise", text)).collect::<Result<Vec<_>>>()?;
        if let Some(bad) = advertised.iter().find(|address| address.ip().is_unspecified() || address.port() == 0) {
            let message = "what is advertised has an address and a port that others can reach";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("advertise", bad));
        }
        let public = matches!(self.relays, RelayMode::Default | RelayMode::Staging);
        let relays = match self.relays {
            RelayMode::Default => Relays::Default,
            RelayMode::Staging => Relays::Staging,
            RelayMode::Custom(urls) => Relays::Custom(relays(&urls)?),
            RelayMode::Disabled => Relays::Disabled,
        };
        Ok(Settings {
            secret: SecretKey::from_bytes(&secret),
            bind,
            advertised,
            relays,
            discovery: self.discovery.unwrap_or(public),
            #[cfg(feature = "mdns")]
            mdns: self.mdns,
            listens: !self.dial_only,
            kept: None,
            limits: self.limits,
        })
    }
}

fn socket(what: &'static str, text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| {
        let message =
            "an address of an iroh transport is written as `ip:port`, for example `0.0.0.0:7070` or `[::]:7070`";
        Error::new(ErrorKind::InvalidInput, message).with(what, text)
    })
}

fn relays(urls: &[String]) -> Result<Vec<RelayUrl>> {
    let refused = |message: &'static str| Error::new(ErrorKind::InvalidInput, message);
    if urls.is_empty() {
        return Err(refused("no relay was named; to use none, say RelayMode::Disabled"));
    }
    let read = |url: &String| match url.parse::<RelayUrl>() {
        Ok(read) if matches!(read.scheme(), "http" | "https") && read.host_str().is_some() => Ok(read),
        _ => Err(refused("a relay is named by a URL, for example `https://relay.example.com`").with("relay", url)),
    };
    urls.iter().map(read).collect()
}

#[async_trait]
impl TransportBuilder for IrohTransportBuilder {
    fn wants_device_secret(&self) -> bool {
        true
    }

    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>> {
        let secret = context.device_secret.ok_or_else(|| {
            let message = "the iroh transport proves the device key to peers, and was not given it";
            Error::new(ErrorKind::PermissionDenied, message)
        })?;
        let public = SecretKey::from_bytes(&secret).public();
        if public.as_bytes() != context.device.as_bytes() {
            let message = "the secret that was given is not that of this device";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("device", context.device));
        }
        let mut settings = self.checked(secret)?;
        if settings.listens {
            settings.kept = Some(Kept::load(context.state).await?);
        }
        Ok(Box::new(IrohTransport::new(settings)))
    }
}
