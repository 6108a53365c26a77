//! Where entries wait for what they lack: bounded in bytes, per source and in all databases of a store, and forgotten by age.
//!
//! What is void waits whole for as long as there is room. Of what comes beyond that it is kept in mind what it stands on, so that what
//! comes above it can be judged; if that counts, the entries in between are *wanted*, and taken in when they are offered again.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::held::{Aside, Ground, Held};
use crate::auth::Rights;
use crate::clock::Time;
use crate::dag::Numbers;
use crate::entry::VerifiedEntry;
use crate::id::Id;

/// How many bytes may wait in all databases of a store; and how many more what is kept in mind may take.
const MAX_BYTES: usize = 64 << 20;
/// How many bytes of one source may wait in all of them, and as many more.
const MAX_BYTES_OF_SOURCE: usize = 16 << 20;
/// How long an entry waits.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How many ids of refused entries are remembered, so that what stands on them is refused at once.
const MAX_REFUSED: usize = 4096;
/// How many entries may be wanted.
const MAX_WANTED: usize = 1 << 18;
/// What an entry takes beside its bytes.
const OVERHEAD: usize = 512;
/// What an entry takes of which is kept in mind what it stands on, and what each of its parents takes.
const OVERHEAD_IN_MIND: usize = 512;
const PARENT_IN_MIND: usize = 32;

/// The room for entries that wait, which all databases of a store share.
#[derive(Default)]
pub(crate) struct Room {
    whole: Pool,
    in_mind: Pool,
}

struct Pool {
    most: usize,
    most_of_source: usize,
    held: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    of: HashMap<Arc<str>, usize>,
}

impl Taken {
    fn take(&mut self, source: &Arc<str>, size: usize, pool: &Pool) -> bool {
        let of_source = self.of.get(source).copied().unwrap_or(0);
        if self.bytes + size > pool.most || of_source + size > pool.most_of_source {
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

impl Default for Pool {
    fn default() -> Pool {
        Pool { most: MAX_BYTES, most_of_source: MAX_BYTES_OF_SOURCE, held: Mutex::default() }
    }
}

impl Pool {
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

    fn held(&self) -> MutexGuard<'_, Taken> {
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
    /// Void entries that are known to be below one that counts.
    wanted: HashSet<Id>,
    aside: Aside,
}

struct Waiting {
    what: What,
    source: Arc<str>,
    /// For a parent, or for the clock.
    awaits: Awaits,
    /// Since when.
    since: Time,
    /// For one that waits for support, on what it stands, if that is known.
    held: Option<Held>,
    /// The bytes that it takes.
    size: usize,
}

enum What {
    Whole(Box<VerifiedEntry>),
    InMind { parents: Box<[Id]>, height: u64, time: Time },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Parent(Id),
    Time(Time),
    /// Something that counts and stands on it: it is void.
    Support,
}

fn size_of(entry: &VerifiedEntry, held: Option<&Held>) -> usize {
    OVERHEAD + entry.length() + held.map_or(0, Held::bytes)
}

impl Waiting {
    fn parents(&self) -> &[Id] {
        match &self.what {
            What::Whole(entry) => &entry.header().parents,
            What::InMind { parents, .. } => parents,
        }
    }

    /// Its height and its time.
    fn top(&self) -> (u64, Time) {
        match &self.what {
            What::Whole(entry) => (entry.header().height, entry.header().time),
            What::InMind { height, time, .. } => (*height, *time),
        }
    }

    fn pool<'a>(&self, room: &'a Room) -> &'a Pool {
        match self.what {
            What::Whole(_) => &room.whole,
            What::InMind { .. } => &room.in_mind,
        }
    }
}

impl Parking {
    pub fn new(room: Arc<Room>) -> Parking {
        let (entries, by_parent, by_time, arrived, bytes) = Default::default();
        let (refused, refused_order, wanted, aside) = Default::default();
        Parking { room, entries, by_parent, by_time, arrived, bytes, refused, refused_order, wanted, aside }
    }

    /// Keeps an entry until this parent comes. False if there is no room.
    pub fn keep_for(&mut self, entry: VerifiedEntry, source: &Arc<str>, parent: Id, now: Time) -> bool {
        self.keep(entry, source, Awaits::Parent(parent), None, now)
    }

    /// Keeps an entry until the clock allows this time. False if there is no room.
    pub fn keep_until(&mut self, entry: VerifiedEntry, source: &Arc<str>, due: Time, now: Time) -> bool {
        self.keep(entry, source, Awaits::Time(due), None, now)
    }

    /// Keeps an entry that is void until something comes that counts and stands on it. False if there is no room.
    pub fn keep_unsupported(&mut self, entry: VerifiedEntry, source: &Arc<str>, held: Option<Held>, now: Time) -> bool {
        self.keep(entry, source, Awaits::Support, held, now)
    }

    /// Keeps in mind on what a void entry stands, and not the entry. False if there is no room.
    pub fn keep_in_mind(&mut self, entry: &VerifiedEntry, source: &Arc<str>, held: Held, now: Time) -> bool {
        let header = entry.header();
        let size = OVERHEAD_IN_MIND + PARENT_IN_MIND * header.parents.len() + held.bytes();
        if self.entries.contains_key(&entry.id()) {
            return true;
        }
        if !self.room.in_mind.take(source, size) {
            return false;
        }
        let parents = header.parents.clone().into_boxed_slice();
        let what = What::InMind { parents, height: header.height, time: header.time };
        self.put(entry.id(), what, source, (Awaits::Support, Some(held)), size, now);
        true
    }

    fn keep(
        &mut self,
        entry: VerifiedEntry,
        source: &Arc<str>,
        awaits: Awaits,
        mut held: Option<Held>,
        now: Time,
    ) -> bool {
        self.forget_old(now);
        let (id, mut whole) = (entry.id(), entry);
        let mut size = size_of(&whole, held.as_ref());
        match self.entries.get(&id) {
            None => {
                if !self.room.whole.take(source, size) {
                    return false;
                }
            }
            Some(Waiting { what: What::InMind { .. }, .. }) => {
                if !self.room.whole.take(source, size) {
                    return false;
                }
                self.take(&id);
            }
            Some(known @ Waiting { what: What::Whole(entry), .. }) => {
                // A second copy may bring bodies that the first one lacks.
                let Some(fuller) = entry.completed_by(&whole) else { return true };
                // On what it stands is the same.
                held = known.held.clone();
                size = size_of(&fuller, held.as_ref());
                // Where there is no room for more, what is here stays.
                if !self.room.whole.exchange((&known.source, known.size), (source, size)) {
                    return false;
                }
                whole = fuller;
                self.leave(&id);
            }
        }
        self.put(id, What::Whole(Box::new(whole)), source, (awaits, held), size, now);
        true
    }

    /// Puts in something for which room is taken.
    fn put(
        &mut self,
        id: Id,
        what: What,
        source: &Arc<str>,
        (awaits, held): (Awaits, Option<Held>),
        size: usize,
        now: Time,
    ) {
        self.bytes += size;
        match awaits {
            Awaits::Parent(parent) => drop(self.by_parent.entry(parent).or_default().insert(id)),
            Awaits::Time(due) => drop(self.by_time.insert((due, id))),
            Awaits::Support => {}
        }
        if let Some(settings) = held.as_ref().and_then(|held| held.settings.clone()) {
            self.aside.put(settings);
        }
        self.arrived.push_back((now, id));
        self.entries.insert(id, Waiting { what, source: source.clone(), awaits, since: now, held, size });
    }

    /// Takes out those of some entries that are void and wait for support whole, with all such below them, parents first. If what
    /// stands on them is `proven` to count, those that are only kept in mind are wanted from now on, and all between them.
    pub fn take_unsupported(&mut self, ids: &[Id], proven: bool) -> Vec<(VerifiedEntry, Arc<str>)> {
        let (mut found, mut visited) = (Vec::new(), HashSet::new());
        let mut next = ids.to_vec();
        let mut lacks = false;
        while let Some(id) = next.pop() {
            let Some(waiting) = self.entries.get(&id).filter(|waiting| waiting.awaits == Awaits::Support) else {
                continue;
            };
            let in_mind = matches!(waiting.what, What::InMind { .. });
            if (in_mind && self.wanted.contains(&id)) || !visited.insert(id) {
                continue;
            }
            lacks |= in_mind;
            next.extend(waiting.parents());
            found.push(id);
        }
        if lacks && proven {
            self.want(found.iter().copied());
        }
        let mut taken: Vec<_> =
            found.iter().filter_map(|id| if self.is_whole(id) { self.take(id) } else { None }).collect();
        taken.sort_by_key(|(entry, _)| entry.header().height);
        taken
    }

    fn is_whole(&self, id: &Id) -> bool {
        self.entries.get(id).is_some_and(|waiting| matches!(waiting.what, What::Whole(_)))
    }

    /// These are below something that counts.
    fn want(&mut self, ids: impl ExactSizeIterator<Item = Id>) {
        if self.wanted.len() + ids.len() > MAX_WANTED {
            self.wanted.clear();
        }
        self.wanted.extend(ids.take(MAX_WANTED));
    }

    /// True if an entry is known to be below one that counts, and was not here when that was found.
    pub fn wants(&self, id: &Id) -> bool {
        self.wanted.contains(id)
    }

    /// On what an entry with these parents stands, as far as they are held back: `None` if none is, or for one of them it is not known.
    pub fn ground(&self, parents: &[Id]) -> Option<Ground> {
        let waiting = parents.iter().filter_map(|parent| self.unsupported(parent));
        let mut ground: Option<Ground> = None;
        for waiting in waiting {
            let above = Ground::above(waiting.held.as_ref()?, waiting.top());
            ground = Some(ground.map_or(above.clone(), |ground| ground.and(above)));
        }
        ground
    }

    /// Of these and all below them: the entries that are held back and of which it is not known on what they stand, lowest first.
    pub fn groundless(&self, ids: &[Id]) -> Vec<VerifiedEntry> {
        let (mut next, mut visited, mut found) = (ids.to_vec(), HashSet::new(), Vec::new());
        while let Some(id) = next.pop() {
            let Some(waiting) = self.unsupported(&id).filter(|waiting| waiting.held.is_none()) else { continue };
            if let (What::Whole(entry), true) = (&waiting.what, visited.insert(id)) {
                next.extend(&entry.header().parents);
                found.push(VerifiedEntry::clone(entry));
            }
        }
        found.sort_by_key(|entry| entry.header().height);
        found
    }

    /// On what an entry stands that is held back. Where there is no room for that, it waits no longer.
    pub fn found(&mut self, id: &Id, held: Held) {
        let Some(waiting) = self.entries.get_mut(id) else { return };
        let size = waiting.size + held.bytes();
        if !self.room.whole.exchange((&waiting.source, waiting.size), (&waiting.source, size)) {
            self.take(id);
            return;
        }
        self.bytes += held.bytes();
        waiting.size = size;
        if let Some(settings) = &held.settings {
            self.aside.put(settings.clone());
        }
        waiting.held = Some(held);
    }

    /// Numbers of stored entries from this one on may become those of others.
    pub fn forget_grounds(&mut self, from: u64) {
        let reaches = |waiting: &Waiting| waiting.held.as_ref().is_some_and(|held| held.ground.reaches(from));
        let found: Vec<Id> = self.entries.iter().filter(|(_, waiting)| reaches(waiting)).map(|(id, _)| *id).collect();
        for id in &found {
            if !self.is_whole(id) {
                // There is nothing from which it could be found out anew.
                self.take(id);
                continue;
            }
            let Some(waiting) = self.entries.get_mut(id) else { continue };
            let Some(held) = waiting.held.take() else { continue };
            waiting.size -= held.bytes();
            self.bytes -= held.bytes();
            self.room.whole.give_back(&waiting.source, held.bytes());
            if let Some(settings) = held.settings {
                self.aside.remove(settings.number);
            }
        }
        if !found.is_empty() {
            self.aside.forget();
        }
    }

    /// A number for a settings entry that is to be held back.
    pub fn number(&mut self) -> u64 {
        self.aside.number()
    }

    /// The rights here with settings entries that are held back; see [`Aside::rights`].
    pub fn rights<'a>(&'a mut self, here: &'a Arc<Rights>, wanted: &Numbers) -> Option<&'a Rights> {
        self.aside.rights(here, wanted)
    }

    /// Takes out all that are void and wait for support, parents first. What was only kept in mind is forgotten: whether it counts by
    /// other settings cannot be told.
    pub fn take_all_unsupported(&mut self) -> Vec<(VerifiedEntry, Arc<str>)> {
        let waits = |(id, waiting): (&Id, &Waiting)| (waiting.awaits == Awaits::Support).then_some(*id);
        let ids: Vec<Id> = self.entries.iter().filter_map(waits).collect();
        let mut taken: Vec<_> = ids.iter().filter_map(|id| self.take(id)).collect();
        taken.sort_by_key(|(entry, _)| (entry.header().height, entry.id()));
        self.wanted.clear();
        taken
    }

    /// Which of some entries are void and wait for support, be it in mind.
    pub fn holds(&self, ids: &[Id]) -> Vec<bool> {
        ids.iter().map(|id| self.unsupported(id).is_some()).collect()
    }

    fn unsupported(&self, id: &Id) -> Option<&Waiting> {
        self.entries.get(id).filter(|waiting| waiting.awaits == Awaits::Support)
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

    /// Takes out what waits, and the entry if it is here whole.
    fn take(&mut self, id: &Id) -> Option<(VerifiedEntry, Arc<str>)> {
        let waiting = self.leave(id)?;
        waiting.pool(&self.room).give_back(&waiting.source, waiting.size);
        match waiting.what {
            What::Whole(entry) => Some((*entry, waiting.source)),
            What::InMind { .. } => None,
        }
    }

    /// Takes out what waits; its room stays taken.
    fn leave(&mut self, id: &Id) -> Option<Waiting> {
        let waiting = self.entries.remove(id)?;
        self.bytes -= waiting.size;
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
        if let Some(settings) = waiting.held.as_ref().and_then(|held| held.settings.as_ref()) {
            self.aside.remove(settings.number);
        }
        Some(waiting)
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
        self.entries.values().for_each(|waiting| waiting.pool(&self.room).give_back(&waiting.source, waiting.size));
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

    fn room(most: usize, most_of_source: usize) -> Arc<Room> {
        let whole = Pool { most, most_of_source, held: Mutex::default() };
        Arc::new(Room { whole, in_mind: Pool::default() })
    }

    fn size(entry: &VerifiedEntry) -> usize {
        size_of(entry, None)
    }

    #[test]
    fn a_fuller_copy_that_finds_no_room_takes_nothing_away() {
        let key = SecretKey::from_seed(&[1; 32]);
        let delta = ("notes".to_owned(), "test".to_owned(), bytes::Bytes::from(vec![7; 1000]));
        let whole = VerifiedEntry::sign(entry(0).header().clone(), vec![delta], &key).unwrap();
        let bare = crate::entry::verify(RawEntry { bodies: vec![None], ..whole.to_raw() }).unwrap();
        let now = Time::from_millis(1);
        for more in [0, 1000] {
            let room = room(size(&bare) + more, usize::MAX);
            let mut parking = Parking::new(room.clone());
            let source: Arc<str> = "a".into();
            assert!(parking.keep_for(bare.clone(), &source, Id::of(&[0]), now));
            assert_eq!(parking.keep_for(whole.clone(), &source, Id::of(&[0]), now), more > 0);
            let kept = parking.take_children(&Id::of(&[0]));
            assert_eq!(kept, [(if more > 0 { whole.clone() } else { bare.clone() }, source)]);
            assert!(parking.size() == (0, 0) && room.whole.held().bytes == 0 && room.whole.held().of.is_empty());
        }
    }

    #[test]
    fn what_comes_in_again_waits_from_then_on() {
        let mut parking = Parking::new(Arc::new(Room::default()));
        let (source, id) = ("a".into(), entry(0).id());
        let at = |seconds: u64| Time::from_millis(1).plus(Duration::from_secs(seconds));
        assert!(parking.keep_unsupported(entry(0), &source, None, at(0)));
        assert_eq!(parking.take_unsupported(&[id], false).len(), 1);
        assert!(parking.keep_unsupported(entry(0), &source, None, at(400)));
        parking.forget_old(at(700));
        assert_eq!(parking.holds(&[id]), [true]);
        parking.forget_old(at(1_001));
        assert_eq!((parking.holds(&[id]), parking.size()), (vec![false], (0, 0)));
    }

    #[test]
    fn what_numbers_say_is_forgotten_with_them() {
        use crate::dag::Seen;

        let room = Arc::new(Room::default());
        let mut parking = Parking::new(room.clone());
        let (source, now): (Arc<str>, _) = ("a".into(), Time::from_millis(1));
        let on = |next| Held { ground: Ground::on(Seen::all_before(next), (0, now)), settings: None };
        assert!(parking.keep_unsupported(entry(0), &source, Some(on(5)), now));
        assert!(parking.keep_unsupported(entry(1), &source, Some(on(6)), now));
        assert!(parking.keep_in_mind(&entry(2), &source, on(5), now));
        assert!(parking.keep_in_mind(&entry(3), &source, on(6), now));
        parking.forget_grounds(5);
        let ids: Vec<Id> = (0..4).map(|number| entry(number).id()).collect();
        assert_eq!(parking.holds(&ids), [true, true, true, false], "nothing else is known of the last");
        let known = |id: &Id| parking.ground(&[*id]).is_some();
        assert_eq!(ids.iter().map(known).collect::<Vec<_>>(), [true, false, true, false]);
        assert_eq!(parking.groundless(&ids), [entry(1)]);
        assert_eq!(parking.size().1, room.whole.held().bytes + room.in_mind.held().bytes);
        parking.take_all_unsupported();
        assert!(parking.size() == (0, 0) && room.whole.held().of.is_empty() && room.in_mind.held().of.is_empty());
    }

    #[test]
    fn all_databases_share_the_room() {
        let size = size(&entry(0));
        let room = room(5 * size, 3 * size);
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
        assert_eq!(room.whole.held().bytes, size);
        // The old ones are forgotten when another one comes.
        assert!(one.keep_for(entry(9), &a, Id::of(&[9]), now.plus(MAX_AGE).plus(Duration::from_millis(1))));
        assert_eq!((one.size().0, room.whole.held().bytes), (1, size));
        drop(one);
        assert!(room.whole.held().bytes == 0 && room.whole.held().of.is_empty());
    }
}
