//! Rights as a function of a closed set of entries (rules 1 to 5).

use std::collections::HashMap;

use eidetica_contract::PublicKey;

use super::delta::{Setting, Subject};
use super::right::Right;
use crate::dag::Seen;

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
        self.by_subject.entry(subject).or_default().push(effect);
    }

    /// The own right of a subject in a closed set (rule 4).
    pub(crate) fn own(&self, subject: Subject, set: &Seen) -> Right {
        let Some(effects) = self.by_subject.get(&subject) else { return Right::NONE };
        let mut effects: Vec<&Effect> = effects.iter().filter(|effect| set.contains(effect.number)).collect();
        // The common history of a key is one grant, or a chain of settings whose last decides.
        if let [only] = effects[..] {
            return only.value;
        }
        effects.sort_by_key(|effect| (std::cmp::Reverse(effect.rank), !effect.limits));
        let mut stayed: Vec<&Effect> = Vec::new();
        for effect in effects {
            if !stayed.iter().any(|other| other.limits != effect.limits && concurrent(other, effect)) {
                stayed.push(effect);
            }
        }
        let topmost = || stayed.iter().filter(|e| !stayed.iter().any(|other| is_below(e, other)));
        let limit = topmost().filter(|effect| effect.limits).map(|effect| effect.value).min();
        let grant = || topmost().map(|effect| effect.value).max();
        limit.or_else(grant).unwrap_or(Right::NONE)
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

fn is_below(lower: &Effect, upper: &Effect) -> bool {
    lower.number != upper.number && upper.seen.contains(lower.number)
}

fn concurrent(a: &Effect, b: &Effect) -> bool {
    a.number != b.number && !is_below(a, b) && !is_below(b, a)
}
