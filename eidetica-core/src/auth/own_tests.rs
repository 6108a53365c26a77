//! What settings on one subject come to, against the rule as it is written down; and what a look costs.

use std::cell::Cell;

use proptest::prelude::*;

use super::delta::{Setting, Subject};
use super::right::Right;
use super::rights::{Effect, Rank, Rights, SettingsEntry};
use crate::dag::{Numbers, Seen};

thread_local! {
    static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

/// Counts effects that are looked at.
pub(super) fn count(effects: usize) {
    LOOKED_AT.with(|looked_at| looked_at.set(looked_at.get() + effects));
}

/// What a piece of work comes to, and how many effects it looks at.
pub(super) fn looked_at<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LOOKED_AT.with(|looked_at| looked_at.set(0));
    (work(), LOOKED_AT.with(Cell::get))
}

/// Rule 4, as it is written down.
fn naive(rights: &Rights, subject: Subject, set: &Seen) -> Right {
    let is_below = |lower: &Effect, upper: &Effect| lower.number != upper.number && upper.seen.contains(lower.number);
    let concurrent = |a: &Effect, b: &Effect| a.number != b.number && !is_below(a, b) && !is_below(b, a);
    let mut effects: Vec<&Effect> =
        rights.effects(subject).iter().filter(|effect| set.contains(effect.number)).collect();
    effects.sort_by_key(|effect| (std::cmp::Reverse(effect.rank), !effect.limits));
    let mut stayed: Vec<&Effect> = Vec::new();
    for effect in effects {
        if !stayed.iter().any(|other| other.limits != effect.limits && concurrent(other, effect)) {
            stayed.push(effect);
        }
    }
    let topmost = || stayed.iter().filter(|e| !stayed.iter().any(|other| is_below(e, other)));
    let limit = topmost().filter(|effect| effect.limits).map(|effect| effect.value).min();
    limit.or_else(|| topmost().map(|effect| effect.value).max()).unwrap_or(Right::NONE)
}

/// An entry of which only its operation on everybody matters.
fn add(rights: &mut Rights, number: u64, below: &Seen, rank: Rank, setting: Setting) {
    let entry = SettingsEntry {
        number,
        author: crate::SecretKey::from_seed(&[1; 32]).public(),
        below: below.clone(),
        rank,
        steps_down: false,
        rights: vec![(Subject::Everybody, setting)],
        void_below: Numbers::default(),
    };
    rights.insert(entry, Numbers::default());
}

fn own(rights: &Rights, set: &Seen) -> Right {
    rights.standing().own(Subject::Everybody, set)
}

/// What an entry does: its one or two parents, counted back from it, and a setting, if it has one.
type Step = (usize, Option<usize>, Option<(bool, u32, u32)>);

fn step() -> impl Strategy<Value = Step> {
    let setting = (any::<bool>(), 0..6u32, 0..4u32);
    (1..6usize, proptest::option::weighted(0.3, 1..8usize), proptest::option::weighted(0.8, setting))
}

/// A history, and what each entry has seen, itself included.
fn history(steps: &[Step]) -> (Rights, Vec<Seen>) {
    let mut rights = Rights::default();
    let mut seen = vec![Seen::nothing().with(0)];
    for (at, (parent, other, setting)) in steps.iter().enumerate() {
        let number = at as u64 + 1;
        let back = |steps: usize| seen[seen.len().saturating_sub(steps)].clone();
        let below = other.map_or_else(|| back(*parent), |other| back(*parent).union(&back(other)));
        if let Some((limits, right, rank)) = *setting {
            let right = Right::from_number(right.into()).unwrap();
            let setting = if limits { Setting::Limit(right) } else { Setting::Grant(right.max(Right::READ)) };
            let rank = if rank == 3 { Rank::AboveAll } else { Rank::Of(Right::admin(rank)) };
            add(&mut rights, number, &below, rank, setting);
        }
        seen.push(below.with(number));
    }
    (rights, seen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_right_is_what_the_rule_says(steps in proptest::collection::vec(step(), 0..40)) {
        let (rights, seen) = history(&steps);
        let mut sets = seen.clone();
        for (at, one) in seen.iter().enumerate() {
            sets.extend(seen[..at].iter().rev().step_by(3).map(|other| one.union(other)));
        }
        for set in sets {
            let subject = Subject::Everybody;
            prop_assert_eq!(own(&rights, &set), naive(&rights, subject, &set), "{:?}", set);
        }
    }
}

fn toggle(at: usize) -> Setting {
    if at.is_multiple_of(2) { Setting::Grant(Right::WRITE) } else { Setting::Limit(Right::READ) }
}

/// How many effects are looked at while a history arrives, or is loaded.
fn work(history: impl FnOnce(&mut Rights)) -> usize {
    looked_at(|| history(&mut Rights::default())).1
}

fn judged(rights: &mut Rights, number: u64, below: &Seen, at: usize) {
    // As the door looks: the author, the subject; then what the setting comes to.
    own(rights, below);
    own(rights, below);
    add(rights, number, below, Rank::Of(Right::admin(0)), toggle(at));
}

#[test]
fn a_chain_of_settings_costs_what_it_is_long() {
    let chain = |length: usize| {
        work(|rights| {
            let mut seen = Seen::nothing().with(0);
            for at in 0..length {
                let number = at as u64 + 1;
                judged(rights, number, &seen, at);
                seen = seen.with(number);
            }
        })
    };
    for length in [200, 400, 800] {
        assert!(chain(length) <= 6 * length, "{} for {length}", chain(length));
    }
}

#[test]
fn a_look_at_concurrent_branches_costs_what_they_are_long() {
    for length in [200usize, 400, 800] {
        let mut rights = Rights::default();
        let root = Seen::nothing().with(0);
        let mut branches = [root.clone(), root];
        for at in 0..length {
            let number = at as u64 + 1;
            // One after the other, then by turns.
            let branch = &mut branches[if at < length / 2 { at / (length / 4) % 2 } else { at % 2 }];
            add(&mut rights, number, branch, Rank::Of(Right::admin(0)), toggle(at / 3));
            *branch = branch.with(number);
        }
        let [one, other] = branches;
        let both = one.union(&other);
        LOOKED_AT.with(|looked_at| looked_at.set(0));
        assert_eq!(own(&rights, &both), naive(&rights, Subject::Everybody, &both));
        assert!(LOOKED_AT.with(Cell::get) <= 3 * length);
        // What only one branch has seen is decided by its last setting.
        LOOKED_AT.with(|looked_at| looked_at.set(0));
        own(&rights, &one);
        assert!(LOOKED_AT.with(Cell::get) <= 4);
    }
}
