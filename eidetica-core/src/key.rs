//! Secret keys, and the one rule by which signatures are checked.

use std::cell::Cell;
use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use eidetica_contract::{PublicKey, Result};

use crate::clock::Environment;

/// An Ed25519 secret key (RFC 8032). Its memory is wiped when it is dropped; `Debug` shows the public part alone.
///
/// ```
/// use eidetica_core::{SecretKey, SystemEnvironment};
///
/// let key = SecretKey::generate(&SystemEnvironment)?;
/// assert!(format!("{key:?}").contains(&key.public().to_string()));
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key from the randomness of this environment. Errors: [`Io`](eidetica_contract::ErrorKind::Io).
    pub fn generate(environment: &dyn Environment) -> Result<SecretKey> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        environment.random(&mut *seed)?;
        Ok(SecretKey::from_seed(&seed))
    }

    /// The key with this seed.
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(seed))
    }

    /// The seed, to be kept as carefully as the key.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs a statement that is not an entry.
    ///
    /// The purpose keeps statements apart: it names program, protocol and what is stated, is fixed in the code, and no two
    /// kinds of statement share it. What is signed is `blake3::derive_key(purpose, statement)`.
    pub fn attest(&self, purpose: &'static str, statement: &[u8]) -> [u8; 64] {
        self.sign(&blake3::derive_key(purpose, statement))
    }

    pub(crate) fn sign(&self, message: &[u8; 32]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// True if this key made this signature for this purpose and statement with [`SecretKey::attest`].
pub fn attested(key: &PublicKey, purpose: &'static str, statement: &[u8], signature: &[u8; 64]) -> bool {
    verify(key, &blake3::derive_key(purpose, statement), signature)
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public())
    }
}

/// Strict verification: batch and lax rules accept signatures that this one refuses, and two peers that differed in the
/// rule would differ for ever.
pub(crate) fn verify(key: &PublicKey, message: &[u8; 32], signature: &[u8; 64]) -> bool {
    thread_local! {
        /// The author of one entry is mostly that of the next, and reading a key is an eighth of a verification.
        static LAST: Cell<Option<VerifyingKey>> = const { Cell::new(None) };
    }
    let last = LAST.get().filter(|last| last.as_bytes() == key.as_bytes());
    let Some(key) = last.or_else(|| VerifyingKey::from_bytes(key.as_bytes()).ok()) else { return false };
    LAST.set(Some(key));
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}
