//! Rounds: how they begin, go on and end, and what follows from their failures.

use std::time::Duration;

use eidetica_contract::PublicKey;

use super::data::RoundData;
use super::effect::{Done, Effect, End, Failure, Lane, Progress, Reason, Reasons, RoundId, Scope};
use super::machine::Schedule;
use super::places::Kind;
use super::timers::Timer;

impl Schedule {
    /// Begins a round on the lane of a peer whose turn it is.
    pub(super) fn start(&mut self, key: PublicKey, kind: Kind) {
        let patience_at = self.after(self.options.patience);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.queued = None;
        let Some((_, _, database)) = peer.ready.pop_first() else { return };
        let Some(data) = peer.lanes.get_mut(&database) else { return };
        let lane = Lane { peer: key, database };
        let round = RoundId(self.next_round);
        self.next_round += 1;
        peer.running += 1;
        data.place = None;
        data.running = Some(round);
        data.record.rounds += 1;
        let reasons = std::mem::take(&mut data.wants);
        // A round brings both sides everything.
        self.timers.set(&mut data.deferred_at, None, Timer::Deferred(lane));
        let version = self.databases.get(&database).map_or(0, |data| data.version);
        let since = self.now;
        let mut running =
            RoundData { lane, kind, reasons, since, version, patience_at: None, aborting: false, moved: false };
        if kind == Kind::Answering {
            self.timers.set(&mut running.patience_at, patience_at, Timer::Patience(round));
        }
        self.places.of_mut(kind).taken += 1;
        self.rounds.insert(round, running);
        self.effects.push(Effect::Start { round, lane, reasons });
        self.settle_peer(key);
    }

    /// A round has had an answer from its peer. A round that has ended: nothing happens.
    pub fn progressed(&mut self, now: Duration, round: RoundId, progress: Progress) {
        self.advance(now);
        let patience_at = self.after(self.options.patience);
        let Some(data) = self.rounds.get_mut(&round) else { return };
        data.moved |= progress.received + progress.sent > 0;
        if data.kind == Kind::Doubtful && self.places.of(Kind::Answering).has_room() {
            self.places.of_mut(Kind::Doubtful).taken -= 1;
            self.places.of_mut(Kind::Answering).taken += 1;
            data.kind = Kind::Answering;
        }
        if data.kind == Kind::Answering {
            self.timers.set(&mut data.patience_at, patience_at, Timer::Patience(round));
        }
        let lane = data.lane;
        if let Some(data) = self.lane_mut(lane) {
            data.record.received += progress.received;
            data.record.sent += progress.sent;
            data.record.behind_here = progress.behind_here.or(data.record.behind_here);
        }
        self.is_answering(lane.peer);
    }

    /// A round that has not heard from its peer for long gives its place to others, if there is another one for it.
    pub(super) fn lose_patience(&mut self, round: RoundId) {
        let patience_at = self.after(self.options.patience);
        let Some(data) = self.rounds.get_mut(&round) else { return };
        data.patience_at = None;
        if self.places.of(Kind::Doubtful).has_room() {
            self.places.of_mut(Kind::Answering).taken -= 1;
            self.places.of_mut(Kind::Doubtful).taken += 1;
            data.kind = Kind::Doubtful;
        } else {
            self.timers.set(&mut data.patience_at, patience_at, Timer::Patience(round));
        }
    }

    /// A round has ended. One that is not under way: nothing happens.
    pub fn ended(&mut self, now: Duration, round: RoundId, end: End, random: &mut dyn FnMut() -> u64) {
        self.advance(now);
        let Some(mut data) = self.rounds.remove(&round) else { return };
        self.timers.set(&mut data.patience_at, None, Timer::Patience(round));
        self.places.of_mut(data.kind).taken -= 1;
        let lane = data.lane;
        if let Some(peer) = self.peers.get_mut(&lane.peer) {
            peer.running -= 1;
            if let Some(data) = peer.lanes.get_mut(&lane.database) {
                data.running = None;
            }
        }
        match end {
            End::Done(done) => self.succeeded(&data, done, random),
            End::Failed(failure) => self.failed(round, &data, failure, random),
            End::Aborted if data.aborting => {}
            End::Aborted => {
                self.want_again(lane, data.reasons.with(Reason::Retry));
                let at = self.after(self.options.first_backoff);
                self.retry_lane(lane, at);
            }
        }
        self.settle_lane(lane);
        self.settle_watch(lane);
        self.settle_peer(lane.peer);
        self.drop_lane(lane);
    }

    fn succeeded(&mut self, round: &RoundData, done: Done, random: &mut dyn FnMut() -> u64) {
        let (lane, now) = (round.lane, self.now);
        self.has_answered(lane.peer);
        let moved = round.moved || done.received + done.sent > 0;
        let Some(data) = self.lane_mut(lane) else { return };
        data.record.received += done.received;
        data.record.sent += done.sent;
        data.record.last_success = Some(now);
        data.record.last_failure = None;
        data.record.in_a_row = 0;
        data.in_step = true;
        if done.complete {
            data.record.behind_here = Some(0);
            data.synced = data.synced.max(Some(round.version));
        }
        if done.complete || moved {
            data.failures.clear();
            self.retry_lane(lane, None);
        }
        if !done.complete {
            self.want(lane, Reason::More);
            // A peer that is never done, and moves nothing, is asked ever more rarely.
            if !moved {
                self.back_off(lane, random);
            }
        }
    }

    fn failed(&mut self, id: RoundId, round: &RoundData, failure: Failure, random: &mut dyn FnMut() -> u64) {
        let (lane, now) = (round.lane, self.now);
        let scope = failure.scope;
        self.want_again(lane, round.reasons.with(Reason::Retry));
        if let Some(data) = self.lane_mut(lane) {
            data.record.failed += 1;
            data.record.in_a_row = data.record.in_a_row.saturating_add(1);
            data.record.last_failure = Some((now, failure));
        }
        let meanwhile = self.peers.get(&lane.peer).is_some_and(|peer| id.0 < peer.answered_below);
        match scope {
            Scope::Lane => {
                self.has_answered(lane.peer);
                if let Some(data) = self.lane_mut(lane) {
                    data.in_step = false;
                }
                self.back_off(lane, random);
            }
            // The peer has answered others meanwhile, so this lane alone has to wait.
            Scope::Peer if meanwhile => self.back_off(lane, random),
            Scope::Peer => self.peer_failed(lane.peer, id, random),
        }
    }

    /// After a round that came to nothing, its reasons are still there. Who asked knows how it ended.
    fn want_again(&mut self, lane: Lane, reasons: Reasons) {
        let enabled = self.wish(&lane.database).enabled;
        if let Some(data) = self.lane_mut(lane)
            && enabled
            && data.related
        {
            data.wants = data.wants.and(reasons.without(Reason::Asked));
        }
    }

    fn back_off(&mut self, lane: Lane, random: &mut dyn FnMut() -> u64) {
        let options = self.options;
        let Some(data) = self.lane_mut(lane) else { return };
        let delay = data.failures.fail(&options, random());
        let at = self.after(delay);
        self.retry_lane(lane, at);
    }

    fn retry_lane(&mut self, lane: Lane, at: Option<Duration>) {
        if let Some(data) = self.peers.get_mut(&lane.peer).and_then(|peer| peer.lanes.get_mut(&lane.database)) {
            self.timers.set(&mut data.retry_at, at, Timer::Lane(lane));
        }
    }

    fn peer_failed(&mut self, key: PublicKey, round: RoundId, random: &mut dyn FnMut() -> u64) {
        let (options, now, below) = (self.options, self.now, self.next_round);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.answering = false;
        peer.hopeful = false;
        // Rounds that fail together are one failure.
        if round.0 >= peer.failed_below {
            peer.failed_below = below;
            peer.failed_at = Some(now);
            let delay = peer.failures.fail(&options, random());
            self.timers.set(&mut peer.retry_at, now.checked_add(delay), Timer::Peer(key));
        }
        self.settle_peer(key);
    }

    /// A peer has answered to the end: what was held against it is forgotten.
    pub(super) fn has_answered(&mut self, key: PublicKey) {
        let below = self.next_round;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.answered_below = below;
        peer.failures.clear();
        self.timers.set(&mut peer.retry_at, None, Timer::Peer(key));
        self.is_answering(key);
    }

    fn is_answering(&mut self, key: PublicKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !std::mem::replace(&mut peer.answering, true) {
            self.watch_is_due(key, false);
        }
        self.settle_peer(key);
    }

    pub(super) fn peer_may_be_tried(&mut self, key: PublicKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.retry_at = None;
            self.settle_peer(key);
        }
    }

    pub(super) fn lane_may_be_tried(&mut self, lane: Lane) {
        if let Some(data) = self.lane_mut(lane) {
            data.retry_at = None;
            self.settle_lane(lane);
        }
    }
}
