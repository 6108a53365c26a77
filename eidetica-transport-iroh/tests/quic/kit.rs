//! What the tests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use eidetica_contract::{Address, CallOptions, Channel, ErrorKind, PublicKey, Result, Transport};
use eidetica_transport_iroh::{ALPN, IrohLimits, IrohTransport, IrohTransportBuilder, RelayMode};
use iroh::endpoint::{ConnectOptions, Connection, QuicTransportConfig, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, SecretKey};
use iroh_tickets::endpoint::EndpointTicket;
use tokio::time::sleep;

pub use super::obedient::{Obedient, within};

/// The seed of a device that nobody else is.
pub fn seed() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::SeqCst).to_le_bytes());
    seed
}

pub fn device(seed: &[u8; 32]) -> PublicKey {
    PublicKey::from_bytes(*SecretKey::from_bytes(seed).public().as_bytes())
}

/// On loopback, without anybody else.
pub fn builder() -> IrohTransportBuilder {
    IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0")
}

/// A server with a device and a port of its own.
pub struct Server {
    pub transport: IrohTransport,
    pub service: Arc<Obedient>,
    pub address: Address,
    pub seed: [u8; 32],
}

pub async fn server() -> Server {
    server_with(|_| {}).await
}

pub async fn server_with(change: impl FnOnce(&mut IrohLimits)) -> Server {
    let mut limits = IrohLimits::default();
    change(&mut limits);
    serve(builder().limits(limits), seed()).await
}

pub async fn serve(builder: IrohTransportBuilder, seed: [u8; 32]) -> Server {
    let transport = builder.into_transport(seed).unwrap();
    let service = Arc::new(Obedient::default());
    transport.listen(service.clone()).await.unwrap();
    let address = transport.addresses().remove(0);
    Server { transport, service, address, seed }
}

impl Server {
    pub fn place(&self) -> SocketAddr {
        *read(&self.address).ip_addrs().next().expect("a server has an IP address")
    }
}

pub fn client() -> IrohTransport {
    client_with(|_| {})
}

pub fn client_with(change: impl FnOnce(&mut IrohLimits)) -> IrohTransport {
    let mut limits = IrohLimits::default();
    change(&mut limits);
    builder().limits(limits).into_transport(seed()).unwrap()
}

/// A channel with a transport of its own, which would end it by being dropped.
pub struct Alone {
    channel: Arc<dyn Channel>,
    _client: IrohTransport,
}

impl std::ops::Deref for Alone {
    type Target = dyn Channel;
    fn deref(&self) -> &(dyn Channel + 'static) {
        &*self.channel
    }
}

pub async fn dial(address: &Address) -> Arc<Alone> {
    let client = client();
    Arc::new(Alone { channel: dial_with(&client, address).await, _client: client })
}

pub async fn dial_with(client: &IrohTransport, address: &Address) -> Arc<dyn Channel> {
    client.dial(address, soon()).await.unwrap().into()
}

/// The server still works, also for who has never been there.
pub async fn works(server: &Server) {
    assert_eq!(dial(&server.address).await.request("fine".into(), soon()).await.unwrap(), "fine");
}

pub fn soon() -> CallOptions {
    CallOptions::timeout(Duration::from_secs(30))
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

pub fn read(address: &Address) -> EndpointAddr {
    address.address.parse::<EndpointTicket>().unwrap().into()
}

/// An endpoint that is none of ours.
pub async fn raw() -> Endpoint {
    raw_with(seed(), ALPN).await
}

pub async fn raw_with(seed: [u8; 32], alpn: &[u8]) -> Endpoint {
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(iroh::RelayMode::Disabled)
        .secret_key(SecretKey::from_bytes(&seed))
        .alpns(vec![alpn.to_vec()])
        .clear_ip_transports();
    builder.bind_addr("127.0.0.1:0").unwrap().bind().await.unwrap()
}

/// A caller that is none of ours, on a connection.
pub struct Raw {
    pub endpoint: Endpoint,
    pub connection: Connection,
}

impl Raw {
    pub async fn to(server: &Server) -> Raw {
        let endpoint = raw().await;
        let connection = endpoint.connect(read(&server.address), ALPN).await.unwrap();
        Raw { endpoint, connection }
    }

    /// One that takes 64 KiB and no more until somebody reads.
    pub async fn deaf(server: &Server) -> Raw {
        let endpoint = raw().await;
        let small = QuicTransportConfig::builder().receive_window(65_536_u32.into()).build();
        let options = ConnectOptions::new().with_transport_config(small);
        let connecting = endpoint.connect_with_opts(read(&server.address), ALPN, options).await.unwrap();
        Raw { connection: connecting.await.unwrap(), endpoint }
    }

    /// A stream on which these bytes were sent, and which has not ended.
    pub async fn say(&self, bytes: impl AsRef<[u8]>) -> (SendStream, RecvStream) {
        let (mut send, receive) = self.connection.open_bi().await.unwrap();
        let _ = send.write_all(bytes.as_ref()).await;
        (send, receive)
    }

    /// What is said to these bytes, with the end of the stream after them: an answer, or a code.
    pub async fn ask(&self, bytes: impl AsRef<[u8]>) -> Result<Vec<u8>, u64> {
        let (mut send, receive) = self.say(bytes).await;
        let _ = send.finish();
        hear(receive).await
    }
}

pub async fn hear(mut receive: RecvStream) -> Result<Vec<u8>, u64> {
    use iroh::endpoint::{ReadError, ReadToEndError};
    match within(20, receive.read_to_end(8 << 20)).await {
        Ok(answer) => Ok(answer),
        Err(ReadToEndError::Read(ReadError::Reset(code))) => Err(code.into_inner()),
        Err(_) => Err(u64::MAX),
    }
}

/// A message as it stands on a stream.
pub fn frame(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    [&u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// A server that does the same with every stream.
pub struct Parrot {
    pub address: Address,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
    pub endpoint: Endpoint,
}

/// What a parrot does after it has heard a request.
#[derive(Clone)]
pub enum Says {
    /// Says it and ends the stream.
    Last(Vec<u8>),
    /// Says it and says nothing more.
    Hangs(Vec<u8>),
    /// Says it again and again.
    Forever(Vec<u8>),
    /// Says it and resets the stream.
    Resets(Vec<u8>, u32),
    /// Ends the connection.
    Closes,
    /// Reads nothing.
    Deaf,
}

pub async fn parrot(says: Says) -> Parrot {
    let endpoint = raw().await;
    let address = Address::iroh(EndpointTicket::new(endpoint.addr()).to_string());
    let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let parrot = Parrot { address, connections: connections.clone(), requests: requests.clone(), endpoint };
    let endpoint = parrot.endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let Ok(connection) = incoming.await else { continue };
            connections.fetch_add(1, Ordering::SeqCst);
            let (says, requests) = (says.clone(), requests.clone());
            tokio::spawn(async move {
                while let Ok((send, receive)) = connection.accept_bi().await {
                    requests.fetch_add(1, Ordering::SeqCst);
                    if matches!(says, Says::Closes) {
                        connection.close(0_u32.into(), b"");
                    }
                    tokio::spawn(says.clone().say(send, receive));
                }
            });
        }
    });
    parrot
}

impl Says {
    async fn say(self, mut send: SendStream, mut receive: RecvStream) {
        if !matches!(self, Says::Deaf) {
            let _ = receive.read_to_end(8 << 20).await;
        }
        match self {
            Says::Last(bytes) => {
                let _ = send.write_all(&bytes).await;
                let _ = send.finish();
                let _ = send.stopped().await;
            }
            Says::Hangs(bytes) => {
                let _ = send.write_all(&bytes).await;
                sleep(Duration::from_secs(60)).await;
            }
            Says::Forever(bytes) => while send.write_all(&bytes).await.is_ok() {},
            Says::Resets(bytes, code) => {
                let _ = send.write_all(&bytes).await;
                let _ = send.reset(code.into());
            }
            Says::Closes | Says::Deaf => sleep(Duration::from_secs(60)).await,
        }
    }
}
