//! Whether connections and requests are let through to a service, and to which.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eidetica_contract::{ErrorKind, Service};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::crowd::Crowd;
use super::shares::{Place, Shares};
use crate::IrohLimits;

/// How long dropped requests, and then connections, get to end.
const LAST: Duration = Duration::from_millis(400);

/// Stands before the service.
#[derive(Default)]
pub(crate) struct Gate(Mutex<Option<Arc<Serving>>>);

/// A service that is listening, from `listen` to `stop_listening`.
pub(crate) struct Serving {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) limits: IrohLimits,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) large: Shares,
    requests: Shares,
    /// True once no more requests are let in.
    stopping: AtomicBool,
    /// How many requests have been let in and are not done with.
    under_way: watch::Sender<usize>,
    /// True once requests under way are to be dropped.
    cut: watch::Sender<bool>,
}

/// A request that has been let in and is not done with.
pub(crate) struct UnderWay<'a>(&'a Serving);

impl Gate {
    /// Lets connections through to this service.
    pub(crate) fn open(&self, serving: Arc<Serving>) {
        *self.lock() = Some(serving);
    }

    /// Lets no further connection through to this one.
    fn shut(&self, serving: &Arc<Serving>) {
        self.lock().take_if(|open| Arc::ptr_eq(open, serving));
    }

    pub(crate) fn serving(&self) -> Option<Arc<Serving>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Serving>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serving {
    pub(crate) fn new(service: Arc<dyn Service>, limits: &IrohLimits) -> Arc<Serving> {
        Arc::new(Serving {
            service,
            limits: limits.clone(),
            crowd: Crowd::new(limits),
            large: Shares::new(limits.large_messages),
            requests: Shares::new(limits.requests),
            stopping: AtomicBool::new(false),
            under_way: watch::Sender::new(0),
            cut: watch::Sender::new(false),
        })
    }

    /// Lets a request in. The place is for the work on it; stopping waits for the rest as well.
    pub(crate) fn enter(&self, owner: &Arc<str>) -> Result<(UnderWay<'_>, Place), ErrorKind> {
        self.under_way.send_modify(|count| *count += 1);
        let under_way = UnderWay(self);
        // Looked at after it was counted: who stops counts after this was set.
        if self.stopping.load(Ordering::SeqCst) {
            return Err(ErrorKind::Unreachable);
        }
        Ok((under_way, self.requests.now(owner).ok_or(ErrorKind::Busy)?))
    }

    async fn nothing_under_way(&self) {
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Says when requests under way are to be dropped.
    pub(crate) fn cut(&self) -> watch::Receiver<bool> {
        self.cut.subscribe()
    }

    /// Serves until a deadline is set, and then until it has passed or nothing is under way.
    pub(crate) async fn until_stopped(self: Arc<Serving>, gate: Arc<Gate>, mut stop: watch::Receiver<Option<Instant>>) {
        let _ = stop.wait_for(Option::is_some).await;
        gate.shut(&self);
        self.stopping.store(true, Ordering::SeqCst);
        tokio::select! {
            () = self.nothing_under_way() => {}
            () = until(&mut stop) => {}
        }
        self.cut.send_replace(true);
        let _ = timeout(LAST, self.nothing_under_way()).await;
        let _ = timeout(LAST, self.crowd.empty()).await;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// Waits for a deadline that is set, and may come closer. Nobody there to set it means now.
async fn until(stop: &mut watch::Receiver<Option<Instant>>) {
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
