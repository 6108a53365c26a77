//! Rights as a function of a closed set of entries (rules 1 to 5).

use std::collections::{BTreeSet, HashMap};

use eidetica_contract::PublicKey;

use super::delta::{Setting, Subject};
use super::right::Right;
use crate::dag::{Numbers, Seen};

/// All operations on rights of a database, as they bind what is above them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    by_subject: HashMap<Subject, Vec<Effect>>,
}

/// One operation, with what is fixed about it for ever.
#[derive(Clone, Debug)]
struct Effect {
    number: u64,
    /// The entry and everything below it.
    seen: Seen,
    /// The right of its author as of its parents; the root and stepping down rank above all.
    rank: Rank,
    limits: bool,
    /// The value by rule 4c.
    value: Right,
}

/// How strong a settings entry is against another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The right of the author as of the parents.
    Of(Right),
    /// The root, and stepping down on the own key.
    AboveAll,
}

impl Rights {
    /// Adds the operation of an entry on one subject. `below` is the set below the entry.
    pub(crate) fn add(&mut self, number: u64, below: &Seen, rank: Rank, subject: Subject, setting: Setting) {
        let before = self.own(subject, below);
        let (limits, value) = match setting {
            Setting::Grant(right) => (false, right.max(before)),
            Setting::Limit(right) => (true, limited(right, before)),
        };
        let effect = Effect { number, seen: below.with(number), rank, limits, value };
        let effects = self.by_subject.entry(subject).or_default();
        debug_assert!(effects.last().is_none_or(|last| last.number < number), "effects come in the order of arrival");
        effects.push(effect);
    }

    /// The own right of a subject in a closed set (rule 4).
    pub(crate) fn own(&self, subject: Subject, set: &Seen) -> Right {
        let Some(effects) = self.by_subject.get(&subject) else { return Right::NONE };
        let effects = deciding(effects, set);
        // The common history of a key is one grant, or a chain of settings whose last decides.
        match effects[..] {
            [] => Right::NONE,
            [only] => only.value,
            _ => decide(effects),
        }
    }

    /// The right of a key in a closed set (rule 5).
    pub(crate) fn of(&self, key: PublicKey, set: &Seen) -> Right {
        match self.own(Subject::Key(key), set) {
            Right::REMOVED => Right::REMOVED,
            own => own.max(self.own(Subject::Everybody, set)),
        }
    }

    /// All subjects that have an operation in the set, with their own rights.
    pub(crate) fn all(&self, set: &Seen) -> Vec<(Subject, Right)> {
        let touched = |effects: &[Effect]| effects.iter().any(|effect| set.contains(effect.number));
        let mut all: Vec<_> = self
            .by_subject
            .iter()
            .filter(|(_, effects)| touched(effects))
            .map(|(subject, _)| (*subject, self.own(*subject, set)))
            .collect();
        all.sort_unstable();
        all
    }
}

/// What a limit leaves of an own right (rule 4c).
pub(super) fn limited(to: Right, before: Right) -> Right {
    if to == Right::NONE { Right::REMOVED } else { to.min(before) }
}

/// The effects in a set that can decide, latest arrival first.
///
/// Walks down from the latest arrival until everything that is left in the set is below everything that it has come by. What
/// is left is then concurrent with nothing of it, so neither side leaves out anything of the other; and of what it has come
/// by the strongest one stays, so nothing that is left is topmost. On a chain that is after one step.
fn deciding<'a>(effects: &'a [Effect], set: &Seen) -> Vec<&'a Effect> {
    let mut deciding: Vec<&Effect> = Vec::new();
    // The lowest number in the set that is not below something in `deciding`.
    let mut lowest: Option<u64> = None;
    for effect in effects.iter().rev() {
        #[cfg(test)]
        tests::count(1);
        if !deciding.is_empty() && lowest.is_none_or(|lowest| effect.number < lowest) {
            break;
        }
        if set.contains(effect.number) {
            let unseen = set.difference(&effect.seen).below(effect.number);
            lowest = lowest.into_iter().chain(unseen.first()).min();
            deciding.push(effect);
        }
    }
    deciding
}

/// Rule 4a and b for effects of which none was arrived at later than the one before it.
fn decide(effects: Vec<&Effect>) -> Right {
    #[cfg(test)]
    tests::count(effects.len());
    let mut ordered = effects.clone();
    // Among equals the order does not matter: nothing leaves out what is of its own kind.
    ordered.sort_by_key(|effect| (std::cmp::Reverse(effect.rank), !effect.limits));
    let (mut grants, mut limits) = (Stayed::default(), Stayed::default());
    for effect in ordered {
        let (same, other) = if effect.limits { (&mut limits, &grants) } else { (&mut grants, &limits) };
        if !other.holds_concurrent(effect) {
            same.add(effect);
        }
    }
    let (mut limit, mut grant) = (None, None);
    // What none of the topmost so far has seen; all that is above an effect arrived after it.
    let mut uncovered: Option<Numbers> = None;
    for effect in effects {
        let stayed = if effect.limits { &limits } else { &grants };
        if !stayed.numbers.contains(&effect.number) {
            continue;
        }
        let hidden = effect.seen.hidden();
        uncovered = match uncovered {
            Some(uncovered) if !uncovered.contains(effect.number) => Some(uncovered),
            covered => {
                if effect.limits {
                    limit = Some(limit.map_or(effect.value, |value: Right| value.min(effect.value)));
                } else {
                    grant = Some(grant.map_or(effect.value, |value: Right| value.max(effect.value)));
                }
                Some(covered.map_or_else(|| hidden.clone(), |covered| covered.intersection(hidden)))
            }
        };
    }
    limit.or(grant).unwrap_or(Right::NONE)
}

/// Effects of one kind that stayed.
#[derive(Default)]
struct Stayed {
    numbers: BTreeSet<u64>,
    /// What some of them have not seen of what arrived before them.
    hidden: Numbers,
}

impl Stayed {
    fn add(&mut self, effect: &Effect) {
        self.numbers.insert(effect.number);
        self.hidden = self.hidden.union(effect.seen.hidden());
    }

    /// True if one of them and this one have not seen each other.
    fn holds_concurrent(&self, effect: &Effect) -> bool {
        let (Some(first), Some(last)) = (self.numbers.first(), self.numbers.last()) else { return false };
        let unseen = |(start, end): &(u64, u64)| self.numbers.range(start..end).next().is_some();
        // Of two that are concurrent, the one that arrived later has not seen the other.
        let ranges = effect.seen.hidden().ranges();
        let near = ranges.partition_point(|(_, end)| end <= first)..ranges.partition_point(|(start, _)| start <= last);
        self.hidden.contains(effect.number) || ranges[near].iter().any(unseen)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts effects that are looked at.
    pub(super) fn count(effects: usize) {
        LOOKED_AT.with(|looked_at| looked_at.set(looked_at.get() + effects));
    }

    /// Rule 4, as it is written down.
    fn naive(rights: &Rights, subject: Subject, set: &Seen) -> Right {
        let is_below =
            |lower: &Effect, upper: &Effect| lower.number != upper.number && upper.seen.contains(lower.number);
        let concurrent = |a: &Effect, b: &Effect| a.number != b.number && !is_below(a, b) && !is_below(b, a);
        let Some(effects) = rights.by_subject.get(&subject) else { return Right::NONE };
        let mut effects: Vec<&Effect> = effects.iter().filter(|effect| set.contains(effect.number)).collect();
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
                rights.add(number, &below, rank, Subject::Everybody, setting);
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
                prop_assert_eq!(rights.own(subject, &set), naive(&rights, subject, &set), "{:?}", set);
            }
        }
    }

    fn toggle(at: usize) -> Setting {
        if at.is_multiple_of(2) { Setting::Grant(Right::WRITE) } else { Setting::Limit(Right::READ) }
    }

    /// How many effects are looked at while a history arrives, or is loaded.
    fn work(history: impl FnOnce(&mut Rights)) -> usize {
        LOOKED_AT.with(|looked_at| looked_at.set(0));
        history(&mut Rights::default());
        LOOKED_AT.with(Cell::get)
    }

    fn judged(rights: &mut Rights, number: u64, below: &Seen, at: usize) {
        // As the door looks: the author, the subject; then what the setting comes to.
        rights.own(Subject::Everybody, below);
        rights.own(Subject::Everybody, below);
        rights.add(number, below, Rank::Of(Right::admin(0)), Subject::Everybody, toggle(at));
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
                rights.add(number, branch, Rank::Of(Right::admin(0)), Subject::Everybody, toggle(at / 3));
                *branch = branch.with(number);
            }
            let [one, other] = branches;
            let both = one.union(&other);
            LOOKED_AT.with(|looked_at| looked_at.set(0));
            assert_eq!(rights.own(Subject::Everybody, &both), naive(&rights, Subject::Everybody, &both));
            assert!(LOOKED_AT.with(Cell::get) <= 3 * length);
            // What only one branch has seen is decided by its last setting.
            LOOKED_AT.with(|looked_at| looked_at.set(0));
            rights.own(Subject::Everybody, &one);
            assert!(LOOKED_AT.with(Cell::get) <= 4);
        }
    }
}
