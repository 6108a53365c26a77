//! The ports of the last run, tried first by the next one, so that an address outlives restarts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use eidetica_contract::{Result, TransportState};

/// What a transport keeps over restarts: the sockets that it has listened on last, one `ip:port` on each line.
pub(crate) struct Kept {
    state: Arc<dyn TransportState>,
    sockets: Mutex<BTreeSet<SocketAddr>>,
}

impl Kept {
    /// Reads what was kept. What cannot be read is passed over: it says no more than where to try first. Errors: those of
    /// the state.
    pub(crate) async fn load(state: Arc<dyn TransportState>) -> Result<Kept> {
        let bytes = state.load().await?.unwrap_or_default();
        let lines = std::str::from_utf8(&bytes).unwrap_or_default().lines();
        let sockets = lines.filter_map(|line| line.parse().ok()).collect();
        Ok(Kept { state, sockets: Mutex::new(sockets) })
    }

    /// The same address with the port that it had last, where any port will do.
    pub(crate) fn again(&self, wanted: SocketAddr) -> Option<SocketAddr> {
        if wanted.port() != 0 {
            return None;
        }
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().find(|kept| kept.ip() == wanted.ip() && kept.port() != 0).copied()
    }

    /// Keeps these sockets. If that fails, the address may be another one after the next start, and nothing else is wrong.
    pub(crate) async fn keep(&self, bound: Vec<SocketAddr>) {
        let bound: BTreeSet<SocketAddr> = bound.into_iter().collect();
        if *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) == bound {
            return;
        }
        let lines: String = bound.iter().map(|socket| format!("{socket}\n")).collect();
        match self.state.save(lines.into()).await {
            Ok(()) => *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = bound,
            Err(error) => tracing::warn!(%error, "the port cannot be kept for the next start"),
        }
    }
}
