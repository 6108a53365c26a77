//! The connection to one peer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};
use iroh::endpoint::{Connection, RecvStream, SendStream};
use iroh::{Endpoint, EndpointAddr};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout};

use super::closed;
use super::connect::connect;
use crate::codes::{DONE, lost};
use crate::host::LARGE_AT_ONCE;
use crate::{IrohLimits, SMALL};

/// The connection to one peer, made when it is needed and again when it has died.
pub(crate) struct Line {
    connect_timeout: Duration,
    keep: Duration,
    /// One for each call under way.
    places: Semaphore,
    /// One for each large request under way.
    large: Semaphore,
    state: Mutex<State>,
    /// Held while a connection is made; whoever waited learns how it went.
    connecting: tokio::sync::Mutex<Option<Failure>>,
}

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    closed: bool,
}

/// The last time that no connection was made.
struct Failure {
    at: Instant,
    kind: ErrorKind,
    text: String,
}

/// A connection, and what is under way on it.
struct Live {
    connection: Connection,
    calls: watch::Sender<Calls>,
}

#[derive(Default)]
struct Calls {
    under_way: usize,
    begun: u64,
    /// No more may begin.
    ended: bool,
}

/// A call under way; its connection is not given up meanwhile.
pub(crate) struct Call(Arc<Live>);

impl Line {
    pub(crate) fn new(limits: &IrohLimits) -> Line {
        Line {
            connect_timeout: limits.connect_timeout,
            keep: limits.keep(),
            places: Semaphore::new(limits.calls_per_peer),
            large: Semaphore::new(LARGE_AT_ONCE as usize),
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// The right to have a call with a message of this size under way. Large ones wait first among themselves.
    pub(crate) async fn place(&self, bytes: usize) -> Option<(Option<SemaphorePermit<'_>>, SemaphorePermit<'_>)> {
        let large = if bytes > SMALL { Some(self.large.acquire().await.ok()?) } else { None };
        Some((large, self.places.acquire().await.ok()?))
    }

    /// True while there is a connection.
    pub(crate) fn is_warm(&self) -> bool {
        self.state().live.as_ref().is_some_and(|live| live.is_usable())
    }

    /// Makes sure that there is a connection.
    pub(crate) async fn warm(&self, endpoint: &Endpoint, to: &EndpointAddr) -> Result<()> {
        self.live(endpoint, to).await.map(drop)
    }

    /// A new stream. One more connection is made if the one there was has died; nothing was sent on it then, so this repeats
    /// nothing.
    pub(crate) async fn open(&self, endpoint: &Endpoint, to: &EndpointAddr) -> Result<(Call, SendStream, RecvStream)> {
        let mut tries = 2;
        loop {
            let live = self.live(endpoint, to).await?;
            tries -= 1;
            if let Some(call) = Live::call(&live) {
                match live.connection.open_bi().await {
                    Ok((send, receive)) => return Ok((call, send, receive)),
                    Err(error) if tries == 0 => return Err(lost(error)),
                    Err(_) => {}
                }
            } else if tries == 0 {
                let error = live.connection.close_reason().map(lost);
                return Err(error.unwrap_or_else(|| Error::new(ErrorKind::Unreachable, "the connection has ended")));
            }
            self.state().live.take_if(|there| Arc::ptr_eq(there, &live));
        }
    }

    fn usable(&self) -> Result<Option<Arc<Live>>> {
        let mut state = self.state();
        if state.closed {
            return Err(closed());
        }
        state.live.take_if(|live| !live.is_usable());
        Ok(state.live.clone())
    }

    async fn live(&self, endpoint: &Endpoint, to: &EndpointAddr) -> Result<Arc<Live>> {
        if let Some(live) = self.usable()? {
            return Ok(live);
        }
        let asked = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(live) = self.usable()? {
            return Ok(live);
        }
        // Whoever waited for an attempt does not wait for another one.
        if let Some(failure) = failed.as_ref().filter(|failure| failure.at >= asked) {
            return Err(Error::new(failure.kind, failure.text.clone()));
        }
        let connection = match connect(endpoint, to, self.connect_timeout).await {
            Ok(connection) => connection,
            Err(error) => {
                let (kind, text) = (error.kind(), error.message().to_owned());
                *failed = Some(Failure { at: Instant::now(), kind, text });
                return Err(error);
            }
        };
        let live = Arc::new(Live { connection, calls: watch::Sender::default() });
        {
            let mut state = self.state();
            if state.closed {
                live.end();
                return Err(closed());
            }
            state.live = Some(live.clone());
        }
        // Ends with the connection.
        tokio::spawn(live.clone().keep(self.keep));
        Ok(live)
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        if let Some(live) = state.live.take() {
            live.end();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn is_usable(&self) -> bool {
        !self.calls.borrow().ended && self.connection.close_reason().is_none()
    }

    fn call(live: &Arc<Live>) -> Option<Call> {
        let began = live.calls.send_if_modified(|calls| {
            if !calls.ended {
                calls.under_way += 1;
                calls.begun += 1;
            }
            !calls.ended
        });
        began.then(|| Call(live.clone()))
    }

    /// Closes the connection once nothing was under way on it for so long.
    async fn keep(self: Arc<Live>, keep: Duration) {
        let mut calls = self.calls.subscribe();
        let idle = async {
            loop {
                let Ok(begun) = calls.wait_for(|calls| calls.under_way == 0).await.map(|calls| calls.begun) else {
                    return;
                };
                if timeout(keep, calls.wait_for(|calls| calls.begun != begun)).await.is_ok() {
                    continue;
                }
                let end = self.calls.send_if_modified(|calls| {
                    calls.ended |= calls.begun == begun;
                    calls.ended
                });
                if end {
                    return;
                }
            }
        };
        tokio::select! {
            _ = self.connection.closed() => {}
            () = idle => {}
        }
        self.end();
    }

    fn end(&self) {
        self.calls.send_if_modified(|calls| !std::mem::replace(&mut calls.ended, true));
        self.connection.close(DONE, b"");
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.send_modify(|calls| calls.under_way -= 1);
    }
}
