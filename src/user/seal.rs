//! Secrets sealed by other secrets.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::Environment;
use zeroize::Zeroizing;

/// 32 bytes that nobody else may know: a seed, or a key that seals. Wiped when they are dropped.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// Bytes of the nonce, which stands before what is sealed. So many can be drawn at random without ever meeting.
const NONCE: usize = 24;

/// A secret that nobody has used yet.
pub(super) fn fresh(environment: &dyn Environment) -> Result<Secret> {
    let mut secret = Secret::default();
    environment.random(&mut *secret)?;
    Ok(secret)
}

/// Seals a secret. It opens only with the same key and the same context.
pub(super) fn seal(environment: &dyn Environment, key: &Secret, context: &[&[u8]], secret: &Secret) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE];
    environment.random(&mut nonce)?;
    let payload = Payload { msg: &secret[..], aad: &joined(context) };
    let sealed = XChaCha20Poly1305::new((&**key).into()).encrypt((&nonce).into(), payload);
    let sealed = sealed.map_err(|_| Error::new(ErrorKind::Internal, "a key cannot be sealed"))?;
    Ok([&nonce[..], &sealed].concat())
}

/// What was sealed; `None` for another key or context, and for bytes that were changed.
pub(super) fn open(key: &Secret, context: &[&[u8]], sealed: &[u8]) -> Option<Secret> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let payload = Payload { msg: sealed, aad: &joined(context) };
    let opened = Zeroizing::new(XChaCha20Poly1305::new((&**key).into()).decrypt(nonce.into(), payload).ok()?);
    Some(Zeroizing::new(opened[..].try_into().ok()?))
}

/// The parts, each after its length, so that no two lists of parts give the same bytes.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eidetica_core::SystemEnvironment;

    #[test]
    fn it_opens_with_the_same_key_and_context_only() {
        let (key, secret) = (fresh(&SystemEnvironment).unwrap(), fresh(&SystemEnvironment).unwrap());
        let sealed = seal(&SystemEnvironment, &key, &[b"ab", b"c"], &secret).unwrap();
        assert_eq!(open(&key, &[b"ab", b"c"], &sealed), Some(secret.clone()));
        assert_eq!(open(&key, &[b"a", b"bc"], &sealed), None);
        assert_eq!(open(&secret, &[b"ab", b"c"], &sealed), None);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(open(&key, &[b"ab", b"c"], &changed), None, "{place}");
            assert_eq!(open(&key, &[b"ab", b"c"], &sealed[..place]), None, "{place}");
        }
    }
}
