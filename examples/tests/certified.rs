//! The kind of store of the poll, certified as anybody certifies their own.

#[path = "../poll.rs"]
#[allow(dead_code, reason = "the kind of store alone is certified")]
mod poll;

use eidetica_conformance::Dice;
use poll::Ballots;

/// Some votes: of several voters, and of some more than once.
fn any(dice: &mut Dice) -> Ballots {
    let mut ballots = Ballots::default();
    for _ in 0..dice.below(5) {
        ballots.cast(&dice.word(), &dice.word());
    }
    ballots
}

eidetica_conformance::main! {
    lattice(any),
}
