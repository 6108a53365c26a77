//! What a signature costs, and nothing else; and what proving an entry costs.

use std::hint::black_box;

use ed25519_dalek::{Signer, SigningKey};
use eidetica::entry::{RawEntry, verify as prove_one};

use crate::Result;
use crate::clock::{Took, Watch};

/// Signs so many hashes.
pub fn sign(times: u64) -> Took {
    let key = SigningKey::from_bytes(&[7; 32]);
    let watch = Watch::start();
    for turn in 0..times {
        black_box(key.sign(black_box(&message(turn))));
    }
    watch.stop()
}

/// Checks so many signatures of hashes, strictly, on one core.
pub fn verify(times: u64) -> Took {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = key.verifying_key();
    let signed: Vec<_> = (0..64).map(|turn| (message(turn), key.sign(&message(turn)))).collect();
    let watch = Watch::start();
    for turn in 0..times {
        let (message, signature) = &signed[(turn % 64) as usize];
        assert!(black_box(&public).verify_strict(black_box(message), signature).is_ok(), "a good signature is refused");
    }
    watch.stop()
}

/// Checks so many signatures, on all cores.
pub async fn verify_on_all(times: u64) -> Result<Took> {
    let share = times.div_ceil(cores()).max(1);
    let watch = Watch::start();
    let shares: Vec<_> = (0..times)
        .step_by(share as usize)
        .map(|start| tokio::task::spawn_blocking(move || verify(share.min(times - start))))
        .collect();
    for share in shares {
        share.await?;
    }
    Ok(watch.stop())
}

/// Proves entries as Eidetica does before it takes them in: decoding, hashes and signatures, on all cores.
pub async fn prove(entries: &[RawEntry]) -> Result<Took> {
    let shares = entries.chunks(entries.len().div_ceil(cores() as usize).max(1)).map(<[RawEntry]>::to_vec);
    let shares: Vec<_> = shares.collect();
    let watch = Watch::start();
    let prove = |share: Vec<RawEntry>| move || share.into_iter().try_for_each(|entry| prove_one(entry).map(drop));
    let shares: Vec<_> = shares.into_iter().map(|share| tokio::task::spawn_blocking(prove(share))).collect();
    for share in shares {
        share.await??;
    }
    Ok(watch.stop())
}

/// How many cores there are.
pub fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

fn message(turn: u64) -> [u8; 32] {
    let mut message = [turn as u8; 32];
    message[..8].copy_from_slice(&turn.to_le_bytes());
    message
}
