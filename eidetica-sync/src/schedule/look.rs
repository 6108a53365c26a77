//! What a schedule shows of itself.

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use super::data::{LaneData, PeerData, Rank};
use super::effect::Lane;
use super::machine::Schedule;
use super::places::Kind;
use super::status::{Busy, LaneState, LaneStatus, PeerStatus, Stop};

impl Schedule {
    /// How a lane stands; `None` if there is none.
    pub fn lane(&self, peer: PublicKey, database: Id) -> Option<LaneStatus> {
        let lane = Lane { peer, database };
        let (peer, data) = (self.peers.get(&lane.peer)?, self.lane_data(lane)?);
        if !data.related {
            return None;
        }
        let state = self.state(lane, peer, data);
        let next_attempt = match state {
            LaneState::Waiting => Some(self.now),
            LaneState::BackingOff { until } => Some(until),
            LaneState::Idle => {
                let tick = self.databases.get(&database).and_then(|database| database.tick_at);
                data.deferred_at.into_iter().chain(tick).min()
            }
            LaneState::Running { .. } | LaneState::Stopped(_) => None,
        };
        let record = &data.record;
        Some(LaneStatus {
            state,
            last_success: record.last_success,
            last_failure: record.last_failure.clone(),
            next_attempt,
            unsent: self.unsent(lane),
            rounds: record.rounds,
            failed: record.failed,
            failures: record.in_a_row,
            received: record.received,
            sent: record.sent,
            behind_here: record.behind_here,
        })
    }

    fn state(&self, lane: Lane, peer: &PeerData, data: &LaneData) -> LaneState {
        if let Some((round, running)) = data.running.and_then(|round| Some((round, self.rounds.get(&round)?))) {
            return LaneState::Running { round, since: running.since, aborting: running.aborting };
        }
        if !peer.dialable {
            return LaneState::Stopped(Stop::NoAddress);
        }
        match data.place {
            None if !self.wish(&lane.database).enabled => LaneState::Stopped(Stop::NotWished),
            None if data.wants.is_empty() => LaneState::Idle,
            Some((rank, _)) if peer.retry_at.is_none() || rank == Rank::Asked => LaneState::Waiting,
            _ => match peer.retry_at.max(data.retry_at) {
                Some(until) => LaneState::BackingOff { until },
                None => LaneState::Waiting,
            },
        }
    }

    /// How a peer stands; `None` if it has no lane and cannot be dialled.
    pub fn peer(&self, peer: PublicKey) -> Option<PeerStatus> {
        let data = self.peers.get(&peer)?;
        Some(PeerStatus {
            dialable: data.dialable,
            answering: data.answering,
            failures: data.failures.0,
            retry_at: data.retry_at,
            running: data.running,
            watched: data.watch.on,
            databases: self.databases_of(&peer).collect(),
        })
    }

    /// All lanes, by peer.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.peers.keys().flat_map(|peer| self.databases_of(peer).map(|database| Lane { peer: *peer, database }))
    }

    /// The databases that are synced with a peer.
    pub fn databases_of(&self, peer: &PublicKey) -> impl Iterator<Item = Id> {
        let lanes = self.peers.get(peer).map(|data| data.lanes.iter());
        lanes.into_iter().flatten().filter(|(_, data)| data.related).map(|(database, _)| *database)
    }

    /// The peers that a database is synced with.
    pub fn peers_of(&self, database: &Id) -> impl Iterator<Item = PublicKey> {
        self.databases.get(database).into_iter().flat_map(|data| data.peers.iter().copied())
    }

    /// Lanes of databases that are wished for where something here may not have reached the peer, or of which a round is
    /// under way or about to begin: what a flush has to wait for.
    pub fn unsettled(&self) -> impl Iterator<Item = Lane> {
        self.lanes().filter(|lane| {
            let busy = |data: &LaneData| data.running.is_some() || !data.wants.is_empty();
            self.wish(&lane.database).enabled && (self.unsent(*lane) || self.lane_data(*lane).is_some_and(busy))
        })
    }

    /// How busy it is.
    pub fn busy(&self) -> Busy {
        let (answering, doubtful) = (self.places.of(Kind::Answering), self.places.of(Kind::Doubtful));
        let waiting = answering.waiting() + doubtful.waiting();
        Busy { rounds: answering.taken, probes: doubtful.taken, waiting }
    }
}
