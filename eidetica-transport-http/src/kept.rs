//! The port of the last run, tried first by the next one, so that an address outlives restarts.

use std::sync::{Arc, Mutex, PoisonError};

use eidetica_contract::{Result, TransportState};

/// What a transport keeps over restarts: the host that it has listened on last, as it was written, and the port, with a space between.
pub(crate) struct Kept {
    state: Arc<dyn TransportState>,
    last: Mutex<Option<(String, u16)>>,
}

impl Kept {
    /// Reads what was kept. What cannot be read is passed over: it says no more than where to try first. Errors: those of
    /// the state.
    pub(crate) async fn load(state: Arc<dyn TransportState>) -> Result<Kept> {
        let bytes = state.load().await?.unwrap_or_default();
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let last = text.rsplit_once(' ').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        Ok(Kept { state, last: Mutex::new(last) })
    }

    /// The same `host:port` with the port that it had last, where any port will do.
    pub(crate) fn again(&self, wanted: &str) -> Option<String> {
        let (host, "0") = wanted.rsplit_once(':')? else { return None };
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(kept, port)| kept == host && *port != 0).map(|(host, port)| format!("{host}:{port}"))
    }

    /// Keeps the port that was had for this. If that fails, the address may be another one after the next start, and nothing else
    /// is wrong.
    pub(crate) async fn keep(&self, wanted: &str, port: u16) {
        let Some((host, "0")) = wanted.rsplit_once(':') else { return };
        let now = Some((host.to_owned(), port));
        if *self.last.lock().unwrap_or_else(PoisonError::into_inner) == now {
            return;
        }
        match self.state.save(format!("{host} {port}").into()).await {
            Ok(()) => *self.last.lock().unwrap_or_else(PoisonError::into_inner) = now,
            Err(error) => tracing::warn!(%error, "the port cannot be kept for the next start"),
        }
    }
}
