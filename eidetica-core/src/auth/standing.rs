//! Rights in a closed set, by the settings entries that count in it (rules 1 to 5).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use eidetica_contract::PublicKey;

use super::delta::Subject;
use super::own::own_of;
use super::right::Right;
use super::rights::{Effect, Rank, Rights};
use crate::dag::{Numbers, Seen};

/// Rights by those settings entries that count.
pub(crate) struct Standing<'a> {
    rights: &'a Rights,
    /// Entries that do not count.
    void: Numbers,
    /// Entries of lower rank do not count.
    least: Rank,
    /// Values where something else counts than by those that are kept; `None` where they are the same.
    values: RefCell<HashMap<Subject, Option<Rc<[Right]>>>>,
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
        if self.least == Rank::Of(Right::REMOVED) && self.void == self.rights.void {
            return None;
        }
        if let Some(values) = self.values.borrow().get(&subject) {
            return values.clone();
        }
        let kept = |effect: &Effect| !self.rights.void.contains(effect.number);
        let same = effects.iter().all(|effect| self.counts(effect) == kept(effect));
        let values = (!same).then(|| {
            let mut values: Vec<Right> = Vec::with_capacity(effects.len());
            for (at, effect) in effects.iter().enumerate() {
                let value = effect.value_by(&effects[..at], &|effect| self.counts(effect), &|at| values[at]);
                values.push(value);
            }
            Rc::from(values)
        });
        self.values.borrow_mut().insert(subject, values.clone());
        values
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
