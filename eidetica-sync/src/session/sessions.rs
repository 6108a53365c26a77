//! The side that answers: turns each message into an answer, or into a request and later its reply.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind, PublicKey, Result};

use super::handshake::HalfDone;
use super::hello::{Agreed, Hello, Offer};
use super::identity::Identity;
use super::limits::SessionLimits;
use super::message::{Ask, CloseReason, Part, Say};
use super::parts::{Added, Assembly, Shelf};
use super::reply::{ReplyToken, Unsealed, welcome};
use super::sealing::Keys;
use super::table::{Load, Session, Table};
use super::ticks::Ticks;
use super::unread::{Bounds, Held, Reader, Unread};
use super::wire::{Fields, HANDSHAKE, ID, REFUSAL, SessionId, check_max_message, kind};

/// All sessions of the answering side.
///
/// It does no I/O: [`receive`](Sessions::receive) takes a message as it arrived, and says what to answer, or gives the
/// request that was in it. No message makes it panic, and whatever is refused gets the same answer.
pub struct Sessions {
    identity: Identity,
    offer: Offer,
    limits: SessionLimits,
    ticks: Ticks,
    table: Table,
    unread: Unread,
}

/// What a message was.
#[derive(Debug)]
#[must_use]
pub enum Received {
    /// Send this back; there is nothing else to do.
    Answer(Bytes),
    /// A whole request: answer it with [`Sessions::reply`] or [`Sessions::fail`].
    Request(Box<Request>),
}

/// A request, and from whom.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request {
    /// The device key of the peer, proven.
    pub peer: PublicKey,
    /// What both sides have in common.
    pub agreed: Agreed,
    /// What was asked.
    pub payload: Bytes,
    /// What the reply has to be sealed with.
    pub token: ReplyToken,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(identity: Identity, offer: Offer, limits: SessionLimits) -> Sessions {
        Sessions {
            identity,
            offer,
            limits,
            ticks: Ticks::default(),
            table: Table::new(limits),
            unread: Unread::default(),
        }
    }

    /// Takes a message that arrived over a transport which carries `max_message` bytes, at least 16 KiB.
    ///
    /// `now` is the time since any fixed moment; a clock that goes back stands still. Errors, which are about this side
    /// and never about the message: `InvalidInput` for a smaller `max_message`; `Io` without randomness.
    pub fn receive(&mut self, now: Duration, caller: &Caller, max_message: usize, message: &Bytes) -> Result<Received> {
        let hello = self.hello(check_max_message(max_message)?);
        let now = self.ticks.advance(now);
        self.table.sweep(now);
        let mut fields = Fields::new(message);
        let received = match fields.byte() {
            Some(kind::GREETING) => self.greeting(now, caller, hello, fields)?.map(Received::Answer),
            Some(kind::PROOF) => self.proof(now, caller, fields),
            Some(kind::REQUEST) => fields.id().and_then(|id| self.frame(now, caller, id, None, fields)),
            Some(kind::PLAIN_HELLO) => self.plain_hello(now, caller, hello, fields),
            _ => None,
        };
        Ok(received.unwrap_or_else(refused))
    }

    /// Makes a reply: the answer to the message that completed the request. A reply above `max_message` is kept until it was
    /// fetched; if there is no room for it, or for what its peer has not read yet, or the peer does not take so much, the peer
    /// gets `Busy` or `TooLarge` instead.
    pub fn reply(&mut self, now: Duration, token: ReplyToken, payload: Bytes) -> Unsealed {
        let now = self.ticks.advance(now);
        let failed = |token, kind: ErrorKind| Unsealed { token, say: Say::Failed(kind.number()), held: None };
        let room = token.room();
        if payload.len() > room && payload.len() > token.agreed.max_whole {
            return failed(token, ErrorKind::TooLarge);
        }
        let Some(held) = self.hold(&token, payload.len().min(room)) else { return failed(token, ErrorKind::Busy) };
        if payload.len() <= room {
            return Unsealed { token, say: Say::Whole(payload), held: Some(held) };
        }
        if !self.table.reserve(token.id, payload.len()) {
            return failed(token, ErrorKind::Busy);
        }
        let total = payload.len() as u32;
        let shelf = Shelf::new(payload, room, now);
        let first = shelf.first();
        if let Some(session) = self.table.get(token.id, now) {
            session.leaving.insert(token.request, shelf);
        }
        Unsealed { token, say: Say::First { total, data: first }, held: Some(held) }
    }

    /// Makes the statement that the request came to nothing. The peer learns the kind alone.
    pub fn fail(&self, token: ReplyToken, kind: ErrorKind) -> Unsealed {
        Unsealed { token, say: Say::Failed(kind.number()), held: None }
    }

    /// Counts an answer until it was read; `None` if as much is unread as may be.
    fn hold(&self, token: &ReplyToken, bytes: usize) -> Option<Held> {
        let limits = &self.limits;
        let (reader, each, all) = match self.table.is_known(&token.peer) {
            true => (Reader::Known(token.peer), limits.unread_per_peer, limits.unread),
            false => (Reader::Stranger(token.origin.clone()), limits.unread_per_origin, limits.unread_strangers),
        };
        self.unread.hold(reader, bytes, Bounds { each, all })
    }

    /// Says whether a device key is known here. Known peers have places of their own in the table, and may send more.
    pub fn set_known(&mut self, peer: PublicKey, known: bool) {
        self.table.set_known(peer, known);
    }

    /// Whether a device key is known here.
    pub fn is_known(&self, peer: &PublicKey) -> bool {
        self.table.is_known(peer)
    }

    /// Closes the sessions of a peer: its next frame on each is answered with the reason, and not looked at.
    pub fn close_peer(&mut self, peer: &PublicKey, reason: CloseReason) {
        self.table.close(reason, |other| other == peer);
    }

    /// Closes all sessions in the same way.
    pub fn close_all(&mut self, reason: CloseReason) {
        self.table.close(reason, |_| true);
    }

    /// How full the table is.
    pub fn load(&self) -> Load {
        Load { unread_bytes: self.unread.bytes(), ..self.table.load() }
    }

    fn hello(&self, max_message: usize) -> Hello {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
        let (age, idle) = (seconds(self.limits.age), seconds(self.limits.idle));
        Hello { age, idle, ..Hello::new(self.offer, max_message, self.limits.max_whole) }
    }

    fn greeting(
        &mut self,
        now: Duration,
        caller: &Caller,
        hello: Hello,
        mut fields: Fields<'_>,
    ) -> Result<Option<Bytes>> {
        match fields.byte() {
            Some(HANDSHAKE) => {}
            Some(_) => return Ok(Some(Bytes::from_static(&[kind::OTHER_HANDSHAKE, HANDSHAKE]))),
            None => return Ok(None),
        }
        let mut id = SessionId([0; ID]);
        self.identity.environment().random(&mut id.0)?;
        if self.table.has(id) {
            return Ok(None);
        }
        let Some((half, welcome)) = HalfDone::new(&self.identity, hello, id, fields.rest()) else { return Ok(None) };
        self.table.wait(id, half, caller.origin.clone(), now);
        Ok(Some(welcome))
    }

    /// The third message, with a frame behind it. It comes again with each frame that was sent before the first answer,
    /// and is then passed over.
    fn proof(&mut self, now: Duration, caller: &Caller, mut fields: Fields<'_>) -> Option<Received> {
        let (id, len) = (fields.id()?, fields.u16()?);
        let proof = fields.take(len.into())?;
        let front = *blake3::hash(proof).as_bytes();
        if let Some(half) = self.table.take_waiting(id, now) {
            let made = half.finish(id, proof)?;
            // Someone who calls himself, or whose message was thrown back, is no peer.
            if made.peer == self.identity.device() || caller.proven.is_some_and(|proven| proven != made.peer) {
                return None;
            }
            let keys = Keys::sealed(made.keys, self.limits.frames);
            let session = Session::new(made.peer, keys, made.agreed, None, front, caller.origin.clone(), now);
            self.table.insert(made.id, session);
        }
        self.frame(now, caller, id, Some(front), fields)
    }

    /// An offer over a transport that proves keys, with a frame behind it or without.
    fn plain_hello(
        &mut self,
        now: Duration,
        caller: &Caller,
        hello: Hello,
        mut fields: Fields<'_>,
    ) -> Option<Received> {
        let peer = caller.proven?;
        let (id, len) = (fields.id()?, fields.u16()?);
        let offer = fields.take(len.into())?;
        let theirs = Hello::read(&mut Fields::new(offer))?;
        let Ok(agreed) = hello.agree(&theirs, HANDSHAKE) else { return Some(Received::Answer(welcome(&hello).into())) };
        let front = *blake3::hash(offer).as_bytes();
        if self.table.get(id, now).is_none() {
            if self.table.has(id) {
                return None;
            }
            let keys = Keys::plain(self.limits.frames);
            let origin = caller.origin.clone();
            self.table.insert(id, Session::new(peer, keys, agreed, Some(hello), front, origin, now));
        }
        if fields.is_empty() {
            return Some(Received::Answer(welcome(&hello).into()));
        }
        self.frame(now, caller, id, Some(front), fields)
    }

    fn frame(
        &mut self,
        now: Duration,
        caller: &Caller,
        id: SessionId,
        front: Option<[u8; 32]>,
        mut fields: Fields<'_>,
    ) -> Option<Received> {
        let counter = fields.u32()?;
        let frames = self.limits.frames;
        let session = self.table.get(id, now)?;
        let right_caller = match caller.proven {
            Some(proven) => proven == session.peer,
            None => session.plain.is_none(),
        };
        let right_front = front.is_none_or(|front| front == session.front);
        if !right_caller || !right_front || counter >= frames || !session.window.is_new(counter) {
            return None;
        }
        let plain = Bytes::from(session.keys.open(counter, fields.rest())?);
        session.window.note(counter);
        let (peer, agreed, keys) = (session.peer, session.agreed, session.keys.clone());
        let welcome = session.plain.filter(|_| front.is_some());
        let closing = session.closing;
        let origin = caller.origin.clone();
        let token = ReplyToken { id, request: counter, keys, agreed, welcome, peer, origin };
        self.table.touch(id, now);
        if let Some(reason) = closing {
            self.table.remove(id);
            return Some(Received::Answer(token.seal(&Say::Closed(reason))));
        }
        let say = match Ask::read(&plain) {
            Some(Ask::Whole(payload)) if payload.len() <= self.max_whole(&peer) => {
                return Some(Received::Request(Box::new(Request { peer, agreed, payload, token })));
            }
            Some(Ask::Whole(_)) => Say::Failed(ErrorKind::TooLarge.number()),
            Some(Ask::Part(part)) => match self.part(now, id, &peer, part) {
                Ok(Some(payload)) => {
                    return Some(Received::Request(Box::new(Request { peer, agreed, payload, token })));
                }
                Ok(None) => Say::Stored,
                Err(kind) => Say::Failed(kind.number()),
            },
            Some(Ask::Fetch { request, index }) => self.fetch(now, id, request, index),
            Some(Ask::Close(_)) => {
                self.table.remove(id);
                Say::Closed(CloseReason::Done)
            }
            None => Say::Failed(ErrorKind::InvalidInput.number()),
        };
        let unsealed = match &say {
            // Parts are as large as messages get.
            Say::Part { data, .. } => match self.hold(&token, data.len()) {
                Some(held) => Unsealed { token, say, held: Some(held) },
                None => self.fail(token, ErrorKind::Busy),
            },
            _ => Unsealed { token, say, held: None },
        };
        Some(Received::Answer(unsealed.seal()))
    }

    fn max_whole(&self, peer: &PublicKey) -> usize {
        let known = self.table.is_known(peer);
        if known { self.limits.max_whole } else { self.limits.max_whole.min(self.limits.stranger_whole) }
    }

    /// Takes a part of a request. The whole, if it was the last one missing; else nothing, or why the request is given
    /// up.
    fn part(&mut self, now: Duration, id: SessionId, peer: &PublicKey, part: Part) -> Result<Option<Bytes>, ErrorKind> {
        let Part { message, index, total, data } = part;
        let bytes = total as usize;
        if bytes > self.max_whole(peer) {
            return Err(ErrorKind::TooLarge);
        }
        let session = self.table.get(id, now).ok_or(ErrorKind::Closed)?;
        if let Some(assembly) = session.arriving.get_mut(&message) {
            let held = assembly.total();
            let (ended, taken) = match assembly.add(total, index, data, now) {
                Added::Stored | Added::Again => (false, Ok(None)),
                Added::Whole(payload) => (true, Ok(Some(payload))),
                Added::Wrong => (true, Err(ErrorKind::InvalidInput)),
            };
            if ended {
                session.arriving.remove(&message);
                self.table.release(id, held);
            }
            return taken;
        }
        // A message begins with its first part: what comes later without it was forgotten, or never announced.
        if index != 0 {
            return Err(ErrorKind::NotFound);
        }
        let assembly = Assembly::begin(total, data, now).ok_or(ErrorKind::InvalidInput)?;
        if !self.table.reserve(id, bytes) {
            return Err(ErrorKind::Busy);
        }
        self.table.get(id, now).ok_or(ErrorKind::Closed)?.arriving.insert(message, assembly);
        Ok(None)
    }

    fn fetch(&mut self, now: Duration, id: SessionId, request: u32, index: u32) -> Say {
        let missing = Say::Failed(ErrorKind::NotFound.number());
        let Some(session) = self.table.get(id, now) else { return missing };
        let Some(shelf) = session.leaving.get_mut(&request) else { return missing };
        let Some((data, last)) = shelf.fetch(index, now) else { return missing };
        let held = shelf.total();
        if last {
            session.leaving.remove(&request);
            self.table.release(id, held);
        }
        Say::Part { index, data }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("identity", &self.identity).field("load", &self.load()).finish_non_exhaustive()
    }
}

fn refused() -> Received {
    Received::Answer(Bytes::from_static(REFUSAL))
}
