//! Sets of entries, the door, and rights: rules 1 to 7, with every admitted settings entry counted as effective.

use std::collections::{HashMap, HashSet};

use eidetica_contract::PublicKey;
use eidetica_core::auth::{Right, Setting, SettingsDelta, Subject};
use eidetica_core::entry::{Origin, VerifiedEntry};
use eidetica_core::{Id, Time};

/// A set of entries, closed if nothing else is said: it holds everything below its members.
pub type Set = HashSet<Id>;

/// What decides among concurrent values.
pub type Stamp = (Time, Id);

/// All that is known of a history.
#[derive(Default)]
pub struct Model {
    /// Every entry after its parents.
    entries: Vec<VerifiedEntry>,
    below: HashMap<Id, Set>,
    refused: HashMap<Id, &'static str>,
    settings: Vec<SettingOperation>,
}

struct SettingOperation {
    entry: Id,
    subject: Subject,
    setting: Setting,
    rank: Rank,
    /// By rule 4c.
    value: Right,
}

/// Rule 3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Of(Right),
    AboveAll,
}

impl Model {
    /// Adds an entry, whose parents are there already, and says why the door is closed to it, if it is.
    pub fn add(&mut self, entry: VerifiedEntry) -> Result<(), &'static str> {
        let id = entry.id();
        let mut below = Set::new();
        for parent in &entry.header().parents {
            below.extend(&self.below[parent]);
            below.insert(*parent);
        }
        let judged = self.judge(&entry, &below);
        self.entries.push(entry);
        self.below.insert(id, below);
        match judged {
            Ok(operations) => self.settings.extend(operations),
            Err(reason) => drop(self.refused.insert(id, reason)),
        }
        judged_only(&self.refused, &id)
    }

    /// The entries, each after its parents, refused ones included.
    pub fn entries(&self) -> &[VerifiedEntry] {
        &self.entries
    }

    pub fn entry(&self, id: &Id) -> &VerifiedEntry {
        self.entries.iter().find(|entry| entry.id() == *id).expect("an entry of this history")
    }

    pub fn root(&self) -> Id {
        self.entries[0].id()
    }

    /// Everything strictly below an entry.
    pub fn below(&self, id: &Id) -> &Set {
        &self.below[id]
    }

    /// True if `upper` was written in knowledge of `lower`.
    pub fn saw(&self, upper: &Id, lower: &Id) -> bool {
        self.below[upper].contains(lower)
    }

    pub fn concurrent(&self, a: &Id, b: &Id) -> bool {
        a != b && !self.saw(a, b) && !self.saw(b, a)
    }

    /// Why the door is closed to an entry, if it is.
    pub fn refused(&self, id: &Id) -> Option<&'static str> {
        self.refused.get(id).copied()
    }

    pub fn admitted(&self) -> impl Iterator<Item = &VerifiedEntry> {
        self.entries.iter().filter(|entry| !self.refused.contains_key(&entry.id()))
    }

    /// What a peer holds that was given these entries: those that pass the door and of which everything below was given.
    pub fn held(&self, given: &Set) -> Set {
        let whole = |id: &Id| given.contains(id) && self.below[id].is_subset(given);
        self.admitted().map(VerifiedEntry::id).filter(whole).collect()
    }

    /// These entries and everything below them.
    pub fn closure(&self, heads: &[Id]) -> Set {
        let mut set: Set = heads.iter().copied().collect();
        heads.iter().for_each(|head| set.extend(&self.below[head]));
        set
    }

    /// The members that are below no other, in ascending order.
    pub fn tips(&self, set: &Set) -> Vec<Id> {
        let mut tips: Vec<Id> = set.iter().filter(|id| !set.iter().any(|other| self.saw(other, id))).copied().collect();
        tips.sort();
        tips
    }

    /// Rule 5.
    pub fn right(&self, key: PublicKey, set: &Set) -> Right {
        let own = self.own(Subject::Key(key), set);
        if own == Right::REMOVED { own } else { own.max(self.own(Subject::Everybody, set)) }
    }

    /// Rule 4.
    pub fn own(&self, subject: Subject, set: &Set) -> Right {
        let limits = |operation: &SettingOperation| matches!(operation.setting, Setting::Limit(_));
        let mut operations: Vec<&SettingOperation> =
            self.settings.iter().filter(|o| o.subject == subject && set.contains(&o.entry)).collect();
        operations.sort_by_key(|operation| (std::cmp::Reverse(operation.rank), !limits(operation)));
        let mut stayed: Vec<&SettingOperation> = Vec::new();
        for operation in operations {
            let beaten = |other: &&SettingOperation| {
                limits(other) != limits(operation) && self.concurrent(&other.entry, &operation.entry)
            };
            if !stayed.iter().any(beaten) {
                stayed.push(operation);
            }
        }
        let topmost: Vec<&SettingOperation> =
            stayed.iter().filter(|low| !stayed.iter().any(|high| self.saw(&high.entry, &low.entry))).copied().collect();
        let values = topmost.iter().map(|operation| operation.value);
        let decided = if topmost.iter().any(|operation| limits(operation)) { values.min() } else { values.max() };
        decided.unwrap_or(Right::NONE)
    }

    /// Rule 6, and what an entry needs to stand where it says: the operations on rights that it makes, if it passes.
    fn judge(&self, entry: &VerifiedEntry, below: &Set) -> Result<Vec<SettingOperation>, &'static str> {
        let header = entry.header();
        let delta = settings_of(entry);
        let rights = delta.as_ref().map(|delta| delta.rights.clone()).unwrap_or_default();
        let operations = |rank: Rank| -> Vec<SettingOperation> {
            let operation = |(subject, setting): &(Subject, Setting)| {
                let before = self.own(*subject, below);
                let value = match *setting {
                    Setting::Grant(right) => right.max(before),
                    Setting::Limit(Right::NONE) => Right::REMOVED,
                    Setting::Limit(right) => right.min(before),
                };
                SettingOperation { entry: entry.id(), subject: *subject, setting: *setting, rank, value }
            };
            rights.iter().map(operation).collect()
        };
        if self.entries.is_empty() {
            return Ok(operations(Rank::AboveAll));
        }
        if header.origin != Origin::Database(self.root()) {
            return Err("of another database");
        }
        if header.parents.iter().any(|parent| self.refused.contains_key(parent)) {
            return Err("above a refused entry");
        }
        let parents = || header.parents.iter().map(|parent| self.entry(parent).header());
        if parents().map(|parent| parent.height + 1).max() != Some(header.height) {
            return Err("a wrong height");
        }
        if parents().any(|parent| parent.time >= header.time) {
            return Err("no later than a parent");
        }
        let has = self.right(header.author, below);
        let own = Subject::Key(header.author);
        if let Some((_, Setting::Limit(to))) = rights.iter().find(|(subject, _)| *subject == own) {
            let alone = rights.len() == 1 && header.stores.len() == 1 && delta.is_some_and(|d| d.values.is_empty());
            // "Only that the right becomes less", and to limit to none removes, which is less than none.
            let before = self.own(own, below);
            let lowers = if *to == Right::NONE { before != Right::REMOVED } else { *to < before };
            return if alone && lowers { Ok(operations(Rank::AboveAll)) } else { Err("no proper stepping down") };
        }
        if delta.is_none() {
            return if has >= Right::WRITE { Ok(Vec::new()) } else { Err("without the right to write") };
        }
        if has < Right::admin(0) {
            return Err("without the right of an admin");
        }
        for (subject, setting) in &rights {
            let before = self.own(*subject, below);
            let most = if *subject == Subject::Everybody { Right::WRITE } else { below_admin(has) };
            let fits = match *setting {
                Setting::Grant(right) => right > before && right <= most,
                Setting::Limit(right) => right == Right::NONE || right < before,
            };
            if before >= has || !fits {
                return Err("a setting beyond the right of its author");
            }
        }
        Ok(operations(Rank::Of(has)))
    }
}

fn judged_only(refused: &HashMap<Id, &'static str>, id: &Id) -> Result<(), &'static str> {
    refused.get(id).map_or(Ok(()), |reason| Err(reason))
}

/// The greatest right below that of this admin.
fn below_admin(right: Right) -> Right {
    match right.priority() {
        Some(0) | None => Right::WRITE,
        Some(priority) => Right::admin(priority - 1),
    }
}

/// The settings delta of an entry, if it has one.
pub fn settings_of(entry: &VerifiedEntry) -> Option<SettingsDelta> {
    let (_, body) = entry.deltas().find(|(store, _)| store.kind == eidetica_core::auth::KIND)?;
    Some(SettingsDelta::parse(body.as_ref()?).expect("an entry was signed with settings that do not parse"))
}
