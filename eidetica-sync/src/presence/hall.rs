//! Who is here, in which database, and what of it is new for whom. Does no I/O; nothing of it is ever stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::PublicKey;
use eidetica_core::{Id, Time};
use tokio::time::Instant;

use super::{GAP, MAX_SAID, SKEW, Statement, places};
use crate::bell::Bell;
use crate::node::Pace;

/// How long after the end of one request for news a peer counts as one that will make another.
const BETWEEN: Duration = Duration::from_secs(2);
/// For how long it is known of one who is gone and cannot come back by a repetition.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Who speaks: a device, and the user for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Speaker {
    pub device: PublicKey,
    pub user: Option<PublicKey>,
}

/// Why somebody is no longer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Departed {
    /// He has said so.
    Left,
    /// He was not heard of for as long as his last word was to last.
    Expired,
    /// He may not read the database any longer, or is no peer any longer, or its sync was switched off here.
    Removed,
}

/// The last word of a speaker.
#[derive(Clone)]
pub(crate) struct Seat {
    pub statement: Arc<Statement>,
    /// The key by whose right it is here.
    pub key: PublicKey,
    /// Whether it is here because everybody may be.
    pub anybody: bool,
    /// How many hops it has made to here; 0 for what this device says itself.
    pub hops: u8,
    /// When he came, by the clock here.
    pub since: Time,
    pub gone: Option<Departed>,
    from: PublicKey,
    /// Counts the changes of all seats: that of the last one of this.
    number: u64,
    until: Instant,
    /// Until when an older word of the speaker is known for what it is.
    remembered: Instant,
    /// Until when others could bring an old word of this speaker again.
    repeatable: Option<Instant>,
}

pub(crate) type Room = BTreeMap<Speaker, Seat>;

impl Seat {
    /// Whether others could bring an old word of this speaker again.
    pub fn may_be_repeated(&self, now: Instant) -> bool {
        self.repeatable.is_some_and(|until| until > now)
    }

    /// Until when an older word of this speaker has to be known for what it is.
    pub fn remembered(&self) -> Instant {
        self.remembered
    }
}

/// A statement that was brought, and by what right its device is here.
pub(crate) struct Brought {
    pub statement: Statement,
    pub from: PublicKey,
    pub hops: u8,
    pub key: PublicKey,
    pub anybody: bool,
}

/// What this device says for one user, until the last handle goes.
struct Own {
    handles: usize,
    says: Option<Says>,
    /// Counts what was to be said, so that it shows what has come while a statement was being signed.
    version: u64,
    /// When it is to be said, or said again.
    due: Option<Instant>,
    said: Option<Instant>,
}

/// What is to be said.
#[derive(Clone)]
pub(crate) struct Says {
    pub payload: Bytes,
    /// Zero: no longer here.
    pub lifetime: Duration,
    pub reach: u8,
}

/// Something that this device has to say: where, for whom, what, and the how-manieth it is.
pub(crate) type Due = (Id, Option<PublicKey>, Says, u64);

/// A peer that asks for news.
#[derive(Default)]
struct Listener {
    databases: BTreeSet<Id>,
    requests: usize,
    left: Option<Instant>,
    /// Up to which number it was told.
    given: u64,
}

/// Everybody who is here.
pub(crate) struct Hall {
    device: PublicKey,
    /// Names this run: numbers begin anew with each.
    pub run: u64,
    start: Instant,
    state: Mutex<State>,
    /// Rings when somebody comes, goes, or says something.
    bell: Bell,
    /// Rings when others ask, or were told something. Apart from the other bell, for which all of them wait.
    audience: Bell,
}

struct State {
    closed: bool,
    last: u64,
    rooms: BTreeMap<Id, Room>,
    own: BTreeMap<(Id, Option<PublicKey>), Own>,
    /// In which databases somebody here wants to know who is here.
    attended: BTreeMap<Id, usize>,
    listeners: BTreeMap<PublicKey, Listener>,
    /// Up to which number each peer was told that this device calls.
    told: BTreeMap<PublicKey, u64>,
    /// What those may bring who may read by a right of their own.
    members: Pace,
    /// What those may bring who may read because everybody may.
    anybody: Pace,
}

/// A request for news that is being answered.
pub(crate) struct Listening<'h> {
    hall: &'h Hall,
    peer: PublicKey,
}

/// Something for a peer: the database, how many hops it makes to there, and the statement.
pub(crate) type News = (Id, u8, Arc<Statement>);

impl Hall {
    pub fn new(device: PublicKey, run: u64, members: Pace, anybody: Pace) -> Hall {
        let state = State {
            closed: false,
            last: 0,
            rooms: BTreeMap::new(),
            own: BTreeMap::new(),
            attended: BTreeMap::new(),
            listeners: BTreeMap::new(),
            told: BTreeMap::new(),
            members,
            anybody,
        };
        let (state, bell, audience) = (Mutex::new(state), Bell::default(), Bell::default());
        Hall { device, run, start: Instant::now(), state, bell, audience }
    }

    /// Rings when somebody comes, goes, or says something.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// How often the bells have rung, for [`changed`](Hall::changed).
    pub fn rings(&self) -> [u64; 2] {
        [self.bell.rings(), self.audience.rings()]
    }

    /// Returns when anything is different from when it had rung so often: who is here, who asks, or what they were told.
    pub async fn changed(&self, [bell, audience]: [u64; 2]) {
        tokio::select! {
            // In a fixed order, so that a run can be repeated.
            biased;
            () = self.bell.after(bell) => {}
            () = self.audience.after(audience) => {}
        }
    }

    /// From now on nothing happens any more.
    pub fn close(&self) {
        self.state().closed = true;
        self.bell.ring();
    }

    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// One more handle of somebody here.
    pub fn attend(&self, database: Id, user: Option<PublicKey>) {
        let mut state = self.state();
        *state.attended.entry(database).or_default() += 1;
        let nothing = Own { handles: 0, says: None, version: 0, due: None, said: None };
        state.own.entry((database, user)).or_insert(nothing).handles += 1;
        drop(state);
        self.bell.ring();
    }

    /// One handle less. With the last one it is said that the user is not here any longer.
    pub fn leave(&self, database: Id, user: Option<PublicKey>, now: Instant) {
        let mut state = self.state();
        if let Some(handles) = state.attended.get_mut(&database) {
            *handles -= 1;
            if *handles == 0 {
                state.attended.remove(&database);
            }
        }
        if let Some(own) = state.own.get_mut(&(database, user)) {
            own.handles -= 1;
            match &mut own.says {
                _ if own.handles > 0 => {}
                Some(says) => {
                    (says.payload, says.lifetime) = (Bytes::new(), Duration::ZERO);
                    (own.version, own.due) = (own.version + 1, Some(now));
                }
                None => drop(state.own.remove(&(database, user))),
            }
        }
        drop(state);
        self.bell.ring();
    }

    /// Has something said for a user of this device, at once or a moment after what was said last.
    pub fn say(&self, database: Id, user: Option<PublicKey>, says: Says, now: Instant) {
        if let Some(own) = self.state().own.get_mut(&(database, user)) {
            (own.says, own.version) = (Some(says), own.version + 1);
            own.due = Some(own.said.map_or(now, |said| (said + GAP).max(now)));
        }
        self.bell.ring();
    }

    /// What is to be said by now.
    pub fn due(&self, now: Instant) -> Vec<Due> {
        let is_due = |own: &Own| own.says.clone().filter(|_| own.due.is_some_and(|due| due <= now));
        self.state().own.iter().filter_map(|((id, user), own)| Some((*id, *user, is_due(own)?, own.version))).collect()
    }

    /// Something could not be said for now, and is tried again then.
    pub fn postpone(&self, database: Id, user: Option<PublicKey>, until: Instant) {
        if let Some(own) = self.state().own.get_mut(&(database, user)) {
            own.due = Some(until);
        }
    }

    /// The serial of the next statement of a user of this device.
    pub fn serial(&self, database: &Id, user: Option<PublicKey>, clock: Time) -> u64 {
        let speaker = Speaker { device: self.device, user };
        let state = self.state();
        let before = state.rooms.get(database).and_then(|room| room.get(&speaker));
        let before = before.map_or(0, |seat| seat.statement.serial);
        // What was said by a clock that was far ahead nobody has believed, and need not be overtaken.
        let ahead = Time::from_number(before).millis().saturating_sub(clock.millis());
        match u128::from(ahead) > SKEW.as_millis() {
            true => clock.number(),
            false => before.saturating_add(1).max(clock.number()),
        }
    }

    /// This device has signed what was [`due`](Hall::due). It is said again before it is over.
    pub fn said(&self, (database, user, says, version): Due, statement: Statement, clock: Time, now: Instant) {
        {
            let mut state = self.state();
            if let Some(own) = state.own.get_mut(&(database, user)) {
                own.said = Some(now);
                match says.lifetime {
                    // Something else is to be said by now, and keeps its time.
                    _ if own.version != version => {}
                    Duration::ZERO if own.handles == 0 => drop(state.own.remove(&(database, user))),
                    // There is another handle, which has nothing to say yet.
                    Duration::ZERO => (own.says, own.due) = (None, None),
                    // Three times, so that one that is lost does no harm.
                    lifetime => own.due = Some(now + lifetime * 3 / 10),
                }
            }
        }
        let speaker = statement.speaker();
        let key = speaker.user.unwrap_or(self.device);
        let brought = Brought { statement, from: self.device, hops: 0, key, anybody: false };
        self.seat(database, speaker, brought, clock, now);
    }

    /// Whether a statement with this serial is newer than what is known of the speaker.
    pub fn is_new(&self, database: &Id, speaker: &Speaker, serial: u64) -> bool {
        let state = self.state();
        let known = state.rooms.get(database).and_then(|room| room.get(speaker));
        known.is_none_or(|seat| seat.statement.serial < serial)
    }

    /// Whether one more statement of a peer may be looked at now; if so, it counts. `member`: the peer may read by a right of its own.
    pub fn admit(&self, from: &PublicKey, member: bool, now: Instant) -> bool {
        let mut state = self.state();
        let pace = if member { &mut state.members } else { &mut state.anybody };
        pace.admit(Some(&from.to_string()), now.saturating_duration_since(self.start))
    }

    /// Takes in a statement that was proven, if it is newer than what is known of its speaker, and there is a place.
    pub fn seat(&self, database: Id, speaker: Speaker, brought: Brought, clock: Time, now: Instant) -> bool {
        let Brought { statement, from, hops, key, anybody } = brought;
        let mut state = self.state();
        let known = state.rooms.get(&database).and_then(|room| room.get(&speaker));
        let before = known.map(|seat| (seat.remembered, seat.repeatable));
        let since = match known.map(|seat| (seat.statement.serial, seat.is_here(now), seat.since)) {
            Some((serial, ..)) if serial >= statement.serial && hops > 0 => return false,
            Some((_, true, since)) => since,
            Some(_) => clock,
            // Nothing is known that this would end, and nothing could bring back what it ends.
            None if statement.lifetime == 0 && statement.reach == 1 && hops > 0 => return false,
            None if hops == 0 || places::has(&state.rooms, &database, &speaker, &key, anybody) => clock,
            None => return false,
        };
        let lifetime = Duration::from_secs(statement.lifetime.into());
        let until = now + lifetime;
        // A word counts for so long as its time may be taken for the present one.
        let repeatable = (statement.reach > 1).then(|| until.max(now + 2 * SKEW));
        let remembered = repeatable.unwrap_or(until + REMEMBERED);
        // An earlier word that went further may still be brought again.
        let (remembered, repeatable) = match before {
            Some((earlier, could)) => (remembered.max(earlier), repeatable.max(could)),
            None => (remembered, repeatable),
        };
        let gone = lifetime.is_zero().then_some(Departed::Left);
        state.last += 1;
        let number = state.last;
        let statement = Arc::new(statement);
        let seat = Seat { statement, key, anybody, hops, since, gone, from, number, until, remembered, repeatable };
        state.rooms.entry(database).or_default().insert(speaker, seat);
        places::forget_some(&mut state.rooms, &database, now);
        drop(state);
        self.bell.ring();
        true
    }

    /// All seats of a database, those of the gone included. With `others`, not those of this device.
    pub fn seats(&self, database: &Id, others: bool, now: Instant) -> Vec<(Speaker, Seat)> {
        let state = self.state();
        let room = state.rooms.get(database).into_iter().flatten();
        let shown = room.filter(|(speaker, _)| !others || speaker.device != self.device);
        let as_of_now =
            |seat: &Seat| Seat { gone: seat.gone.or((seat.until <= now).then_some(Departed::Expired)), ..seat.clone() };
        shown.map(|(speaker, seat)| (*speaker, as_of_now(seat))).collect()
    }

    /// Ends the presence of speakers of a database.
    pub fn remove(&self, database: &Id, which: impl Fn(&Speaker) -> bool) {
        let mut removed = false;
        if let Some(room) = self.state().rooms.get_mut(database) {
            for (_, seat) in room.iter_mut().filter(|(speaker, seat)| seat.gone.is_none() && which(speaker)) {
                seat.gone = Some(Departed::Removed);
                removed = true;
            }
        }
        if removed {
            self.bell.ring();
        }
    }

    /// Ends all that is known of these databases from others, which are not synced any longer.
    pub fn shut(&self, databases: &[Id]) {
        databases.iter().for_each(|id| self.remove(id, |speaker| speaker.device != self.device));
    }

    /// Ends the presence of a peer that is forgotten.
    pub fn forget_peer(&self, peer: &PublicKey) {
        let databases: Vec<Id> = self.state().rooms.keys().copied().collect();
        databases.iter().for_each(|id| self.remove(id, |speaker| speaker.device == *peer));
    }

    /// What a peer is to be told of these databases: what has a greater number than this, at most [`MAX_SAID`]; and up to which
    /// number that is everything.
    pub fn news(&self, databases: &BTreeSet<Id>, after: u64, peer: &PublicKey, now: Instant) -> (Vec<News>, u64) {
        let state = self.state();
        let mut found = Vec::new();
        for id in databases {
            for (speaker, seat) in state.rooms.get(id).into_iter().flatten() {
                let lasts = seat.is_here(now) || seat.gone == Some(Departed::Left);
                let for_peer = speaker.device != *peer && seat.from != *peer && seat.hops < seat.statement.reach;
                if seat.number > after && lasts && for_peer {
                    found.push((seat.number, (*id, seat.hops + 1, seat.statement.clone())));
                }
            }
        }
        found.sort_by_key(|(number, _)| *number);
        let upto = match found.get(MAX_SAID - 1) {
            Some((number, _)) if found.len() > MAX_SAID => *number,
            _ => state.last,
        };
        (found.into_iter().take(MAX_SAID).map(|(_, news)| news).collect(), upto)
    }

    /// The number of the last change.
    pub fn last(&self) -> u64 {
        self.state().last
    }

    pub fn device(&self) -> PublicKey {
        self.device
    }

    /// Databases in which somebody here wants to know who is here.
    pub fn attended(&self) -> BTreeSet<Id> {
        self.state().attended.keys().copied().collect()
    }

    /// Databases of which there may be something to tell.
    pub fn spoken_of(&self) -> BTreeSet<Id> {
        self.state().rooms.keys().copied().collect()
    }

    /// A peer asks for news of these databases.
    pub fn listen(&self, peer: PublicKey, databases: BTreeSet<Id>) -> Listening<'_> {
        {
            let mut state = self.state();
            let listener = state.listeners.entry(peer).or_default();
            listener.requests += 1;
            (listener.databases, listener.left) = (databases, None);
        }
        self.audience.ring();
        Listening { hall: self, peer }
    }

    /// Whether a peer hears by its own requests what is new in a database.
    pub fn hears(&self, peer: &PublicKey, database: &Id) -> bool {
        self.state().listeners.get(peer).is_some_and(|listener| listener.databases.contains(database))
    }

    /// A peer that this device calls was told everything up to this number; `None`: it is not called any longer.
    pub fn note_told(&self, peer: PublicKey, upto: Option<u64>) {
        let changed = {
            let mut state = self.state();
            match upto {
                Some(upto) => state.told.insert(peer, upto) != Some(upto),
                None => state.told.remove(&peer).is_some(),
            }
        };
        if changed {
            self.audience.ring();
        }
    }

    /// Whether everybody who can be told knows that a user of this device has left; also if he has not, since he has another handle.
    pub fn is_farewell_said(&self, database: &Id, user: Option<PublicKey>) -> bool {
        let state = self.state();
        if let Some(own) = state.own.get(&(*database, user)) {
            let leaves = own.says.as_ref().is_some_and(|says| says.lifetime.is_zero());
            return own.handles > 0 && !leaves;
        }
        // A user whose grant is not here was spoken for by the device alone.
        let seat = |user| state.rooms.get(database)?.get(&Speaker { device: self.device, user });
        let Some(seat) = seat(user).or_else(|| seat(None)) else { return true };
        let heard = |listener: &Listener| !listener.databases.contains(database) || listener.given >= seat.number;
        state.told.values().all(|upto| *upto >= seat.number) && state.listeners.values().all(heard)
    }

    /// Ends what is over by now; says when there is something to do next.
    pub fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let (mut changed, mut fewer, mut next) = (false, false, Vec::new());
        for room in state.rooms.values_mut() {
            room.retain(|_, seat| {
                if seat.gone.is_none() && seat.until <= now {
                    seat.gone = Some(Departed::Expired);
                    changed = true;
                }
                let stays = seat.gone.is_none() || seat.remembered > now;
                if stays {
                    next.push(if seat.gone.is_none() { seat.until } else { seat.remembered });
                }
                stays
            });
        }
        state.rooms.retain(|_, room| !room.is_empty());
        state.listeners.retain(|_, listener| {
            let end = listener.left.map(|left| left + BETWEEN);
            next.extend(end.filter(|end| *end > now));
            let stays = end.is_none_or(|end| end > now);
            fewer |= !stays;
            stays
        });
        next.extend(state.own.values().filter_map(|own| own.due));
        drop(state);
        if changed {
            self.bell.ring();
        }
        if fewer {
            self.audience.ring();
        }
        next.into_iter().min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn is_here(&self, now: Instant) -> bool {
        self.gone.is_none() && self.until > now
    }
}

impl Listening<'_> {
    /// It is told everything up to this number.
    pub fn given(&self, upto: u64) {
        if let Some(listener) = self.hall.state().listeners.get_mut(&self.peer) {
            listener.given = listener.given.max(upto);
        }
        self.hall.audience.ring();
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.hall.state();
            if let Some(listener) = state.listeners.get_mut(&self.peer) {
                listener.requests -= 1;
                if listener.requests == 0 {
                    listener.left = Some(Instant::now());
                }
            }
        }
        self.hall.audience.ring();
    }
}

#[cfg(test)]
mod tests;
