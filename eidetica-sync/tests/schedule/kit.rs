//! A schedule with a clock that a test moves, and a driver that does what a test says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eidetica_contract::{ErrorKind, PublicKey};
use eidetica_core::Id;
use eidetica_sync::schedule::{
    Done, Effect, End, Failure, Lane, LaneState, Reasons, RoundId, Schedule, ScheduleOptions, Scope, Wish,
};

pub fn peer(number: u16) -> PublicKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

pub fn database(number: u16) -> Id {
    let mut bytes = [9; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Id::from_bytes(bytes)
}

pub fn lane(peer_number: u16, database_number: u16) -> Lane {
    Lane { peer: peer(peer_number), database: database(database_number) }
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn done() -> End {
    End::Done(Done { complete: true, ..Done::default() })
}

pub fn unreachable() -> End {
    End::Failed(Failure::new(Scope::Peer, ErrorKind::Unreachable, "nobody is there"))
}

pub fn refused() -> End {
    End::Failed(Failure::new(Scope::Lane, ErrorKind::NotFound, "no such database"))
}

/// A schedule, its clock, and what goes on.
pub struct World {
    pub schedule: Schedule,
    pub now: Duration,
    pub running: BTreeMap<RoundId, Lane>,
    pub reasons: BTreeMap<RoundId, Reasons>,
    pub aborted: BTreeSet<RoundId>,
    pub watched: BTreeMap<PublicKey, Vec<Id>>,
    /// How many databases were named in all that was told to watch.
    pub told: usize,
    /// When rounds have begun, by lane.
    pub starts: BTreeMap<Lane, Vec<Duration>>,
    random: u64,
}

impl World {
    pub fn new(options: ScheduleOptions) -> World {
        World {
            schedule: Schedule::new(options),
            now: Duration::ZERO,
            running: BTreeMap::new(),
            reasons: BTreeMap::new(),
            aborted: BTreeSet::new(),
            watched: BTreeMap::new(),
            told: 0,
            starts: BTreeMap::new(),
            random: 1,
        }
    }

    /// Peers and databases, each with each, that can be dialled and are wished for so.
    pub fn with(options: ScheduleOptions, peers: u16, databases: u16, wish: Wish) -> World {
        let mut world = World::new(options);
        for number in 0..databases {
            world.schedule.set_wish(world.now, database(number), Some(wish));
        }
        for number in 0..peers {
            world.schedule.set_dialable(world.now, peer(number), true);
            (0..databases).for_each(|of| world.schedule.relate(world.now, peer(number), database(of)));
        }
        world
    }

    /// The same, after a first round on every lane.
    pub fn settled(options: ScheduleOptions, peers: u16, databases: u16, wish: Wish) -> World {
        let mut world = World::with(options, peers, databases, wish);
        world.finish();
        let settled = world.schedule.lanes().all(|lane| world.state(lane) == LaneState::Idle);
        assert!(settled && world.running.is_empty(), "the first rounds are over");
        world.starts.clear();
        world
    }

    pub fn state(&self, lane: Lane) -> LaneState {
        self.schedule.lane(lane.peer, lane.database).expect("a lane").state
    }

    /// Polls, keeps what it says, and gives the lanes whose rounds begin.
    pub fn poll(&mut self) -> Vec<Lane> {
        let mut started = Vec::new();
        for effect in self.schedule.poll(self.now) {
            match effect {
                Effect::Start { round, lane, reasons } => {
                    let taken = self.running.values().any(|running| *running == lane);
                    assert!(!taken, "two rounds at once on a lane");
                    assert!(!reasons.is_empty(), "a round without a reason");
                    assert!(self.running.insert(round, lane).is_none());
                    self.reasons.insert(round, reasons);
                    self.starts.entry(lane).or_default().push(self.now);
                    started.push(lane);
                }
                Effect::Abort { round, lane } => {
                    assert_eq!(self.running.get(&round), Some(&lane), "the end of a round that is under way");
                    assert!(self.aborted.insert(round), "an end that is told twice");
                }
                Effect::Watch { peer, databases } => {
                    assert!(!databases.is_empty());
                    self.told += databases.len();
                    self.watched.insert(peer, databases);
                }
                Effect::Unwatch { peer } => assert!(self.watched.remove(&peer).is_some(), "an end of no watch"),
            }
        }
        let wake = self.schedule.next_wake();
        assert!(wake.is_none_or(|wake| wake > self.now), "it wakes at {wake:?}, and it is {:?}", self.now);
        started
    }

    pub fn round(&self, lane: Lane) -> RoundId {
        let found = self.running.iter().find(|(_, running)| **running == lane);
        *found.expect("a round on this lane").0
    }

    /// The reasons of the round under way on a lane.
    pub fn why(&self, lane: Lane) -> Reasons {
        self.reasons[&self.round(lane)]
    }

    /// Ends the round on a lane.
    pub fn end(&mut self, lane: Lane, end: End) {
        self.end_round(self.round(lane), end);
    }

    pub fn end_round(&mut self, round: RoundId, end: End) {
        assert!(self.running.remove(&round).is_some(), "a round that is under way");
        self.aborted.remove(&round);
        let random = &mut self.random;
        self.schedule.ended(self.now, round, end, &mut || next(random));
    }

    pub fn watch_fails(&mut self, peer: PublicKey) {
        self.watched.remove(&peer).expect("a watch");
        let random = &mut self.random;
        self.schedule.watch_failed(self.now, peer, &mut || next(random));
    }

    /// Begins and ends rounds, all with success, until there is nothing to do now.
    pub fn finish(&mut self) {
        self.poll();
        while let Some(round) = self.running.keys().next().copied() {
            self.end_round(round, done());
            self.poll();
        }
    }

    /// Lets time pass. Rounds that begin are ended at once, as `end` says.
    pub fn pass(&mut self, time: Duration, mut end: impl FnMut(Lane) -> End) {
        let until = self.now + time;
        let (mut at, mut ended) = (self.now, 0);
        loop {
            self.poll();
            while let Some((round, lane)) = self.running.first_key_value().map(|(round, lane)| (*round, *lane)) {
                self.end_round(round, end(lane));
                self.poll();
                (at, ended) = if at == self.now { (at, ended + 1) } else { (self.now, 1) };
                assert!(ended < 10_000, "it is busy at {at:?}, and does not rest");
            }
            match self.schedule.next_wake() {
                Some(wake) if wake <= until => self.now = wake,
                _ => break,
            }
        }
        self.now = until;
        self.poll();
    }
}

/// Numbers that look random, and are the same each time.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
