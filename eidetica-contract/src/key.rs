//! Public keys of devices and users.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind};

/// An Ed25519 public key: 32 bytes, shown as `ed25519:` and 64 lower-case hexadecimal digits.
///
/// The type only carries the bytes; whether they are a point of the curve is decided where a signature is checked.
///
/// ```
/// use eidetica_contract::PublicKey;
///
/// let key = PublicKey::from_bytes([7; 32]);
/// assert_eq!(key.to_string().parse::<PublicKey>()?, key);
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }

    /// The bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ed25519:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<PublicKey, Error> {
        let refused = || {
            let message = "not a public key; it is written as `ed25519:` and 64 hexadecimal digits";
            Error::new(ErrorKind::InvalidInput, message).with("key", text)
        };
        let digits = text.strip_prefix("ed25519:").ok_or_else(refused)?.as_bytes();
        if digits.len() != 64 {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| (d as char).to_digit(16).ok_or_else(refused);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(PublicKey(bytes))
    }
}
