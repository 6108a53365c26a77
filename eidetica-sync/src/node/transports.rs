//! The transports of a node: who dials which address, and who listens.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use eidetica_contract::{
    Address, CallOptions, Channel, Error, ErrorKind, Result, Service, Transport, TransportBuilder, TransportContext,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::state::TransportRow;
use crate::message::MAX_ADDRESSES;
use crate::session::Identity;

/// How long requests under way may still take when a server stops.
const GRACE: Duration = Duration::from_secs(2);
/// How long a transport may take to do as it is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// All transports that were registered, in this order.
#[derive(Default)]
pub(crate) struct Transports {
    registered: RwLock<Vec<Arc<Registered>>>,
    /// Held while servers start or stop, so that two callers do not undo each other's work.
    turn: Mutex<()>,
}

pub(crate) struct Registered {
    pub label: String,
    pub transport: Box<dyn Transport>,
}

impl Transports {
    /// Builds a transport and adds it. One registered before under this label is closed and replaced.
    pub async fn register(
        &self,
        label: String,
        builder: Box<dyn TransportBuilder>,
        identity: &Identity,
        state: TransportRow,
    ) -> Result<()> {
        let mut context = TransportContext::new(identity.device(), Arc::new(state));
        if builder.wants_device_secret() {
            context = context.with_secret(*identity.device_secret().seed());
        }
        // Before the turn is taken: it may take as long as it likes.
        let transport = builder.build(context).await?;
        let _turn = self.turn.lock().await;
        let registered = Arc::new(Registered { label, transport });
        let replaced = {
            let mut all = self.registered.write().unwrap_or_else(PoisonError::into_inner);
            let place = all.iter().position(|other| other.label == registered.label);
            match place {
                Some(place) => Some(std::mem::replace(&mut all[place], registered)),
                None => {
                    all.push(registered);
                    None
                }
            }
        };
        match replaced {
            Some(replaced) => replaced.transport.close().await,
            None => Ok(()),
        }
    }

    pub fn all(&self) -> Vec<Arc<Registered>> {
        self.registered.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a channel over the transport of the address's scheme; if there are several, the first that succeeds.
    /// Also says how large a message it carries.
    ///
    /// Errors: `Unsupported` if no transport has this scheme; those of [`Transport::dial`].
    pub async fn dial(&self, address: &Address, within: Duration) -> Result<(Arc<dyn Channel>, usize)> {
        let all = self.all();
        if all.is_empty() {
            return Err(none_registered());
        }
        let mut failed = None;
        for registered in all {
            let info = registered.transport.info();
            if info.scheme != address.transport_type {
                continue;
            }
            let dialled = timeout(within, registered.transport.dial(address, CallOptions::timeout(within)));
            match dialled.await {
                Ok(Ok(channel)) => return Ok((channel.into(), info.max_message)),
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(_) => {
                    let error = Error::new(ErrorKind::Timeout, "the peer could not be reached in time");
                    failed = failed.or(Some(error.with("address", address)));
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            let message =
                "no registered transport dials addresses of this scheme; register one with register_transport";
            Error::new(ErrorKind::Unsupported, message).with("scheme", &address.transport_type)
        }))
    }

    /// Lets all transports listen that do not yet and are able to.
    ///
    /// Errors: `Unsupported` without a transport. If some are meant to listen and none could, the first error; those of
    /// the others are among its context pairs.
    pub async fn listen(&self, service: impl Fn(usize) -> Arc<dyn Service>) -> Result<()> {
        let _turn = self.turn.lock().await;
        let all = self.all();
        if all.is_empty() {
            return Err(none_registered());
        }
        let (mut listening, mut failed) = (0, Vec::new());
        for registered in all {
            let begun = registered.transport.listen(service(registered.transport.info().max_message));
            match timeout(PATIENCE, begun).await.unwrap_or_else(|_| Err(late())) {
                Ok(()) => listening += 1,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => listening += 1,
                // Built for dialling only.
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) => failed.push((registered.label.clone(), error)),
            }
        }
        if listening > 0 || failed.is_empty() {
            // Nobody else says so.
            failed.iter().for_each(|(transport, error)| tracing::warn!(transport, %error, "cannot listen"));
            return Ok(());
        }
        let (label, mut error) = failed.swap_remove(0);
        for (other, failed) in &failed {
            error = error.with("others", format!("{other}: {failed}"));
        }
        Err(error.with("transport", label))
    }

    /// Stops all servers.
    pub async fn stop_listening(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut result = Ok(());
        for registered in self.all() {
            let stopped = timeout(GRACE + PATIENCE, registered.transport.stop_listening(GRACE)).await;
            result = result.and(stopped.unwrap_or_else(|_| Err(late())));
        }
        result
    }

    /// The label and address of everything that listens.
    pub fn addresses(&self) -> Vec<(String, Address)> {
        let of = |registered: Arc<Registered>| {
            let label = registered.label.clone();
            registered.transport.addresses().into_iter().map(move |address| (label.clone(), address))
        };
        self.all().into_iter().flat_map(of).collect()
    }

    /// Where this node can be reached, as it tells peers.
    pub fn own_addresses(&self) -> Vec<Address> {
        self.addresses().into_iter().map(|(_, address)| address).take(MAX_ADDRESSES).collect()
    }

    /// Whether a transport here dials addresses of this scheme.
    pub fn dials(&self, address: &Address) -> bool {
        self.all().iter().any(|registered| registered.transport.info().scheme == address.transport_type)
    }

    /// Closes all transports.
    pub async fn close(&self) {
        let _turn = self.turn.lock().await;
        for registered in self.all() {
            if let Err(error) = timeout(PATIENCE, registered.transport.close()).await.unwrap_or_else(|_| Err(late())) {
                tracing::warn!(transport = registered.label, %error, "cannot be closed");
            }
        }
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "a transport took too long to start or stop")
}

pub(crate) fn none_registered() -> Error {
    let message = "No transport enabled: call register_transport() with an HTTP, iroh or other transport builder";
    Error::new(ErrorKind::Unsupported, message)
}
