//! Sessions: who is who, and what is said between them stays between them, whatever the transport.
//!
//! A session is made by a handshake (Noise XX) in which each side proves its device key, and carries requests one way and
//! replies the other in sealed frames. `docs/spec/wire.md` has every byte.
//!
//! The side that calls holds an [`Outbound`] for each channel and makes an [`Exchange`] for each request; [`SessionChannel`]
//! drives both over a [`Channel`](eidetica_contract::Channel). The side that answers holds [`Sessions`]. Neither `Outbound`,
//! `Exchange` nor `Sessions` does I/O or reads a clock: time is handed in, randomness comes from the
//! [`Environment`](eidetica_core::Environment) of the [`Identity`].
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use bytes::Bytes;
//! use eidetica_contract::Caller;
//! use eidetica_core::{SecretKey, SystemEnvironment};
//! use eidetica_sync::session::{Exchange, Identity, Offer, Outbound, Received, SessionLimits, Sessions, Step};
//!
//! # fn main() -> eidetica_contract::Result<()> {
//! let device = || Identity::new(SecretKey::generate(&SystemEnvironment)?, Arc::new(SystemEnvironment));
//! let (anna, ben, now) = (device()?, device()?, Duration::ZERO);
//! let limits = SessionLimits::default();
//! let mut sessions = Sessions::new(ben.clone(), Offer::versions(1, 1), limits);
//! let mut outbound = Outbound::new(anna.clone(), Offer::versions(1, 1), limits, 65_536, None, Some(ben.device()))?;
//!
//! // A round trip for the handshake.
//! let greeting = outbound.greet()?;
//! let Received::Answer(answer) = sessions.receive(now, &Caller::unknown(), 65_536, &greeting.message())? else { panic!() };
//! let session = outbound.welcome(now, greeting, &answer)?;
//!
//! // And one for the request.
//! let mut exchange = Exchange::new(session, Bytes::from_static(b"hello"))?;
//! let Step::Send(number, message) = exchange.step()? else { panic!() };
//! let Received::Request(request) = sessions.receive(now, &Caller::unknown(), 65_536, &message)? else { panic!() };
//! assert_eq!((request.peer, &request.payload[..]), (anna.device(), &b"hello"[..]));
//! let answer = sessions.reply(now, request.token, Bytes::from_static(b"welcome")).seal();
//! exchange.answer(number, &answer, now)?;
//! assert_eq!(exchange.step()?, Step::Done(Bytes::from_static(b"welcome")));
//! # Ok(()) }
//! ```

mod caller;
mod channel;
mod exchange;
mod handshake;
mod hello;
mod identity;
mod limits;
mod message;
mod parts;
mod reply;
mod sealing;
mod sessions;
mod suite;
mod table;
mod ticks;
mod unread;
mod window;
pub(crate) mod wire;

pub use caller::{Outbound, Session};
pub use channel::SessionChannel;
pub use exchange::{Exchange, Step};
pub use handshake::Greeting;
pub use hello::{Agreed, Offer};
pub use identity::Identity;
pub use limits::SessionLimits;
pub use message::CloseReason;
pub use reply::{ReplyToken, Unsealed};
pub use sessions::{Received, Request, Sessions};
pub use table::Load;
pub(crate) use wire::{Fields, REFUSAL, kind};
pub use wire::{
    HANDSHAKE, MAX_CIPHERTEXT, MAX_CIPHERTEXTS, MAX_FRAMES, MAX_WHOLE, MIN_MESSAGE, MIN_PART, REPLAY_WINDOW, SUITE,
};
