//! Whole nodes with a defect: in what they do, or in the store or the transport below them.
//!
//! Sessions authenticate what a transport brings, and repeat what it has lost now and then. So the defects of transports here are those that no
//! repeating mends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Caller, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport, TransportBuilder,
    TransportContext, TransportInfo,
};

use super::{BackendDefect, BackendMutant, TransportMutant};
use crate::network::{Act, Parts};
use crate::{BackendSubject, Suite, TransportSubject};

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NetworkDefect {
    CutsLargeMessages,
    LosesLargeRequests,
    SwapsAnswers,
    RepeatsAnAnswerOfBefore,
    DeliversTwice,
    LeaksItsPlaces,
    LeadsAstray,
    HearsOneCaller,
    DialsOnePlace,
    TripsOverItsState,
    ReportsAnotherPeer,
    ForgetsWhatWasFlushed,
    ApprovesNobody,
    RejectsNobody,
    RemovesNobody,
    GivesToAnybody,
}

use NetworkDefect::*;

/// The defects, and the cases that must catch them.
pub(super) const ALL: &[(NetworkDefect, &[&str])] = &[
    (CutsLargeMessages, &["network.pair.bootstraps", "network.mesh.who-comes-late-gets-all"]),
    (LosesLargeRequests, &["network.pair.both-have-written"]),
    (SwapsAnswers, &["network.pair.bootstraps"]),
    (RepeatsAnAnswerOfBefore, &["network.mesh.random-calls-converge"]),
    (DeliversTwice, &["network.pair.bootstraps"]),
    (LeaksItsPlaces, &["network.pair.comes-by-itself"]),
    (LeadsAstray, &["network.pair.both-dial-at-once"]),
    (HearsOneCaller, &["network.mesh.all-with-all"]),
    (DialsOnePlace, &["network.mesh.a-relay-brings-both-ways"]),
    (TripsOverItsState, &["network.pair.goes-on-after-a-kill", "network.pair.a-lasting-bond-outlives-restarts"]),
    (ReportsAnotherPeer, &["network.pair.another-device-is-told"]),
    (ForgetsWhatWasFlushed, &["network.pair.a-lasting-bond-outlives-restarts"]),
    (ApprovesNobody, &["network.access.a-request-is-approved"]),
    (RejectsNobody, &["network.access.a-request-is-rejected"]),
    (RemovesNobody, &["network.access.a-removed-key-gets-nothing-more"]),
    (GivesToAnybody, &["network.access.a-stranger-learns-nothing"]),
];

/// What is larger is cut.
const LARGE_ANSWER: usize = 4 << 10;
/// What is larger is lost.
const LARGE_REQUEST: usize = 700;
/// From this request on a transport repeats an answer.
const REPEATS: u64 = 12;
/// So many requests a server works on in its life.
const PLACES: u64 = 12;

/// A sound network waits for nothing for so long.
const PATIENCE: Duration = Duration::from_secs(6);

/// Whole nodes with one defect, or none.
#[derive(Clone, Copy, Debug)]
pub struct NetworkMutant(Option<NetworkDefect>);

impl NetworkMutant {
    /// Without a defect.
    pub fn sound() -> NetworkMutant {
        NetworkMutant(None)
    }

    /// With this one.
    pub fn new(defect: NetworkDefect) -> NetworkMutant {
        NetworkMutant(Some(defect))
    }

    /// What runs nodes of this kind.
    pub fn suite(self) -> Suite {
        let backend: Arc<dyn BackendSubject> = match self.0 {
            Some(ForgetsWhatWasFlushed) => Arc::new(BackendMutant::new(BackendDefect::FlushDoesNothing)),
            _ => Arc::new(BackendMutant::sound(false, false)),
        };
        let without = match self.0 {
            Some(ApprovesNobody) => Some(Act::Approves),
            Some(RejectsNobody) => Some(Act::Rejects),
            Some(RemovesNobody) => Some(Act::Removes),
            Some(GivesToAnybody) => Some(Act::KeepsToItself),
            _ => None,
        };
        let inner = TransportMutant::sound(self.0 == Some(ReportsAnotherPeer));
        let transport = Arc::new(Spoiled { inner, defect: self.0 });
        let suite = match self.0 {
            Some(_) => Suite::new().patience(PATIENCE),
            None => Suite::new(),
        };
        suite.network_without(Parts { backends: vec![backend], transports: vec![transport], without })
    }
}

struct Spoiled {
    inner: TransportMutant,
    defect: Option<NetworkDefect>,
}

impl TransportSubject for Spoiled {
    fn name(&self) -> String {
        self.defect.map_or_else(|| "memory".to_owned(), |defect| format!("{defect:?}"))
    }

    fn listening(&self) -> Result<Box<dyn TransportBuilder>> {
        Ok(Box::new(Builder { inner: self.inner.listening()?, defect: self.defect }))
    }

    fn dialling(&self) -> Result<Box<dyn TransportBuilder>> {
        Ok(Box::new(Builder { inner: self.inner.dialling()?, defect: self.defect }))
    }
}

struct Builder {
    inner: Box<dyn TransportBuilder>,
    defect: Option<NetworkDefect>,
}

#[async_trait]
impl TransportBuilder for Builder {
    fn wants_device_secret(&self) -> bool {
        self.inner.wants_device_secret()
    }

    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>> {
        let state = context.state.clone();
        let inner = self.inner.build(context).await?;
        let Some(defect) = self.defect else { return Ok(inner) };
        let mut trips = false;
        if defect == TripsOverItsState {
            trips = state.load().await?.is_some();
            state.save(Bytes::from_static(b"was here")).await?;
        }
        Ok(Box::new(Way { inner, defect, trips, calls: Arc::default(), place: Mutex::default() }))
    }
}

struct Way {
    inner: Box<dyn Transport>,
    defect: NetworkDefect,
    /// True if it has found a state of before, and can make nothing of it.
    trips: bool,
    calls: Arc<Calls>,
    /// Where it has dialled first.
    place: Mutex<Option<Address>>,
}

/// What all channels of a transport have in common.
#[derive(Default)]
struct Calls {
    made: AtomicU64,
    /// An answer of before.
    answer: Mutex<Option<Bytes>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unreachable() -> Error {
    Error::new(ErrorKind::Unreachable, "the connection is lost")
}

#[async_trait]
impl Transport for Way {
    fn info(&self) -> TransportInfo {
        self.inner.info()
    }

    fn addresses(&self) -> Vec<Address> {
        let mut addresses = self.inner.addresses();
        if self.defect == LeadsAstray {
            addresses.iter_mut().for_each(|address| address.address += "-elsewhere");
        }
        addresses
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        let elsewhere = |first: &Address| first != address;
        if self.trips || (self.defect == DialsOnePlace && held(&self.place).as_ref().is_some_and(elsewhere)) {
            return Err(unreachable());
        }
        let inner = self.inner.dial(address, options).await?;
        held(&self.place).get_or_insert_with(|| address.clone());
        Ok(Box::new(Lane { inner, defect: self.defect, calls: self.calls.clone() }))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        self.inner
            .listen(Arc::new(Desk { inner: service, defect: self.defect, first: Mutex::default(), worked: 0.into() }))
            .await
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        self.inner.stop_listening(grace).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct Lane {
    inner: Box<dyn Channel>,
    defect: NetworkDefect,
    calls: Arc<Calls>,
}

#[async_trait]
impl Channel for Lane {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        let made = self.calls.made.fetch_add(1, Ordering::SeqCst);
        if self.defect == LosesLargeRequests && message.len() > LARGE_REQUEST {
            return Err(unreachable());
        }
        let mut answer = self.inner.request(message, options).await?;
        match self.defect {
            CutsLargeMessages => answer.truncate(LARGE_ANSWER),
            SwapsAnswers => {
                let mut other = held(&self.calls.answer);
                answer = other.replace(answer.clone()).unwrap_or(answer);
            }
            RepeatsAnAnswerOfBefore => {
                let mut first = held(&self.calls.answer);
                let first = first.get_or_insert_with(|| answer.clone());
                if made >= REPEATS {
                    answer = first.clone();
                }
            }
            _ => {}
        }
        Ok(answer)
    }

    fn peer(&self) -> Option<PublicKey> {
        match self.defect {
            ReportsAnotherPeer => Some(eidetica_core::SecretKey::from_seed(&[7; 32]).public()),
            _ => self.inner.peer(),
        }
    }
}

struct Desk {
    inner: Arc<dyn Service>,
    defect: NetworkDefect,
    /// Who has called first.
    first: Mutex<Option<Option<String>>>,
    /// How many requests it has worked on.
    worked: AtomicU64,
}

#[async_trait]
impl Service for Desk {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        if self.defect == HearsOneCaller {
            let first = held(&self.first).get_or_insert_with(|| caller.origin.clone()).clone();
            if first != caller.origin {
                return Err(unreachable());
            }
        }
        if self.defect == LeaksItsPlaces && self.worked.fetch_add(1, Ordering::SeqCst) >= PLACES {
            return Err(unreachable());
        }
        if self.defect == DeliversTwice {
            self.inner.handle(caller.clone(), message.clone()).await?;
        }
        self.inner.handle(caller, message).await
    }
}
