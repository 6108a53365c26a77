//! Sets of entries, and the door: rules 1 to 8 and 17. What counts of what passes it is for [`judge`](super::judge) to say.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use eidetica_contract::PublicKey;
use eidetica_core::auth::{Right, Setting, SettingsDelta, Subject};
use eidetica_core::entry::{Origin, VerifiedEntry};
use eidetica_core::{Id, Time};

use super::judge::{Rank, SettingsEntry};
use super::switches::Rule;

/// A set of entries, closed if nothing else is said: it holds everything below its members.
pub type Set = HashSet<Id, BuildHasherDefault<FirstBytes>>;

/// Ids are hashes already: their first bytes tell them apart.
#[derive(Default)]
pub struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        let first = bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        self.0 = self.0.rotate_left(5) ^ first;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where entries stand, by their ids.
type Places = HashMap<Id, usize, BuildHasherDefault<FirstBytes>>;

/// What decides among concurrent values.
pub type Stamp = (Time, Id);

/// All that is known of a history.
#[derive(Default)]
pub struct Model {
    /// Every entry after its parents.
    entries: Vec<VerifiedEntry>,
    places: Places,
    below: HashMap<Id, Set, BuildHasherDefault<FirstBytes>>,
    refused: HashMap<Id, &'static str>,
    settings: Vec<SettingsEntry>,
    settings_places: Places,
    judged: RefCell<Judged>,
    rights: RefCell<KnownRights>,
    /// A rule that this model does not keep, to see who notices.
    off: Option<Rule>,
}

/// The effective settings entries of sets that were asked for, by the settings entries in them.
pub type Judged = HashMap<BTreeSet<Id>, Rc<Set>>;

/// Own rights that were asked for, by the subject and the settings entries that count for it.
pub type KnownRights = HashMap<(Subject, BTreeSet<Id>), Right>;

/// What a closed set of entries shows: the values of its effective entries.
pub struct Shown {
    pub closed: Set,
    pub effective: Set,
}

impl Model {
    /// A model that does not keep one of the rules.
    pub fn without(rule: Rule) -> Model {
        Model { off: Some(rule), ..Model::default() }
    }

    /// True if this rule is kept.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.off != Some(rule)
    }

    /// Adds an entry, whose parents are there already, and says why the door is closed to it, if it is.
    pub fn add(&mut self, entry: VerifiedEntry) -> Result<(), &'static str> {
        let id = entry.id();
        let mut below = Set::default();
        for parent in &entry.header().parents {
            below.extend(&self.below[parent]);
            below.insert(*parent);
        }
        let judged = self.judge(&entry, &below);
        self.places.insert(id, self.entries.len());
        self.entries.push(entry);
        self.below.insert(id, below);
        match judged {
            Ok(Some(settings)) => {
                self.settings_places.insert(id, self.settings.len());
                self.settings.push(settings);
            }
            Ok(None) => {}
            Err(reason) => drop(self.refused.insert(id, reason)),
        }
        judged_only(&self.refused, &id)
    }

    /// The entries, each after its parents, refused ones included.
    pub fn entries(&self) -> &[VerifiedEntry] {
        &self.entries
    }

    pub fn entry(&self, id: &Id) -> &VerifiedEntry {
        &self.entries[self.places[id]]
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

    /// The settings entries that pass the door.
    pub fn settings(&self) -> &[SettingsEntry] {
        &self.settings
    }

    /// The settings entry with this id, if it is one that passes the door.
    pub fn settings_entry(&self, id: &Id) -> Option<&SettingsEntry> {
        self.settings_places.get(id).map(|place| &self.settings[*place])
    }

    pub fn judged(&self) -> &RefCell<Judged> {
        &self.judged
    }

    pub fn known_rights(&self) -> &RefCell<KnownRights> {
        &self.rights
    }

    /// What these entries show.
    pub fn shown(&self, closed: Set) -> Shown {
        Shown { effective: self.effective(&closed), closed }
    }

    /// Rule 5, by the effective settings entries of the set itself.
    pub fn right(&self, key: PublicKey, set: &Set) -> Right {
        self.right_by(key, set, &self.effective_settings(set))
    }

    /// Rule 4, by the effective settings entries of the set itself.
    pub fn own(&self, subject: Subject, set: &Set) -> Right {
        self.own_by(subject, set, &self.effective_settings(set))
    }

    /// Rule 6, and what an entry needs to stand where it says: what it is as a settings entry, if it is one and passes.
    fn judge(&self, entry: &VerifiedEntry, below: &Set) -> Result<Option<SettingsEntry>, &'static str> {
        let header = entry.header();
        let delta = settings_of(entry);
        let rights = delta.as_ref().map(|delta| delta.rights.clone()).unwrap_or_default();
        let settings = |rank: Rank| {
            let operations = rights.clone();
            let entry = SettingsEntry { id: entry.id(), author: header.author, operations, rank };
            (!rights.is_empty()).then_some(entry)
        };
        if self.entries.is_empty() {
            return Ok(settings(Rank::AboveAll));
        }
        if header.origin != Origin::Database(self.root()) {
            return Err("of another database");
        }
        let on_refused = header.parents.iter().any(|parent| self.refused.contains_key(parent));
        if on_refused && self.keeps(Rule::AboveRefused) {
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
            let alone = alone || !self.keeps(Rule::SteppingDownStandsAlone);
            // "Only that the right becomes less", and to limit to none removes, which is less than none.
            let before = self.own(own, below);
            let lowers = if *to == Right::NONE { before != Right::REMOVED } else { *to < before };
            let proper = alone && (lowers || !self.keeps(Rule::SteppingDownLowers));
            let rank = if self.keeps(Rule::SteppingDownRanksAboveAll) { Rank::AboveAll } else { Rank::Of(has) };
            return if proper { Ok(settings(rank)) } else { Err("no proper stepping down") };
        }
        if delta.is_none() {
            let writes = has >= Right::WRITE || !self.keeps(Rule::AuthorNeedsWrite);
            return if writes { Ok(None) } else { Err("without the right to write") };
        }
        if has < Right::admin(0) && self.keeps(Rule::SettingsNeedAdmin) {
            return Err("without the right of an admin");
        }
        for (subject, setting) in &rights {
            let before = self.own(*subject, below);
            let most = if *subject == Subject::Everybody { Right::WRITE } else { below_admin(has) };
            let fits = match *setting {
                Setting::Grant(right) => {
                    (right > before || !self.keeps(Rule::GrantsRaise))
                        && (right <= most || !self.keeps(Rule::GrantsStayBelowTheirAuthor))
                }
                Setting::Limit(right) => right == Right::NONE || right < before || !self.keeps(Rule::LimitsLower),
            };
            let junior = before < has || !self.keeps(Rule::EqualsAndSeniorsAreOutOfReach);
            if !junior || !fits {
                return Err("a setting beyond the right of its author");
            }
        }
        Ok(settings(Rank::Of(if self.keeps(Rule::RankIsThatOfTheAuthor) { has } else { Right::admin(0) })))
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
