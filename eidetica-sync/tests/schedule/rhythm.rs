//! Intervals: each database has its own, and keeps it.

use std::time::Duration;

use eidetica_sync::schedule::{LaneState, Reason, ScheduleOptions, Wish};

use super::kit::*;

#[test]
fn two_databases_keep_their_own_rhythm() {
    let mut world = World::with(ScheduleOptions::default(), 1, 0, Wish::default());
    for (of, interval) in [(0, 1), (1, 3)] {
        world.schedule.set_wish(world.now, database(of), Some(Wish::every(seconds(interval))));
        world.schedule.relate(world.now, peer(0), database(of));
    }
    world.pass(seconds(60), |_| done());
    let at = |every: usize| (0..=60u64).step_by(every).map(seconds).collect::<Vec<_>>();
    assert_eq!(world.starts[&lane(0, 0)], at(1));
    assert_eq!(world.starts[&lane(0, 1)], at(3));
}

#[test]
fn what_is_late_does_not_shift_the_rhythm_and_missed_ticks_are_one() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(seconds(10)));
    // The process was asleep over five ticks, and wakes a little later.
    world.now = seconds(53);
    world.pass(seconds(30), |_| done());
    assert_eq!(world.starts[&lane(0, 0)], [53, 60, 70, 80].map(seconds));
}

#[test]
fn a_round_that_takes_longer_than_the_interval_is_not_followed_at_once_for_it() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(seconds(1)));
    world.now = seconds(1);
    assert_eq!(world.poll(), [lane(0, 0)]);
    for _ in 0..5 {
        world.now += seconds(1);
        assert!(world.poll().is_empty());
    }
    world.now = millis(6500);
    world.end(lane(0, 0), done());
    assert!(world.poll().is_empty());
    assert_eq!(world.schedule.next_wake(), Some(seconds(7)));
}

#[test]
fn ticks_do_not_hurry_a_peer_that_is_away() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(seconds(1)));
    world.pass(seconds(3600), |_| unreachable());
    let rounds = world.starts[&lane(0, 0)].len();
    assert!((60..140).contains(&rounds), "{rounds} rounds in an hour");
    world.pass(seconds(60), |_| done());
    world.starts.clear();
    world.pass(seconds(60), |_| done());
    assert_eq!(world.starts[&lane(0, 0)].len(), 60);
}

#[test]
fn a_rhythm_outlives_whatever_else_changes() {
    let wish = Wish::every(seconds(10));
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, wish);
    world.pass(seconds(7), |_| done());
    world.schedule.set_wish(world.now, database(0), Some(Wish { on_commit: true, ..wish }));
    world.schedule.set_dialable(world.now, peer(1), true);
    world.schedule.relate(world.now, peer(1), database(0));
    world.pass(seconds(1), |_| done());
    world.starts.clear();
    world.pass(seconds(12), |_| done());
    assert_eq!(world.starts[&lane(0, 0)], [10, 20].map(seconds));
    // Another interval begins when it is wished for.
    world.schedule.set_wish(world.now, database(0), Some(Wish::every(seconds(4))));
    world.starts.clear();
    world.pass(seconds(9), |_| done());
    assert_eq!(world.starts[&lane(0, 0)], [24, 28].map(seconds));
    world.schedule.set_wish(world.now, database(0), Some(Wish { interval: None, ..wish }));
    assert_eq!((world.poll(), world.schedule.next_wake()), (Vec::new(), None));
}

#[test]
fn nobody_is_woken_for_a_database_without_a_peer() {
    let mut world = World::with(ScheduleOptions::default(), 1, 1, Wish::every(seconds(1)));
    world.finish();
    world.schedule.unrelate(world.now, peer(0), database(0));
    world.poll();
    assert_eq!(world.schedule.next_wake(), None);
}

#[test]
fn an_interval_of_nothing_is_the_least_one_and_one_without_end_never_passes() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(Duration::ZERO));
    world.pass(seconds(10), |_| done());
    assert_eq!(world.starts[&lane(0, 0)].len(), 10);
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(Duration::MAX));
    world.pass(seconds(10), |_| done());
    assert!(world.starts.is_empty());
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(seconds(u64::MAX / 2)));
    world.now = Duration::MAX - seconds(5);
    assert_eq!(world.poll(), [lane(0, 0)]);
    world.end(lane(0, 0), unreachable());
    assert!(world.poll().is_empty());
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(seconds(10)));
    world.now = seconds(10);
    assert_eq!(world.poll(), [lane(0, 0)]);
    world.schedule.committed(seconds(1), database(0));
    world.end(lane(0, 0), done());
    assert!(world.schedule.poll(seconds(3)).is_empty());
    assert_eq!(world.schedule.next_wake(), Some(seconds(20)));
}

#[test]
fn a_tick_says_that_it_is_one() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(seconds(10)));
    let status = world.schedule.lane(peer(0), database(0)).unwrap();
    assert_eq!((status.state, status.next_attempt), (LaneState::Idle, Some(seconds(10))));
    world.now = seconds(10);
    world.poll();
    assert_eq!(world.why(lane(0, 0)).iter().collect::<Vec<_>>(), [Reason::Interval]);
}
