//! The sessions of the answering side, and who goes when there are too many.
//!
//! Handshakes that wait, sessions of strangers and sessions of known peers have places of their own, so that a flood of
//! one kind cannot take those of another. Within a kind the place is taken from whoever takes most: the origin with the
//! most places loses its oldest. All orders are by counted use, so that the same calls always have the same effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::PublicKey;

use super::handshake::HalfDone;
use super::hello::{Agreed, Hello};
use super::limits::SessionLimits;
use super::message::CloseReason;
use super::parts::{Assembly, Shelf};
use super::sealing::Keys;
use super::window::Window;
use super::wire::SessionId;

pub(crate) struct Table {
    limits: SessionLimits,
    waiting: BTreeMap<SessionId, Waiting>,
    sessions: BTreeMap<SessionId, Session>,
    known: BTreeSet<PublicKey>,
    /// Counts uses; who has the smallest was used longest ago.
    uses: u64,
    /// The bytes of all messages in parts.
    held: usize,
    swept: Duration,
}

/// A handshake that waits for its proof.
struct Waiting {
    half: HalfDone,
    origin: Option<String>,
    born: Duration,
    /// The count of its last use.
    nth: u64,
}

/// A session as the answering side has it.
pub(crate) struct Session {
    pub(crate) peer: PublicKey,
    pub(crate) keys: Arc<Keys>,
    pub(crate) agreed: Agreed,
    /// The offer of this side that goes with the answers to offers, over a transport that proves keys.
    pub(crate) plain: Option<Hello>,
    /// The hash of what stood in front of the first frame.
    pub(crate) front: [u8; 32],
    pub(crate) window: Window,
    pub(crate) closing: Option<CloseReason>,
    pub(crate) arriving: BTreeMap<u32, Assembly>,
    pub(crate) leaving: BTreeMap<u32, Shelf>,
    held: usize,
    origin: Option<String>,
    born: Duration,
    used: Duration,
    /// The count of its last use.
    nth: u64,
}

impl Session {
    pub(crate) fn new(
        peer: PublicKey,
        keys: Keys,
        agreed: Agreed,
        plain: Option<Hello>,
        front: [u8; 32],
        origin: Option<String>,
        now: Duration,
    ) -> Session {
        Session {
            peer,
            keys: Arc::new(keys),
            agreed,
            plain,
            front,
            window: Window::new(),
            closing: None,
            arriving: BTreeMap::new(),
            leaving: BTreeMap::new(),
            held: 0,
            origin,
            born: now,
            used: now,
            nth: 0,
        }
    }
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Handshakes that wait for their third message.
    pub handshakes: usize,
    /// Sessions of known peers.
    pub known: usize,
    /// Sessions of others.
    pub strangers: usize,
    /// Bytes reserved for messages in parts, coming and going.
    pub held_bytes: usize,
    /// Bytes of answers that were handed to a transport and not let go of by it.
    pub unread_bytes: usize,
}

impl Table {
    pub(crate) fn new(limits: SessionLimits) -> Table {
        let (waiting, sessions, known) = Default::default();
        Table { limits, waiting, sessions, known, uses: 0, held: 0, swept: Duration::ZERO }
    }

    pub(crate) fn load(&self) -> Load {
        let known = self.sessions.values().filter(|session| self.known.contains(&session.peer)).count();
        let strangers = self.sessions.len() - known;
        Load { handshakes: self.waiting.len(), known, strangers, held_bytes: self.held, unread_bytes: 0 }
    }

    pub(crate) fn is_known(&self, peer: &PublicKey) -> bool {
        self.known.contains(peer)
    }

    pub(crate) fn set_known(&mut self, peer: PublicKey, known: bool) {
        let changed = if known { self.known.insert(peer) } else { self.known.remove(&peer) };
        if changed {
            self.make_room(known, 0);
        }
    }

    pub(crate) fn has(&self, id: SessionId) -> bool {
        self.waiting.contains_key(&id) || self.sessions.contains_key(&id)
    }

    pub(crate) fn wait(&mut self, id: SessionId, half: HalfDone, origin: Option<String>, now: Duration) {
        self.uses += 1;
        let same = self.waiting.values().filter(|waiting| waiting.origin == origin).count();
        let loser = if same >= self.limits.handshakes_per_origin {
            Some(origin.clone())
        } else if self.waiting.len() >= self.limits.handshakes {
            greatest(self.waiting.values().map(|waiting| &waiting.origin))
        } else {
            None
        };
        if let Some(loser) = loser {
            let of_loser = self.waiting.iter().filter(|(_, waiting)| waiting.origin == loser);
            let oldest = of_loser.min_by_key(|(_, waiting)| waiting.nth).map(|(id, _)| *id);
            oldest.and_then(|id| self.waiting.remove(&id));
        }
        self.waiting.insert(id, Waiting { half, origin, born: now, nth: self.uses });
    }

    /// The handshake that waits under this id, which then waits no longer: a proof is tried once.
    pub(crate) fn take_waiting(&mut self, id: SessionId, now: Duration) -> Option<HalfDone> {
        let waiting = self.waiting.remove(&id)?;
        (now - waiting.born < self.limits.handshake_age).then_some(waiting.half)
    }

    pub(crate) fn insert(&mut self, id: SessionId, session: Session) {
        let peer = session.peer;
        let of_peer = |other: &Session| other.peer == peer;
        if self.sessions.values().filter(|other| of_peer(other)).count() >= self.limits.per_peer {
            self.oldest(of_peer).into_iter().for_each(|id| self.remove(id));
        }
        let known = self.known.contains(&peer);
        let from_here = |other: &Session| other.origin == session.origin && !self.known.contains(&other.peer);
        if !known && self.sessions.values().filter(|other| from_here(other)).count() >= self.limits.per_origin {
            self.oldest(from_here).into_iter().for_each(|id| self.remove(id));
        }
        self.make_room(known, 1);
        let born = session.born;
        self.sessions.insert(id, session);
        self.touch(id, born);
    }

    /// Sees to it that so many more sessions of a kind have a place.
    fn make_room(&mut self, known: bool, more: usize) {
        loop {
            let load = self.load();
            let (taken, places) =
                if known { (load.known, self.limits.known) } else { (load.strangers, self.limits.strangers) };
            if taken + more <= places {
                return;
            }
            let of_kind = |other: &Session| self.known.contains(&other.peer) == known;
            let oldest = if known {
                self.oldest(of_kind)
            } else {
                let strangers = self.sessions.values().filter(|other| of_kind(other));
                let loser = greatest(strangers.map(|other| &other.origin));
                self.oldest(|other| of_kind(other) && Some(&other.origin) == loser.as_ref())
            };
            // With no places at all there is nobody to go.
            let Some(oldest) = oldest else { return };
            self.remove(oldest);
        }
    }

    /// The session among these that was used longest ago.
    fn oldest(&self, among: impl Fn(&Session) -> bool) -> Option<SessionId> {
        let candidates = self.sessions.iter().filter(|(_, session)| among(session));
        candidates.min_by_key(|(_, session)| session.nth).map(|(id, _)| *id)
    }

    pub(crate) fn remove(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.held -= session.held;
        }
    }

    /// The session with this id, unless it has expired; it is then gone.
    pub(crate) fn get(&mut self, id: SessionId, now: Duration) -> Option<&mut Session> {
        let session = self.sessions.get(&id)?;
        let old = now - session.born >= self.limits.age || now - session.used >= self.limits.idle;
        if old {
            self.remove(id);
        }
        self.sessions.get_mut(&id)
    }

    /// Notes that a session was used.
    pub(crate) fn touch(&mut self, id: SessionId, now: Duration) {
        self.uses += 1;
        if let Some(session) = self.sessions.get_mut(&id) {
            (session.used, session.nth) = (now, self.uses);
        }
    }

    /// Reserves bytes for a message in parts. False if the session, or all sessions of strangers, or all sessions together,
    /// hold as much as they may.
    pub(crate) fn reserve(&mut self, id: SessionId, bytes: usize) -> bool {
        let strangers = self.sessions.values().filter(|session| !self.known.contains(&session.peer));
        let by_strangers = strangers.map(|session| session.held).sum::<usize>();
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if !self.known.contains(&session.peer) && by_strangers.saturating_add(bytes) > self.limits.stranger_bytes {
            return false;
        }
        let partial = session.arriving.len() + session.leaving.len();
        let fits = partial < self.limits.partial
            && session.held.saturating_add(bytes) <= self.limits.session_bytes
            && self.held.saturating_add(bytes) <= self.limits.all_bytes;
        if fits {
            session.held += bytes;
            self.held += bytes;
        }
        fits
    }

    pub(crate) fn release(&mut self, id: SessionId, bytes: usize) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.held -= bytes;
            self.held -= bytes;
        }
    }

    pub(crate) fn close(&mut self, reason: CloseReason, which: impl Fn(&PublicKey) -> bool) {
        let sessions = self.sessions.values_mut().filter(|session| which(&session.peer));
        sessions.for_each(|session| session.closing = Some(reason));
    }

    /// Forgets what has expired. Looks at everything, so it does so once a second at most.
    pub(crate) fn sweep(&mut self, now: Duration) {
        if now - self.swept < Duration::from_secs(1) {
            return;
        }
        self.swept = now;
        let limits = self.limits;
        self.waiting.retain(|_, waiting| now - waiting.born < limits.handshake_age);
        let mut freed = 0;
        self.sessions.retain(|_, session| {
            let keep = now - session.born < limits.age && now - session.used < limits.idle;
            if !keep {
                freed += session.held;
                return false;
            }
            let mut gone = 0;
            let mut fresh = |touched: Duration, bytes: usize| {
                let keep = now - touched < limits.partial_age;
                gone += if keep { 0 } else { bytes };
                keep
            };
            session.arriving.retain(|_, assembly| fresh(assembly.touched, assembly.total()));
            session.leaving.retain(|_, shelf| fresh(shelf.touched, shelf.total()));
            session.held -= gone;
            freed += gone;
            true
        });
        self.held -= freed;
    }
}

/// The origin that occurs most often; of several the first in order.
fn greatest<'a>(origins: impl Iterator<Item = &'a Option<String>>) -> Option<Option<String>> {
    let mut counts: BTreeMap<&Option<String>, usize> = BTreeMap::new();
    origins.for_each(|origin| *counts.entry(origin).or_default() += 1);
    let most = counts.values().copied().max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(origin, _)| origin.clone())
}
