//! The schedule itself: what it keeps, and what follows from a change.

use std::collections::BTreeMap;
use std::time::Duration;

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use super::data::{DatabaseData, LaneData, PeerData, Rank, RoundData};
use super::effect::{Effect, Lane, Reason, Reasons, RoundId};
use super::options::ScheduleOptions;
use super::places::{AllPlaces, Hope, Kind};
use super::timers::{Timer, Timers};
use super::wish::Wish;

/// When to sync which database with which peer; see the [module](super).
///
/// Tell it what happens by its methods, then call [`poll`](Schedule::poll), do what that says, and call it again at
/// [`next_wake`](Schedule::next_wake) or after telling more. Times are those of any clock that does not go back; an earlier
/// one counts as the latest told. An event costs the lanes that it concerns, each the logarithm of all.
pub struct Schedule {
    pub(super) options: ScheduleOptions,
    pub(super) now: Duration,
    pub(super) timers: Timers,
    pub(super) places: AllPlaces,
    pub(super) peers: BTreeMap<PublicKey, PeerData>,
    pub(super) databases: BTreeMap<Id, DatabaseData>,
    pub(super) rounds: BTreeMap<RoundId, RoundData>,
    pub(super) effects: Vec<Effect>,
    pub(super) next_round: u64,
    /// Counts lanes that have become ready.
    pub(super) came: u64,
    /// Counts what is new, in all databases.
    pub(super) versions: u64,
}

impl Schedule {
    /// A schedule that knows of nothing yet.
    pub fn new(options: ScheduleOptions) -> Schedule {
        let options = options.sound();
        Schedule {
            options,
            now: Duration::ZERO,
            timers: Timers::default(),
            places: AllPlaces::new(options.rounds, options.probes),
            peers: BTreeMap::new(),
            databases: BTreeMap::new(),
            rounds: BTreeMap::new(),
            effects: Vec::new(),
            next_round: 0,
            came: 0,
            versions: 0,
        }
    }

    /// What is to be done now, in this order.
    pub fn poll(&mut self, now: Duration) -> Vec<Effect> {
        self.advance(now);
        while let Some(timer) = self.timers.take(self.now) {
            match timer {
                Timer::Tick(database) => self.tick(database),
                Timer::Peer(peer) => self.peer_may_be_tried(peer),
                Timer::Lane(lane) => self.lane_may_be_tried(lane),
                Timer::Deferred(lane) => self.send_what_was_not_fetched(lane),
                Timer::Patience(round) => self.lose_patience(round),
                Timer::Watch(peer) => self.tell_watch(peer),
            }
        }
        for kind in [Kind::Answering, Kind::Doubtful] {
            while let Some(peer) = self.places.of_mut(kind).next() {
                self.start(peer, kind);
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`poll`](Schedule::poll) is to be called next, if nothing happens before: after a poll always later than that. `None`
    /// if there is nothing to wait for.
    pub fn next_wake(&self) -> Option<Duration> {
        if !self.effects.is_empty() || self.places.can_start() {
            return Some(self.now);
        }
        self.timers.first().map(|at| at.max(self.now))
    }

    pub(super) fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// When so much time will have passed; never, if that is after the end of time.
    pub(super) fn after(&self, delay: Duration) -> Option<Duration> {
        self.now.checked_add(delay)
    }

    pub(super) fn wish(&self, database: &Id) -> Wish {
        self.databases.get(database).map(|data| data.wish).unwrap_or_default()
    }

    /// A database, which is known from now on.
    pub(super) fn database_mut(&mut self, database: Id) -> &mut DatabaseData {
        self.databases.entry(database).or_insert_with(|| {
            self.versions += 1;
            DatabaseData { version: self.versions, ..DatabaseData::default() }
        })
    }

    pub(super) fn lane_mut(&mut self, lane: Lane) -> Option<&mut LaneData> {
        self.peers.get_mut(&lane.peer)?.lanes.get_mut(&lane.database)
    }

    /// The lanes of a database. They are few, and copied so that each can be changed.
    pub(super) fn lanes_of(&self, database: Id) -> Vec<Lane> {
        let peers = self.databases.get(&database).map(|data| data.peers.iter());
        peers.into_iter().flatten().map(|peer| Lane { peer: *peer, database }).collect()
    }

    /// Notes that there is something to do on a lane whose database is wished for.
    pub(super) fn want(&mut self, lane: Lane, reason: Reason) {
        let allowed = reason == Reason::Asked || self.wish(&lane.database).enabled;
        let Some(data) = self.lane_mut(lane) else { return };
        if allowed && data.related {
            data.wants = data.wants.with(reason);
            self.settle_lane(lane);
        }
    }

    /// Puts a lane where it belongs after any change of it.
    pub(super) fn settle_lane(&mut self, lane: Lane) {
        let enabled = self.wish(&lane.database).enabled;
        let Some(peer) = self.peers.get_mut(&lane.peer) else { return };
        let Some(data) = peer.lanes.get_mut(&lane.database) else { return };
        let asked = data.wants.contains(Reason::Asked);
        let free = data.related && data.running.is_none() && !data.wants.is_empty();
        let ready = free && (asked || enabled && data.retry_at.is_none());
        let rank = if asked { Rank::Asked } else { Rank::Other };
        if data.place.map(|(rank, _)| rank) != ready.then_some(rank) {
            if let Some((rank, nth)) = data.place.take() {
                peer.ready.remove(&(rank, nth, lane.database));
            }
            if ready {
                self.came += 1;
                data.place = Some((rank, self.came));
                peer.ready.insert((rank, self.came, lane.database));
            }
        }
        self.settle_peer(lane.peer);
    }

    /// Puts a peer where it belongs after any change of it or of its lanes.
    pub(super) fn settle_peer(&mut self, key: PublicKey) {
        /// After so many failures in a row there is little hope.
        const FEW: u32 = 2;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let asked = peer.ready.first().is_some_and(|(rank, _, _)| *rank == Rank::Asked);
        let limit = if peer.answering || asked { self.options.rounds_per_peer } else { 1 };
        let free = peer.dialable && peer.running < limit && !peer.ready.is_empty();
        let waits = free && (asked || peer.retry_at.is_none());
        let kind = if peer.answering { Kind::Answering } else { Kind::Doubtful };
        let hopeful = asked || peer.answering || peer.failures.0 < FEW || peer.hopeful;
        let hope = if hopeful { Hope::Much } else { Hope::Little };
        if waits && peer.queued.is_some_and(|queued| (queued.kind, queued.hope) == (kind, hope)) {
            return;
        }
        if let Some(queued) = peer.queued.take() {
            self.places.leave(key, queued);
        }
        if waits {
            peer.queued = Some(self.places.wait(key, kind, hope));
        }
    }

    /// Clears what there is to do on a lane, for as long as nothing happens.
    pub(super) fn clear_wants(&mut self, lane: Lane) {
        let Some(peer) = self.peers.get_mut(&lane.peer) else { return };
        let Some(data) = peer.lanes.get_mut(&lane.database) else { return };
        data.wants = Reasons::default();
        data.failures.clear();
        self.timers.set(&mut data.retry_at, None, Timer::Lane(lane));
        self.timers.set(&mut data.deferred_at, None, Timer::Deferred(lane));
        self.settle_lane(lane);
    }
}
