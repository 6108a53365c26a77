//! What the tests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eidetica_contract::{Address, CallOptions, Channel, ErrorKind, Result, Transport};
use eidetica_transport_http::{HttpLimits, HttpTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

pub use super::obedient::{Obedient, within};

/// A server on a port of its own.
pub struct Server {
    pub transport: HttpTransport,
    pub service: Arc<Obedient>,
    pub address: Address,
    pub socket: SocketAddr,
}

pub async fn server() -> Server {
    server_with(|_| {}).await
}

pub async fn server_with(change: impl FnOnce(&mut HttpLimits)) -> Server {
    serve_at("127.0.0.1:0", change).await
}

pub async fn serve_at(bind: &str, change: impl FnOnce(&mut HttpLimits)) -> Server {
    let mut limits = HttpLimits::default();
    change(&mut limits);
    let transport = HttpTransport::builder().bind(bind).limits(limits).into_transport().unwrap();
    let service = Arc::new(Obedient::default());
    transport.listen(service.clone()).await.unwrap();
    let address = transport.addresses().remove(0);
    let socket = address.address.parse().unwrap();
    Server { transport, service, address, socket }
}

pub fn client() -> HttpTransport {
    HttpTransport::builder().into_transport().unwrap()
}

/// A channel with a transport of its own, which would end it by being dropped.
pub struct Alone {
    channel: Arc<dyn Channel>,
    _client: HttpTransport,
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

pub async fn dial_with(client: &HttpTransport, address: &Address) -> Arc<dyn Channel> {
    client.dial(address, soon()).await.unwrap().into()
}

pub fn soon() -> CallOptions {
    CallOptions::timeout(Duration::from_secs(5))
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// A client that is none of ours.
pub struct Raw(pub TcpStream);

impl Raw {
    pub async fn to(server: SocketAddr) -> Raw {
        Raw(TcpStream::connect(server).await.unwrap())
    }

    /// From an address of the loopback network.
    pub async fn from(last: u8, server: SocketAddr) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        Raw(socket.connect(server).await.unwrap())
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Everything until the other side ends the connection.
    pub async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        within(10, async { while matches!(self.0.read_buf(&mut all).await, Ok(read) if read > 0) {} }).await;
        String::from_utf8_lossy(&all).into_owned()
    }

    /// One read.
    pub async fn hear(&mut self) -> String {
        let mut some = vec![0; 1 << 16];
        let read = within(10, self.0.read(&mut some)).await.unwrap_or(0);
        String::from_utf8_lossy(&some[..read]).into_owned()
    }

    /// How long until the other side ends the connection.
    pub async fn ends(&mut self) -> Duration {
        let begun = Instant::now();
        self.rest().await;
        begun.elapsed()
    }
}

/// The head of a request with a body of this length.
pub fn head(len: usize) -> String {
    format!(
        "POST /eidetica/v1 HTTP/1.1\r\nhost: peer\r\ncontent-type: application/octet-stream\r\ncontent-length: {len}\r\n\r\n"
    )
}

/// A server that says the same to everybody, and how many connections and requests it has seen.
pub struct Parrot {
    pub address: Address,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
}

/// What a parrot does after it has heard a request.
#[derive(Clone)]
pub enum Says {
    /// Says it and keeps the connection.
    Then(Vec<u8>),
    /// Says it and ends the connection.
    Last(Vec<u8>),
    /// Says it and says nothing more.
    Hangs(Vec<u8>),
    /// Says so much of it as is taken, again and again.
    Forever(Vec<u8>, Vec<u8>),
}

pub fn answer(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n";
    [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

pub async fn parrot(says: Says) -> Parrot {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::http(listener.local_addr().unwrap().to_string());
    let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let parrot = Parrot { address, connections: connections.clone(), requests: requests.clone() };
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            let (says, requests) = (says.clone(), requests.clone());
            tokio::spawn(async move {
                let mut heard = vec![0; 1 << 16];
                // Requests are small enough to come in one piece.
                while matches!(stream.read(&mut heard).await, Ok(read) if read > 0) {
                    requests.fetch_add(1, Ordering::SeqCst);
                    match &says {
                        Says::Then(bytes) => stream.write_all(bytes).await?,
                        Says::Last(bytes) => return stream.write_all(bytes).await,
                        Says::Hangs(bytes) => {
                            stream.write_all(bytes).await?;
                            sleep(Duration::from_secs(60)).await;
                        }
                        Says::Forever(first, more) => {
                            stream.write_all(first).await?;
                            loop {
                                stream.write_all(more).await?;
                            }
                        }
                    }
                }
                Ok(())
            });
        }
    });
    parrot
}
