//! What a schedule is told of wishes, peers, and what is new.

use std::collections::BTreeSet;
use std::time::Duration;

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use super::data::LaneData;
use super::effect::{Effect, Lane, Mark, Reason, RoundId};
use super::machine::Schedule;
use super::timers::Timer;
use super::wish::Wish;

impl Schedule {
    /// Sets what is wished for a database; `None`: nobody wishes anything.
    ///
    /// When sync is switched off, rounds of it are aborted, and nothing of it is begun until it is switched on again or asked
    /// for. An interval that stays the same keeps its rhythm.
    pub fn set_wish(&mut self, now: Duration, database: Id, wish: Option<Wish>) {
        self.advance(now);
        let wish = wish.unwrap_or_default();
        let before = std::mem::replace(&mut self.database_mut(database).wish, wish);
        if (before.enabled, before.interval) != (wish.enabled, wish.interval) {
            self.set_tick(database, true);
        }
        for lane in self.lanes_of(database) {
            if before.enabled && !wish.enabled {
                self.clear_wants(lane);
                self.abort(lane);
            } else if !before.enabled && wish.enabled {
                // What was held against it before it was switched off does not count.
                self.clear_wants(lane);
                self.want(lane, Reason::Start);
            } else if !before.is_live() && wish.is_live() && self.unsent(lane) {
                self.want(lane, Reason::Commit);
            }
            self.settle_watch(lane);
        }
        self.drop_database(database);
    }

    /// Makes it known that a database is synced with a peer. Known already: nothing happens.
    pub fn relate(&mut self, now: Duration, peer: PublicKey, database: Id) {
        self.advance(now);
        let lane = Lane { peer, database };
        let data = self.peers.entry(peer).or_default().lanes.entry(database).or_default();
        if std::mem::replace(&mut data.related, true) {
            return;
        }
        self.database_mut(database).peers.insert(peer);
        self.set_tick(database, false);
        self.want(lane, Reason::Start);
    }

    /// Makes it known that a database is no longer synced with a peer: what is under way of it is aborted.
    pub fn unrelate(&mut self, now: Duration, peer: PublicKey, database: Id) {
        self.advance(now);
        let lane = Lane { peer, database };
        let Some(data) = self.lane_mut(lane) else { return };
        data.related = false;
        self.clear_wants(lane);
        self.abort(lane);
        self.settle_watch(lane);
        if let Some(data) = self.databases.get_mut(&database) {
            data.peers.remove(&peer);
        }
        self.set_tick(database, false);
        self.drop_lane(lane);
        self.drop_database(database);
    }

    /// Sets whether a peer can be dialled: an address of it is known, and a transport for that is here.
    ///
    /// Rounds under way go on. When it can be dialled again, its lanes catch up.
    pub fn set_dialable(&mut self, now: Duration, peer: PublicKey, dialable: bool) {
        self.advance(now);
        if !dialable && !self.peers.contains_key(&peer) {
            return;
        }
        let data = self.peers.entry(peer).or_default();
        let before = std::mem::replace(&mut data.dialable, dialable);
        if !before && dialable {
            self.catch_up(peer);
        }
        self.watch_is_due(peer, true);
        self.settle_peer(peer);
        self.drop_peer(peer);
    }

    /// Forgets a peer and all of its lanes; what is under way with it is aborted.
    pub fn forget_peer(&mut self, now: Duration, peer: PublicKey) {
        let databases: Vec<Id> = self.databases_of(&peer).collect();
        self.set_dialable(now, peer, false);
        databases.into_iter().for_each(|database| self.unrelate(now, peer, database));
    }

    /// Something was written here.
    pub fn committed(&mut self, now: Duration, database: Id) {
        self.arrived_for(now, database, None, Reason::Commit);
    }

    /// Something has arrived: from this peer, or, with `None`, otherwise. It goes on to the others.
    pub fn arrived(&mut self, now: Duration, database: Id, from: Option<PublicKey>) {
        self.arrived_for(now, database, from, Reason::Arrival);
    }

    fn arrived_for(&mut self, now: Duration, database: Id, from: Option<PublicKey>, reason: Reason) {
        self.advance(now);
        let Some(data) = self.databases.get_mut(&database) else { return };
        self.versions += 1;
        let before = std::mem::replace(&mut data.version, self.versions);
        let live = data.wish.is_live();
        for lane in self.lanes_of(database) {
            if Some(lane.peer) == from {
                self.came_from(lane, before);
            } else if live && self.is_watched_by(lane) {
                self.defer(lane);
            } else if live {
                self.want(lane, reason);
            }
        }
    }

    /// What has come from a peer need not go back to it.
    fn came_from(&mut self, lane: Lane, before: u64) {
        let after = self.versions;
        let Some(data) = self.lane_mut(lane) else { return };
        if data.synced == Some(before) {
            data.synced = Some(after);
        }
        let round = data.running;
        if let Some(round) = round.and_then(|round| self.rounds.get_mut(&round))
            && round.version == before
        {
            round.version = after;
        }
    }

    /// A peer that is watched has something new.
    pub fn news(&mut self, now: Duration, peer: PublicKey, database: Id) {
        self.answered(now, peer);
        self.want(Lane { peer, database }, Reason::News);
    }

    /// Asks for a round at once: before others, whatever is wished, and though the peer may just have failed.
    ///
    /// Gives the least number that the round can have: one with this number or a greater one, on this lane, has begun after
    /// this call. `None` if there is no such lane, or the peer cannot be dialled. A round that fails is not repeated on
    /// behalf of who asked.
    pub fn ask(&mut self, now: Duration, peer: PublicKey, database: Id) -> Option<RoundId> {
        self.advance(now);
        let data = self.peers.get(&peer).filter(|data| data.dialable)?;
        data.lanes.get(&database).filter(|data| data.related)?;
        self.want(Lane { peer, database }, Reason::Asked);
        Some(RoundId(self.next_round))
    }

    /// A peer shows that it is there: it has proven its key in a session that it began, or has told a new address. If it waits
    /// after failures, it is tried soon.
    pub fn contact(&mut self, now: Duration, peer: PublicKey) {
        self.advance(now);
        let first_backoff = self.options.first_backoff;
        let Some(data) = self.peers.get_mut(&peer) else { return };
        // However often it comes, there is a pause after each failure.
        let soon = data.failed_at.map_or(self.now, |at| at.saturating_add(first_backoff).max(self.now));
        if data.retry_at.is_some_and(|at| soon < at) {
            self.timers.set(&mut data.retry_at, Some(soon), Timer::Peer(peer));
        }
        data.hopeful = true;
        self.settle_peer(peer);
    }

    /// What there is of a database now, to be told to [`served`](Schedule::served).
    pub fn mark(&self, database: &Id) -> Mark {
        Mark(self.databases.get(database).map_or(0, |data| data.version))
    }

    /// A peer has fetched, by rounds of its own, everything that was here at this mark. Take the mark before comparing.
    pub fn served(&mut self, now: Duration, peer: PublicKey, database: Id, mark: Mark) {
        self.advance(now);
        let lane = Lane { peer, database };
        let latest = mark == self.mark(&database);
        let Some(data) = self.peers.get_mut(&peer).and_then(|peer| peer.lanes.get_mut(&database)) else { return };
        data.synced = data.synced.max(Some(mark.0));
        if latest {
            data.wants = data.wants.without(Reason::Commit).without(Reason::Arrival);
            self.timers.set(&mut data.deferred_at, None, Timer::Deferred(lane));
            self.settle_lane(lane);
        }
    }

    /// A peer has compared both sides, by a round of its own, and they were the same.
    pub fn compared(&mut self, now: Duration, peer: PublicKey, database: Id) {
        self.advance(now);
        let Some(data) = self.lane_mut(Lane { peer, database }) else { return };
        data.record.last_success = Some(now);
        data.record.last_failure = None;
        data.record.in_a_row = 0;
        data.record.behind = Some(Default::default());
    }

    /// Sets which databases a peer watches here. What is new in them is not sent to it unless it fails to fetch it.
    pub fn watched_by(&mut self, now: Duration, peer: PublicKey, databases: BTreeSet<Id>) {
        self.advance(now);
        if let Some(data) = self.peers.get_mut(&peer) {
            data.watches_us = databases;
        }
    }

    fn is_watched_by(&self, lane: Lane) -> bool {
        self.peers.get(&lane.peer).is_some_and(|peer| peer.watches_us.contains(&lane.database))
    }

    fn defer(&mut self, lane: Lane) {
        let at = self.after(self.options.watch_grace);
        let Some(data) = self.peers.get_mut(&lane.peer).and_then(|peer| peer.lanes.get_mut(&lane.database)) else {
            return;
        };
        if data.deferred_at.is_none() {
            self.timers.set(&mut data.deferred_at, at, Timer::Deferred(lane));
        }
    }

    pub(super) fn send_what_was_not_fetched(&mut self, lane: Lane) {
        if let Some(data) = self.lane_mut(lane) {
            data.deferred_at = None;
            self.want(lane, Reason::Commit);
        }
    }

    pub(super) fn tick(&mut self, database: Id) {
        let Some(data) = self.databases.get_mut(&database) else { return };
        let Some(due) = data.tick_at.take() else { return };
        let interval = data.wish.interval.unwrap_or_default().max(self.options.least_interval);
        // The rhythm stays; ticks that were missed are one.
        let late = (self.now - due).as_nanos() % interval.as_nanos();
        let late = Duration::from_nanos(u64::try_from(late).unwrap_or(u64::MAX));
        let next = self.now.checked_add(interval.saturating_sub(late));
        self.timers.set(&mut data.tick_at, next, Timer::Tick(database));
        for lane in self.lanes_of(database) {
            // A round that is under way serves this tick, too.
            if self.lane_mut(lane).is_some_and(|data| data.running.is_none()) {
                self.want(lane, Reason::Interval);
            }
        }
    }

    /// Starts or ends the interval of a database.
    fn set_tick(&mut self, database: Id, anew: bool) {
        let least = self.options.least_interval;
        let now = self.now;
        let Some(data) = self.databases.get_mut(&database) else { return };
        let wanted = data.wish.interval.filter(|_| data.wish.enabled && !data.peers.is_empty());
        let at = match wanted {
            Some(_) if !anew && data.tick_at.is_some() => data.tick_at,
            Some(interval) => now.checked_add(interval.max(least)),
            None => None,
        };
        self.timers.set(&mut data.tick_at, at, Timer::Tick(database));
    }

    /// After a time without contact all lanes that are to be up to date are compared.
    pub(super) fn catch_up(&mut self, peer: PublicKey) {
        let live: Vec<Id> = self.databases_of(&peer).filter(|database| self.wish(database).is_live()).collect();
        for database in live {
            self.want(Lane { peer, database }, Reason::Reconnect);
        }
    }

    fn abort(&mut self, lane: Lane) {
        let Some(round) = self.lane_mut(lane).and_then(|data| data.running) else { return };
        if let Some(data) = self.rounds.get_mut(&round)
            && !std::mem::replace(&mut data.aborting, true)
        {
            self.effects.push(Effect::Abort { round, lane });
        }
    }

    pub(super) fn unsent(&self, lane: Lane) -> bool {
        let version = self.mark(&lane.database).0;
        self.lane_data(lane).is_some_and(|data| data.synced != Some(version))
    }

    pub(super) fn lane_data(&self, lane: Lane) -> Option<&LaneData> {
        self.peers.get(&lane.peer)?.lanes.get(&lane.database)
    }

    /// Drops a lane that is no longer there once its last round has ended.
    pub(super) fn drop_lane(&mut self, lane: Lane) {
        let Some(peer) = self.peers.get_mut(&lane.peer) else { return };
        let Some(data) = peer.lanes.get_mut(&lane.database) else { return };
        if !data.related && data.running.is_none() {
            self.timers.set(&mut data.retry_at, None, Timer::Lane(lane));
            peer.lanes.remove(&lane.database);
            self.drop_peer(lane.peer);
        }
    }

    fn drop_peer(&mut self, key: PublicKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !peer.dialable && peer.lanes.is_empty() {
            if peer.watch.on {
                self.effects.push(Effect::Unwatch { peer: key });
            }
            self.timers.set(&mut peer.retry_at, None, Timer::Peer(key));
            self.timers.set(&mut peer.watch.due, None, Timer::Watch(key));
            self.peers.remove(&key);
        }
    }

    fn drop_database(&mut self, database: Id) {
        if self.databases.get(&database).is_some_and(|data| data.peers.is_empty() && data.wish == Wish::default()) {
            self.databases.remove(&database);
        }
    }
}
