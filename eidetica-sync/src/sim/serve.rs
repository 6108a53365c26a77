//! Where messages come to: a service that listens.

use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{Caller, Error, PublicKey, Service};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::courier::{Answer, Course, Slot, unreachable};
use super::network::{Inner, Label};
use super::trace::{Fate, Kind};
use crate::transport::{too_large, unless_it_panics};

/// How many requests a listener works on at once; more wait.
const AT_ONCE: usize = 1024;
/// How many may wait beside those.
const MOST_WAITING: usize = 8192;

/// A service that listens under the name of a host.
pub(super) struct Listener {
    /// Tells it from others under the same name.
    pub number: u64,
    service: Arc<dyn Service>,
    places: Arc<Semaphore>,
    device: Option<PublicKey>,
    max_message: usize,
    pub tasks: JoinSet<()>,
}

impl Listener {
    pub fn new(number: u64, service: Arc<dyn Service>, device: Option<PublicKey>, max_message: usize) -> Listener {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Listener { number, service, places, device, max_message, tasks: JoinSet::new() }
    }
}

impl Inner {
    /// A message has come to its host.
    pub fn take_in(self: &Arc<Inner>, label: Label, payload: Bytes, caller: Caller, slot: Arc<Slot>, course: Course) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(listener) = state.listeners.get_mut(&label.to) else {
            state.note(&label, &payload, Fate::Unwanted);
            drop(guard);
            let answer = Answer { result: Err(nobody(&label)), device: None, max_message: 0 };
            return self.send_back(&label, answer, slot);
        };
        while listener.tasks.try_join_next().is_some() {}
        let (device, max_message) = (listener.device, listener.max_message);
        let answer = |result| Answer { result, device, max_message };
        let refused = match label.kind {
            Kind::Dial => Some(answer(Ok(Bytes::new()))),
            _ if payload.len() > max_message => Some(answer(Err(too_large(payload.len(), max_message)))),
            _ if listener.tasks.len() >= MOST_WAITING => Some(answer(Err(unreachable("the host is overloaded")))),
            _ => None,
        };
        if refused.is_none() {
            let at_work = AtWork {
                network: self.clone(),
                label: label.clone(),
                slot: slot.clone(),
                course,
                device,
                max_message,
                answered: false,
            };
            let (service, places) = (listener.service.clone(), listener.places.clone());
            listener.tasks.spawn(at_work.serve(service, places, caller, payload.clone()));
        }
        state.note(&label, &payload, Fate::Arrived);
        drop(guard);
        if let Some(answer) = refused {
            self.send_back(&label, answer, slot);
        }
    }
}

fn nobody(label: &Label) -> Error {
    unreachable("nobody listens under this name").with("name", &label.to)
}

/// One request that a service is at work on.
struct AtWork {
    network: Arc<Inner>,
    label: Label,
    slot: Arc<Slot>,
    course: Course,
    device: Option<PublicKey>,
    max_message: usize,
    answered: bool,
}

impl AtWork {
    async fn serve(mut self, service: Arc<dyn Service>, places: Arc<Semaphore>, caller: Caller, payload: Bytes) {
        let Ok(_place) = places.acquire_owned().await else { return };
        let slot = self.slot.clone();
        let breaks = self.course.broken_at_work;
        let result = tokio::select! {
            biased;
            () = slot.left(), if self.course.abandoned => {
                self.answered = true;
                return self.network.state().note(&self.label, &payload, Fate::Abandoned);
            }
            () = tokio::time::sleep(breaks.unwrap_or_default()), if breaks.is_some() => {
                self.network.state().note(&self.label, &payload, Fate::BrokenAtWork);
                // What was at work is dropped, and the caller learns it like one whose host has gone.
                return;
            }
            result = unless_it_panics(service.handle(caller, payload.clone())) => result,
        };
        self.answered = true;
        let answer = Answer { result, device: self.device, max_message: self.max_message };
        self.network.send_back(&self.label, answer, slot);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        // The host has stopped or gone, or the connection has broken. Not while the runtime itself ends: then nobody waits.
        if !self.answered {
            let result = Err(unreachable("the connection has broken while the request was under way"));
            let answer = Answer { result, device: self.device, max_message: self.max_message };
            self.network.send_back(&self.label, answer, self.slot.clone());
        }
    }
}
