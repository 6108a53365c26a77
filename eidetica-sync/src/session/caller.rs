//! The side that calls: one session at a time over one channel.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result};

use super::handshake::{Greeting, check_pin};
use super::hello::{Agreed, Hello, Offer};
use super::identity::Identity;
use super::limits::SessionLimits;
use super::message::{Ask, Say};
use super::sealing::{Keys, room};
use super::ticks::Ticks;
use super::wire::{Fields, HANDSHAKE, ID, SessionId, check_max_message, kind, not_believed};

/// What the calling side of one channel knows: who it is, whom it expects, and the session in use.
///
/// It does no I/O. Ask for a [`session`](Outbound::session); if there is none, [`greet`](Outbound::greet), send the
/// greeting, and hand the answer to [`welcome`](Outbound::welcome). Requests are then [`Exchange`](super::Exchange)s on
/// the session, any number at once. What the refusal of a session means stands at [`Step::Renew`](super::Step::Renew).
pub struct Outbound {
    identity: Identity,
    hello: Hello,
    limits: SessionLimits,
    pin: Option<PublicKey>,
    proven: Option<PublicKey>,
    ticks: Ticks,
    session: Option<Arc<Session>>,
}

impl Outbound {
    /// The calling side over a channel whose transport carries `max_message` bytes and has proven the key `proven`, if
    /// any. With a pinned key, no other peer is accepted.
    ///
    /// Errors: `Unauthenticated` if the transport has proven another key than the pinned one; `InvalidInput` if the
    /// transport carries less than 16 KiB, or the lowest version of the offer is above the highest.
    pub fn new(
        identity: Identity,
        offer: Offer,
        limits: SessionLimits,
        max_message: usize,
        proven: Option<PublicKey>,
        pin: Option<PublicKey>,
    ) -> Result<Outbound> {
        if offer.lowest > offer.highest {
            return Err(Error::new(ErrorKind::InvalidInput, "the lowest version of the offer is above the highest"));
        }
        proven.map_or(Ok(()), |proven| check_pin(pin, proven))?;
        let hello = Hello::new(offer, check_max_message(max_message)?, limits.max_whole);
        Ok(Outbound { identity, hello, limits, pin, proven, ticks: Ticks::default(), session: None })
    }

    /// The session in use, unless it has grown old. `None`: greet first.
    ///
    /// Over a transport that proves keys there always is one. Errors: `Io` without randomness.
    pub fn session(&mut self, now: Duration) -> Result<Option<Arc<Session>>> {
        let now = self.ticks.advance(now);
        if self.session.as_ref().is_some_and(|session| session.is_worn(now)) {
            self.session = None;
        }
        if let (None, Some(peer)) = (&self.session, self.proven) {
            let mut id = [0; ID];
            self.identity.environment().random(&mut id)?;
            let front = Front::Hello(self.hello.to_bytes());
            let keys = Keys::plain(self.limits.frames);
            self.session = Some(Arc::new(Session::new(SessionId(id), peer, keys, front, self.hello, self.limits, now)));
        }
        if let Some(session) = &self.session {
            session.used.store(millis(now), Ordering::Relaxed);
        }
        Ok(self.session.clone())
    }

    /// Begins a handshake. Errors: `Io` without randomness.
    pub fn greet(&self) -> Result<Greeting> {
        Greeting::new(&self.identity, self.hello)
    }

    /// Ends a handshake: the session is then in use, and its peer pinned for all that follow.
    ///
    /// Errors: `Unauthenticated` if the peer has not proven its key or is not the pinned one (the context has
    /// `expected` and `proven`); `Unsupported` if there is no common version or form of handshake (`ours` and
    /// `theirs`).
    pub fn welcome(&mut self, now: Duration, greeting: Greeting, answer: &[u8]) -> Result<Arc<Session>> {
        let now = self.ticks.advance(now);
        let (made, proof) = greeting.finish(self.pin, answer)?;
        let keys = Keys::sealed(made.keys, self.limits.frames);
        let session = Session::new(made.id, made.peer, keys, Front::Proof(proof), self.hello, self.limits, now);
        session.agree(made.agreed, &made.hello);
        // Whoever forges a refusal must not get the next handshake, and with it the request, for himself.
        self.pin = Some(made.peer);
        let session = Arc::new(session);
        self.session = Some(session.clone());
        Ok(session)
    }

    /// Forgets this session, if it is the one in use.
    pub fn forget(&mut self, session: &Arc<Session>) {
        if self.session.as_ref().is_some_and(|used| Arc::ptr_eq(used, session)) {
            self.session = None;
        }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.session.as_deref();
        f.debug_struct("Outbound").field("identity", &self.identity).field("session", &session).finish_non_exhaustive()
    }
}

/// What stands in front of the frames until the first answer has shown that the other side has the session.
enum Front {
    /// The third message of the handshake.
    Proof(Bytes),
    /// The offer, over a transport that proves keys.
    Hello([u8; Hello::LEN]),
}

/// A session as the calling side has it. Its secrets are wiped when the last exchange on it is dropped.
pub struct Session {
    id: SessionId,
    peer: PublicKey,
    keys: Keys,
    front: Front,
    confirmed: AtomicBool,
    hello: Hello,
    agreed: OnceLock<(Agreed, Duration, Duration)>,
    pub(crate) limits: SessionLimits,
    born: Duration,
    /// In milliseconds.
    used: AtomicU64,
}

impl Session {
    fn new(
        id: SessionId,
        peer: PublicKey,
        keys: Keys,
        front: Front,
        hello: Hello,
        limits: SessionLimits,
        now: Duration,
    ) -> Session {
        let (confirmed, agreed, used) = (AtomicBool::new(false), OnceLock::new(), AtomicU64::new(millis(now)));
        Session { id, peer, keys, front, confirmed, hello, agreed, limits, born: now, used }
    }

    /// The device key of the other side, proven.
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// What both sides have in common. `None` over a transport that proves keys until the first answer has come.
    pub fn agreed(&self) -> Option<Agreed> {
        self.agreed.get().map(|(agreed, ..)| *agreed)
    }

    fn agree(&self, agreed: Agreed, theirs: &Hello) {
        // A little earlier than the other side forgets it, so that the request under way is not the one that finds out.
        let early = |seconds: u32| match seconds {
            0 => Duration::MAX,
            _ => Duration::from_millis(u64::from(seconds) * 875),
        };
        self.agreed.get_or_init(|| (agreed, early(theirs.age), early(theirs.idle)));
    }

    fn is_worn(&self, now: Duration) -> bool {
        let (age, idle) = self.agreed.get().map_or((Duration::MAX, Duration::MAX), |(_, age, idle)| (*age, *idle));
        let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
        now.saturating_sub(self.born) >= self.limits.age.min(age)
            || now.saturating_sub(used) >= self.limits.idle.min(idle)
            || self.keys.sent() >= self.limits.frames.saturating_sub(self.limits.frames / 8).max(1)
    }

    fn max_message(&self) -> usize {
        self.agreed().map_or(self.hello.max_message as usize, |agreed| agreed.max_message)
    }

    /// The largest whole message that the other side takes, as far as it has said.
    pub(crate) fn max_whole(&self) -> usize {
        self.agreed().map_or(usize::MAX, |agreed| agreed.max_whole)
    }

    /// The most bytes of data in one frame.
    pub(crate) fn room(&self) -> usize {
        let front = match &self.front {
            Front::Proof(proof) => 2 + proof.len(),
            Front::Hello(hello) => 2 + hello.len(),
        };
        room(self.max_message() - (1 + ID + 4) - front) - Ask::HEAD
    }

    /// The frame of a request, under a new counter. Errors: `Closed` when there are no more.
    pub(crate) fn seal(&self, ask: impl FnOnce(u32) -> Ask) -> Result<(u32, Bytes)> {
        let counter = self.keys.take_counter()?;
        let mut plain = Vec::new();
        ask(counter).write(&mut plain);
        let mut out = self.head(self.confirmed.load(Ordering::Acquire));
        out.extend_from_slice(&counter.to_be_bytes());
        self.keys.seal(counter, &plain, &mut out)?;
        Ok((counter, out.into()))
    }

    /// Over a transport that proves keys: an offer without a frame, to learn what the other side offers.
    pub(crate) fn plain_hello(&self) -> Bytes {
        self.head(false).into()
    }

    fn head(&self, confirmed: bool) -> Vec<u8> {
        let (kind, front): (u8, &[u8]) = match &self.front {
            _ if confirmed => (kind::REQUEST, &[]),
            Front::Proof(proof) => (kind::PROOF, proof),
            Front::Hello(hello) => (kind::PLAIN_HELLO, hello),
        };
        let mut out = vec![kind];
        out.extend_from_slice(&self.id.0);
        if !front.is_empty() {
            out.extend_from_slice(&(front.len() as u16).to_be_bytes());
            out.extend_from_slice(front);
        }
        out
    }

    /// What the other side says about the request with this counter. `None`: a refusal, of which nothing can be
    /// believed.
    ///
    /// Errors: `Unauthenticated` for an answer that is not genuine, or that answers another request; `Unsupported`
    /// without a common version.
    pub(crate) fn open(&self, request: u32, answer: &Bytes) -> Result<Option<Say>> {
        let forged = || not_believed("the answer does not come from the other side of this session");
        let mut fields = Fields::new(answer);
        match fields.byte().ok_or_else(forged)? {
            kind::REFUSED if answer.len() == 1 => return Ok(None),
            kind::REPLY => {}
            kind::PLAIN_WELCOME => self.read_welcome(&mut fields)?,
            _ => return Err(forged()),
        }
        let counter = fields.u32().ok_or_else(forged)?;
        let plain = Bytes::from(self.keys.open(counter, fields.rest()).ok_or_else(forged)?);
        let (named, say) = Say::read(&plain).ok_or_else(forged)?;
        if named != request {
            return Err(not_believed("the answer belongs to another request")
                .with("asked", request)
                .with("answered", named));
        }
        self.confirmed.store(true, Ordering::Release);
        Ok(Some(say))
    }

    /// What the other side offers, over a transport that proves keys.
    pub(crate) fn read_welcome(&self, fields: &mut Fields<'_>) -> Result<()> {
        let forged = || not_believed("the other side did not answer the offer as a peer would");
        if !matches!(self.front, Front::Hello(_)) {
            return Err(forged());
        }
        let len = fields.u16().ok_or_else(forged)?;
        let hello = fields.take(len.into()).ok_or_else(forged)?;
        let hello = Hello::read(&mut Fields::new(hello)).ok_or_else(forged)?;
        self.agree(self.hello.agree(&hello, HANDSHAKE)?, &hello);
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer).field("agreed", &self.agreed()).finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
