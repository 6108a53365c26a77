//! The void rule: which entries of a closed set are effective (rules 9 to 16).
//!
//! Settings entries are judged by falling rank, each by those found effective before. Where no two of them are concurrent
//! all count, as the door has seen to it. So only those have to be judged that lie above the last point that all others have
//! seen, and what is void below that point was found out when the first of them came to the door.
//!
//! An entry that comes last changes the verdict of others only if it takes something from the author of a settings entry
//! that it has not seen. All else is judged by itself.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Mutex;

use eidetica_contract::PublicKey;

use super::delta::{Setting, Subject};
use super::right::Right;
use super::rights::{Effect, Rank, Rights, SettingsEntry, changed};
use super::standing::{Standing, together};
use crate::dag::{Numbers, Seen};

/// How many sets are remembered.
const REMEMBERED: usize = 256;

/// What is void in sets that were asked for, by the numbers of the topmost settings entries in them. It is good for as long as
/// no other entry can get one of these numbers.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<HashMap<Vec<u64>, Numbers>>);

/// What an entry needs for as long as it is to count (rule 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Right(Right),
    /// The root, and stepping down.
    Nothing,
}

/// An entry to be judged.
pub(crate) struct Case<'a> {
    /// `u64::MAX` for one that has no number yet.
    pub number: u64,
    pub author: PublicKey,
    /// Everything below it.
    pub below: &'a Seen,
    pub need: Need,
    /// True if it has operations on rights.
    pub is_settings: bool,
}

impl Memo {
    fn get(&self, topmost: &[u64]) -> Option<Numbers> {
        self.map().get(topmost).cloned()
    }

    fn put(&self, topmost: Vec<u64>, void: Numbers) {
        let mut known = self.map();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(topmost, void);
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u64>, Numbers>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl SettingsEntry {
    fn case(&self) -> Case<'_> {
        let need = match self.rank {
            Rank::Of(right) => Need::Right(right),
            Rank::AboveAll => Need::Nothing,
        };
        Case { number: self.number, author: self.author, below: &self.below, need, is_settings: true }
    }
}

impl Rights {
    /// The settings entries that are void in a closed set.
    pub fn void_in(&self, set: &Seen) -> Numbers {
        let topmost = self.topmost_in(set);
        match &topmost[..] {
            [] => return Numbers::default(),
            // What the door has found of what is below it; itself it counts there, as the door has seen to, too.
            [top] => return self.entry(*top).map(|entry| entry.void_below.clone()).unwrap_or_default(),
            several if several == self.topmost => return self.void.clone(),
            _ => {}
        }
        self.memo.get(&topmost).unwrap_or_else(|| {
            let void = self.judge(set);
            self.memo.put(topmost, void.clone());
            void
        })
    }

    /// Takes in a settings entry that has passed the door and arrived last, and judges it with all others. What is void from
    /// then on is in the answer.
    pub fn add(&mut self, entry: SettingsEntry) -> &Numbers {
        let void = self.void_with(&entry);
        self.insert(entry, void);
        &self.void
    }

    /// Takes in a settings entry that has passed the door and came last, if it is void. False if it would count.
    pub fn add_void(&mut self, entry: SettingsEntry) -> bool {
        let void = self.void_with(&entry);
        let is_void = void.contains(entry.number);
        if is_void {
            self.insert(entry, void);
        }
        is_void
    }

    /// The settings entries that are void once this one has come last.
    pub fn void_with(&self, entry: &SettingsEntry) -> Numbers {
        if self.topmost.iter().all(|top| entry.below.contains(*top)) {
            return self.void.clone();
        }
        let all = Seen::all_before(entry.number);
        let standing = self.standing_from(self.void.clone(), entry.rank);
        if !standing.upholds_settings(entry, &all) {
            return self.void.union(&Numbers::of(entry.number));
        }
        if !self.has_unseen_of_limited(entry) {
            return self.void.clone();
        }
        let mut with = self.clone();
        with.insert(entry.clone(), self.void.clone());
        with.judge(&Seen::all_before(entry.number + 1))
    }

    /// True if an entry limits the author of a settings entry that it has not seen.
    fn has_unseen_of_limited(&self, entry: &SettingsEntry) -> bool {
        let limited = entry.rights.iter().filter_map(|(subject, setting)| match (subject, setting) {
            (Subject::Key(key), Setting::Limit(_)) => self.by_author.get(key),
            _ => None,
        });
        limited.flatten().any(|number| !entry.below.contains(*number))
    }

    /// True if an entry that is no settings entry is effective in a closed set, of which these settings entries are void.
    pub fn upholds(&self, case: &Case<'_>, set: &Seen, void: &Numbers) -> bool {
        self.standing_without(void.clone()).upholds(case, set)
    }

    /// The removal by which an entry is void in a closed set: one by which alone its author lacks what the entry needs, if there is such.
    pub fn struck_by(&self, case: &Case<'_>, set: &Seen, void: &Numbers) -> Option<u64> {
        let Need::Right(need) = case.need else { return None };
        let standing = self.standing_without(void.clone());
        let subjects = [Subject::Key(case.author), Subject::Everybody];
        let removals = || subjects.into_iter().flat_map(|subject| standing.removals(subject, case, set));
        let lacks = |removal: &&Effect| standing.of(case.author, &case.below.union(&removal.seen)) < need;
        removals().find(lacks).or_else(|| removals().last()).map(|removal| removal.number)
    }

    /// How many settings entries there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// True unless the root is the only entry with operations on rights.
    pub fn may_strike(&self) -> bool {
        self.entries.len() > 1
    }

    /// The settings entries that are void in the set of all that are here.
    pub fn void(&self) -> &Numbers {
        &self.void
    }

    /// Whose entries may count in a closed set and not among all that are here, or the other way round, beside those that are
    /// void among all: keys, and numbers of entries. `void` are the settings entries that are void in the set.
    pub fn concerned_in(&self, set: &Seen, void: &Numbers) -> Vec<(Subject, Numbers)> {
        let here = set.numbers();
        let void_now = here.intersection(&self.void);
        let mut concerned = self.concerned_by(&changed(&void_now, void), &here);
        // With three removals at once a key may keep what it loses by two of them, since a grant may come along.
        for subject in &self.crowded {
            let counts = |effect: &&Effect| effect.limits && !self.void.contains(effect.number);
            let limits: Vec<&Effect> = self.effects(*subject).iter().filter(counts).collect();
            let within: Vec<&&Effect> = limits.iter().filter(|limit| set.contains(limit.number)).collect();
            if within.len() >= 2 && within.len() < limits.len() {
                let outside = within.iter().map(|limit| set.difference(&limit.seen));
                concerned.push((*subject, outside.fold(Numbers::default(), |sum, numbers| sum.union(&numbers))));
            }
        }
        concerned
    }

    /// Whose entries are to be judged again when these settings entries have begun or ceased to count: those that are not below
    /// one of them, of the keys that it speaks of.
    pub fn concerned_by(&self, changed: &Numbers, within: &Numbers) -> Vec<(Subject, Numbers)> {
        let mut concerned = Vec::new();
        for entry in changed.iter().filter_map(|number| self.entry(number)) {
            let outside = within.difference(&entry.below.with(entry.number).numbers());
            concerned.extend(entry.rights.iter().map(|(subject, _)| (*subject, outside.clone())));
        }
        concerned.retain(|(_, numbers)| !numbers.is_empty());
        concerned
    }

    /// The settings entry with this number.
    pub fn entry(&self, number: u64) -> Option<&SettingsEntry> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        Some(&self.entries[at])
    }

    /// The topmost settings entries of a closed set, ascending.
    fn topmost_in(&self, set: &Seen) -> Vec<u64> {
        let mut topmost = Vec::new();
        let mut left = set.numbers();
        while let Some(top) = self.last_in(&left) {
            topmost.push(top.number);
            left = left.below(top.number).difference(&top.below.numbers());
        }
        topmost.reverse();
        topmost
    }

    /// The settings entry with the greatest of these numbers.
    fn last_in(&self, numbers: &Numbers) -> Option<&SettingsEntry> {
        numbers.ranges().iter().rev().find_map(|(start, end)| {
            let at = self.entries.partition_point(|entry| entry.number < *end);
            self.entries[..at].last().map(|entry| &**entry).filter(|entry| entry.number >= *start)
        })
    }

    /// The settings entry with the smallest of these numbers.
    fn first_in(&self, numbers: &Numbers) -> Option<&SettingsEntry> {
        numbers.ranges().iter().find_map(|(start, end)| {
            let at = self.entries.partition_point(|entry| entry.number < *start);
            self.entries.get(at).map(|entry| &**entry).filter(|entry| entry.number < *end)
        })
    }

    /// Rule 9 for the settings entries of a closed set.
    fn judge(&self, set: &Seen) -> Numbers {
        // Those above the last point that all of them have seen, latest arrival first.
        let mut open: Vec<&SettingsEntry> = Vec::new();
        let mut lowest: Option<u64> = None;
        for entry in self.entries.iter().rev().filter(|entry| set.contains(entry.number)) {
            if !open.is_empty() && lowest.is_none_or(|lowest| entry.number < lowest) {
                break;
            }
            let unseen = self.first_in(&set.difference(&entry.below).below(entry.number));
            lowest = lowest.into_iter().chain(unseen.map(|entry| entry.number)).min();
            open.push(entry);
        }
        // The first of them to arrive has seen what is below that point, and of the settings nothing else.
        let mut void = open.last().map(|first| first.void_below.clone()).unwrap_or_default();
        open.sort_by_key(|entry| (Reverse(entry.rank), entry.number));
        // What is not judged yet does not count. Equals change nothing for each other, and are judged as one.
        let mut waiting = Numbers::of_all(open.iter().map(|entry| entry.number));
        for equals in open.chunk_by(|one, other| one.rank == other.rank) {
            let standing = self.standing_from(void.union(&waiting), equals[0].rank);
            let struck = equals.iter().filter(|entry| !standing.upholds_settings(entry, set));
            let struck = Numbers::of_all(struck.map(|entry| entry.number));
            void = void.union(&struck);
            waiting = waiting.difference(&Numbers::of_all(equals.iter().map(|entry| entry.number)));
        }
        void
    }
}

impl Standing<'_> {
    /// Rule 11 for a settings entry.
    fn upholds_settings(&self, entry: &SettingsEntry, set: &Seen) -> bool {
        let own = Subject::Key(entry.author);
        let junior = |(subject, _): &(Subject, Setting)| {
            *subject == own || Rank::Of(self.own(*subject, &entry.below)) < entry.rank
        };
        entry.case().need == Need::Nothing || (entry.rights.iter().all(junior) && self.upholds(&entry.case(), set))
    }

    /// Rule 11b.
    fn upholds(&self, case: &Case<'_>, set: &Seen) -> bool {
        let Need::Right(need) = case.need else { return true };
        let own = self.least(Subject::Key(case.author), case, set);
        together(own, self.least(Subject::Everybody, case, set)) >= need
    }

    /// The least own right of a subject with what an entry saw, and with every removal concurrent with it.
    fn least(&self, subject: Subject, case: &Case<'_>, set: &Seen) -> Right {
        let mut least = self.own(subject, case.below);
        let mut all: Option<Seen> = None;
        let mut several = false;
        for removal in self.removals(subject, case, set) {
            least = least.min(self.own(subject, &case.below.union(&removal.seen)));
            several |= all.is_some();
            all = Some(all.unwrap_or_else(|| case.below.clone()).union(&removal.seen));
        }
        match all {
            Some(all) if several => least.min(self.own(subject, &all)),
            _ => least,
        }
    }

    /// The effective removals of a subject that are concurrent with an entry.
    fn removals(&self, subject: Subject, case: &Case<'_>, set: &Seen) -> impl Iterator<Item = &Effect> {
        self.rights().effects(subject).iter().filter(move |removal| {
            let concurrent = !case.below.contains(removal.number)
                && removal.number != case.number
                && !removal.seen.contains(case.number);
            // Stepping down leaves alone what the key has written.
            let strikes = removal.limits && (case.is_settings || !removal.steps_down);
            concurrent && strikes && set.contains(removal.number) && self.counts(removal)
        })
    }
}
