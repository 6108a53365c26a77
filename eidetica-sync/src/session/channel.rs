//! The calling side over a channel: handshake, requests, one more try after a refusal, deadlines.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{CallOptions, Channel, Error, ErrorKind, PublicKey, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::caller::{Outbound, Session};
use super::exchange::{Exchange, Step};
use super::hello::{Agreed, Offer};
use super::identity::Identity;
use super::limits::SessionLimits;
use super::message::{Ask, CloseReason};
use super::wire::{Fields, kind, not_believed};

/// A channel on which the other side is known, and nobody else reads or changes what is said.
///
/// Any number of requests may be under way at once; they share the session. It is renewed when it has grown old, and
/// when the other side no longer has it. Needs a tokio runtime with time.
pub struct SessionChannel {
    channel: Arc<dyn Channel>,
    state: Mutex<Outbound>,
    /// Held through the one round trip of a handshake, so that requests that need a session share one.
    shaking: tokio::sync::Mutex<()>,
    start: Instant,
}

impl SessionChannel {
    /// A session over this channel, whose transport carries `max_message` bytes. It is made with the first request.
    ///
    /// With a pinned key no other peer is accepted, and a wrong one learns neither who calls nor what for. Without one,
    /// the first peer that answers is pinned; [`connect`](SessionChannel::connect) says who it is. Errors: those of
    /// [`Outbound::new`].
    pub fn new(
        channel: Arc<dyn Channel>,
        max_message: usize,
        identity: Identity,
        offer: Offer,
        limits: SessionLimits,
        pin: Option<PublicKey>,
    ) -> Result<SessionChannel> {
        let state = Outbound::new(identity, offer, limits, max_message, channel.peer(), pin)?;
        Ok(SessionChannel {
            channel,
            state: Mutex::new(state),
            shaking: tokio::sync::Mutex::new(()),
            start: Instant::now(),
        })
    }

    /// Sends a request and waits for its reply.
    ///
    /// A refusal, which anybody on the way can forge, leads to one new handshake and one more try: so the peer may see
    /// the payload twice, and it must be one that may be done twice.
    ///
    /// Errors: `Timeout` at the deadline of the options, `Unreachable` when the channel is broken; after these it is
    /// unknown whether the peer has seen the request. `Unauthenticated` if the peer has not proven its key, is not the
    /// pinned one, or an answer is not genuine; `Unsupported` without a common version; `TooLarge` if one side does not
    /// take so much; `PermissionDenied` if the peer does not want to talk to this device; and the kind with which the
    /// peer failed.
    ///
    /// Cancellation: dropping the future abandons the request; the peer may or may not have seen it. The session stays.
    pub async fn request(&self, payload: Bytes, options: CallOptions) -> Result<Bytes> {
        let deadline = Instant::now() + options.timeout;
        let session = self.session(deadline).await?;
        self.drive(Exchange::new(session.clone(), payload)?, session, deadline).await
    }

    /// Makes a session, if there is none, and says who the peer is and what both sides have in common: one round trip.
    ///
    /// Errors and cancellation: those of [`request`](SessionChannel::request).
    pub async fn connect(&self, options: CallOptions) -> Result<(PublicKey, Agreed)> {
        let deadline = Instant::now() + options.timeout;
        let session = self.session(deadline).await?;
        if let Some(agreed) = session.agreed() {
            return Ok((session.peer(), agreed));
        }
        let answer = self.send(session.plain_hello(), deadline).await?;
        let mut fields = Fields::new(&answer);
        if fields.byte() != Some(kind::PLAIN_WELCOME) {
            return Err(not_believed("the other side did not answer the offer as a peer would"));
        }
        session.read_welcome(&mut fields)?;
        let agreed = session.agreed().ok_or_else(|| Error::new(ErrorKind::Internal, "a welcome without an offer"))?;
        Ok((session.peer(), agreed))
    }

    /// The device key of the peer, if there is a session.
    pub fn peer(&self) -> Option<PublicKey> {
        self.state().session(self.start.elapsed()).ok().flatten().map(|session| session.peer())
    }

    /// Tells the peer that the session is no longer needed, and forgets it. Does nothing if there is none.
    ///
    /// Errors: those of the channel; the session is forgotten all the same. Cancellation: the peer may keep it until it
    /// expires.
    pub async fn close(&self, reason: CloseReason, options: CallOptions) -> Result<()> {
        let session = {
            let mut state = self.state();
            let session = state.session(self.start.elapsed())?;
            session.inspect(|session| state.forget(session))
        };
        let Some(session) = session else { return Ok(()) };
        let (_, message) = session.seal(|_| Ask::Close(reason))?;
        self.send(message, Instant::now() + options.timeout).await.map(drop)
    }

    async fn drive(&self, mut exchange: Exchange, mut session: Arc<Session>, deadline: Instant) -> Result<Bytes> {
        let mut calls = JoinSet::new();
        let mut ready = Vec::new();
        loop {
            match exchange.step()? {
                Step::Send(number, message) => ready.push((number, message)),
                Step::Wait => {
                    let (number, answer) = self.one_answer(&mut calls, &mut ready, deadline).await?;
                    exchange.answer(number, &answer?, self.start.elapsed())?;
                }
                Step::Done(reply) => return Ok(reply),
                Step::Renew => {
                    calls = JoinSet::new();
                    self.state().forget(&session);
                    session = self.session(deadline).await?;
                    exchange.restart(session.clone())?;
                }
            }
        }
    }

    /// Sends what is ready and waits for one answer. What is alone is sent from here; several get a task each, and
    /// these end with the set.
    async fn one_answer(
        &self,
        calls: &mut JoinSet<(u32, Result<Bytes>)>,
        ready: &mut Vec<(u32, Bytes)>,
        deadline: Instant,
    ) -> Result<(u32, Result<Bytes>)> {
        if let (true, 1) = (calls.is_empty(), ready.len()) {
            let (number, message) = ready.remove(0);
            return Ok((number, self.send(message, deadline).await));
        }
        for (number, message) in ready.drain(..) {
            let call = send(self.channel.clone(), message, deadline);
            calls.spawn(async move { (number, call.await) });
        }
        match calls.join_next().await {
            Some(Ok(answered)) => Ok(answered),
            _ => Err(Error::new(ErrorKind::Internal, "a call of the transport has panicked")),
        }
    }

    async fn session(&self, deadline: Instant) -> Result<Arc<Session>> {
        if let Some(session) = self.state().session(self.start.elapsed())? {
            return Ok(session);
        }
        let _shaking = timeout_at(deadline, self.shaking.lock()).await.map_err(|_| late())?;
        if let Some(session) = self.state().session(self.start.elapsed())? {
            return Ok(session);
        }
        loop {
            let greeting = self.state().greet()?;
            // All requests wait for this one answer: if it is lost, not for as long as a request may take.
            let soon = deadline.min(Instant::now() + GREETING);
            match self.send(greeting.message(), soon).await {
                Err(error) if error.kind() == ErrorKind::Timeout && Instant::now() < deadline => {}
                answer => return self.state().welcome(self.start.elapsed(), greeting, &answer?),
            }
        }
    }

    fn send(&self, message: Bytes, deadline: Instant) -> impl Future<Output = Result<Bytes>> + use<> {
        send(self.channel.clone(), message, deadline)
    }

    fn state(&self) -> MutexGuard<'_, Outbound> {
        // Nothing in there is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionChannel").field("state", &*self.state()).finish_non_exhaustive()
    }
}

/// How long the answer to a greeting is waited for before another one is sent.
const GREETING: Duration = Duration::from_secs(3);

/// One message there and one back, until the deadline also if the transport forgets it.
async fn send(channel: Arc<dyn Channel>, message: Bytes, deadline: Instant) -> Result<Bytes> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left == Duration::ZERO {
        return Err(late());
    }
    timeout_at(deadline, channel.request(message, CallOptions::timeout(left))).await.map_err(|_| late())?
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the peer did not answer in time")
}
