//! One request and its reply, in as many messages as it takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};

use super::caller::Session;
use super::message::{Ask, CloseReason, Part, Say};
use super::parts::{Added, Assembly, Cut};
use super::wire::not_believed;

/// How many messages of one exchange are under way at once.
const AT_ONCE: usize = 4;

/// One request and its reply.
///
/// Call [`step`](Exchange::step) until it says [`Step::Wait`], send what it gives, and hand each answer to
/// [`answer`](Exchange::answer). Dropping it abandons the request; the peer may or may not have seen it.
pub struct Exchange {
    session: Arc<Session>,
    payload: Bytes,
    cut: Cut,
    /// The number of the request among those in parts: the counter of its first part.
    message: Option<u32>,
    next_part: u32,
    /// What was sent and is not answered, by counter.
    open: BTreeMap<u32, Sent>,
    reply: Option<Fetching>,
    done: Option<Bytes>,
    refused: bool,
    restarted: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Send this, and hand in the answer with this number.
    Send(u32, Bytes),
    /// Wait for an answer.
    Wait,
    /// The reply.
    Done(Bytes),
    /// The other side no longer has the session. [`Forget`](super::Outbound::forget) it, make a new one, and
    /// [`restart`](Exchange::restart) on that.
    Renew,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Request,
    Fetch(u32),
}

struct Fetching {
    request: u32,
    total: u32,
    parts: Assembly,
    next: u32,
}

impl Exchange {
    /// A request on this session.
    ///
    /// Errors: `TooLarge` if the payload is larger than the other side takes.
    pub fn new(session: Arc<Session>, payload: Bytes) -> Result<Exchange> {
        let limit = session.max_whole().min(super::wire::MAX_WHOLE as usize);
        if payload.len() > limit {
            let message = "the message is larger than the other side takes";
            return Err(Error::new(ErrorKind::TooLarge, message).with("bytes", payload.len()).with("limit", limit));
        }
        let cut = Cut::new(payload.len(), session.room());
        Ok(Exchange {
            session,
            payload,
            cut,
            message: None,
            next_part: 0,
            open: BTreeMap::new(),
            reply: None,
            done: None,
            refused: false,
            restarted: false,
        })
    }

    /// What to do next.
    ///
    /// Errors: `Closed` if the session has no counters left; `Unauthenticated` if the peer has broken the rules, or has
    /// refused a new session, too.
    pub fn step(&mut self) -> Result<Step> {
        if let Some(reply) = &self.done {
            return Ok(Step::Done(reply.clone()));
        }
        if self.refused && self.restarted {
            return Err(not_believed("the other side refuses this device's messages, on a new session, too"));
        }
        if self.refused {
            return Ok(Step::Renew);
        }
        if self.open.len() >= AT_ONCE {
            return Ok(Step::Wait);
        }
        if let Some(reply) = &mut self.reply {
            if reply.next < reply.parts.count() {
                let (request, index) = (reply.request, reply.next);
                reply.next += 1;
                return self.send(Sent::Fetch(index), |_| Ask::Fetch { request, index });
            }
        } else if self.may_send_part() {
            let index = self.next_part;
            self.next_part += 1;
            let data = self.payload.slice(self.cut.range(index).unwrap_or_default());
            if self.cut.count() == 1 {
                return self.send(Sent::Request, |_| Ask::Whole(data));
            }
            let (message, total) = (self.message, self.payload.len() as u32);
            let step = self.send(Sent::Request, |counter| {
                Ask::Part(Part { message: message.unwrap_or(counter), index, total, data })
            })?;
            if let Step::Send(counter, _) = &step {
                self.message.get_or_insert(*counter);
            }
            return Ok(step);
        }
        if self.open.is_empty() {
            return Err(not_believed("the other side says that parts are missing which it has been sent"));
        }
        Ok(Step::Wait)
    }

    /// The first part goes alone, so that what is too large costs one part.
    fn may_send_part(&self) -> bool {
        self.next_part < self.cut.count() && (self.next_part != 1 || self.open.is_empty())
    }

    fn send(&mut self, sent: Sent, ask: impl FnOnce(u32) -> Ask) -> Result<Step> {
        let (counter, message) = self.session.seal(ask)?;
        self.open.insert(counter, sent);
        Ok(Step::Send(counter, message))
    }

    /// Takes the answer to the message with this number.
    ///
    /// Errors: `Unauthenticated` for an answer that is not genuine or belongs to another request; the kind that the
    /// other side names if the request came to nothing there; `TooLarge` for a reply above the limit of this side;
    /// `InvalidInput` for a number that waits for no answer. After an error the exchange is of no more use; the session
    /// is.
    pub fn answer(&mut self, number: u32, answer: &Bytes, now: Duration) -> Result<()> {
        let Some(sent) = self.open.remove(&number) else {
            return Err(Error::new(ErrorKind::InvalidInput, "no message with this number waits for an answer"));
        };
        if self.done.is_some() {
            return Ok(());
        }
        match (sent, self.session.open(number, answer)?) {
            (_, None | Some(Say::Closed(CloseReason::Done | CloseReason::Renew))) => self.refused = true,
            (_, Some(Say::Closed(reason))) => return Err(reason.to_error()),
            (_, Some(Say::Failed(kind))) => {
                let message = "the other side could not take the request, or answer it";
                return Err(Error::new(ErrorKind::from_number(kind), message).with("peer", self.session.peer()));
            }
            (Sent::Request, Some(Say::Whole(reply))) => self.done = Some(reply),
            (Sent::Request, Some(Say::Stored)) if self.cut.count() > 1 => {}
            (Sent::Request, Some(Say::First { total, data })) => self.begin(number, total, data, now)?,
            (Sent::Fetch(asked), Some(Say::Part { index, data })) if asked == index => self.add(index, data, now)?,
            _ => return Err(not_believed("the answer does not fit what was asked")),
        }
        Ok(())
    }

    fn begin(&mut self, request: u32, total: u32, data: Bytes, now: Duration) -> Result<()> {
        let limit = self.session.limits.max_whole;
        if total as usize > limit {
            let message = "the reply is larger than this side takes";
            return Err(Error::new(ErrorKind::TooLarge, message).with("bytes", total).with("limit", limit));
        }
        let parts = Assembly::begin(total, data, now).filter(|_| self.reply.is_none());
        let parts = parts.ok_or_else(|| not_believed("the other side announces a reply that it could send whole"))?;
        self.reply = Some(Fetching { request, total, parts, next: 1 });
        Ok(())
    }

    fn add(&mut self, index: u32, data: Bytes, now: Duration) -> Result<()> {
        let added = self.reply.as_mut().map(|reply| reply.parts.add(reply.total, index, data, now));
        match added {
            Some(Added::Stored) => Ok(()),
            Some(Added::Whole(reply)) => {
                self.done = Some(reply);
                Ok(())
            }
            _ => Err(not_believed("a part of the reply does not fit the others")),
        }
    }

    /// Begins again on a new session; that one's refusal ends the exchange. The peer may then see the payload twice,
    /// since a refusal proves nothing. Answers to what was sent before must no longer be handed in: numbers begin anew.
    ///
    /// Errors: those of [`new`](Exchange::new).
    pub fn restart(&mut self, session: Arc<Session>) -> Result<()> {
        *self = Exchange { restarted: true, ..Exchange::new(session, self.payload.clone())? };
        Ok(())
    }
}
