//! Messages over plain TCP. Who is at the other end is proven by the sessions above, and what is said is sealed by them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Caller, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport, TransportBuilder,
    TransportContext, TransportInfo,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::wire::{self, Frame, MOST};

const SCHEME: &str = "tcp";
/// How many connections are served at once, and how many requests of each.
const CONNECTIONS: usize = 256;
const REQUESTS: usize = 128;

/// A transport over plain TCP.
pub struct Tcp {
    /// Where it listens; `None` if it was built for dialling.
    bind: Option<SocketAddr>,
    state: Mutex<State>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    listening: Option<Listening>,
}

struct Listening {
    at: SocketAddr,
    /// Says until when what is under way may go on.
    stop: watch::Sender<Option<Instant>>,
    accepting: JoinHandle<()>,
}

/// Makes a [`Tcp`].
pub struct TcpBuilder(Option<SocketAddr>);

impl TcpBuilder {
    /// From the address to bind, such as `127.0.0.1:7000`; empty for dialling alone. Errors: `InvalidInput`.
    pub fn new(bind: &str) -> Result<TcpBuilder> {
        if bind.is_empty() {
            return Ok(TcpBuilder(None));
        }
        bind.parse().map(|at| TcpBuilder(Some(at))).map_err(|error| {
            let message = "an address to listen at is written as IP and port, such as `127.0.0.1:7000`";
            Error::new(ErrorKind::InvalidInput, message).with("bind", bind).caused_by(error)
        })
    }
}

#[async_trait]
impl TransportBuilder for TcpBuilder {
    async fn build(self: Box<Self>, _: TransportContext) -> Result<Box<dyn Transport>> {
        Ok(Box::new(Tcp { bind: self.0, state: Mutex::default(), closed: watch::Sender::new(false) }))
    }
}

impl Tcp {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<()> {
        match *self.closed.borrow() {
            true => Err(closed()),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Transport for Tcp {
    fn info(&self) -> TransportInfo {
        TransportInfo::new(SCHEME, MOST)
    }

    fn addresses(&self) -> Vec<Address> {
        self.state().listening.iter().map(|listening| Address::new(SCHEME, listening.at.to_string())).collect()
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        self.open()?;
        if address.transport_type != SCHEME {
            let message = "this transport dials addresses of the scheme `tcp` alone";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("scheme", &address.transport_type));
        }
        let at: SocketAddr = address.address.parse().map_err(|error| {
            let message = "an address is written as IP and port, such as `127.0.0.1:7000`";
            Error::new(ErrorKind::InvalidInput, message).with("address", &address.address).caused_by(error)
        })?;
        let connecting = timeout(options.timeout, TcpStream::connect(at));
        let stream = connecting.await.map_err(|_| late())?.map_err(|error| gone().caused_by(error))?;
        Ok(Box::new(TcpChannel::new(stream, self.closed.subscribe())))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        self.open()?;
        let Some(bind) = self.bind else {
            let message = "this transport was built for dialling; give it an address to bind";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        if self.state().listening.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, "this transport listens already"));
        }
        let refused = |error: io::Error| {
            let message = match error.kind() {
                io::ErrorKind::AddrInUse => "something else listens at this address already",
                io::ErrorKind::AddrNotAvailable => "this machine has no such address",
                _ => "it is not possible to listen at this address",
            };
            Error::new(error.kind().into(), message).with("bind", bind).caused_by(error)
        };
        let listener = TcpListener::bind(bind).await.map_err(refused)?;
        let at = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = watch::channel(None);
        let mut state = self.state();
        if state.listening.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, "this transport listens already"));
        }
        let accepting = tokio::spawn(accept(listener, service, stopped));
        state.listening = Some(Listening { at, stop, accepting });
        Ok(())
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        let Some(listening) = self.state().listening.take() else { return Ok(()) };
        listening.stop.send_replace(Some(Instant::now() + grace));
        let _ = listening.accepting.await;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.closed.send_replace(true);
        self.stop_listening(Duration::ZERO).await
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.closed.send_replace(true);
        if let Some(listening) = self.state().listening.take() {
            listening.accepting.abort();
        }
    }
}

/// Takes connections until it is told to stop, and ends when all of them have.
async fn accept(listener: TcpListener, service: Arc<dyn Service>, mut stopped: watch::Receiver<Option<Instant>>) {
    let mut connections = JoinSet::new();
    let told = stopped.clone();
    loop {
        tokio::select! {
            _ = end(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, from)) => drop(connections.spawn(serve(stream, from, service.clone(), told.clone()))),
                // Too many files are open, for example: it gets better when some connection ends.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until it is told to stop; says until when what is under way may go on.
async fn end(stopped: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let until = stopped.wait_for(Option::is_some).await.map_or(None, |until| *until);
    until.unwrap_or_else(Instant::now)
}

/// Answers one connection. Ends with it, or at the end of the grace.
async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    service: Arc<dyn Service>,
    mut stopped: watch::Receiver<Option<Instant>>,
) {
    let _ = stream.set_nodelay(true);
    let (mut read, mut write) = stream.into_split();
    let (answers, mut waiting) = mpsc::channel::<Frame>(REQUESTS);
    let permits = Arc::new(Semaphore::new(REQUESTS));
    let mut calls = JoinSet::new();
    let mut told = stopped.clone();
    let reading = async {
        loop {
            let frame = tokio::select! {
                // Half a frame may be lost with it, and nothing is read from this connection any more.
                _ = end(&mut told) => break,
                frame = wire::read(&mut read) => frame,
            };
            let (Ok(Frame { number, message }), Ok(permit)) = (frame, permits.clone().acquire_owned().await) else {
                // The caller has gone, or talks nonsense: nobody waits for the answers.
                calls.shutdown().await;
                break;
            };
            while calls.try_join_next().is_some() {}
            let (service, answers) = (service.clone(), answers.clone());
            calls.spawn(async move {
                let caller = Caller::unknown().origin(from.ip().to_string());
                // In a task of its own, so that a panic is an answer, too.
                let mut work = JoinSet::new();
                work.spawn(async move { service.handle(caller, message).await });
                let answer = match work.join_next().await {
                    Some(Ok(Ok(answer))) if answer.len() <= MOST => [&[0], &answer[..]].concat(),
                    _ => vec![1],
                };
                let _ = answers.send(Frame { number, message: answer.into() }).await;
                drop(permit);
            });
        }
        while calls.join_next().await.is_some() {}
        drop(answers);
    };
    let writing = async {
        while let Some(frame) = waiting.recv().await {
            if wire::write(&mut write, &frame).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    let out_of_grace = async {
        let until = end(&mut stopped).await;
        tokio::time::sleep_until(until).await;
    };
    tokio::select! {
        _ = async { tokio::join!(reading, writing) } => {}
        () = out_of_grace => {}
    }
}

/// A connection to one peer.
struct TcpChannel {
    frames: mpsc::Sender<Frame>,
    numbers: AtomicU64,
    waiting: Arc<Waiting>,
    closed: watch::Receiver<bool>,
    _task: JoinSet<()>,
}

/// Who waits for which answer; `None` once the connection is gone.
struct Waiting(Mutex<Option<HashMap<u64, oneshot::Sender<Bytes>>>>);

impl Waiting {
    fn all(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Bytes>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a call off the list when it ends, in whatever way.
struct Call<'a>(&'a Waiting, u64);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(all) = &mut *self.0.all() {
            all.remove(&self.1);
        }
    }
}

impl TcpChannel {
    fn new(stream: TcpStream, closed: watch::Receiver<bool>) -> TcpChannel {
        let _ = stream.set_nodelay(true);
        let (mut read, mut write) = stream.into_split();
        let (frames, mut outgoing) = mpsc::channel::<Frame>(REQUESTS);
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        let (answered, mut end) = (waiting.clone(), closed.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let reading = async {
                while let Ok(Frame { number, message }) = wire::read(&mut read).await {
                    let waits = answered.all().as_mut().and_then(|all| all.remove(&number));
                    if let Some(waits) = waits {
                        // Whoever has asked may have given up.
                        let _ = waits.send(message);
                    }
                }
            };
            let writing = async {
                while let Some(frame) = outgoing.recv().await {
                    if wire::write(&mut write, &frame).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = reading => {}
                () = writing => {}
                _ = end.wait_for(|closed| *closed) => {}
            }
            // Whoever still waits hears that nothing comes.
            answered.all().take();
        });
        TcpChannel { frames, numbers: AtomicU64::new(0), waiting, closed, _task: task }
    }

    /// Why nothing comes: it is over here, or there.
    fn ended(&self) -> Error {
        match *self.closed.borrow() {
            true => closed(),
            false => gone(),
        }
    }
}

#[async_trait]
impl Channel for TcpChannel {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        if message.len() > MOST {
            let message_is = Error::new(ErrorKind::TooLarge, "a message is longer than this transport carries");
            return Err(message_is.with("bytes", message.len()).with("limit", MOST));
        }
        let deadline = Instant::now()
            .checked_add(options.timeout)
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 30));
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (answer, wait) = oneshot::channel();
        match &mut *self.waiting.all() {
            Some(all) => drop(all.insert(number, answer)),
            None => return Err(self.ended()),
        }
        let _call = Call(&self.waiting, number);
        let exchange = async {
            self.frames.send(Frame { number, message }).await.map_err(|_| self.ended())?;
            wait.await.map_err(|_| self.ended())
        };
        let mut answer = timeout_at(deadline, exchange).await.map_err(|_| late())??;
        match answer.first() {
            Some(0) => Ok(answer.split_off(1)),
            _ => Err(Error::new(ErrorKind::Unreachable, "the peer could not answer")),
        }
    }

    fn peer(&self) -> Option<PublicKey> {
        None
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "this transport was closed")
}

fn gone() -> Error {
    Error::new(ErrorKind::Unreachable, "the peer cannot be reached, or the connection to it is lost")
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the peer did not answer in time")
}
