//! Rights as a function of a closed set of entries, given which settings entries count (rules 1 to 5).

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use eidetica_contract::PublicKey;

use super::delta::{Setting, Subject};
use super::judge::Memo;
use super::right::Right;
use crate::dag::{Numbers, Seen};

/// With so many limits on a key the verdict on what it has written may differ with each set of them.
const CROWDED: usize = 3;

/// All settings entries of a database that have passed the door, and which of them are void.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    /// In the order of arrival.
    pub(super) entries: Vec<Arc<SettingsEntry>>,
    by_subject: HashMap<Subject, Vec<Effect>>,
    /// Those that are void in the set of all that are here.
    pub(super) void: Numbers,
    /// The topmost of all.
    pub(super) topmost: Vec<u64>,
    /// Keys with three limits or more, which are rare.
    pub(super) crowded: BTreeSet<Subject>,
    /// What is void in sets that were asked for since the last entry came.
    pub(super) memo: Arc<Memo>,
}

/// An entry with operations on rights, with what is fixed about it for ever.
#[derive(Clone, Debug)]
pub(crate) struct SettingsEntry {
    pub number: u64,
    pub author: PublicKey,
    /// Everything below the entry.
    pub below: Seen,
    pub rank: Rank,
    pub steps_down: bool,
    pub rights: Vec<(Subject, Setting)>,
    /// The settings entries below it that are void in the set below it.
    pub void_below: Numbers,
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub number: u64,
    /// The entry and everything below it.
    pub seen: Seen,
    pub rank: Rank,
    pub limits: bool,
    pub steps_down: bool,
    setting: Setting,
    /// The value by rule 4c, by what counts in the set of all that are here.
    value: Right,
}

/// How strong a settings entry is against another one: the right of the author as of the parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The right of the author as of the parents.
    Of(Right),
    /// The root, and stepping down on the own key.
    AboveAll,
}

/// Rights by those settings entries that count.
pub(crate) struct Standing<'a> {
    rights: &'a Rights,
    /// Entries that do not count.
    void: Numbers,
    /// Entries of lower rank do not count.
    least: Rank,
    /// Values that differ from those that are kept, where something else counts.
    values: RefCell<HashMap<Subject, Rc<[Right]>>>,
}

impl Rights {
    /// By what counts in the set of all that are here.
    pub fn standing(&self) -> Standing<'_> {
        self.standing_without(self.void.clone())
    }

    /// By all settings entries but these.
    pub fn standing_without(&self, void: Numbers) -> Standing<'_> {
        self.standing_from(void, Rank::Of(Right::REMOVED))
    }

    /// By all settings entries of this rank and above but these.
    pub(super) fn standing_from(&self, void: Numbers, least: Rank) -> Standing<'_> {
        Standing { rights: self, void, least, values: RefCell::default() }
    }

    pub(super) fn effects(&self, subject: Subject) -> &[Effect] {
        self.by_subject.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// Takes in the operations of an entry that arrived after all others, and says what is void from then on.
    pub(super) fn insert(&mut self, entry: SettingsEntry, void: Numbers) {
        let seen = entry.below.with(entry.number);
        for (subject, setting) in &entry.rights {
            let effect = Effect {
                number: entry.number,
                seen: seen.clone(),
                rank: entry.rank,
                limits: matches!(setting, Setting::Limit(_)),
                steps_down: entry.steps_down,
                setting: *setting,
                value: Right::NONE,
            };
            let effects = self.by_subject.entry(*subject).or_default();
            effects.push(effect);
            if effects.iter().filter(|effect| effect.limits).take(CROWDED).count() == CROWDED {
                self.crowded.insert(*subject);
            }
        }
        let changed = changed(&self.void, &void);
        let others = self.entries.iter().filter(|other| changed.contains(other.number));
        let subjects: BTreeSet<Subject> = others.flat_map(|other| other.rights.iter().map(|(s, _)| *s)).collect();
        self.void = void;
        let added = entry.rights.iter().map(|(subject, _)| *subject);
        for subject in added.filter(|subject| !subjects.contains(subject)).collect::<Vec<_>>() {
            let last = self.effects(subject).len() - 1;
            self.revalue(subject, last);
        }
        subjects.into_iter().for_each(|subject| self.revalue(subject, 0));
        self.topmost.retain(|top| !entry.below.contains(*top));
        self.topmost.push(entry.number);
        self.entries.push(Arc::new(entry));
        // It goes by numbers, and if this group is undone others get the number of this entry.
        self.memo = Arc::default();
    }

    /// Finds out the values of a subject from an operation on.
    fn revalue(&mut self, subject: Subject, from: usize) {
        let Some(effects) = self.by_subject.get_mut(&subject) else { return };
        for at in from..effects.len() {
            let (lower, effect) = effects.split_at(at);
            let counts = |effect: &Effect| !self.void.contains(effect.number);
            let value = effect[0].value_by(lower, &counts, &|at| lower[at].value);
            effects[at].value = value;
        }
    }
}

/// The numbers that are in one set and not in the other.
pub(crate) fn changed(before: &Numbers, after: &Numbers) -> Numbers {
    before.difference(after).union(&after.difference(before))
}

impl Effect {
    /// Rule 4c. `lower` are the operations on the same subject that arrived before.
    fn value_by(&self, lower: &[Effect], counts: &dyn Fn(&Effect) -> bool, value: &dyn Fn(usize) -> Right) -> Right {
        let before = own_of(lower, &self.seen, counts, value);
        match self.setting {
            Setting::Grant(right) => right.max(before),
            Setting::Limit(right) => limited(right, before),
        }
    }
}

impl Standing<'_> {
    pub(super) fn rights(&self) -> &Rights {
        self.rights
    }

    pub(super) fn counts(&self, effect: &Effect) -> bool {
        effect.rank >= self.least && !self.void.contains(effect.number)
    }

    /// The own right of a subject in a closed set (rule 4).
    pub fn own(&self, subject: Subject, set: &Seen) -> Right {
        let effects = self.rights.effects(subject);
        let counts = |effect: &Effect| self.counts(effect);
        match self.values(subject, effects) {
            None => own_of(effects, set, &counts, &|at| effects[at].value),
            Some(values) => own_of(effects, set, &counts, &|at| values[at]),
        }
    }

    /// The right of a key in a closed set (rule 5).
    pub fn of(&self, key: PublicKey, set: &Seen) -> Right {
        together(self.own(Subject::Key(key), set), self.own(Subject::Everybody, set))
    }

    /// All subjects that have an operation in the set that counts, with their own rights.
    pub fn all(&self, set: &Seen) -> Vec<(Subject, Right)> {
        let touched = |effect: &Effect| set.contains(effect.number) && self.counts(effect);
        let subjects = self.rights.by_subject.iter().filter(|(_, effects)| effects.iter().any(touched));
        let mut all: Vec<_> = subjects.map(|(subject, _)| (*subject, self.own(*subject, set))).collect();
        all.sort_unstable();
        all
    }

    /// The values of a subject, where they differ from those that are kept.
    fn values(&self, subject: Subject, effects: &[Effect]) -> Option<Rc<[Right]>> {
        let all_count = self.least == Rank::Of(Right::REMOVED);
        let kept = |effect: &Effect| !self.rights.void.contains(effect.number);
        if (all_count && self.void == self.rights.void) || effects.iter().all(|e| self.counts(e) == kept(e)) {
            return None;
        }
        if let Some(values) = self.values.borrow().get(&subject) {
            return Some(values.clone());
        }
        let mut values: Vec<Right> = Vec::with_capacity(effects.len());
        for (at, effect) in effects.iter().enumerate() {
            let value = effect.value_by(&effects[..at], &|effect| self.counts(effect), &|at| values[at]);
            values.push(value);
        }
        let values: Rc<[Right]> = values.into();
        self.values.borrow_mut().insert(subject, values.clone());
        Some(values)
    }
}

/// An own right and that of everybody, as one (rule 5).
pub(super) fn together(own: Right, everybody: Right) -> Right {
    if own == Right::REMOVED { own } else { own.max(everybody) }
}

/// What a limit leaves of an own right (rule 4c).
pub(super) fn limited(to: Right, before: Right) -> Right {
    if to == Right::NONE { Right::REMOVED } else { to.min(before) }
}

/// Rule 4 for the operations on one subject. `value` answers by their place.
fn own_of(effects: &[Effect], set: &Seen, counts: &dyn Fn(&Effect) -> bool, value: &dyn Fn(usize) -> Right) -> Right {
    // The common history of a key is one grant, or a chain of settings whose last decides.
    match &deciding(effects, set, counts)[..] {
        [] => Right::NONE,
        [only] => value(*only),
        several => decide(effects, several, value),
    }
}

/// The places of the effects in a set that can decide, latest arrival first.
///
/// Walks down from the latest arrival until everything that is left in the set is below everything that it has come by. What
/// is left is then concurrent with nothing of it, so neither side leaves out anything of the other; and of what it has come
/// by the strongest one stays, so nothing that is left is topmost. On a chain that is after one step.
fn deciding(effects: &[Effect], set: &Seen, counts: &dyn Fn(&Effect) -> bool) -> Vec<usize> {
    let mut deciding: Vec<usize> = Vec::new();
    // The lowest number in the set that is not below something in `deciding`.
    let mut lowest: Option<u64> = None;
    for (at, effect) in effects.iter().enumerate().rev() {
        #[cfg(test)]
        tests::count(1);
        if !deciding.is_empty() && lowest.is_none_or(|lowest| effect.number < lowest) {
            break;
        }
        if set.contains(effect.number) && counts(effect) {
            let unseen = set.difference(&effect.seen).below(effect.number);
            lowest = lowest.into_iter().chain(unseen.first()).min();
            deciding.push(at);
        }
    }
    deciding
}

/// Rule 4a and b for effects of which none was arrived at later than the one before it.
fn decide(effects: &[Effect], places: &[usize], value: &dyn Fn(usize) -> Right) -> Right {
    #[cfg(test)]
    tests::count(places.len());
    let mut ordered: Vec<&Effect> = places.iter().map(|at| &effects[*at]).collect();
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
    for at in places {
        let effect = &effects[*at];
        let stayed = if effect.limits { &limits } else { &grants };
        if !stayed.numbers.contains(&effect.number) {
            continue;
        }
        let hidden = effect.seen.hidden();
        uncovered = match uncovered {
            Some(uncovered) if !uncovered.contains(effect.number) => Some(uncovered),
            covered => {
                let value = value(*at);
                if effect.limits {
                    limit = Some(limit.map_or(value, |least: Right| least.min(value)));
                } else {
                    grant = Some(grant.map_or(value, |most: Right| most.max(value)));
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
        LOOKED_AT.with(|looked_at| looked_at.set(0));
        history(&mut Rights::default());
        LOOKED_AT.with(Cell::get)
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
}
