//! What the tests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Address, CallOptions, Caller, Channel, Error, ErrorKind, Result, Service, Transport};
use eidetica_transport_http::{HttpLimits, HttpTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// Does what the message says, and counts.
#[derive(Default)]
pub struct Obedient {
    pub seen: AtomicUsize,
    pub working: AtomicUsize,
    /// How many were under way at once, at most.
    pub peak: AtomicUsize,
    /// Answers to `counted` that the transport has not let go of.
    pub counted: Arc<AtomicUsize>,
}

/// A large answer that counts for as long as somebody holds it.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Service for Obedient {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        self.seen.fetch_add(1, Ordering::SeqCst);
        let working = self.working.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(working, Ordering::SeqCst);
        let _working = Working(&self.working);
        match &message[..] {
            b"panic" => panic!("as it was told"),
            b"full" => Err(Error::new(ErrorKind::Full, "as it was told").with("path", "secret.db")),
            b"corrupted" => Err(Error::new(ErrorKind::Corrupted, "as it was told")),
            b"closed" => Err(Error::new(ErrorKind::Closed, "as it was told")),
            b"denied" => Err(Error::new(ErrorKind::PermissionDenied, "as it was told")),
            b"who" => Ok(format!("{:?} {:?}", caller.origin, caller.proven).into()),
            b"counted" => {
                self.counted.fetch_add(1, Ordering::SeqCst);
                Ok(Bytes::from_owner(Counted(vec![7; 32 << 20], self.counted.clone())))
            }
            b"large" => Ok(vec![0; 1 << 20].into()),
            b"sleep" => {
                sleep(Duration::from_secs(20)).await;
                Ok(message)
            }
            b"nap" => {
                sleep(Duration::from_millis(500)).await;
                Ok(message)
            }
            _ => Ok(message),
        }
    }
}

impl Obedient {
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    pub fn working(&self) -> usize {
        self.working.load(Ordering::SeqCst)
    }

    /// Waits until so many counted answers are held.
    pub async fn until_counted(&self, count: usize) {
        within(10, async {
            while self.counted.load(Ordering::SeqCst) != count {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until so many requests are under way.
    pub async fn until_working(&self, count: usize) {
        within(5, async {
            while self.working() != count {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

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

/// Fails where something hangs.
pub async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(seconds), work).await.expect("it takes too long")
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
