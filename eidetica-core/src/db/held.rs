//! What is held back since it is void: on what it stands, and its settings entries, as if they were here.
//!
//! Whoever has lost a right can make long chains beside the removal. Each entry of one is judged by what the entry directly below it
//! stands on, which is remembered, so that it costs what it adds. Settings entries that are held back count nowhere, but at the door:
//! for what stands on them they are below.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::{Rights, SettingsEntry};
use crate::clock::Time;
use crate::dag::{Numbers, Seen};

/// Settings entries that are held back have numbers from here on, which no stored entry ever gets.
const FIRST: u64 = 1 << 62;
/// What a range of numbers takes, in the ground itself and in what is made of it for a settings entry.
const RANGE: usize = 64;
/// What an operation on rights takes, here and among the rights.
const RIGHT: usize = 256;

/// What is known of an entry that is held back.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub ground: Ground,
    /// As the door has found it, if it is a settings entry.
    pub settings: Option<Arc<SettingsEntry>>,
}

/// What is below an entry.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    sets: Arc<Sets>,
    /// The greatest height and the greatest time of what is directly below.
    pub top: (u64, Time),
    /// True if the sets are those of an entry below, and take no room of their own.
    shared: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sets {
    /// Of what is stored.
    stored: Seen,
    /// The settings entries that are held back, by their numbers here.
    settings: Numbers,
}

impl Held {
    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let rights = self.settings.as_ref().map_or(0, |entry| RIGHT * entry.rights.len());
        self.ground.bytes() + rights
    }
}

impl Ground {
    /// On entries that are stored: all that is in this set.
    pub fn on(stored: Seen, top: (u64, Time)) -> Ground {
        Ground { sets: Arc::new(Sets { stored, settings: Numbers::default() }), top, shared: false }
    }

    /// On an entry that is held back itself.
    pub fn above(held: &Held, top: (u64, Time)) -> Ground {
        let sets = &held.ground.sets;
        match &held.settings {
            None => Ground { sets: sets.clone(), top, shared: true },
            Some(entry) => {
                let settings = sets.settings.union(&Numbers::of(entry.number));
                Ground { sets: Arc::new(Sets { stored: sets.stored.clone(), settings }), top, shared: false }
            }
        }
    }

    /// On both.
    pub fn and(self, other: Ground) -> Ground {
        let top = (self.top.0.max(other.top.0), self.top.1.max(other.top.1));
        let (one, two) = (&*self.sets, &*other.sets);
        let both = Sets { stored: one.stored.union(&two.stored), settings: one.settings.union(&two.settings) };
        let (is_one, is_two) = (both == *one, both == *two);
        match () {
            () if is_one && (self.shared || !is_two) => Ground { top, ..self },
            () if is_two => Ground { top, ..other },
            () => Ground { sets: Arc::new(both), top, shared: false },
        }
    }

    /// Everything below that has to do with rights.
    pub fn below(&self) -> Seen {
        let Sets { stored, settings } = &*self.sets;
        match settings.last() {
            None => stored.clone(),
            Some(last) => Seen::new(last + 1, &stored.missing_before(last + 1).difference(settings)),
        }
    }

    pub fn settings(&self) -> &Numbers {
        &self.sets.settings
    }

    /// True if it speaks of stored entries with this number or a greater one.
    pub fn reaches(&self, number: u64) -> bool {
        self.sets.stored.next() > number
    }

    fn bytes(&self) -> usize {
        let ranges = self.sets.stored.hidden().ranges().len() + self.sets.settings.ranges().len();
        if self.shared { 0 } else { RANGE * (ranges + 1) }
    }
}

/// The settings entries that are held back, and the rights with those among them that somebody has asked for.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    entries: BTreeMap<u64, Arc<SettingsEntry>>,
    given: u64,
    with: Option<With>,
}

#[derive(Debug)]
struct With {
    /// The rights by what is here.
    here: Arc<Rights>,
    rights: Rights,
    /// Those that were taken in, in the order of their numbers, which is that in which rights are told of entries.
    taken: Numbers,
    /// Up to, not including, which number all were looked at.
    upto: u64,
}

impl With {
    fn of(here: &Arc<Rights>) -> With {
        With { here: here.clone(), rights: (**here).clone(), taken: Numbers::default(), upto: FIRST }
    }

    /// Takes in an entry, unless it would count, or stands on one that was not taken in.
    fn take(&mut self, entry: &SettingsEntry) {
        let lacking = Numbers::range(FIRST, entry.below.next()).difference(&self.taken);
        if lacking.difference(entry.below.hidden()).is_empty() && self.rights.add_void(entry.clone()) {
            self.taken = self.taken.union(&Numbers::of(entry.number));
        }
    }
}

impl Aside {
    /// A number for an entry that stands above all of these.
    pub fn number(&mut self) -> u64 {
        self.given += 1;
        FIRST + self.given
    }

    pub fn put(&mut self, entry: Arc<SettingsEntry>) {
        self.entries.insert(entry.number, entry);
    }

    /// What stands on it is not judged by the rights as they were with it: others go on to do so until the rights change.
    pub fn remove(&mut self, number: u64) {
        self.entries.remove(&number);
    }

    /// The numbers of stored entries may become those of others.
    pub fn forget(&mut self) {
        self.with = None;
    }

    /// The rights here, with these settings entries that are held back and count nowhere. `None` if one of them is held back no
    /// longer, or would count now.
    pub fn rights<'a>(&'a mut self, here: &'a Arc<Rights>, wanted: &Numbers) -> Option<&'a Rights> {
        if wanted.is_empty() {
            return Some(here);
        }
        if self.with.as_ref().is_none_or(|with| !Arc::ptr_eq(&with.here, here)) {
            self.with = Some(With::of(here));
        }
        let (with, end) = (self.with.as_mut()?, wanted.last()? + 1);
        // All of them and not only those that are wanted: one that is left out now could not be taken in behind greater ones.
        for (_, entry) in self.entries.range(with.upto..end.max(with.upto)) {
            with.take(entry);
        }
        with.upto = with.upto.max(end);
        if !wanted.difference(&with.taken).is_empty() {
            return None;
        }
        Some(&with.rights)
    }
}
