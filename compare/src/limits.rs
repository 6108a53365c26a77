//! The limits that a signed, hashed log cannot pass: what one signature, one verification and one
//! hash cost in memory, on one core and on all.

use std::hint::black_box;
use std::thread;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::measure::{Options, Row, measure, wanted};

/// Different messages that the loops go through, so that no branch or cache learns one of them.
const MESSAGES: usize = 256;

/// Measures all limits.
pub fn run(options: &Options) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let verifying = key.verifying_key();
    let messages: Vec<[u8; 32]> = (0..MESSAGES).map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes()).collect();
    let signed: Vec<([u8; 32], Signature)> = messages.iter().map(|m| (*m, key.sign(m))).collect();
    let entries: Vec<[u8; 400]> = (0..MESSAGES)
        .map(|i| {
            let mut entry = [0; 400];
            blake3::Hasher::new().update(&i.to_le_bytes()).finalize_xof().fill(&mut entry);
            entry
        })
        .collect();

    limit(options, "ed25519-dalek", "sign 32 B", 4_096, &|i| {
        black_box(key.sign(black_box(&messages[i % MESSAGES])));
    });
    limit(options, "ed25519-dalek", "verify_strict 32 B", 2_048, &|i| {
        let (message, signature) = &signed[i % MESSAGES];
        verify(black_box(&verifying), black_box(message), black_box(signature));
    });
    limit(options, "blake3", "hash 400 B", 65_536, &|i| {
        black_box(blake3::hash(black_box(&entries[i % MESSAGES])));
    });
}

fn verify(key: &VerifyingKey, message: &[u8; 32], signature: &Signature) {
    key.verify_strict(message, signature).expect("the signature is good");
}

/// Times `each` `n` times on one core, then `n` times on each core at once.
fn limit(options: &Options, library: &str, what: &str, n: usize, each: &(dyn Fn(usize) + Sync)) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let one = format!("{what}, one core");
    if wanted(options, &one, library) {
        let row = Row { work: &one, n: n as u64, library, variant: "", items: n as u64, bytes: 0 };
        measure(options, &row, || (), |()| (0..n).for_each(each), |()| ());
    }
    let all = format!("{what}, {cores} cores");
    if cores > 1 && wanted(options, &all, library) {
        let items = (n * cores) as u64;
        let row = Row { work: &all, n: items, library, variant: "", items, bytes: 0 };
        measure(options, &row, || (), |()| on_all(cores, n, each), |()| ());
    }
}

/// Starting the threads is inside the time; it is under 1 % of the shortest run.
fn on_all(cores: usize, n: usize, each: &(dyn Fn(usize) + Sync)) {
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| (0..n).for_each(each));
        }
    });
}
