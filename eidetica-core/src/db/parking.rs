//! Where entries wait for what they lack: bounded in bytes, per source and in all databases of a store, and forgotten by age.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Time;
use crate::entry::VerifiedEntry;
use crate::id::Id;

/// How many bytes may wait in all databases of a store.
const MAX_BYTES: usize = 64 << 20;
/// How many bytes of one source may wait in all of them.
const MAX_BYTES_OF_SOURCE: usize = 16 << 20;
/// How long an entry waits.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How many ids of refused entries are remembered, so that what stands on them is refused at once.
const MAX_REFUSED: usize = 4096;
/// What an entry takes beside its bytes.
const OVERHEAD: usize = 512;
/// Of how many stored entries below a void one it is remembered that it stands on them.
const MAX_GROUND: usize = 64;

/// The room for entries that wait, which all databases of a store share.
pub(crate) struct Room {
    most: usize,
    most_of_source: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    of: HashMap<Arc<str>, usize>,
}

impl Held {
    fn take(&mut self, source: &Arc<str>, size: usize, room: &Room) -> bool {
        let of_source = self.of.get(source).copied().unwrap_or(0);
        if self.bytes + size > room.most || of_source + size > room.most_of_source {
            return false;
        }
        self.bytes += size;
        self.of.insert(source.clone(), of_source + size);
        true
    }

    fn give_back(&mut self, source: &Arc<str>, size: usize) {
        self.bytes -= size;
        if let Some(of_source) = self.of.get_mut(source) {
            *of_source -= size;
            if *of_source == 0 {
                self.of.remove(source);
            }
        }
    }
}

impl Default for Room {
    fn default() -> Room {
        Room { most: MAX_BYTES, most_of_source: MAX_BYTES_OF_SOURCE, held: Mutex::default() }
    }
}

impl Room {
    /// Takes room for so many bytes. False if there is none.
    fn take(&self, source: &Arc<str>, size: usize) -> bool {
        self.held().take(source, size, self)
    }

    fn give_back(&self, source: &Arc<str>, size: usize) {
        self.held().give_back(source, size);
    }

    /// Takes room for something in the place of something else. False if there is none, and then nothing has changed.
    fn exchange(&self, before: (&Arc<str>, usize), after: (&Arc<str>, usize)) -> bool {
        let mut held = self.held();
        held.give_back(before.0, before.1);
        let taken = held.take(after.0, after.1, self);
        if !taken {
            *held.of.entry(before.0.clone()).or_default() += before.1;
            held.bytes += before.1;
        }
        taken
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entries of one database that wait.
pub(crate) struct Parking {
    room: Arc<Room>,
    entries: HashMap<Id, Waiting>,
    by_parent: HashMap<Id, BTreeSet<Id>>,
    by_time: BTreeSet<(Time, Id)>,
    arrived: VecDeque<(Time, Id)>,
    bytes: usize,
    refused: HashSet<Id>,
    refused_order: VecDeque<Id>,
}

struct Waiting {
    entry: VerifiedEntry,
    source: Arc<str>,
    /// For a parent, or for the clock.
    awaits: Awaits,
    /// Since when.
    since: Time,
    /// For one that waits for support, what it stands on, unless that is too much.
    ground: Option<Ground>,
}

/// The entries below some that are not themselves held back, on which the lowest of these stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    pub ids: BTreeSet<Id>,
    /// True if one of those between has operations on settings.
    pub settings: bool,
    /// The greatest height and the greatest time of those directly below that are held back.
    pub top: (u64, Time),
}

#[derive(Clone, Copy)]
enum Awaits {
    Parent(Id),
    Time(Time),
    /// Something that counts and stands on it: it is void.
    Support,
}

fn size(entry: &VerifiedEntry) -> usize {
    OVERHEAD + entry.length()
}

impl Parking {
    pub fn new(room: Arc<Room>) -> Parking {
        let (entries, by_parent, by_time, arrived, bytes, refused, refused_order) = Default::default();
        Parking { room, entries, by_parent, by_time, arrived, bytes, refused, refused_order }
    }

    /// Keeps an entry until this parent comes. False if there is no room.
    pub fn keep_for(&mut self, entry: VerifiedEntry, source: &Arc<str>, parent: Id, now: Time) -> bool {
        self.keep(entry, source, Awaits::Parent(parent), now)
    }

    /// Keeps an entry until the clock allows this time. False if there is no room.
    pub fn keep_until(&mut self, entry: VerifiedEntry, source: &Arc<str>, due: Time, now: Time) -> bool {
        self.keep(entry, source, Awaits::Time(due), now)
    }

    /// Keeps an entry that is void until something comes that counts and stands on it. False if there is no room.
    pub fn keep_unsupported(&mut self, entry: VerifiedEntry, source: &Arc<str>, now: Time) -> bool {
        self.keep(entry, source, Awaits::Support, now)
    }

    /// Takes out those of some entries that are void and wait for support, with all such below them, parents first.
    pub fn take_unsupported(&mut self, ids: &[Id]) -> Vec<(VerifiedEntry, Arc<str>)> {
        let mut taken = Vec::new();
        let mut wanted = ids.to_vec();
        while let Some(id) = wanted.pop() {
            let waits = self.entries.get(&id).is_some_and(|waiting| matches!(waiting.awaits, Awaits::Support));
            if let Some((entry, source)) = waits.then(|| self.take(&id)).flatten() {
                wanted.extend(&entry.header().parents);
                taken.push((entry, source));
            }
        }
        taken.sort_by_key(|(entry, _)| entry.header().height);
        taken
    }

    /// If a parent is void and waits for support: what this entry stands on, or `None` if it stands on too much. The outer
    /// `None`: no parent waits.
    pub fn ground_of(&self, parents: &[Id]) -> Option<Option<Ground>> {
        self.holds(parents).contains(&true).then(|| self.ground(parents))
    }

    fn ground(&self, parents: &[Id]) -> Option<Ground> {
        let mut ground = Ground::default();
        for parent in parents {
            match self.entries.get(parent).filter(|waiting| matches!(waiting.awaits, Awaits::Support)) {
                Some(waiting) => {
                    let below = waiting.ground.as_ref()?;
                    let header = waiting.entry.header();
                    ground.top = (ground.top.0.max(header.height), ground.top.1.max(header.time));
                    ground.ids.extend(&below.ids);
                    ground.settings |= below.settings || waiting.entry.touches_settings();
                }
                None => drop(ground.ids.insert(*parent)),
            }
        }
        (ground.ids.len() <= MAX_GROUND).then_some(ground)
    }

    /// Takes out all that are void and wait for support, parents first.
    pub fn take_all_unsupported(&mut self) -> Vec<(VerifiedEntry, Arc<str>)> {
        let waits = |(id, waiting): (&Id, &Waiting)| matches!(waiting.awaits, Awaits::Support).then_some(*id);
        let ids: Vec<Id> = self.entries.iter().filter_map(waits).collect();
        let mut taken: Vec<_> = ids.iter().filter_map(|id| self.take(id)).collect();
        taken.sort_by_key(|(entry, _)| (entry.header().height, entry.id()));
        taken
    }

    /// Which of some entries are void and wait for support.
    pub fn holds(&self, ids: &[Id]) -> Vec<bool> {
        let unsupported = |id: &Id| self.entries.get(id).is_some_and(|w| matches!(w.awaits, Awaits::Support));
        ids.iter().map(unsupported).collect()
    }

    fn keep(&mut self, mut entry: VerifiedEntry, source: &Arc<str>, awaits: Awaits, now: Time) -> bool {
        self.forget_old(now);
        let id = entry.id();
        if let Some(known) = self.entries.get(&id) {
            // A second copy may bring bodies that the first one lacks.
            let Some(whole) = known.entry.completed_by(&entry) else { return true };
            // Where there is no room for more, what is here stays.
            if !self.room.exchange((&known.source, size(&known.entry)), (source, size(&whole))) {
                return false;
            }
            self.leave(&id);
            entry = whole;
        } else if !self.room.take(source, size(&entry)) {
            return false;
        }
        let size = size(&entry);
        self.bytes += size;
        match awaits {
            Awaits::Parent(parent) => drop(self.by_parent.entry(parent).or_default().insert(id)),
            Awaits::Time(due) => drop(self.by_time.insert((due, id))),
            Awaits::Support => {}
        }
        let ground = matches!(awaits, Awaits::Support).then(|| self.ground(&entry.header().parents)).flatten();
        self.arrived.push_back((now, id));
        self.entries.insert(id, Waiting { entry, source: source.clone(), awaits, since: now, ground });
        true
    }

    /// Takes out what waited for this entry.
    pub fn take_children(&mut self, parent: &Id) -> Vec<(VerifiedEntry, Arc<str>)> {
        let children = self.by_parent.get(parent).cloned().unwrap_or_default();
        children.iter().filter_map(|child| self.take(child)).collect()
    }

    /// True if something waits for a parent.
    pub fn awaits_parents(&self) -> bool {
        !self.by_parent.is_empty()
    }

    /// The parents that something waits for.
    pub fn awaited(&self) -> Vec<Id> {
        self.by_parent.keys().copied().collect()
    }

    /// Takes out what waited for the clock and need not any more.
    pub fn take_due(&mut self, until: Time) -> Vec<(VerifiedEntry, Arc<str>)> {
        let due: Vec<Id> = self.by_time.iter().take_while(|(time, _)| *time <= until).map(|(_, id)| *id).collect();
        due.iter().filter_map(|id| self.take(id)).collect()
    }

    /// When the next entry that waits for the clock will be due.
    pub fn next_due(&self) -> Option<Time> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// Remembers that an entry was refused.
    pub fn refuse(&mut self, id: Id) {
        if self.refused.insert(id) {
            self.refused_order.push_back(id);
        }
        if self.refused_order.len() > MAX_REFUSED
            && let Some(oldest) = self.refused_order.pop_front()
        {
            self.refused.remove(&oldest);
        }
    }

    pub fn is_refused(&self, id: &Id) -> bool {
        self.refused.contains(id)
    }

    /// How many entries wait, and how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    fn take(&mut self, id: &Id) -> Option<(VerifiedEntry, Arc<str>)> {
        let (entry, source) = self.leave(id)?;
        self.room.give_back(&source, size(&entry));
        Some((entry, source))
    }

    /// Takes out an entry, whose room stays taken.
    fn leave(&mut self, id: &Id) -> Option<(VerifiedEntry, Arc<str>)> {
        let waiting = self.entries.remove(id)?;
        self.bytes -= size(&waiting.entry);
        match waiting.awaits {
            Awaits::Time(due) => drop(self.by_time.remove(&(due, *id))),
            Awaits::Support => {}
            Awaits::Parent(parent) => {
                if let Some(siblings) = self.by_parent.get_mut(&parent) {
                    siblings.remove(id);
                    if siblings.is_empty() {
                        self.by_parent.remove(&parent);
                    }
                }
            }
        }
        Some((waiting.entry, waiting.source))
    }

    /// How long until the first of them is too old to wait on.
    pub fn until_old(&self, now: Time) -> Option<Duration> {
        let (since, _) = self.arrived.front()?;
        Some(Duration::from_millis(since.plus(MAX_AGE).millis().saturating_sub(now.millis()) + 1))
    }

    /// Lets go of what has waited for too long.
    pub fn forget_old(&mut self, now: Time) {
        // Those that have left stand in the order of arrival until they come to its front, or are too many.
        if self.arrived.len() > 2 * self.entries.len() + 64 {
            let Parking { arrived, entries, .. } = self;
            arrived.retain(|(since, id)| entries.get(id).is_some_and(|waiting| waiting.since == *since));
        }
        while let Some((since, id)) = self.arrived.front().copied() {
            let old = since.plus(MAX_AGE) < now;
            // One that was taken out, and has come in again, waits from then on.
            let waits = self.entries.get(&id).is_some_and(|waiting| waiting.since == since);
            if !old && waits {
                return;
            }
            self.arrived.pop_front();
            if old && waits {
                self.take(&id);
            }
        }
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.entries.values().for_each(|waiting| self.room.give_back(&waiting.source, size(&waiting.entry)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Header, Origin, RawEntry};
    use crate::key::SecretKey;

    fn entry(number: u8) -> VerifiedEntry {
        let key = SecretKey::from_seed(&[1; 32]);
        let header = Header {
            origin: Origin::Database(Id::of(b"database")),
            parents: vec![Id::of(&[number])],
            height: 1,
            time: Time::from_millis(1),
            author: key.public(),
            stores: Vec::new(),
            signature: [0; 64],
        };
        VerifiedEntry::sign(header, Vec::new(), &key).unwrap()
    }

    #[test]
    fn a_fuller_copy_that_finds_no_room_takes_nothing_away() {
        let key = SecretKey::from_seed(&[1; 32]);
        let delta = ("notes".to_owned(), "test".to_owned(), bytes::Bytes::from(vec![7; 1000]));
        let whole = VerifiedEntry::sign(entry(0).header().clone(), vec![delta], &key).unwrap();
        let bare = crate::entry::verify(RawEntry { bodies: vec![None], ..whole.to_raw() }).unwrap();
        let now = Time::from_millis(1);
        for more in [0, 1000] {
            let room = Room { most: size(&bare) + more, most_of_source: usize::MAX, held: Mutex::default() };
            let room = Arc::new(room);
            let mut parking = Parking::new(room.clone());
            let source: Arc<str> = "a".into();
            assert!(parking.keep_for(bare.clone(), &source, Id::of(&[0]), now));
            assert_eq!(parking.keep_for(whole.clone(), &source, Id::of(&[0]), now), more > 0);
            let kept = parking.take_children(&Id::of(&[0]));
            assert_eq!(kept, [(if more > 0 { whole.clone() } else { bare.clone() }, source)]);
            assert!(parking.size() == (0, 0) && room.held().bytes == 0 && room.held().of.is_empty());
        }
    }

    #[test]
    fn what_comes_in_again_waits_from_then_on() {
        let mut parking = Parking::new(Arc::new(Room::default()));
        let (source, id) = ("a".into(), entry(0).id());
        let at = |seconds: u64| Time::from_millis(1).plus(Duration::from_secs(seconds));
        assert!(parking.keep_unsupported(entry(0), &source, at(0)));
        assert_eq!(parking.take_unsupported(&[id]).len(), 1);
        assert!(parking.keep_unsupported(entry(0), &source, at(400)));
        parking.forget_old(at(700));
        assert_eq!(parking.holds(&[id]), [true]);
        parking.forget_old(at(1_001));
        assert_eq!((parking.holds(&[id]), parking.size()), (vec![false], (0, 0)));
    }

    #[test]
    fn all_databases_share_the_room() {
        let size = size(&entry(0));
        let room = Arc::new(Room { most: 5 * size, most_of_source: 3 * size, held: Mutex::default() });
        let (mut one, mut other) = (Parking::new(room.clone()), Parking::new(room.clone()));
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let now = Time::from_millis(1);
        let keep = |parking: &mut Parking, number: u8, source: &Arc<str>| {
            parking.keep_for(entry(number), source, Id::of(&[number]), now)
        };
        assert!(keep(&mut one, 0, &a) && keep(&mut other, 0, &a) && keep(&mut other, 1, &a));
        assert!(!keep(&mut one, 2, &a) && !keep(&mut other, 2, &a), "of one source");
        assert!(keep(&mut one, 3, &b) && keep(&mut other, 4, &b));
        assert!(!keep(&mut one, 5, &b), "in all");
        // What has left makes room, also for the other one.
        assert_eq!(one.take_children(&Id::of(&[0])).len(), 1);
        assert!(keep(&mut other, 5, &b) && !keep(&mut other, 6, &b));
        assert_eq!((one.size().0, other.size().0), (1, 4));
        // A copy that is here already takes none.
        assert!(keep(&mut other, 5, &b));
        drop(other);
        assert_eq!(room.held().bytes, size);
        // The old ones are forgotten when another one comes.
        assert!(one.keep_for(entry(9), &a, Id::of(&[9]), now.plus(MAX_AGE).plus(Duration::from_millis(1))));
        assert_eq!((one.size().0, room.held().bytes), (1, size));
        drop(one);
        assert!(room.held().bytes == 0 && room.held().of.is_empty());
    }
}
