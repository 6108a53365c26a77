//! Frames: sealing and opening, with explicit counters.
//!
//! One Noise message ends at 65,535 bytes, so a frame is cut into ciphertexts. The nonce of each says which frame of
//! its direction it belongs to, its place, and whether it is the last: `counter · 2^16 + place · 2 + last`. So none can
//! be left out, added, or moved, within a frame or between frames.

use std::sync::atomic::{AtomicU32, Ordering};

use eidetica_contract::{Error, ErrorKind, Result};
use snow::StatelessTransportState;

use super::wire::{MAX_CIPHERTEXT, MAX_CIPHERTEXTS, MAX_FRAMES, TAG};

const PLAIN: usize = MAX_CIPHERTEXT - TAG;

/// The secrets of one session, and the counter of what this side has sent: its own, never derived from the other
/// side's.
pub(crate) struct Keys {
    noise: Option<StatelessTransportState>,
    sent: AtomicU32,
    /// The most frames that may be sent.
    limit: u32,
}

impl Keys {
    pub(crate) fn sealed(noise: StatelessTransportState, limit: u32) -> Keys {
        Keys { noise: Some(noise), sent: AtomicU32::new(0), limit: limit.min(MAX_FRAMES) }
    }

    /// For transports that protect what they carry and prove whose it is: frames of the same form, not sealed again.
    pub(crate) fn plain(limit: u32) -> Keys {
        Keys { noise: None, sent: AtomicU32::new(0), limit: limit.min(MAX_FRAMES) }
    }

    /// How many frames this side has sent.
    pub(crate) fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// A counter that was not given out before. Errors: `Closed` when there are no more.
    pub(crate) fn take_counter(&self) -> Result<u32> {
        let next = |sent: u32| (sent < self.limit).then_some(sent + 1);
        self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_err(|_| {
            Error::new(ErrorKind::Closed, "the session has carried as many messages as it may")
                .with("limit", self.limit)
        })
    }

    /// Appends the frame to `out`, which holds what goes in front of it.
    pub(crate) fn seal(&self, counter: u32, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let Some(noise) = &self.noise else {
            out.extend_from_slice(plain);
            return Ok(());
        };
        let pieces = plain.len().div_ceil(PLAIN).max(1);
        if pieces > MAX_CIPHERTEXTS {
            return Err(Error::new(ErrorKind::TooLarge, "a frame is too large to be sealed").with("bytes", plain.len()));
        }
        let mut end = out.len();
        out.resize(end + plain.len() + pieces * TAG, 0);
        for place in 0..pieces {
            let piece = &plain[place * PLAIN..plain.len().min((place + 1) * PLAIN)];
            let nonce = nonce(counter, place, place + 1 == pieces);
            end += noise
                .write_message(nonce, piece, &mut out[end..])
                .map_err(|error| Error::new(ErrorKind::Internal, "a frame could not be sealed").with("cause", error))?;
        }
        Ok(())
    }

    /// What the other side sealed under this counter; `None` unless every byte of it is genuine.
    pub(crate) fn open(&self, counter: u32, sealed: &[u8]) -> Option<Vec<u8>> {
        let Some(noise) = &self.noise else { return Some(sealed.to_vec()) };
        let pieces = sealed.len().div_ceil(MAX_CIPHERTEXT);
        if pieces == 0 || pieces > MAX_CIPHERTEXTS || counter >= MAX_FRAMES {
            return None;
        }
        let mut plain = vec![0; sealed.len()];
        let mut end = 0;
        for (place, piece) in sealed.chunks(MAX_CIPHERTEXT).enumerate() {
            end += noise.read_message(nonce(counter, place, place + 1 == pieces), piece, &mut plain[end..]).ok()?;
        }
        plain.truncate(end);
        Some(plain)
    }
}

/// The most bytes that a frame carries if, sealed, it may take this many.
pub(crate) fn room(bytes: usize) -> usize {
    bytes - bytes.div_ceil(MAX_CIPHERTEXT).max(1) * TAG
}

fn nonce(counter: u32, place: usize, last: bool) -> u64 {
    u64::from(counter) << 16 | (place as u64) << 1 | u64::from(last)
}
