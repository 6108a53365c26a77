//! The three messages of Noise XX.
//!
//! `→ e`, `← e, ee, s, es, statement`, `→ s, se, statement`. The calling side learns who answers before it says who it
//! is, so with a pinned key a wrong peer learns neither its name nor its request.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use snow::{Builder, HandshakeState, StatelessTransportState};

use super::hello::{Agreed, Hello};
use super::identity::{Identity, Role, Statement};
use super::suite::Suite;
use super::wire::{Fields, HANDSHAKE, PROLOGUE, SUITE, SessionId, TAG, kind, not_believed};

const KEY: usize = 32;
const WELCOME: usize = KEY + KEY + TAG + Statement::LEN + TAG;
const PROOF: usize = KEY + TAG + Statement::LEN + TAG;

/// A handshake that the calling side has begun: send [`message`](Greeting::message), and hand the answer back.
pub struct Greeting {
    noise: HandshakeState,
    message: Bytes,
    hello: Hello,
    identity: Identity,
}

/// The secrets of an established session, and what was agreed.
pub(crate) struct Established {
    pub(crate) id: SessionId,
    pub(crate) peer: PublicKey,
    pub(crate) keys: StatelessTransportState,
    pub(crate) agreed: Agreed,
    pub(crate) hello: Hello,
}

impl Greeting {
    pub(crate) fn new(identity: &Identity, hello: Hello) -> Result<Greeting> {
        let mut noise = build(identity, true)?;
        let mut message = vec![0; 2 + KEY + TAG];
        (message[0], message[1]) = (kind::GREETING, HANDSHAKE);
        let len = noise.write_message(&[], &mut message[2..]).map_err(broken)?;
        message.truncate(2 + len);
        Ok(Greeting { noise, message: message.into(), hello, identity: identity.clone() })
    }

    /// The first message: 34 bytes.
    pub fn message(&self) -> Bytes {
        self.message.clone()
    }

    /// Reads the second message and makes the third, which goes in front of the first frames.
    pub(crate) fn finish(mut self, pin: Option<PublicKey>, answer: &[u8]) -> Result<(Established, Bytes)> {
        let mut fields = Fields::new(answer);
        match fields.byte() {
            Some(kind::WELCOME) => {}
            Some(kind::OTHER_HANDSHAKE) => return Err(other_handshake(&mut fields)),
            Some(kind::REFUSED) if answer.len() == 1 => {
                let message = "the other side takes in nobody new at the moment; try again in a few seconds";
                return Err(Error::new(ErrorKind::Unreachable, message));
            }
            _ => return Err(not_believed("the other side did not answer the handshake as a peer would")),
        }
        let forged = || not_believed("the other side has not proven its device key");
        let id = fields.id().ok_or_else(forged)?;
        let before = self.noise.get_handshake_hash().to_vec();
        let mut payload = vec![0; answer.len()];
        let len = self.noise.read_message(fields.rest(), &mut payload).map_err(|_| forged())?;
        let noise = remote(&self.noise).ok_or_else(forged)?;
        let stated = Statement::prove(Role::Answerer, &before, &noise, &payload[..len]).ok_or_else(forged)?;
        check_pin(pin, stated.device)?;
        if stated.device == self.identity.device() {
            let message = "the other side is this device itself; its own address, or a message thrown back";
            return Err(Error::new(ErrorKind::Unauthenticated, message).with("key", stated.device));
        }
        let agreed = self.hello.agree(&stated.hello, HANDSHAKE)?;
        let statement = self.identity.state(Role::Caller, self.noise.get_handshake_hash(), &self.hello);
        let mut proof = vec![0; PROOF];
        let len = self.noise.write_message(&statement, &mut proof).map_err(broken)?;
        proof.truncate(len);
        let keys = self.noise.into_stateless_transport_mode().map_err(broken)?;
        Ok((Established { id, peer: stated.device, keys, agreed, hello: stated.hello }, proof.into()))
    }
}

/// Errors: `Unauthenticated`, with both keys, if the peer is not the one that was expected.
pub(crate) fn check_pin(pin: Option<PublicKey>, proven: PublicKey) -> Result<()> {
    match pin {
        Some(expected) if expected != proven => {
            let message = "another device than the expected one has answered";
            Err(Error::new(ErrorKind::Unauthenticated, message).with("expected", expected).with("proven", proven))
        }
        _ => Ok(()),
    }
}

/// A handshake that the answering side has answered, until the proof comes.
pub(crate) struct HalfDone {
    noise: HandshakeState,
    hello: Hello,
}

impl HalfDone {
    /// Reads the greeting (without its first two bytes) and makes the welcome. `None` refuses.
    pub(crate) fn new(identity: &Identity, hello: Hello, id: SessionId, greeting: &[u8]) -> Option<(HalfDone, Bytes)> {
        // A payload in the clear would be bytes that nobody has asked for.
        if greeting.len() != KEY {
            return None;
        }
        let mut noise = build(identity, false).ok()?;
        noise.read_message(greeting, &mut []).ok()?;
        let statement = identity.state(Role::Answerer, noise.get_handshake_hash(), &hello);
        let mut message = vec![0; 1 + id.0.len() + WELCOME];
        message[0] = kind::WELCOME;
        message[1..][..id.0.len()].copy_from_slice(&id.0);
        let len = noise.write_message(&statement, &mut message[1 + id.0.len()..]).ok()?;
        message.truncate(1 + id.0.len() + len);
        Some((HalfDone { noise, hello }, message.into()))
    }

    /// Reads the proof. `None` refuses.
    pub(crate) fn finish(mut self, id: SessionId, proof: &[u8]) -> Option<Established> {
        let before = self.noise.get_handshake_hash().to_vec();
        let mut payload = vec![0; proof.len()];
        let len = self.noise.read_message(proof, &mut payload).ok()?;
        let noise = remote(&self.noise)?;
        let stated = Statement::prove(Role::Caller, &before, &noise, &payload[..len])?;
        let agreed = self.hello.agree(&stated.hello, HANDSHAKE).ok()?;
        let keys = self.noise.into_stateless_transport_mode().ok()?;
        Some(Established { id, peer: stated.device, keys, agreed, hello: stated.hello })
    }
}

fn build(identity: &Identity, calls: bool) -> Result<HandshakeState> {
    let suite = Box::new(Suite(identity.environment().clone()));
    let builder = Builder::with_resolver(SUITE.parse().map_err(broken)?, suite);
    let builder = builder.local_private_key(identity.noise_secret()).and_then(|builder| builder.prologue(&PROLOGUE));
    let builder = builder.map_err(broken)?;
    if calls { builder.build_initiator() } else { builder.build_responder() }.map_err(broken)
}

fn remote(noise: &HandshakeState) -> Option<[u8; 32]> {
    noise.get_remote_static()?.first_chunk().copied()
}

fn other_handshake(fields: &mut Fields<'_>) -> Error {
    let theirs = fields.byte().unwrap_or(0);
    let message = "the other side speaks another form of handshake; update the older program";
    Error::new(ErrorKind::Unsupported, message).with("ours", HANDSHAKE).with("theirs", theirs)
}

/// An error of Noise that no message of a peer can cause.
fn broken(error: snow::Error) -> Error {
    let kind = if matches!(error, snow::Error::Rng) { ErrorKind::Io } else { ErrorKind::Internal };
    Error::new(kind, "the handshake cannot be made").with("cause", error)
}
