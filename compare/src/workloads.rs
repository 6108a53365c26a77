//! What is measured, free of any library, so that another bench can do exactly the same work.
//!
//! This module depends on nothing but `std`. Eidetica's own benches may include it as it is:
//! `#[path = "../../compare/src/workloads.rs"] mod workloads;`
//!
//! The same for all works:
//!
//! * The document is one flat map from text to text. Keys are [`key`]: 16 hexadecimal digits in no
//!   order. Values are [`value`]: 32 characters.
//! * A history begins with one commit, the *base*, that sets the key [`BASE_KEY`] and that both
//!   sides hold. It is counted in no `n`.
//! * What travels between two sides is bytes. Encoding them is part of the time where a work says
//!   so, decoding them always is.
//! * A work that applies something ends, inside the timed part, with a read of one applied key, so
//!   that a library that puts work off until the first read gains nothing.
//! * Building the starting state, cloning, checking that both sides agree, and freeing memory are
//!   outside the time.

#![allow(dead_code, reason = "benches that include this file use only parts of it")]

use std::ops::Range;

/// One key to set and its value.
pub type Put = (String, String);

/// The key that the base commit sets.
pub const BASE_KEY: &str = "base";

/// The side that measures: it commits, or it applies what the other side did.
pub const NEAR: u64 = 1;
/// The other side.
pub const FAR: u64 = 2;

/// A piece of work. Every figure is given for one of these and one `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Set one new key, commit, and get the bytes to send to others, on top of `n` commits of one
    /// key each. Timed: [`timed_commits`]`(n)` of these in a row; an item is one commit.
    CommitOneKey,
    /// Both sides set the same `n` keys, each to its own values, without knowing of each other, in
    /// `changes` commits of `n / changes` keys. Timed: the near side applies all of the far side's
    /// commits, given as one message; an item is one key.
    MergeSides {
        /// Commits on each side.
        changes: u64,
    },
    /// As [`Work::MergeSides`], but the two sides set different keys, so nothing conflicts.
    MergeSidesApart {
        /// Commits on each side.
        changes: u64,
    },
    /// The far side made `n` commits of one new key each. Timed: the near side, which has only the
    /// base, applies them one by one, each from its own bytes; an item is one commit.
    ApplyOneByOne,
    /// Each side made `n / 2` commits of one key each on top of the base, on different keys.
    /// Timed: the near side applies the far side's branch, given as one message; an item is one
    /// commit of the far branch.
    MergeBranches,
}

/// Every work with the sizes it is measured at.
pub const WORKS: &[(Work, &[u64])] = &[
    (Work::CommitOneKey, &[100, 10_000, 100_000]),
    (Work::MergeSides { changes: 1 }, &[100, 10_000, 100_000]),
    (Work::MergeSides { changes: 100 }, &[100, 10_000, 100_000]),
    (Work::MergeSidesApart { changes: 1 }, &[10_000]),
    (Work::MergeSidesApart { changes: 100 }, &[10_000]),
    (Work::ApplyOneByOne, &[100, 10_000, 100_000]),
    (Work::MergeBranches, &[100, 10_000, 100_000]),
];

impl Work {
    /// The name printed in the table.
    pub fn name(self) -> String {
        match self {
            Self::CommitOneKey => "commit one key".into(),
            Self::MergeSides { changes: 1 } => "merge sides, same keys, 1 change each".into(),
            Self::MergeSides { changes } => format!("merge sides, same keys, {changes} changes each"),
            Self::MergeSidesApart { changes: 1 } => "merge sides, different keys, 1 change each".into(),
            Self::MergeSidesApart { changes } => format!("merge sides, different keys, {changes} changes each"),
            Self::ApplyOneByOne => "apply one by one".into(),
            Self::MergeBranches => "merge two branches of n/2 commits".into(),
        }
    }

    /// How many items one timed run does at size `n`.
    pub fn items(self, n: u64) -> u64 {
        match self {
            Self::CommitOneKey => timed_commits(n),
            Self::MergeSides { .. } | Self::MergeSidesApart { .. } | Self::ApplyOneByOne => n,
            Self::MergeBranches => n / 2,
        }
    }
}

/// How many commits are timed on top of a history of `n`: a tenth of it, at most 1,000, so that
/// the history stays near `n` while they run.
pub fn timed_commits(n: u64) -> u64 {
    (n / 10).clamp(1, 1_000)
}

/// Key number `i`. Different for every `i`, and in no order (the finalizer of splitmix64, which
/// never maps two numbers to one).
pub fn key(i: u64) -> String {
    let mut z = i.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}", z ^ (z >> 31))
}

/// The value that side `side` gives to key number `i`: 32 characters.
pub fn value(side: u64, i: u64) -> String {
    format!("side {side:03} sets number {i:011}")
}

/// The keys of `range` with the values of side `side`.
pub fn puts(side: u64, range: Range<u64>) -> Vec<Put> {
    range.map(|i| (key(i), value(side, i))).collect()
}

/// What the base commit sets.
pub fn base() -> Vec<Put> {
    vec![(BASE_KEY.into(), value(0, 0))]
}

/// The commits that side `side` makes on top of the base before the timed part, each a list of
/// what it sets.
pub fn history(work: Work, n: u64, side: u64) -> Vec<Vec<Put>> {
    let (all, per_commit) = match (work, side) {
        (Work::CommitOneKey, NEAR) | (Work::ApplyOneByOne, FAR) => (puts(side, 0..n), 1),
        (Work::CommitOneKey | Work::ApplyOneByOne, _) => (Vec::new(), 1),
        (Work::MergeSides { changes }, _) => (puts(side, 0..n), n.div_ceil(changes)),
        (Work::MergeSidesApart { changes }, _) => (puts(side, side * n..(side + 1) * n), n.div_ceil(changes)),
        (Work::MergeBranches, _) => (puts(side, side * (n / 2)..(side + 1) * (n / 2)), 1),
    };
    all.chunks(per_commit as usize).map(<[Put]>::to_vec).collect()
}
