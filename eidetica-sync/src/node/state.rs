//! The small state that a transport keeps over restarts.

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result, TransportState};
use eidetica_core::Engine;

/// The most bytes of such a state.
const MOST: usize = 64 << 10;

/// The state of the transport that was registered under a label: one local row.
pub(crate) struct TransportRow {
    engine: Engine,
    name: String,
}

impl TransportRow {
    pub fn new(engine: Engine, label: &str) -> TransportRow {
        TransportRow { engine, name: format!("sync/transport/{label}") }
    }
}

#[async_trait]
impl TransportState for TransportRow {
    async fn load(&self) -> Result<Option<Bytes>> {
        self.engine.local(&self.name).await
    }

    async fn save(&self, state: Bytes) -> Result<()> {
        if state.len() > MOST {
            let message = "a transport keeps at most 64 KiB under its name";
            return Err(Error::new(ErrorKind::TooLarge, message).with("bytes", state.len()));
        }
        loop {
            let before = self.engine.local(&self.name).await?;
            match self.engine.set_local(&self.name, before, state.clone()).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }
}
