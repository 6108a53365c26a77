//! Random events on a simulated clock, against what must always hold:
//!
//! * Never two rounds at once on a lane (the kit sees to it), and never more than there are places, in all or with one peer.
//! * After a poll it does not wake in the past, or now (the kit).
//! * Nothing begins on a lane whose database nobody wishes for, unless somebody has asked since; nor with a peer that cannot be
//!   dialled or is not related. What runs when a wish ends is aborted.
//! * Delays after failures keep between half of the shortest and the ceiling.
//! * A watch names what is live and related, and nothing else.
//! * Once everybody answers and nothing more happens, everything that was to be done is done within a bounded time, nothing is unsent, and
//!   then nothing happens but intervals, each in its rhythm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eidetica_contract::ErrorKind;
use eidetica_sync::schedule::{
    Behind, Done, End, Failure, Lane, LaneState, Mark, Progress, Reason, RoundId, ScheduleOptions, Scope, Stop, Wish,
};
use proptest::prelude::*;

use super::kit::*;

const PEERS: u16 = 4;
const DATABASES: u16 = 3;

#[derive(Clone, Debug)]
enum Event {
    Wish(u16, Option<Wish>),
    Relate(u16, u16),
    Unrelate(u16, u16),
    Dialable(u16, bool),
    Forget(u16),
    Committed(u16),
    Arrived(u16, Option<u16>),
    News(u16, u16),
    Ask(u16, u16),
    Contact(u16),
    Answered(u16),
    WatchFails(u16),
    WatchedBy(u16, BTreeSet<u16>),
    Mark(u16),
    Served(u16, u16),
    Progress(usize, bool),
    End(usize, u8),
    Pass(u64),
    Wake,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (peer, of) = (0..PEERS, 0..DATABASES);
    let lane = (peer.clone(), of.clone());
    let interval = proptest::option::of((500u64..5000).prop_map(Duration::from_millis));
    let wish = (any::<bool>(), any::<bool>(), interval);
    let wish = wish.prop_map(|(enabled, on_commit, interval)| Wish { enabled, on_commit, interval });
    let event = prop_oneof![
        2 => (of.clone(), proptest::option::weighted(0.8, wish)).prop_map(|(of, wish)| Event::Wish(of, wish)),
        3 => lane.clone().prop_map(|(peer, of)| Event::Relate(peer, of)),
        1 => lane.clone().prop_map(|(peer, of)| Event::Unrelate(peer, of)),
        2 => (peer.clone(), proptest::bool::weighted(0.8)).prop_map(|(peer, may)| Event::Dialable(peer, may)),
        1 => peer.clone().prop_map(Event::Forget),
        6 => of.clone().prop_map(Event::Committed),
        4 => (of.clone(), proptest::option::of(peer.clone())).prop_map(|(of, from)| Event::Arrived(of, from)),
        3 => lane.clone().prop_map(|(peer, of)| Event::News(peer, of)),
        2 => lane.clone().prop_map(|(peer, of)| Event::Ask(peer, of)),
        2 => peer.clone().prop_map(Event::Contact),
        2 => peer.clone().prop_map(Event::Answered),
        2 => peer.clone().prop_map(Event::WatchFails),
        2 => (peer, proptest::collection::btree_set(of.clone(), 0..3)).prop_map(|(peer, of)| Event::WatchedBy(peer, of)),
        2 => of.prop_map(Event::Mark),
        3 => lane.prop_map(|(peer, of)| Event::Served(peer, of)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(nth, moved)| Event::Progress(nth, moved)),
        20 => (any::<usize>(), 0u8..8).prop_map(|(nth, how)| Event::End(nth, how)),
        8 => (0u64..4000).prop_map(Event::Pass),
        8 => Just(Event::Wake),
    ];
    proptest::collection::vec(event, 1..150)
}

fn options() -> ScheduleOptions {
    let mut options = ScheduleOptions::default();
    (options.rounds, options.probes, options.rounds_per_peer) = (4, 3, 2);
    (options.max_backoff, options.patience) = (seconds(8), millis(700));
    options
}

/// What the test knows to be true, told in the simplest way.
#[derive(Default)]
struct Truth {
    wishes: BTreeMap<u16, Wish>,
    related: BTreeSet<(u16, u16)>,
    dialable: BTreeSet<u16>,
    /// Lanes that somebody asked for, and of which no round has begun since.
    asked: BTreeSet<(u16, u16)>,
    marks: BTreeMap<u16, Mark>,
}

impl Truth {
    fn wish(&self, of: u16) -> Wish {
        self.wishes.get(&of).copied().unwrap_or_default()
    }

    fn allows(&self, (peer, of): (u16, u16)) -> bool {
        let wished = self.wish(of).enabled || self.asked.contains(&(peer, of));
        wished && self.related.contains(&(peer, of)) && self.dialable.contains(&peer)
    }
}

fn numbers(lane: Lane) -> (u16, u16) {
    let number = |bytes: &[u8; 32]| u16::from_be_bytes([bytes[0], bytes[1]]);
    (number(lane.peer.as_bytes()), number(lane.database.as_bytes()))
}

fn end(how: u8) -> End {
    match how {
        0 => End::Failed(Failure::new(Scope::Peer, ErrorKind::Timeout, "no answer")),
        1 => End::Failed(Failure::new(Scope::Lane, ErrorKind::NotFound, "no such database")),
        2 => End::Aborted,
        3 => End::Done(Done { complete: false, received: 0, sent: 0 }),
        4 => End::Done(Done { complete: false, received: 3, sent: 1 }),
        _ => done(),
    }
}

/// The round that is the nth of those under way, counted round and round.
fn nth(world: &World, nth: usize) -> Option<RoundId> {
    let count = world.running.len();
    (count > 0).then(|| *world.running.keys().nth(nth % count).expect("one of them"))
}

fn apply(world: &mut World, truth: &mut Truth, event: Event) {
    let now = world.now;
    let schedule = &mut world.schedule;
    match event {
        Event::Wish(of, wish) => {
            schedule.set_wish(now, database(of), wish);
            let before = truth.wish(of).enabled;
            truth.wishes.insert(of, wish.unwrap_or_default());
            // What was asked for although nobody wished for it is not taken back by still not wishing for it.
            if before && !truth.wish(of).enabled {
                truth.asked.retain(|asked| asked.1 != of);
            }
        }
        Event::Relate(peer, of) => {
            schedule.relate(now, self::peer(peer), database(of));
            truth.related.insert((peer, of));
        }
        Event::Unrelate(peer, of) => {
            schedule.unrelate(now, self::peer(peer), database(of));
            truth.related.remove(&(peer, of));
            truth.asked.remove(&(peer, of));
        }
        Event::Dialable(peer, may) => {
            schedule.set_dialable(now, self::peer(peer), may);
            if may {
                truth.dialable.insert(peer)
            } else {
                truth.dialable.remove(&peer)
            };
        }
        Event::Forget(peer) => {
            schedule.forget_peer(now, self::peer(peer));
            truth.dialable.remove(&peer);
            truth.related.retain(|lane| lane.0 != peer);
            truth.asked.retain(|lane| lane.0 != peer);
        }
        Event::Committed(of) => schedule.committed(now, database(of)),
        Event::Arrived(of, from) => schedule.arrived(now, database(of), from.map(peer)),
        Event::News(peer, of) => schedule.news(now, self::peer(peer), database(of)),
        Event::Ask(peer, of) => {
            let possible = truth.related.contains(&(peer, of)) && truth.dialable.contains(&peer);
            let asked = schedule.ask(now, self::peer(peer), database(of));
            assert_eq!(asked.is_some(), possible);
            if possible {
                truth.asked.insert((peer, of));
            }
        }
        Event::Contact(peer) => schedule.contact(now, self::peer(peer)),
        Event::Answered(peer) => schedule.answered(now, self::peer(peer)),
        Event::WatchFails(peer) => {
            if world.watched.contains_key(&self::peer(peer)) {
                world.watch_fails(self::peer(peer));
            }
        }
        Event::WatchedBy(peer, of) => {
            schedule.watched_by(now, self::peer(peer), of.into_iter().map(database).collect());
        }
        Event::Mark(of) => {
            truth.marks.insert(of, schedule.mark(&database(of)));
        }
        Event::Served(peer, of) => {
            let mark = truth.marks.get(&of).copied().unwrap_or_default();
            schedule.served(now, self::peer(peer), database(of), mark);
        }
        Event::Progress(at, moved) => {
            if let Some(round) = nth(world, at) {
                let behind = moved.then_some(Behind { here: 1, there: 2 });
                let progress = Progress { received: u64::from(moved), sent: 0, behind };
                world.schedule.progressed(now, round, progress);
            }
        }
        Event::End(at, how) => {
            if let Some(round) = nth(world, at) {
                world.end_round(round, end(how));
            }
        }
        Event::Pass(time) => world.now += millis(time),
        Event::Wake => world.now = world.schedule.next_wake().unwrap_or(now).max(now),
    }
}

/// Polls, and holds everything against the truth.
fn check(world: &mut World, truth: &mut Truth) {
    let options = options();
    for lane in world.poll() {
        let numbers = numbers(lane);
        assert!(truth.allows(numbers), "a round on {numbers:?}, which nobody wishes for");
        let asked = truth.asked.remove(&numbers);
        assert_eq!(world.why(lane).contains(Reason::Asked), asked, "whether somebody has asked for {numbers:?}");
    }
    let busy = world.schedule.busy();
    assert_eq!(busy.rounds + busy.probes, world.running.len());
    assert!(busy.rounds <= options.rounds && busy.probes <= options.probes, "{busy:?}");
    for number in 0..PEERS {
        let running = world.running.values().filter(|lane| lane.peer == peer(number)).count();
        assert!(running <= options.rounds_per_peer);
        let status = world.schedule.peer(peer(number));
        assert_eq!(status.as_ref().map_or(0, |status| status.running), running);
        let least = options.first_backoff / 2;
        if let Some(at) = status.and_then(|status| status.retry_at) {
            assert!(at > world.now && at <= world.now + options.max_backoff, "{at:?} at {:?}", world.now);
        }
        for watched in world.watched.get(&peer(number)).into_iter().flatten() {
            let (_, of) = numbers(Lane { peer: peer(number), database: *watched });
            let live = truth.wish(of).enabled && truth.wish(of).on_commit;
            assert!(live && truth.related.contains(&(number, of)) && truth.dialable.contains(&number));
        }
        for of in 0..DATABASES {
            let related = truth.related.contains(&(number, of));
            let status = world.schedule.lane(peer(number), database(of));
            assert_eq!(status.is_some(), related);
            let running = world.running.iter().find(|(_, running)| **running == lane(number, of)).map(|found| *found.0);
            // A round that is not aborted has a lane, and a wish or somebody who asked when it began.
            if let Some(round) = running
                && !related
            {
                assert!(world.aborted.contains(&round), "a round of no lane goes on");
            }
            let Some(status) = status else { continue };
            match status.state {
                LaneState::Running { round, aborting, .. } => {
                    assert_eq!((Some(round), aborting), (running, world.aborted.contains(&round)));
                }
                LaneState::BackingOff { until } => {
                    assert!(until > world.now && until <= world.now + options.max_backoff);
                    assert!(status.failures > 0 || least > Duration::ZERO);
                }
                LaneState::Stopped(Stop::NoAddress) => assert!(!truth.dialable.contains(&number)),
                LaneState::Stopped(Stop::NotWished) => assert!(!truth.wish(of).enabled),
                LaneState::Waiting | LaneState::Idle => assert!(truth.dialable.contains(&number)),
                other => panic!("a state that is new: {other:?}"),
            }
            if !matches!(status.state, LaneState::Running { .. }) {
                assert_eq!(running, None);
            }
        }
    }
}

/// From now on everybody answers, and nothing more happens.
fn settle(world: &mut World, truth: &mut Truth) {
    let options = options();
    for of in 0..DATABASES {
        world.schedule.watched_by(world.now, peer(of), BTreeSet::new());
    }
    world.schedule.watched_by(world.now, peer(PEERS - 1), BTreeSet::new());
    let until = world.now + options.max_backoff + options.watch_grace + seconds(5);
    let mut polls = 0;
    while world.now < until {
        check(world, truth);
        while let Some(round) = nth(world, 0) {
            world.end_round(round, done());
            check(world, truth);
        }
        let wake = world.schedule.next_wake();
        world.now = wake.unwrap_or(until).min(until);
        polls += 1;
        assert!(polls < 500, "it is busy with nothing");
    }
    world.finish();
    for (number, of) in truth.related.clone() {
        let status = world.schedule.lane(peer(number), database(of)).expect("a lane");
        if !truth.dialable.contains(&number) || !truth.wish(of).enabled {
            continue;
        }
        assert_eq!(status.state, LaneState::Idle, "lane {number} {of}");
        let kept_up = truth.wish(of).on_commit || truth.wish(of).interval.is_some();
        assert!(!status.unsent || !kept_up, "something on {number} {of} has not been sent");
        assert!(status.failures == 0 && status.last_failure.is_none() || !kept_up);
        let watched = world.watched.get(&peer(number)).is_some_and(|databases| databases.contains(&database(of)));
        assert_eq!(watched, truth.wish(of).on_commit, "whether {number} is watched for {of}");
    }
    // Now there are intervals alone.
    world.starts.clear();
    let since = world.now;
    world.pass(seconds(60), |_| done());
    for (lane, starts) in &world.starts {
        let interval = truth.wish(numbers(*lane).1).interval.expect("an interval").max(options.least_interval);
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == interval), "{starts:?} every {interval:?}");
        assert!(starts[0] - since <= interval);
    }
    let ticking = truth.related.iter().filter(|(number, of)| {
        truth.dialable.contains(number) && truth.wish(*of).enabled && truth.wish(*of).interval.is_some()
    });
    assert_eq!(ticking.count(), world.starts.len(), "lanes with an interval");
}

proptest! {
    #[test]
    fn whatever_happens_what_must_hold_does(events in events()) {
        let mut world = World::new(options());
        let mut truth = Truth::default();
        for event in events {
            apply(&mut world, &mut truth, event);
            check(&mut world, &mut truth);
        }
        settle(&mut world, &mut truth);
    }

    #[test]
    fn the_same_events_give_the_same_effects(events in events()) {
        let run = |events: Vec<Event>| {
            let (mut world, mut truth) = (World::new(options()), Truth::default());
            let mut effects = Vec::new();
            for event in events {
                apply(&mut world, &mut truth, event);
                effects.push((world.poll(), world.schedule.next_wake(), world.watched.clone(), world.aborted.clone()));
            }
            effects
        };
        prop_assert_eq!(run(events.clone()), run(events));
    }
}
