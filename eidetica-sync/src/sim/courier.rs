//! Carrying messages: each arrives when its link has said, in the order of arrival.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use eidetica_contract::{Caller, Error, ErrorKind, PublicKey, Result};
use tokio::sync::{oneshot, watch};
use tokio::time::{Duration, Instant, sleep_until};

use super::conditions::Reach;
use super::network::{Inner, Label, State};
use super::trace::Fate;

/// How many messages may be on their way at once; further ones are lost.
const MOST_FLYING: usize = 1 << 16;

/// What is on its way.
pub(super) enum Flight {
    /// A request, or the question who listens.
    There { label: Label, payload: Bytes, caller: Caller, slot: Arc<Slot>, course: Course },
    /// What goes back.
    Back { label: Label, answer: Answer, slot: Arc<Slot> },
    /// News for the caller that nothing will come.
    Failure(Arc<Slot>, &'static str),
}

/// What was drawn for the time at which the service is at work.
#[derive(Clone, Copy, Default)]
pub(super) struct Course {
    pub broken_at_work: Option<Duration>,
    pub abandoned: bool,
}

/// What comes back.
pub(super) struct Answer {
    pub result: Result<Bytes>,
    pub device: Option<PublicKey>,
    pub max_message: usize,
}

/// Where a caller waits for his answer.
pub(super) struct Slot {
    answer: Mutex<Option<oneshot::Sender<Result<Answer>>>>,
    here: watch::Receiver<()>,
}

/// A caller who waits. When he is dropped, the slot learns it.
pub(super) struct Waiting {
    pub answered: oneshot::Receiver<Result<Answer>>,
    pub slot: Arc<Slot>,
    _here: watch::Sender<()>,
}

impl Slot {
    pub fn begin() -> Waiting {
        let ((answer, answered), (_here, here)) = (oneshot::channel(), watch::channel(()));
        Waiting { answered, slot: Arc::new(Slot { answer: Mutex::new(Some(answer)), here }), _here }
    }

    /// False if nobody waits any more, or there has been an answer.
    pub fn answer(&self, result: Result<Answer>) -> bool {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.is_some_and(|answer| answer.send(result).is_ok())
    }

    /// Returns when the caller does not wait any more.
    pub async fn left(&self) {
        let mut here = self.here.clone();
        while here.changed().await.is_ok() {}
    }
}

/// Delivers what is due, for ever.
pub(super) async fn deliver(network: Arc<Inner>) {
    loop {
        let next = network.state().flying.first_key_value().map(|(at, _)| *at);
        match next {
            Some((at, _)) if at <= Instant::now() => {
                let flight = network.state().flying.pop_first();
                if let Some((_, flight)) = flight {
                    network.arrive(flight);
                }
            }
            Some((at, _)) => tokio::select! {
                biased;
                () = network.sent.notified() => {}
                () = sleep_until(at) => {}
            },
            None => network.sent.notified().await,
        }
    }
}

pub(super) fn unreachable(message: &'static str) -> Error {
    Error::new(ErrorKind::Unreachable, message)
}

impl Inner {
    fn fly(&self, state: &mut State, at: Instant, flight: Flight) {
        let number = state.number();
        state.flying.insert((at, number), flight);
        self.sent.notify_one();
    }

    /// Sends a request on its way, or the question who listens.
    pub fn send(&self, label: Label, payload: Bytes, caller: Caller, slot: Arc<Slot>) {
        let state = &mut *self.state();
        let standard = state.standard();
        let passage = state.link(&label.from, &label.to).send(&standard, label.kind, payload.clone());
        let fate = if state.flying.len() < MOST_FLYING { passage.fate } else { Fate::Lost };
        state.note(&label, &payload, fate);
        match fate {
            Fate::Refused => self.fly(state, passage.at, Flight::Failure(slot, "the connection was refused")),
            Fate::Broken => self.fly(state, passage.at, Flight::Failure(slot, "the connection has broken")),
            Fate::Sent(_) | Fate::HeldBack(_) => {
                if passage.changed {
                    state.note(&label, &passage.payload, Fate::Changed);
                }
                let course = Course { broken_at_work: passage.broken_at_work, abandoned: passage.abandoned };
                let now = Instant::now();
                let again = passage.again.map(|at| (at, Fate::Again(at - now), slot.clone()));
                let replayed = passage.replayed.map(|at| (at, Fate::Replayed(at - now), Slot::begin().slot));
                for (at, fate, slot) in [again, replayed].into_iter().flatten() {
                    // As it was sent, whatever becomes of the first one.
                    let (label, payload, caller, course) =
                        (label.clone(), payload.clone(), caller.clone(), Course::default());
                    state.note(&label, &payload, fate);
                    self.fly(state, at, Flight::There { label, payload, caller, slot, course });
                }
                let payload = passage.payload;
                self.fly(state, passage.at, Flight::There { label, payload, caller, slot, course });
            }
            _ => {}
        }
    }

    /// Sends on its way what goes back; `label` is that of the request.
    pub fn send_back(&self, label: &Label, answer: Answer, slot: Arc<Slot>) {
        let state = &mut *self.state();
        let (label, standard) = (label.back(), state.standard());
        let payload = answer.result.as_ref().cloned().unwrap_or_default();
        let passage = state.link(&label.from, &label.to).send(&standard, label.kind, payload.clone());
        let fate = if state.flying.len() < MOST_FLYING { passage.fate } else { Fate::Lost };
        state.note(&label, &payload, fate);
        match fate {
            Fate::Broken => self.fly(state, passage.at, Flight::Failure(slot, "the connection has broken")),
            Fate::Sent(_) | Fate::HeldBack(_) => {
                if passage.changed {
                    state.note(&label, &passage.payload, Fate::Changed);
                }
                let answer = Answer { result: answer.result.map(|_| passage.payload), ..answer };
                self.fly(state, passage.at, Flight::Back { label, answer, slot });
            }
            _ => {}
        }
    }

    fn arrive(self: &Arc<Inner>, flight: Flight) {
        match flight {
            Flight::Failure(slot, message) => drop(slot.answer(Err(unreachable(message)))),
            Flight::Back { label, answer, slot } => {
                let payload = answer.result.as_ref().cloned().unwrap_or_default();
                if self.let_through(&label, &payload) {
                    let fate = if slot.answer(Ok(answer)) { Fate::Arrived } else { Fate::Unwanted };
                    self.state().note(&label, &payload, fate);
                }
            }
            Flight::There { label, payload, caller, slot, course } => {
                if self.let_through(&label, &payload) {
                    self.take_in(label, payload, caller, slot, course);
                }
            }
        }
    }

    /// False, and noted, if the link has become a black hole meanwhile.
    fn let_through(&self, label: &Label, payload: &Bytes) -> bool {
        let mut state = self.state();
        let open = state.link(&label.from, &label.to).reach != Reach::BlackHole;
        if !open {
            state.note(label, payload, Fate::Swallowed);
        }
        open
    }
}
