//! What a reply is sealed with.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::PublicKey;

use super::hello::{Agreed, Hello};
use super::message::Say;
use super::sealing::{Keys, room};
use super::unread::Held;
use super::wire::{REFUSAL, SessionId, kind};

/// The right to reply to one request, once. It outlives the session, so that no request is done twice because its
/// session had to make room in the meantime.
pub struct ReplyToken {
    pub(crate) id: SessionId,
    pub(crate) request: u32,
    pub(crate) keys: Arc<Keys>,
    pub(crate) agreed: Agreed,
    /// The offer that goes with the answer to an offer.
    pub(crate) welcome: Option<Hello>,
    pub(crate) peer: PublicKey,
    /// Where the request came from.
    pub(crate) origin: Option<String>,
}

/// An answer as it is to be sent, but for the seal: that takes its time, and no table.
#[must_use = "the answer is to be sealed and sent"]
pub struct Unsealed {
    pub(crate) token: ReplyToken,
    pub(crate) say: Say,
    /// Counts the answer until the transport has let go of it.
    pub(crate) held: Option<Held>,
}

impl Unsealed {
    /// Seals it: what is to be sent.
    pub fn seal(self) -> Bytes {
        let sealed = self.token.seal(&self.say);
        match self.held {
            Some(held) => held.around(sealed),
            None => sealed,
        }
    }
}

impl fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsealed").field("token", &self.token).finish_non_exhaustive()
    }
}

impl ReplyToken {
    /// The most bytes of data in one answer.
    pub(crate) fn room(&self) -> usize {
        room(self.agreed.max_message - (1 + 2 + Hello::LEN + 4)) - Say::HEAD
    }

    pub(crate) fn seal(&self, say: &Say) -> Bytes {
        let mut out = self.welcome.as_ref().map_or_else(|| vec![kind::REPLY], welcome);
        let mut plain = Vec::new();
        say.write(self.request, &mut plain);
        let sealed = self.keys.take_counter().and_then(|counter| {
            out.extend_from_slice(&counter.to_be_bytes());
            self.keys.seal(counter, &plain, &mut out)
        });
        // Without a counter the session has ended; a refusal says so.
        sealed.map_or(Bytes::from_static(REFUSAL), |()| out.into())
    }
}

impl fmt::Debug for ReplyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyToken({})", self.request)
    }
}

/// The answer to an offer, without a frame.
pub(crate) fn welcome(hello: &Hello) -> Vec<u8> {
    let hello = hello.to_bytes();
    let mut out = vec![kind::PLAIN_WELCOME];
    out.extend_from_slice(&(hello.len() as u16).to_be_bytes());
    out.extend_from_slice(&hello);
    out
}
