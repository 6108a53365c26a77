//! The settings entries of a database: what each does to whom, and which of them are void.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use eidetica_contract::PublicKey;

use super::delta::{Setting, Subject};
use super::judge::Memo;
use super::own::own_of;
use super::right::Right;
use super::standing::limited;
use crate::dag::{Numbers, Seen};

/// With so many limits on a key the verdict on what it has written may differ with each set of them.
const CROWDED: usize = 3;

/// All settings entries of a database that have passed the door, and which of them are void.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    /// In the order of arrival.
    pub(super) entries: Vec<Arc<SettingsEntry>>,
    pub(super) by_subject: HashMap<Subject, Vec<Effect>>,
    /// The numbers of each author's entries.
    pub(super) by_author: HashMap<PublicKey, Vec<u64>>,
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
    pub(super) setting: Setting,
    /// The value by rule 4c, by what counts in the set of all that are here.
    pub(super) value: Right,
}

/// How strong a settings entry is against another one: the right of the author as of the parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The right of the author as of the parents.
    Of(Right),
    /// The root, and stepping down on the own key.
    AboveAll,
}

impl Rights {
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
        self.by_author.entry(entry.author).or_default().push(entry.number);
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
    pub(super) fn value_by(
        &self,
        lower: &[Effect],
        counts: &dyn Fn(&Effect) -> bool,
        value: &dyn Fn(usize) -> Right,
    ) -> Right {
        let before = own_of(lower, &self.seen, counts, value);
        match self.setting {
            Setting::Grant(right) => right.max(before),
            Setting::Limit(right) => limited(right, before),
        }
    }
}
