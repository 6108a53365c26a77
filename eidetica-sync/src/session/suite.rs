//! The cryptography that Noise is built from, and where it takes its randomness.
//!
//! snow brings a resolver of its own; this one differs in three things. Randomness is the one handed in, so that a run
//! can be repeated to the byte. Keys are wiped when they are dropped. And the algorithms are those that are in the tree
//! already for signatures, in their present versions.

use std::sync::Arc;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use curve25519_dalek::MontgomeryPoint;
use eidetica_core::Environment;
use sha2::{Digest, Sha256};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

use super::wire::TAG;

/// Curve25519, ChaCha20-Poly1305, SHA-256, and the randomness of an environment.
pub(crate) struct Suite(pub(crate) Arc<dyn Environment>);

impl CryptoResolver for Suite {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Dice(self.0.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::<Pair>::default() as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::SHA256).then(|| Box::<Hasher>::default() as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::<Sealer>::default() as Box<dyn Cipher>)
    }
}

/// The public key that belongs to a Curve25519 secret.
pub(crate) fn public_of(secret: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*secret).to_bytes()
}

struct Dice(Arc<dyn Environment>);

impl Random for Dice {
    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.0.random(buffer).map_err(|_| Error::Rng)
    }
}

#[derive(Default)]
struct Pair {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Dh for Pair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = public_of(&self.secret);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
        random.try_fill_bytes(&mut *self.secret)?;
        self.public = public_of(&self.secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.secret
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = *public.first_chunk::<32>().ok_or(Error::Dh)?;
        let shared = Zeroizing::new(MontgomeryPoint(public).mul_clamped(*self.secret).to_bytes());
        // A point of small order gives the same secret with everybody.
        if shared.iter().all(|byte| *byte == 0) {
            return Err(Error::Dh);
        }
        out[..32].copy_from_slice(&*shared);
        Ok(())
    }
}

#[derive(Default)]
struct Sealer(Zeroizing<[u8; 32]>);

impl Sealer {
    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.0).into())
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce.into()
}

impl Cipher for Sealer {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.0 = *key;
    }

    fn encrypt(&self, number: u64, beside: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let (text, rest) = out.split_at_mut(plain.len());
        text.copy_from_slice(plain);
        // The one error is a length of 256 GiB, and a Noise message ends at 64 KiB.
        let sealed = self.cipher().encrypt_inout_detached(&nonce(number), beside, text.into());
        let tag = sealed.expect("shorter than 256 GiB");
        rest[..TAG].copy_from_slice(&tag);
        plain.len() + TAG
    }

    fn decrypt(&self, number: u64, beside: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (text, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(text);
        let opened = self.cipher().decrypt_inout_detached(&nonce(number), beside, out.into(), &Tag::from(*tag));
        opened.map(|()| text.len()).map_err(|_| Error::Decrypt)
    }
}

#[derive(Default)]
struct Hasher(Sha256);

impl Hash for Hasher {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Sha256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(&self.0.finalize_reset());
    }
}

#[cfg(test)]
mod tests {
    use eidetica_core::SystemEnvironment;
    use snow::{Builder, HandshakeState};

    use super::super::wire::SUITE;
    use super::*;

    fn unhex(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    /// The vector of the collection `cacophony` for this suite, which other implementations of Noise share.
    const VECTOR: [(&str, &str); 5] = [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573",
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a\
             5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad",
        ),
        (
            "462e20412e20486179656b",
            "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be0865b57f58c9fea0d4ec82a2\
             86427402f113e4b6ae769a1d95941d49b25030",
        ),
        ("4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df"),
        ("4a65616e2d426170746973746520536179", "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5"),
    ];

    fn side(secret: &str, ephemeral: &str, calls: bool) -> HandshakeState {
        let (secret, ephemeral) = (unhex(secret), unhex(ephemeral));
        let suite = Box::new(Suite(Arc::new(SystemEnvironment)));
        let builder = Builder::with_resolver(SUITE.parse().unwrap(), suite).prologue(b"John Galt").unwrap();
        let builder = builder.local_private_key(&secret).unwrap().fixed_ephemeral_key_for_testing_only(&ephemeral);
        if calls { builder.build_initiator() } else { builder.build_responder() }.unwrap()
    }

    #[test]
    fn it_speaks_the_noise_of_others() {
        let mut sides = [
            side(
                "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
                "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
                true,
            ),
            side(
                "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
                "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
                false,
            ),
        ];
        for (turn, (payload, message)) in VECTOR[..3].iter().enumerate() {
            let mut out = [0; 256];
            let len = sides[turn % 2].write_message(&unhex(payload), &mut out).unwrap();
            assert_eq!(out[..len], unhex(message)[..]);
            let mut read = [0; 256];
            let got = sides[(turn + 1) % 2].read_message(&out[..len], &mut read).unwrap();
            assert_eq!(read[..got], unhex(payload)[..]);
        }
        // The counters of each direction begin at zero; it is the answering side's turn.
        let sides = sides.map(|side| side.into_stateless_transport_mode().unwrap());
        for (turn, (payload, message)) in VECTOR[3..].iter().enumerate() {
            let mut out = [0; 256];
            let len = sides[(turn + 1) % 2].write_message(0, &unhex(payload), &mut out).unwrap();
            assert_eq!(out[..len], unhex(message)[..]);
        }
    }

    #[test]
    fn a_point_that_gives_everybody_the_same_secret_is_refused() {
        let mut pair = Pair::default();
        pair.set(&[7; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            assert!(pair.dh(&point, &mut [0; 56]).is_err());
        }
        assert!(pair.dh(&public_of(&[8; 32]), &mut [0; 56]).is_ok());
    }
}
