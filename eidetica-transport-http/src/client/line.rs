//! The connections to one `host:port`.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::tcp;
use super::tls::Tls;
use crate::deadline::after;
use crate::endpoint::Endpoint;
use crate::{BUFFER, HEADERS, HttpLimits};

/// How long a connection that was just used may take to be ready again.
const READY: Duration = Duration::from_millis(200);
/// Between the age at which a connection is not taken any more and its end.
const MARGIN: Duration = Duration::from_secs(1);

/// The connections to one peer: those that wait here, and those that are in use elsewhere.
///
/// Peers behind one proxy share its `host:port` and not their places: each is watched by a request that is under way as good as always.
pub(crate) struct Line {
    pub(crate) endpoint: Endpoint,
    tls: Tls,
    connect_timeout: Duration,
    keep: Duration,
    /// One for each request under way.
    places: Semaphore,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one that was used last stands last, and is taken first.
    waiting: Vec<Connection>,
    closed: bool,
}

/// A connection. Dropping it closes it, whatever is under way on it.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    idle_since: Arc<Mutex<Option<Instant>>>,
}

/// The task of a connection, which ends with this.
struct Driver {
    task: AbortHandle,
    /// Says nothing, and breaks off when the task has ended.
    ended: oneshot::Receiver<()>,
}

impl Line {
    pub(crate) fn new(endpoint: Endpoint, tls: Tls, limits: &HttpLimits) -> Line {
        let places = Semaphore::new(limits.connections_per_peer);
        let (connect_timeout, keep) = (limits.connect_timeout, limits.keep());
        Line { endpoint, tls, connect_timeout, keep, places, idle: Mutex::default() }
    }

    /// The right to have a request under way.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// Makes sure that somebody accepts connections there, unless that is plain from those there are.
    pub(crate) async fn warm(&self) -> Result<()> {
        let Ok(_place) = self.places.try_acquire() else { return Ok(()) };
        let (connection, _) = self.take().await?;
        self.give_back(connection);
        Ok(())
    }

    /// True while connections wait here.
    pub(crate) fn is_warm(&self, keep: Duration) -> bool {
        self.idle().waiting.iter().any(|connection| connection.is_usable(keep))
    }

    /// A connection, and whether it was used before.
    pub(crate) async fn take(&self) -> Result<(Connection, bool)> {
        while let Some(mut connection) = self.waiting() {
            // Its last answer is read, but its task may not have noticed yet.
            if let Ok(Ok(())) = timeout(READY, connection.sender.ready()).await {
                return Ok((connection, true));
            }
        }
        Ok((self.connect().await?, false))
    }

    fn waiting(&self) -> Option<Connection> {
        let mut idle = self.idle();
        loop {
            let connection = idle.waiting.pop()?;
            if connection.is_usable(self.keep) {
                connection.set_idle(None);
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn give_back(&self, connection: Connection) {
        let mut idle = self.idle();
        idle.waiting.retain(|other| !other.sender.is_closed());
        if !idle.closed && !connection.sender.is_closed() {
            connection.set_idle(Some(Instant::now()));
            idle.waiting.push(connection);
        }
    }

    /// Closes the connections that wait: the next request makes one.
    pub(crate) fn close_waiting(&self) {
        self.idle().waiting.clear();
    }

    pub(crate) fn close(&self) {
        let mut idle = self.idle();
        idle.closed = true;
        idle.waiting.clear();
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = tcp(&self.endpoint, self.connect_timeout).await?;
        if self.endpoint.tls {
            let stream = timeout(self.connect_timeout, self.tls.connect(&self.endpoint, stream)).await;
            let late =
                |_| Error::new(ErrorKind::Unreachable, "nobody speaks TLS there").with("address", &self.endpoint);
            self.start(stream.map_err(late)??).await
        } else {
            self.start(stream).await
        }
    }

    async fn start(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Connection> {
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER).max_headers(HEADERS);
        let (sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|error| {
            Error::new(ErrorKind::Unreachable, "no connection").with("address", &self.endpoint).caused_by(error)
        })?;
        let idle_since = Arc::new(Mutex::new(None));
        let (since, keep) = (idle_since.clone(), self.keep + MARGIN);
        // Ends with the connection, with its time, or with whoever owns the handle.
        let (end, ended) = oneshot::channel();
        let driver = tokio::spawn(async move {
            let _end: oneshot::Sender<()> = end;
            let mut connection = pin!(connection);
            let mut look = after(keep);
            loop {
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = sleep_until(look) => {}
                }
                let idle: Option<Instant> = *since.lock().unwrap_or_else(PoisonError::into_inner);
                match idle {
                    Some(since) if since.elapsed() >= keep => return,
                    Some(since) => look = since + keep,
                    None => look = after(keep),
                }
            }
        });
        Ok(Connection { sender, driver: Driver { task: driver.abort_handle(), ended }, idle_since })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Sends a request. An error that holds the request says that not a byte of it was sent; an answer comes without its
    /// connection if that has ended.
    pub(crate) async fn send(
        mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Option<Connection>, Response<Incoming>), TrySendError<Request<Full<Bytes>>>> {
        let mut sent = pin!(self.sender.try_send_request(request));
        tokio::select! {
            biased;
            sent = &mut sent => return sent.map(|response| (Some(self), response)),
            _ = &mut self.driver.ended => {}
        }
        // A request that was queued in the moment in which the task ended may lie in the queue for ever: the task has emptied
        // it before, and the queue lives as long as its sender. Without that one the request comes back.
        let Connection { sender, driver: _driver, .. } = self;
        drop(sender);
        sent.await.map(|response| (None, response))
    }

    fn is_usable(&self, keep: Duration) -> bool {
        let idle = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        !self.sender.is_closed() && idle.is_some_and(|since| since.elapsed() < keep)
    }

    fn set_idle(&self, since: Option<Instant>) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
