//! The side that answers: lets callers in at a bounded rate, and gives each what it may have.

mod answers;
mod guests;
mod hearsay;
mod places;
mod rate;
mod strangers;
mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind, PublicKey, Result, Service};
use eidetica_core::{Engine, Id};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::links::{Links, offer};
use super::served::Served;
use super::steps::Steps;
use super::transports::Transports;
use super::welcomes::Welcome;
use crate::access::{Book, Filing, Grants};
use crate::message::Request;
use crate::peers::{Frontiers, Peers};
use crate::presence::{self, Hall};
use crate::reconcile::Limits;
use crate::schedule::Lane;
use crate::session::{CloseReason, Identity, REFUSAL, Received, Request as Sealed, SessionLimits, Sessions, kind};
use answers::Answer;
use guests::Guests;
use places::Places;
pub use rate::Rate;
pub(crate) use rate::Strangers;
use strangers::Shares;
pub use strangers::StrangerLimits;
use waiting::Waiting;

/// What the answering side of a node is made of.
pub(crate) struct Parts {
    pub engine: Engine,
    pub identity: Identity,
    pub served: Arc<Served>,
    /// A transport holds the desk as its service, so the desk does not hold the transport.
    pub transports: Weak<Transports>,
    /// A channel of a link may lead back to the desk.
    pub links: Weak<Links>,
    pub steps: Arc<Steps>,
    pub grants: Grants,
    pub book: Book,
    pub peers: Peers,
    pub frontiers: Frontiers,
    pub hall: Arc<Hall>,
    pub heard: mpsc::Sender<Heard>,
}

/// The answering side of a node.
pub(crate) struct Desk {
    parts: Parts,
    limits: Limits,
    state: Mutex<State>,
    places: Places,
    strangers: Shares,
    strangers_waiting: Shares,
    waiting: Waiting,
    /// Who waits to be told who is here.
    listening: Waiting,
    start: Instant,
}

struct State {
    sessions: Sessions,
    guests: Guests,
    handshakes: Strangers,
    requests: Strangers,
}

/// What the desk has learnt of a peer that has the right to something here.
pub(crate) enum Heard {
    /// Where it can be reached, and what it may read.
    Introduced(Welcome),
    /// It has brought the root of a database that was not here.
    Begun,
    /// It has asked for access to a database, and was answered; this is to be put down.
    Asked(Filing),
    /// It had the same heads of a database at the end of an exchange, or has them now.
    InStep { lane: Lane, digest: [u8; 32] },
    /// It waits for news of these databases, or no longer.
    Waits { peer: PublicKey, databases: Vec<Id> },
}

impl Desk {
    pub fn new(parts: Parts, limits: SessionLimits, strangers: StrangerLimits) -> Desk {
        let state = State {
            sessions: Sessions::new(parts.identity.clone(), offer(), limits),
            guests: Guests::default(),
            handshakes: Strangers::new(strangers.handshakes, strangers.all_handshakes, Duration::ZERO),
            requests: Strangers::new(strangers.requests, strangers.all_requests, Duration::ZERO),
        };
        Desk {
            parts,
            limits: Limits::default(),
            state: Mutex::new(state),
            places: Places::new(),
            strangers: Shares::new(strangers.at_once, strangers.at_once_per_origin),
            strangers_waiting: Shares::new(strangers.waiting, strangers.waiting_per_origin),
            waiting: Waiting::default(),
            listening: Waiting::default(),
            start: Instant::now(),
        }
    }

    /// What a transport that carries messages of this size hands its requests to.
    pub fn counter(self: &Arc<Self>, max_message: usize) -> Arc<dyn Service> {
        Arc::new(Counter { desk: self.clone(), max_message })
    }

    /// Answers all who wait for news, so that nobody has to be waited for when a server stops.
    pub fn end_waits(&self) {
        self.waiting.end_all();
        self.listening.end_all();
    }

    /// Answers all who wait for news, and lets nobody wait any longer.
    pub fn close(&self) {
        self.waiting.close();
        self.listening.close();
    }

    /// Forgets a peer: its sessions end, and it is a stranger from now on.
    pub fn forget(&self, peer: &PublicKey) {
        let mut state = self.state();
        state.sessions.set_known(*peer, false);
        state.sessions.close_peer(peer, CloseReason::Done);
        state.guests.forget(peer);
    }

    /// Says whether a peer is known here, and may thus send more than a stranger.
    pub fn set_known(&self, peer: PublicKey, known: bool) {
        self.state().sessions.set_known(peer, known);
    }

    fn receive(&self, caller: &Caller, max_message: usize, message: &Bytes) -> Result<Received> {
        let now = self.start.elapsed();
        let mut state = self.state();
        // A greeting costs two key exchanges and a signature; it is the one thing that anybody may cause.
        let greets = message.first() == Some(&kind::GREETING);
        if greets && !state.handshakes.admit(caller.origin.as_deref(), now) {
            tracing::debug!(origin = caller.origin, "too many handshakes");
            return Ok(Received::Answer(Bytes::from_static(REFUSAL)));
        }
        state.sessions.receive(now, caller, max_message, message)
    }

    /// Answers a request that was in a message.
    async fn respond(&self, caller: &Caller, sealed: &Sealed) -> Result<Answer, ErrorKind> {
        let peer = sealed.peer;
        // What is none of version 1 may come from a newer program.
        let request = Request::parse(&sealed.payload).ok_or(ErrorKind::InvalidInput)?;
        let hearsay = matches!(request, Request::Tell(_) | Request::Listen { .. });
        if hearsay && sealed.agreed.capabilities & presence::CAPABILITY == 0 {
            return Err(ErrorKind::InvalidInput);
        }
        let known = self.state().sessions.is_known(&peer);
        let _place = match known {
            true => None,
            false => {
                let now = self.start.elapsed();
                if !self.state().requests.admit(caller.origin.as_deref(), now) {
                    return Err(ErrorKind::Busy);
                }
                let waits = matches!(request, Request::Watch { .. } | Request::Listen { .. });
                let places = if waits { &self.strangers_waiting } else { &self.strangers };
                Some(places.take(caller.origin.as_deref()).ok_or(ErrorKind::Busy)?)
            }
        };
        self.answer(peer, caller, request).await.map_err(|error| {
            tracing::debug!(%peer, %error, "a request came to nothing");
            error.kind()
        })
    }

    /// Passes something on to the driver; if that has ended, so has everything else soon.
    async fn hear(&self, heard: Heard) {
        let _ = self.parts.heard.send(heard).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the requests of one transport arrive.
struct Counter {
    desk: Arc<Desk>,
    max_message: usize,
}

#[async_trait]
impl Service for Counter {
    /// Dropped at an await, the request is abandoned; entries that were being taken in still come in, each whole.
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        let request = match self.desk.receive(&caller, self.max_message, &message)? {
            Received::Answer(answer) => return Ok(answer),
            Received::Request(request) => request,
        };
        let known = self.desk.state().sessions.is_known(&request.peer);
        caller.vouch(known.then_some(request.peer));
        let answer = self.desk.respond(&caller, &request).await;
        // The passes are held until the answer is sealed: whoever ends the sync of a database waits for what is said of it.
        let (reply, _passes) = match answer {
            Ok(Answer { reply, passes }) => (Ok(reply.to_bytes()), passes),
            Err(kind) => (Err(kind), Vec::new()),
        };
        let unsealed = {
            let now = self.desk.start.elapsed();
            let mut state = self.desk.state();
            match reply {
                Ok(reply) => state.sessions.reply(now, request.token, reply),
                Err(kind) => state.sessions.fail(request.token, kind),
            }
        };
        // Without the lock: a large answer takes milliseconds, and everybody else would wait.
        Ok(unsealed.seal())
    }
}
