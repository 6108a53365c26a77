//! The dialling side.
//!
//! A `Line` keeps the connections to one peer, which is a `host:port` and a path; channels are cheap and share the line. Connections are hyper's, without
//! the pool on top of it: such a pool repeats requests on its own judgement, and the contract wants that nobody does.

mod channel;
mod connect;
mod line;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::sync::watch;

pub(crate) use channel::HttpChannel;
use line::Line;
pub(crate) use tls::{Tls, Trust};

use crate::HttpLimits;
use crate::endpoint::Target;

/// Everything that dials for one transport.
pub(crate) struct Client {
    limits: HttpLimits,
    tls: Tls,
    lines: Mutex<HashMap<Target, Arc<Line>>>,
    /// True once it is closed; calls watch it.
    closed: watch::Sender<bool>,
}

impl Client {
    pub(crate) fn new(limits: HttpLimits, tls: Tls) -> Arc<Client> {
        Arc::new(Client { limits, tls, lines: Mutex::default(), closed: watch::Sender::new(false) })
    }

    /// A channel to this target; nothing is connected yet.
    ///
    /// Errors: `Unsupported` for `https` in a build without TLS; `Closed`.
    pub(crate) fn channel(self: &Arc<Client>, target: Target) -> Result<HttpChannel> {
        if target.endpoint.tls {
            self.tls.check()?;
        }
        let mut lines = self.lines();
        if *self.closed.borrow() {
            return Err(closed());
        }
        // Lines that nobody uses stay as long as their connections do, for whoever dials again.
        let keep = self.limits.keep();
        lines.retain(|_, line| Arc::strong_count(line) > 1 || line.is_warm(keep));
        let line = lines.entry(target.clone()).or_insert_with(|| {
            let (endpoint, tls) = (target.endpoint.clone(), self.tls.clone());
            Arc::new(Line::new(endpoint, tls, &self.limits))
        });
        Ok(HttpChannel::new(target, line.clone(), self.limits.max_message, self.closed.subscribe()))
    }

    /// Ends all calls and connections, for good.
    pub(crate) fn close(&self) {
        let mut lines = self.lines();
        self.closed.send_replace(true);
        for line in lines.drain().map(|(_, line)| line) {
            line.close();
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Target, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "this transport has been closed")
}
