//! Randomness: one seed for a run, and from it one for each case.

use std::time::UNIX_EPOCH;

use proptest::prelude::Rng as _;
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

/// What decides where anything will do: the same again from the same seed.
#[derive(Debug)]
pub struct Dice(TestRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(rng(seed))
    }

    /// A number below the end; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.next_u64() % end }
    }

    /// A short word, often one that has come before.
    pub fn word(&mut self) -> String {
        let letter = |dice: &mut Dice| char::from(b'a' + dice.below(5) as u8);
        (0..1 + self.below(2)).map(|_| letter(self)).collect()
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most as u64 + 1)).map(|_| self.below(256) as u8).collect()
    }

    /// Another order, any.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}
