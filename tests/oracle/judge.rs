//! Rights in a closed set of entries, and which of its entries are effective: sections 1 and 3 of the rules, word for word.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::rc::Rc;

use eidetica_contract::PublicKey;
use eidetica_core::Id;
use eidetica_core::auth::{Right, Setting, Subject};
use eidetica_core::entry::VerifiedEntry;

use super::model::{Model, Set, settings_of};
use super::switches::Rule;

/// A settings entry that has passed the door.
pub struct SettingsEntry {
    pub id: Id,
    pub author: PublicKey,
    pub operations: Vec<(Subject, Setting)>,
    pub rank: Rank,
}

/// Rule 3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Of(Right),
    AboveAll,
}

/// What an entry needs (rule 10). Values among the settings take the right of an admin, as they do at the door.
enum Need {
    Right(Right),
    Nothing,
}

impl SettingsEntry {
    pub fn steps_down(&self) -> bool {
        let own = Subject::Key(self.author);
        self.rank == Rank::AboveAll && matches!(self.operations[..], [(subject, Setting::Limit(_))] if subject == own)
    }

    fn limits(&self, subject: Subject) -> bool {
        self.operations.iter().any(|(at, setting)| *at == subject && matches!(setting, Setting::Limit(_)))
    }

    fn on(&self, subject: Subject) -> Option<Setting> {
        self.operations.iter().find(|(at, _)| *at == subject).map(|(_, setting)| *setting)
    }
}

impl Model {
    /// The effective settings entries of a closed set (rule 9).
    pub fn effective_settings(&self, set: &Set) -> Rc<Set> {
        let mut here: Vec<&SettingsEntry> = self.settings().iter().filter(|entry| set.contains(&entry.id)).collect();
        let name: BTreeSet<Id> = here.iter().map(|entry| entry.id).collect();
        if let Some(known) = self.judged().borrow().get(&name) {
            return known.clone();
        }
        // Ties in any order: here by id, so that it is none that the core could share.
        here.sort_by_key(|entry| (Reverse(entry.rank), !entry.steps_down() && entry.id != self.root(), entry.id));
        if !self.keeps(Rule::SeniorsAreJudgedFirst) {
            here[1..].reverse();
        }
        let mut effective = Set::default();
        for entry in here {
            if self.is_effective(&entry.id, set, &effective) {
                effective.insert(entry.id);
            }
        }
        let effective = Rc::new(effective);
        self.judged().borrow_mut().insert(name, effective.clone());
        effective
    }

    /// All effective entries of a closed set.
    pub fn effective(&self, set: &Set) -> Set {
        let settings = self.effective_settings(set);
        let counts = |id: &&Id| match self.settings_entry(id).is_some() {
            true => settings.contains(*id),
            false => self.is_effective(id, set, &settings),
        };
        let effective: Set = set.iter().filter(counts).copied().collect();
        if self.keeps(Rule::AboveVoidStandsOnItsOwn) {
            return effective;
        }
        let void: Set = set.difference(&effective).copied().collect();
        effective.into_iter().filter(|id| self.below(id).is_disjoint(&void)).collect()
    }

    /// The live set (rule 17).
    pub fn live(&self, set: &Set) -> Set {
        let effective: Vec<Id> = self.effective(set).into_iter().collect();
        if !self.keeps(Rule::WhatIsBelowLivesToo) {
            return effective.into_iter().collect();
        }
        self.closure(&effective)
    }

    /// Rule 11, by the settings entries of the set that were found effective so far.
    fn is_effective(&self, id: &Id, set: &Set, effective: &Set) -> bool {
        if *id == self.root() {
            return true;
        }
        let entry = self.entry(id);
        let settings = self.settings_entry(id);
        let key = Subject::Key(entry.header().author);
        if let Some(settings) = settings {
            let junior = |(subject, _): &(Subject, Setting)| {
                *subject == key || Rank::Of(self.own_by(*subject, self.below(id), effective)) < settings.rank
            };
            if !settings.operations.iter().all(junior) && self.keeps(Rule::SeniorToWhatItSets) {
                return false;
            }
        }
        let Need::Right(need) = need(entry, settings) else { return true };
        let need = if self.keeps(Rule::SettingsNeedTheirRank) { need } else { need.min(Right::admin(0)) };
        if !self.keeps(Rule::NothingRevives) {
            return self.right_by(entry.header().author, set, effective) >= need;
        }
        let own = self.least(id, key, set, effective);
        let everybody = self.least(id, Subject::Everybody, set, effective);
        self.combined(own, everybody) >= need
    }

    /// The least own right of a subject over the sets of rule 11b.
    fn least(&self, id: &Id, subject: Subject, set: &Set, effective: &Set) -> Right {
        let is_settings = self.settings_entry(id).is_some();
        let removals = self.settings().iter().filter(|removal| {
            let own_stepping_down = removal.steps_down() && !is_settings;
            set.contains(&removal.id)
                && effective.contains(&removal.id)
                && removal.limits(subject)
                && (subject != Subject::Everybody || self.keeps(Rule::LimitsOnEverybodyRemove))
                && self.concurrent(&removal.id, id)
                && (!own_stepping_down || !self.keeps(Rule::SteppingDownSparesData))
        });
        let mut all = self.below(id).clone();
        let mut sets = Vec::new();
        if self.keeps(Rule::ByWhatItSaw) {
            sets.push(all.clone());
        }
        for removal in removals {
            let up_to = self.closure(&[removal.id]);
            if self.keeps(Rule::ByEachRemoval) {
                sets.push(self.below(id).union(&up_to).copied().collect());
            }
            all.extend(up_to);
        }
        if self.keeps(Rule::ByAllRemovals) && (all.len() > self.below(id).len() || self.keeps(Rule::ByWhatItSaw)) {
            sets.push(all);
        }
        let least = sets.iter().map(|set| self.own_by(subject, set, effective)).min();
        least.unwrap_or_else(|| self.own_by(subject, set, effective))
    }

    /// Rule 5, given which settings entries are effective.
    pub fn right_by(&self, key: PublicKey, set: &Set, effective: &Set) -> Right {
        let own = self.own_by(Subject::Key(key), set, effective);
        let everybody = self.own_by(Subject::Everybody, set, effective);
        self.combined(own, everybody)
    }

    fn combined(&self, own: Right, everybody: Right) -> Right {
        let shut_out = own == Right::REMOVED && self.keeps(Rule::RemovedIsShutOut);
        if shut_out { own } else { own.max(everybody) }
    }

    /// Rule 4, given which settings entries are effective.
    pub fn own_by(&self, subject: Subject, set: &Set, effective: &Set) -> Right {
        let limits = |entry: &SettingsEntry| entry.limits(subject);
        let counts = |entry: &&SettingsEntry| {
            let counts = effective.contains(&entry.id) || !self.keeps(Rule::VoidHasNoEffect);
            set.contains(&entry.id) && counts && entry.on(subject).is_some()
        };
        let mut ordered: Vec<&SettingsEntry> = self.settings().iter().filter(counts).collect();
        // Only these are ever looked at for it, whatever else is in the sets.
        let name = (subject, ordered.iter().map(|entry| entry.id).collect::<BTreeSet<Id>>());
        if let Some(known) = self.known_rights().borrow().get(&name) {
            return *known;
        }
        ordered.sort_by_key(|entry| (Reverse(entry.rank), limits(entry) != self.keeps(Rule::LimitsWinAmongEquals)));
        if !self.keeps(Rule::TheHigherRankStays) {
            ordered.reverse();
        }
        let mut stayed: Vec<&SettingsEntry> = Vec::new();
        for entry in ordered {
            let beaten =
                |other: &&SettingsEntry| limits(other) != limits(entry) && self.concurrent(&other.id, &entry.id);
            if !stayed.iter().any(beaten) || !self.keeps(Rule::OneOfGrantAndLimitStays) {
                stayed.push(entry);
            }
        }
        let covered = |low: &&SettingsEntry| stayed.iter().any(|high| self.saw(&high.id, &low.id));
        let topmost: Vec<&SettingsEntry> =
            stayed.iter().filter(|low| !covered(low) || !self.keeps(Rule::TheTopmostDecide)).copied().collect();
        let some_limit = topmost.iter().any(|entry| limits(entry));
        let deciding = topmost.iter().filter(|entry| limits(entry) == some_limit);
        let values = deciding.map(|entry| self.value(entry, subject, effective));
        let least = if some_limit { self.keeps(Rule::LeastLimit) } else { !self.keeps(Rule::GreatestGrant) };
        let decided = if least { values.min() } else { values.max() };
        let right = decided.unwrap_or(Right::NONE);
        self.known_rights().borrow_mut().insert(name, right);
        right
    }

    /// Rule 4c.
    fn value(&self, entry: &SettingsEntry, subject: Subject, effective: &Set) -> Right {
        let before = self.own_by(subject, self.below(&entry.id), effective);
        match entry.on(subject) {
            Some(Setting::Limit(Right::NONE)) => Right::REMOVED,
            Some(Setting::Limit(right)) if !self.keeps(Rule::LimitsNeverRaise) => right,
            Some(Setting::Grant(right)) if !self.keeps(Rule::GrantsNeverLower) => right,
            Some(Setting::Limit(right)) => right.min(before),
            Some(Setting::Grant(right)) => right.max(before),
            None => before,
        }
    }
}

fn need(entry: &VerifiedEntry, settings: Option<&SettingsEntry>) -> Need {
    match settings {
        Some(settings) if settings.steps_down() => Need::Nothing,
        Some(SettingsEntry { rank: Rank::Of(right), .. }) => Need::Right(*right),
        Some(_) => Need::Nothing,
        None if settings_of(entry).is_some() => Need::Right(Right::admin(0)),
        None => Need::Right(Right::WRITE),
    }
}
