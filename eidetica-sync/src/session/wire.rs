//! The first bytes of every message, and the numbers that belong to the protocol.

use eidetica_contract::{Error, ErrorKind, Result};

/// The kind of a message: its first byte.
pub(crate) mod kind {
    /// Fixed refusal, to whatever was wrong.
    pub(crate) const REFUSED: u8 = 0x00;
    /// First message of a handshake.
    pub(crate) const GREETING: u8 = 0x01;
    /// Second message of a handshake.
    pub(crate) const WELCOME: u8 = 0x02;
    /// Third message of a handshake, and a frame behind it.
    pub(crate) const PROOF: u8 = 0x03;
    /// A frame of the calling side.
    pub(crate) const REQUEST: u8 = 0x04;
    /// A frame of the answering side.
    pub(crate) const REPLY: u8 = 0x05;
    /// What the calling side offers, and a frame behind it, over a transport that proves keys.
    pub(crate) const PLAIN_HELLO: u8 = 0x06;
    /// What the answering side offers, and a frame behind it unless the two have no version in common.
    pub(crate) const PLAIN_WELCOME: u8 = 0x07;
    /// No common form of handshake.
    pub(crate) const OTHER_HANDSHAKE: u8 = 0x08;
}

/// The form of handshake that this program speaks; the second byte of a greeting.
pub const HANDSHAKE: u8 = 1;
/// The Noise protocol of handshake form 1.
pub const SUITE: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// What both sides mix into the handshake first, with the form of handshake as its last byte.
pub(crate) const PROLOGUE: [u8; 17] = *b"eidetica-session\x01";
/// The least `max_message` of a transport, in bytes.
pub const MIN_MESSAGE: usize = 16 << 10;
/// The longest Noise message in bytes, and thus the longest ciphertext within a frame.
pub const MAX_CIPHERTEXT: usize = 65_535;
/// The bytes that sealing adds to each ciphertext.
pub const TAG: usize = 16;
/// The bytes of a session's id.
pub const ID: usize = 8;
/// How far a request may arrive behind the greatest counter that has arrived, in frames.
pub const REPLAY_WINDOW: u32 = 1024;
/// The most frames of one direction in one session: counters stay below.
pub const MAX_FRAMES: u32 = 1 << 31;
/// The most ciphertexts of one frame.
pub const MAX_CIPHERTEXTS: usize = 1 << 15;
/// The shortest part of a message in bytes, but for the last one; it bounds the number of parts.
pub const MIN_PART: usize = 8 << 10;
/// The largest message in bytes that parts can announce.
pub const MAX_WHOLE: u32 = 1 << 30;

/// Which session a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) [u8; ID]);

/// Reads fields from the front of a message. Every method answers `None` where bytes are missing.
pub(crate) struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Fields<'b> {
        Fields(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn id(&mut self) -> Option<SessionId> {
        self.array().map(SessionId)
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(self) -> &'b [u8] {
        self.0
    }
}

/// The answer to everything that is refused: always the same byte, so that nobody learns why.
pub(crate) const REFUSAL: &[u8] = &[kind::REFUSED];

/// What a message that cannot be believed is to the side that called.
pub(crate) fn not_believed(what: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, what).retry(eidetica_contract::Retry::Later)
}

/// `max_message` of a transport, if it is as large as the contract asks.
pub(crate) fn check_max_message(bytes: usize) -> Result<usize> {
    if bytes >= MIN_MESSAGE {
        return Ok(bytes);
    }
    let message = "the transport carries messages of less than 16 KiB; the contract of transports asks for more";
    Err(Error::new(ErrorKind::InvalidInput, message).with("max_message", bytes))
}
