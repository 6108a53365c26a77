//! Randomness: one seed for a run, and from it one for each case.

use std::time::UNIX_EPOCH;

use proptest::test_runner::{RngAlgorithm, TestRng};

/// The seed that the environment asks for, else a new one.
pub(crate) fn of_run() -> u64 {
    let asked = std::env::var("EIDETICA_SEED").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64))
}

/// The seed of a case: the same whatever else runs.
pub(crate) fn of_case(seed: u64, id: &str) -> u64 {
    // FNV-1a: the same on every machine and in every version, which the hasher of the standard library does not promise.
    id.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(crate) fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
