//! The side that dials.
//!
//! A `Line` keeps the connection to one peer; channels are cheap and share the line.

mod channel;
mod connect;
mod line;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eidetica_contract::{Error, ErrorKind, Result};
use iroh::EndpointId;
use tokio::sync::watch;

pub(crate) use channel::IrohChannel;
use line::Line;

use crate::IrohLimits;

/// Everything that was dialled for one transport.
pub(crate) struct Client {
    limits: IrohLimits,
    lines: Mutex<HashMap<EndpointId, Arc<Line>>>,
    /// True once it is closed; calls watch it.
    closed: watch::Sender<bool>,
}

impl Client {
    pub(crate) fn new(limits: &IrohLimits) -> Client {
        Client { limits: limits.clone(), lines: Mutex::default(), closed: watch::Sender::new(false) }
    }

    /// The line to this peer; nothing is connected yet. Errors: `Closed`.
    fn line(&self, peer: EndpointId) -> Result<Arc<Line>> {
        let mut lines = self.lines();
        if *self.closed.borrow() {
            return Err(closed());
        }
        // Lines that nobody uses stay as long as their connections do, for whoever dials again.
        lines.retain(|_, line| Arc::strong_count(line) > 1 || line.is_warm());
        Ok(lines.entry(peer).or_insert_with(|| Arc::new(Line::new(&self.limits))).clone())
    }

    /// Ends all calls and connections, for good.
    pub(crate) fn close(&self) {
        let mut lines = self.lines();
        self.closed.send_replace(true);
        for line in lines.drain().map(|(_, line)| line) {
            line.close();
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<EndpointId, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "this transport has been closed")
}
