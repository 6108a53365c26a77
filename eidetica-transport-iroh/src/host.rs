//! The endpoint of a transport: bound when it is first needed, ended once.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};
use iroh::address_lookup::{DnsAddressLookup, PkarrPublisher, PkarrResolver};
use iroh::endpoint::{BindError, BindOpts, Builder, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, RelayMode, TransportAddr};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::client::{Client, closed};
use crate::server::{Gate, accept};
use crate::settings::{Relays, Settings};
use crate::{ALPN, IrohLimits, SCHEME};

/// After how long without a word a peer counts as gone, counted from a question that is asked every five seconds.
const GONE: Duration = Duration::from_secs(10);
/// How much of the requests on one connection is kept that nobody has read yet.
const WINDOW: u32 = 1 << 20;
/// How much of each of them. So all large requests that wait, but for one, leave room for that one; or nobody would go on.
const STREAM_WINDOW: u32 = WINDOW / LARGE_AT_ONCE;
/// How many large requests a caller has under way on one connection.
pub(crate) const LARGE_AT_ONCE: u32 = 4;
/// How much of the answers on one connection is on its way at once: 4 MiB.
const SENDING: u64 = 4 << 20;
/// How long a new endpoint may take to find out its addresses.
const FIND: Duration = Duration::from_secs(1);

/// What dials and listens for one transport.
pub(crate) struct Host {
    pub(crate) settings: Settings,
    pub(crate) gate: Arc<Gate>,
    pub(crate) client: Client,
    slot: Mutex<Slot>,
    /// Held while the endpoint is bound.
    binding: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Slot {
    running: Option<Running>,
    closed: bool,
}

struct Running {
    endpoint: Endpoint,
    /// Set or dropped when everything is to end.
    end: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

impl Host {
    pub(crate) fn new(settings: Settings) -> Arc<Host> {
        let client = Client::new(&settings.limits);
        Arc::new(Host { settings, gate: Arc::default(), client, slot: Mutex::default(), binding: Default::default() })
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint, if it is bound. Errors: `Closed`.
    pub(crate) fn bound(&self) -> Result<Option<Endpoint>> {
        let slot = self.slot();
        if slot.closed { Err(closed()) } else { Ok(slot.running.as_ref().map(|running| running.endpoint.clone())) }
    }

    /// The endpoint, which is bound now if it was not.
    pub(crate) async fn endpoint(&self) -> Result<Endpoint> {
        if let Some(endpoint) = self.bound()? {
            return Ok(endpoint);
        }
        let _binding = self.binding.lock().await;
        if let Some(endpoint) = self.bound()? {
            return Ok(endpoint);
        }
        let endpoint = self.bind().await?;
        let (end, ending) = watch::channel(false);
        let (over, ended) = watch::channel(false);
        let (kept, gate) = (endpoint.clone(), self.gate.clone());
        {
            let mut slot = self.slot();
            if !slot.closed {
                slot.running = Some(Running { endpoint: endpoint.clone(), end, ended });
            }
        }
        // Ends by `end`, which it sees dropped as well, and so at once if the transport was closed meanwhile.
        tokio::spawn(async move {
            accept(kept, gate, ending).await;
            over.send_replace(true);
        });
        self.bound().map(|_| endpoint)
    }

    /// An endpoint on the ports of the last run, if there was one and they are free, else on those that were wished.
    async fn bind(&self) -> Result<Endpoint> {
        if let Some(again) = self.again() {
            match self.bind_to(&again).await {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) => tracing::debug!(%error, "the ports of the last run are not free"),
            }
        }
        let wished = self.settings.bind.iter().map(|address| (*address, true)).collect::<Vec<_>>();
        self.bind_to(&wished).await
    }

    /// What to bind for the address that this device had, and whether each of it must succeed. `None` if no port is known.
    fn again(&self) -> Option<Vec<(SocketAddr, bool)>> {
        let kept = self.settings.kept.as_ref()?;
        // What iroh binds by itself.
        let all = [(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()];
        let (wished, must): (&[SocketAddr], bool) = match &self.settings.bind[..] {
            [] => (&all, false),
            bind => (bind, true),
        };
        let bind = wished.iter().map(|address| match kept.again(*address) {
            Some(again) => (again, true),
            // A machine may be without IPv6.
            None => (*address, must || address.is_ipv4()),
        });
        let bind: Vec<_> = bind.collect();
        let known = bind.iter().zip(wished).any(|((address, _), wished)| address != wished);
        known.then_some(bind)
    }

    /// Keeps the ports for the next run.
    pub(crate) async fn keep(&self) {
        if let (Some(kept), Ok(Some(endpoint))) = (&self.settings.kept, self.bound()) {
            kept.keep(endpoint.bound_sockets()).await;
        }
    }

    /// An endpoint on these addresses; on all of the machine if there are none.
    async fn bind_to(&self, addresses: &[(SocketAddr, bool)]) -> Result<Endpoint> {
        let settings = &self.settings;
        let mut builder = Endpoint::builder(presets::Minimal)
            .secret_key(settings.secret.clone())
            .alpns(vec![ALPN.to_vec()])
            .portmapper_config(PortmapperConfig::Disabled)
            .transport_config(listening(&settings.limits))
            .relay_mode(match &settings.relays {
                Relays::Default => RelayMode::Default,
                Relays::Staging => RelayMode::Staging,
                Relays::Custom(urls) => RelayMode::custom(urls.iter().cloned()),
                Relays::Disabled => RelayMode::Disabled,
            });
        if settings.discovery {
            builder = builder.address_lookup(PkarrResolver::n0_dns()).address_lookup(DnsAddressLookup::n0_dns());
            // Who only dials has no reason to tell the world where it is.
            if settings.listens {
                builder = builder.address_lookup(PkarrPublisher::n0_dns());
            }
        }
        #[cfg(feature = "mdns")]
        if settings.mdns {
            use iroh_mdns_address_lookup::MdnsAddressLookup;
            builder = builder.address_lookup(MdnsAddressLookup::builder().service_name("eidetica"));
        }
        for address in &settings.advertised {
            builder = builder.external_addr(*address);
        }
        let endpoint = sockets(builder, addresses)?.bind().await.map_err(|error| self.refused(error))?;
        self.find(&endpoint).await;
        Ok(endpoint)
    }

    /// Waits until the endpoint knows an address of its own, which it looks up without asking anybody.
    async fn find(&self, endpoint: &Endpoint) {
        let found = async {
            while !endpoint.addr().addrs.iter().any(TransportAddr::is_ip) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(FIND, found).await;
    }

    fn refused(&self, error: BindError) -> Error {
        let cause = match &error {
            BindError::Sockets { source, .. } | BindError::CreateQuicEndpoint { source, .. } => Some(source.kind()),
            _ => None,
        };
        let (kind, message) = match cause {
            Some(io::ErrorKind::AddrInUse) => (ErrorKind::Locked, "something else has this port already"),
            Some(io::ErrorKind::PermissionDenied) => {
                let message = "this process may not use that port; those below 1024 often need a right";
                (ErrorKind::PermissionDenied, message)
            }
            Some(io::ErrorKind::AddrNotAvailable) => {
                (ErrorKind::InvalidInput, "this machine does not have that address")
            }
            _ => (ErrorKind::Io, "no endpoint can be made"),
        };
        let mut refused = Error::new(kind, message).with("transport", SCHEME);
        for address in &self.settings.bind {
            refused = refused.with("bind", address);
        }
        refused.caused_by(error)
    }

    /// Ends all connections and tasks, for good; the returned future waits for it.
    pub(crate) fn close(&self) -> impl Future<Output = ()> + Send + use<> {
        let running = {
            let mut slot = self.slot();
            slot.closed = true;
            slot.running.take()
        };
        self.client.close();
        let ended = running.map(|running| {
            running.end.send_replace(true);
            running.ended
        });
        async move {
            if let Some(mut ended) = ended {
                let _ = ended.wait_for(|ended| *ended).await;
            }
        }
    }
}

/// An endpoint that binds these, and whether each must succeed.
fn sockets(mut builder: Builder, addresses: &[(SocketAddr, bool)]) -> Result<Builder> {
    if !addresses.is_empty() {
        builder = builder.clear_ip_transports();
    }
    for (address, must) in addresses {
        let options = BindOpts::default().set_is_required(*must);
        builder = builder.bind_addr_with_opts(*address, options).map_err(|error| {
            let message = "an iroh transport cannot bind this";
            Error::new(ErrorKind::InvalidInput, message).with("bind", address).caused_by(error)
        })?;
    }
    Ok(builder)
}

/// For connections that come in. Memory that strangers fill is bounded here.
fn listening(limits: &IrohLimits) -> QuicTransportConfig {
    common()
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.requests_per_connection))
        .receive_window(VarInt::from_u32(WINDOW))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SENDING)
        .build()
}

/// For connections that go out. Nobody opens streams on them but this side.
pub(crate) fn dialling() -> QuicTransportConfig {
    common()
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(16 << 20))
        .stream_receive_window(VarInt::from_u32(4 << 20))
        .send_window(SENDING)
        .build()
}

fn common() -> iroh::endpoint::QuicTransportConfigBuilder {
    QuicTransportConfig::builder()
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(GONE.try_into().ok())
}
