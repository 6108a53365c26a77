//! Whether requests are let through to a service, and to which.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderName;
use axum::routing::post;
use eidetica_contract::Service;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::answer;
use super::large::Large;
use crate::refusal::Refusal;
use crate::{HttpLimits, PATH};

/// How long dropped requests get to end.
const LAST: Duration = Duration::from_millis(400);

/// Stands before the service. Routes refer to it, so that they can be mounted before anything listens.
#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<Option<Arc<Serving>>>,
    /// True if somebody has asked for routes of it.
    mounted: AtomicBool,
}

/// A service that is listening, from `listen` to `stop_listening`.
pub(crate) struct Serving {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) limits: HttpLimits,
    pub(crate) large: Large,
    /// The header in which a proxy says where callers come from.
    pub(crate) origin_header: Option<HeaderName>,
    /// One for each request that may be under way.
    places: Arc<Semaphore>,
    /// True once requests under way are to be dropped.
    cut: watch::Sender<bool>,
}

/// A request that was let in.
pub(crate) struct Entered {
    pub(crate) serving: Arc<Serving>,
    _place: OwnedSemaphorePermit,
}

impl Gate {
    /// Routes for a server of the application.
    pub(crate) fn mount(self: &Arc<Gate>) -> Router {
        self.mounted.store(true, Ordering::Relaxed);
        self.router()
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.mounted.load(Ordering::Relaxed)
    }

    pub(crate) fn router(self: &Arc<Gate>) -> Router {
        let gate = self.clone();
        Router::new().route(PATH, post(move |request: Request| answer(gate, request)))
    }

    /// Lets requests through to this service.
    pub(crate) fn open(&self, serving: Arc<Serving>) {
        *self.lock() = Some(serving);
    }

    /// Lets no further request through to this one.
    pub(crate) fn shut(&self, serving: &Arc<Serving>) {
        self.lock().take_if(|open| Arc::ptr_eq(open, serving));
    }

    pub(crate) fn enter(&self) -> Result<Entered, Refusal> {
        let serving = self.lock().clone().ok_or(Refusal::NOBODY)?;
        let _place = serving.places.clone().try_acquire_owned().map_err(|_| Refusal::BUSY)?;
        Ok(Entered { serving, _place })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Serving>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serving {
    pub(crate) fn new(
        service: Arc<dyn Service>,
        limits: HttpLimits,
        origin_header: Option<HeaderName>,
    ) -> Arc<Serving> {
        let places = Arc::new(Semaphore::new(limits.requests));
        let large = Large::new(limits.large_messages);
        Arc::new(Serving { service, limits, large, origin_header, places, cut: watch::channel(false).0 })
    }

    /// Ends when requests under way are to be dropped.
    pub(crate) async fn is_cut(&self) {
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }

    /// Waits for requests under way until the deadline, which may come closer meanwhile, and drops them then.
    pub(crate) async fn drain(&self, stop: &mut watch::Receiver<Option<Instant>>) {
        let all = self.limits.requests as u32;
        tokio::select! {
            _ = self.places.acquire_many(all) => {}
            () = until(stop) => {}
        }
        self.cut.send_replace(true);
        let _ = timeout(LAST, self.places.acquire_many(all)).await;
    }
}

/// Waits for a deadline that is set, and may come closer. Nobody there to set it means now.
pub(crate) async fn until(stop: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let deadline = *stop.borrow_and_update();
        let passed = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = stop.changed() => if changed.is_err() { return },
            () = passed => return,
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.lock().is_some()).finish_non_exhaustive()
    }
}
