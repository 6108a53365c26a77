//! Which peers are watched for what.

use std::time::Duration;

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use super::effect::{Effect, Lane, Reason};
use super::machine::Schedule;
use super::timers::Timer;

impl Schedule {
    /// A watch was answered, with news or without: the peer is there.
    pub fn answered(&mut self, now: Duration, peer: PublicKey) {
        self.advance(now);
        if let Some(data) = self.peers.get_mut(&peer) {
            data.watch.failures.clear();
            self.has_answered(peer);
        }
    }

    /// A watch has failed, and is over. It is begun again once the peer has answered a round, after ever longer delays; its
    /// databases are compared, since news may have been missed. A peer that is not watched: nothing happens.
    pub fn watch_failed(&mut self, now: Duration, peer: PublicKey, random: &mut dyn FnMut() -> u64) {
        self.advance(now);
        let (options, now) = (self.options, self.now);
        let Some(data) = self.peers.get_mut(&peer).filter(|data| data.watch.on) else { return };
        data.watch.on = false;
        data.answering = false;
        let delay = data.watch.failures.fail(&options, random());
        data.watch.not_before = now.saturating_add(delay);
        for database in std::mem::take(&mut data.watch.told) {
            self.want(Lane { peer, database }, Reason::Reconnect);
        }
        self.watch_is_due(peer, false);
        self.settle_peer(peer);
    }

    /// Puts a lane on the list of what its peer is watched for, or takes it off, after any change of it.
    pub(super) fn settle_watch(&mut self, lane: Lane) {
        let live = self.wish(&lane.database).is_live();
        let Some(peer) = self.peers.get_mut(&lane.peer) else { return };
        let wanted = live && peer.lanes.get(&lane.database).is_some_and(|data| data.related && data.in_step);
        if wanted && peer.watch.wanted.insert(lane.database) {
            self.watch_is_due(lane.peer, false);
        } else if !wanted && peer.watch.wanted.remove(&lane.database) {
            self.watch_is_due(lane.peer, true);
        }
    }

    /// Sees to it that a change of a watch is told: at once, or together with others.
    pub(super) fn watch_is_due(&mut self, key: PublicKey, at_once: bool) {
        let now = self.now;
        let settle = self.options.watch_settle;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let settled = peer.watch.told_at.map_or(now, |at| at.saturating_add(settle));
        let at = if at_once { now } else { settled.max(peer.watch.not_before).max(now) };
        let at = peer.watch.due.map_or(at, |due| due.min(at));
        self.timers.set(&mut peer.watch.due, Some(at), Timer::Watch(key));
    }

    pub(super) fn tell_watch(&mut self, key: PublicKey) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let watch = &mut peer.watch;
        watch.due = None;
        if watch.on && (watch.wanted.is_empty() || !peer.dialable) {
            watch.on = false;
            watch.told.clear();
            self.effects.push(Effect::Unwatch { peer: key });
            return;
        }
        // Without an answer there is none to be watched; this is called again when one comes.
        let may = watch.on || peer.answering && peer.dialable && now >= watch.not_before;
        if may && !watch.wanted.is_empty() && watch.wanted != watch.told {
            watch.on = true;
            watch.told.clone_from(&watch.wanted);
            watch.told_at = Some(now);
            let databases: Vec<Id> = watch.wanted.iter().copied().collect();
            self.effects.push(Effect::Watch { peer: key, databases });
        } else if !watch.on && peer.answering && peer.dialable && now < watch.not_before && !watch.wanted.is_empty() {
            let at = Some(watch.not_before);
            self.timers.set(&mut watch.due, at, Timer::Watch(key));
        }
    }
}
