//! What each side offers, and what the two then agree on.

use eidetica_contract::{Error, ErrorKind, Result};

use super::wire::{Fields, HANDSHAKE, MAX_WHOLE, MIN_MESSAGE};

/// What this program speaks, handed in by whoever speaks it over sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// The lowest version of the messages above the session that it understands.
    pub lowest: u16,
    /// The highest version. Not below the lowest.
    pub highest: u16,
    /// What it can do besides, one bit for each thing; the messages above give the bits their meaning.
    pub capabilities: u64,
}

impl Offer {
    /// These versions, and no capabilities.
    pub fn versions(lowest: u16, highest: u16) -> Offer {
        Offer { lowest, highest, capabilities: 0 }
    }

    /// Adds capabilities.
    #[must_use]
    pub fn capabilities(mut self, bits: u64) -> Offer {
        self.capabilities = bits;
        self
    }
}

/// What both sides have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreed {
    /// The highest version that both understand.
    pub version: u16,
    /// The capabilities that both have.
    pub capabilities: u64,
    /// The largest message of the transport in bytes that both can take.
    pub max_message: usize,
    /// The largest message in bytes, all parts together, that the other side takes.
    pub max_whole: usize,
}

/// An offer with the limits of the side that makes it, as it crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) offer: Offer,
    /// The newest form of handshake that it speaks.
    pub(crate) handshake: u8,
    /// The largest message of the transport, in bytes, that it takes.
    pub(crate) max_message: u32,
    /// The largest whole message, in bytes, that it takes.
    pub(crate) max_whole: u32,
    /// After how many seconds it forgets a session; the calling side says zero.
    pub(crate) age: u32,
    /// After how many seconds without a frame it forgets a session; the calling side says zero.
    pub(crate) idle: u32,
}

impl Hello {
    pub(crate) const LEN: usize = 29;

    pub(crate) fn new(offer: Offer, max_message: usize, max_whole: usize) -> Hello {
        let (max_message, max_whole) = (clamp(max_message), clamp(max_whole).min(MAX_WHOLE));
        Hello { offer, handshake: HANDSHAKE, max_message, max_whole, age: 0, idle: 0 }
    }

    pub(crate) fn to_bytes(self) -> [u8; Hello::LEN] {
        let mut out = [0; Hello::LEN];
        out[..2].copy_from_slice(&self.offer.lowest.to_be_bytes());
        out[2..4].copy_from_slice(&self.offer.highest.to_be_bytes());
        out[4..12].copy_from_slice(&self.offer.capabilities.to_be_bytes());
        out[12] = self.handshake;
        out[13..17].copy_from_slice(&self.max_message.to_be_bytes());
        out[17..21].copy_from_slice(&self.max_whole.to_be_bytes());
        out[21..25].copy_from_slice(&self.age.to_be_bytes());
        out[25..].copy_from_slice(&self.idle.to_be_bytes());
        out
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Hello> {
        let (lowest, highest, capabilities) = (fields.u16()?, fields.u16()?, fields.u64()?);
        let hello = Hello {
            offer: Offer { lowest, highest, capabilities },
            handshake: fields.byte()?,
            max_message: fields.u32()?,
            max_whole: fields.u32()?,
            age: fields.u32()?,
            idle: fields.u32()?,
        };
        (lowest <= highest && hello.handshake > 0 && hello.max_message as usize >= MIN_MESSAGE).then_some(hello)
    }

    /// What this side and the other have in common. Both sides come to the same version, capabilities and
    /// `max_message`.
    ///
    /// Errors: `Unsupported` if there is no common version; `Unauthenticated` if both speak a newer form of handshake
    /// than the one used, since somebody between them must have wanted the older one.
    pub(crate) fn agree(&self, other: &Hello, used: u8) -> Result<Agreed> {
        if self.handshake.min(other.handshake) != used {
            let message =
                "both sides speak a newer handshake than the one that took place: somebody has tampered with it";
            return Err(Error::new(ErrorKind::Unauthenticated, message)
                .with("used", used)
                .with("ours", self.handshake)
                .with("theirs", other.handshake));
        }
        let version = self.offer.highest.min(other.offer.highest);
        if version < self.offer.lowest.max(other.offer.lowest) {
            let message = "the two programs have no version of the protocol in common; update the older one";
            let range = |offer: &Offer| format!("{} to {}", offer.lowest, offer.highest);
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with("ours", range(&self.offer))
                .with("theirs", range(&other.offer)));
        }
        Ok(Agreed {
            version,
            capabilities: self.offer.capabilities & other.offer.capabilities,
            max_message: self.max_message.min(other.max_message) as usize,
            max_whole: other.max_whole as usize,
        })
    }
}

fn clamp(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(lowest: u16, highest: u16) -> Hello {
        Hello::new(Offer::versions(lowest, highest).capabilities(0b110), MIN_MESSAGE, 1 << 20)
    }

    #[test]
    fn both_sides_come_to_the_same() {
        let (ours, mut theirs) = (hello(1, 3), hello(2, 5));
        theirs.offer.capabilities = 0b011;
        let agreed = ours.agree(&theirs, HANDSHAKE).unwrap();
        assert_eq!((agreed.version, agreed.capabilities), (3, 0b010));
        assert_eq!(theirs.agree(&ours, HANDSHAKE).unwrap().version, 3);
    }

    #[test]
    fn no_common_version_names_both_ranges() {
        let error = hello(1, 2).agree(&hello(3, 4), HANDSHAKE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!((error.context("ours"), error.context("theirs")), (Some("1 to 2"), Some("3 to 4")));
    }

    #[test]
    fn an_older_handshake_than_both_speak_is_an_attack() {
        let (mut ours, mut theirs) = (hello(1, 1), hello(1, 1));
        (ours.handshake, theirs.handshake) = (2, 3);
        assert_eq!(ours.agree(&theirs, 1).unwrap_err().kind(), ErrorKind::Unauthenticated);
        assert!(ours.agree(&theirs, 2).is_ok());
    }

    #[test]
    fn reading_gives_back_what_was_written_and_leaves_room() {
        let mut bytes = hello(1, 7).to_bytes().to_vec();
        bytes.extend_from_slice(b"later");
        let mut fields = Fields::new(&bytes);
        assert_eq!(Hello::read(&mut fields), Some(hello(1, 7)));
        assert_eq!(fields.rest(), b"later");
        assert_eq!(Hello::read(&mut Fields::new(&hello(3, 2).to_bytes())), None);
        assert_eq!(Hello::read(&mut Fields::new(&bytes[..28])), None);
    }
}
