//! Two sides without a network between them, so that a test decides what arrives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Caller, PublicKey, Result};
use eidetica_core::{Environment, SecretKey, Time};
use eidetica_sync::session::{
    Exchange, Identity, Offer, Outbound, Received, Request, Session, SessionLimits, Sessions, Step,
};

pub const MAX: usize = 64 << 10;
pub const REFUSED: &[u8] = &[0];

/// Randomness that can be repeated: `blake3` of a seed and a count.
pub struct Dice {
    seed: u8,
    count: AtomicU64,
}

impl Dice {
    pub fn new(seed: u8) -> Arc<Dice> {
        Arc::new(Dice { seed, count: AtomicU64::new(0) })
    }
}

impl Environment for Dice {
    fn now(&self) -> Time {
        panic!("sessions read no clock")
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut hasher = blake3::Hasher::new_derive_key("eidetica tests, dice");
        hasher.update(&[self.seed]).update(&count.to_be_bytes()).finalize_xof().fill(buffer);
        Ok(())
    }
}

pub fn identity(seed: u8) -> Identity {
    Identity::new(SecretKey::from_seed(&[seed; 32]), Dice::new(seed)).unwrap()
}

pub fn offer() -> Offer {
    Offer::versions(1, 1)
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// The answering side, which any number of callers reach.
#[derive(Clone)]
pub struct Server {
    pub identity: Identity,
    pub sessions: Arc<Mutex<Sessions>>,
}

impl Server {
    pub fn new(seed: u8, limits: SessionLimits) -> Server {
        let identity = identity(seed);
        let sessions = Sessions::new(identity.clone(), offer(), limits);
        Server { identity, sessions: Arc::new(Mutex::new(sessions)) }
    }

    pub fn key(&self) -> PublicKey {
        self.identity.device()
    }

    pub fn know(&self, key: PublicKey) {
        self.sessions.lock().unwrap().set_known(key, true);
    }

    pub fn receive_from(&self, now: Duration, caller: &Caller, message: &Bytes) -> Received {
        self.sessions.lock().unwrap().receive(now, caller, MAX, message).unwrap()
    }

    pub fn receive(&self, message: &Bytes) -> Received {
        self.receive_from(seconds(0), &Caller::unknown(), message)
    }

    /// What a service that echoes would answer.
    pub fn answer(&self, now: Duration, caller: &Caller, message: &Bytes) -> Bytes {
        match self.receive_from(now, caller, message) {
            Received::Answer(answer) => answer,
            Received::Request(request) => self.echo(now, request),
        }
    }

    pub fn echo(&self, now: Duration, request: Box<Request>) -> Bytes {
        self.sessions.lock().unwrap().reply(now, request.token, request.payload).seal()
    }

    /// True if the message gets the fixed refusal.
    pub fn refuses(&self, message: &Bytes) -> bool {
        matches!(self.receive(message), Received::Answer(answer) if answer == REFUSED)
    }
}

pub fn outbound(seed: u8, pin: Option<PublicKey>) -> Outbound {
    Outbound::new(identity(seed), offer(), SessionLimits::default(), MAX, None, pin).unwrap()
}

pub fn shake(outbound: &mut Outbound, server: &Server, now: Duration, caller: &Caller) -> Result<Arc<Session>> {
    let greeting = outbound.greet()?;
    let answer = server.answer(now, caller, &greeting.message());
    outbound.welcome(now, greeting, &answer)
}

/// A caller with a session that has carried one request.
pub fn established(seed: u8, server: &Server) -> Arc<Session> {
    let session = shake(&mut outbound(seed, None), server, seconds(0), &Caller::unknown()).unwrap();
    assert_eq!(run(&session, server, b"first"), b"first"[..]);
    session
}

/// One message of a request that fits into one.
pub fn sent(session: &Arc<Session>, payload: &'static [u8]) -> (Exchange, u32, Bytes) {
    let mut exchange = Exchange::new(session.clone(), Bytes::from_static(payload)).unwrap();
    let Step::Send(number, message) = exchange.step().unwrap() else { panic!("one message") };
    (exchange, number, message)
}

pub fn run(session: &Arc<Session>, server: &Server, payload: &'static [u8]) -> Bytes {
    complete(session, server, seconds(0), Bytes::from_static(payload)).unwrap()
}

/// Carries a request to its end, in order.
pub fn complete(session: &Arc<Session>, server: &Server, now: Duration, payload: Bytes) -> Result<Bytes> {
    let mut exchange = Exchange::new(session.clone(), payload)?;
    let mut under_way = std::collections::VecDeque::new();
    loop {
        match exchange.step()? {
            Step::Send(number, message) => under_way.push_back((number, message)),
            Step::Wait => {
                let (number, message) = under_way.pop_front().expect("something is under way");
                assert!(message.len() <= MAX, "a message of {} bytes", message.len());
                let answer = server.answer(now, &Caller::unknown(), &message);
                assert!(answer.len() <= MAX, "an answer of {} bytes", answer.len());
                exchange.answer(number, &answer, now)?;
            }
            Step::Done(reply) => return Ok(reply),
            Step::Renew => panic!("the session is gone"),
        }
    }
}
