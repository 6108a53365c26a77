//! What two peers lack of one database, and how it travels.
//!
//! One side asks ([`exchange`]), the other answers ([`answer`]) and keeps nothing between two requests. A ladder, the
//! cheapest rung first:
//!
//! 1. The hashes of the heads are the same: done after one round trip. What was committed here since the last time may come
//!    with the question, so that a small push takes one round trip, too.
//! 2. One side has the heads of the other: what the other lacks is then known at once.
//! 3. Both have something of their own. The asking side names some entries, ever further back; below those that both have
//!    there is nothing to compare. What is left is listed by the first bytes of ids if it is little, and else found by
//!    comparing fingerprints of ranges, cut in sixteen each time.
//! 4. What is lacking goes in pages, each entry after those below it, so that a transfer that breaks off goes on where it
//!    ended.
//!
//! No entry is believed on account of what is said here: everything passes the one door of the database.

mod answer;
mod apart;
mod bytes;
mod course;
mod descent;
mod exchange;
mod hear;
mod message;
mod outcome;
mod page;
mod ranges;
mod short;
mod take;
mod transfer;

use eidetica_contract::Result;
use eidetica_core::{Database, Id};

pub use answer::answer;
pub use course::Course;
pub use exchange::{Ask, exchange, fetch_root, root_in};
pub use hear::hear;
pub use message::{Given, MAX_IDS, MAX_SHORTS, Piece, Reply, Request};
pub use outcome::{Limits, Options, Outcome, Progress, Standoff};
pub use page::{MAX_ENTRIES, MAX_UNPACKED, MAX_UNPACKED_ONE, Page};
pub use ranges::{Claim, Content, Finding, MAX_CLAIMS, MAX_LISTED, MAX_PARTS, Print};
pub use short::{Short, Width};

/// The BLAKE3-256 hash of the ids of heads in ascending order: equal exactly if the heads are.
pub(crate) fn digest_of(heads: &[Id]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for head in heads {
        hasher.update(head.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The entries here whose ids begin so: mostly one or none for each.
async fn resolve(db: &Database, shorts: &[Short]) -> Result<Vec<Vec<Id>>> {
    /// How many that begin alike are told apart.
    const ALIKE: usize = 4;
    let beginnings: Vec<&[u8]> = shorts.iter().map(Short::bytes).collect();
    db.starting_with(&beginnings, ALIKE).await
}
