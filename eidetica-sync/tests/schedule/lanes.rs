//! What makes a round begin, and what does not.

use eidetica_contract::{Error, ErrorKind};
use eidetica_sync::schedule::{
    Behind, Done, End, Failure, LaneState, Progress, Reason, ScheduleOptions, Scope, Stop, Wish,
};

use super::kit::*;

#[test]
fn a_new_lane_is_synced_at_once_whatever_came_first() {
    let (peer, database) = (peer(0), database(0));
    for order in 0..6 {
        let mut world = World::new(ScheduleOptions::default());
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for step in orders[order] {
            assert!(world.poll().is_empty());
            match step {
                0 => world.schedule.set_wish(world.now, database, Some(Wish::live())),
                1 => world.schedule.set_dialable(world.now, peer, true),
                _ => world.schedule.relate(world.now, peer, database),
            }
        }
        assert_eq!(world.poll(), [lane(0, 0)]);
        assert!(world.why(lane(0, 0)).contains(Reason::Start));
        assert!(world.poll().is_empty());
    }
}

#[test]
fn a_commit_goes_to_every_peer_of_its_database_and_to_no_other() {
    let mut world = World::settled(ScheduleOptions::default(), 3, 2, Wish::live());
    world.schedule.committed(world.now, database(1));
    assert_eq!(world.poll(), [lane(0, 1), lane(1, 1), lane(2, 1)]);
    assert!(world.why(lane(2, 1)).contains(Reason::Commit));
}

#[test]
fn what_arrives_goes_on_to_all_but_whom_it_came_from() {
    let mut world = World::settled(ScheduleOptions::default(), 3, 1, Wish::live());
    world.schedule.arrived(world.now, database(0), Some(peer(1)));
    assert_eq!(world.poll(), [lane(0, 0), lane(2, 0)]);
    assert!(world.why(lane(0, 0)).contains(Reason::Arrival));
    let status = world.schedule.lane(peer(1), database(0)).unwrap();
    assert!(!status.unsent, "it has what it has sent");
    assert!(world.schedule.lane(peer(0), database(0)).unwrap().unsent);
    world.finish();
    assert_eq!(world.schedule.unsettled().count(), 0);
}

#[test]
fn a_comparison_that_the_peer_began_counts_as_one() {
    let mut world = World::with(ScheduleOptions::default(), 2, 1, Wish::live());
    world.poll();
    let failure = Failure::new(Scope::Lane, ErrorKind::Internal, "something");
    world.end(lane(0, 0), End::Failed(failure));
    assert!(world.schedule.lane(peer(0), database(0)).unwrap().last_failure.is_some());
    world.now += seconds(5);
    world.schedule.compared(world.now, peer(0), database(0));
    let status = world.schedule.lane(peer(0), database(0)).unwrap();
    assert_eq!((status.last_success, status.last_failure, status.failures), (Some(world.now), None, 0));
    assert_eq!(status.behind, Some(Behind::default()));
    // Of another peer, and of one that is not known, it says nothing.
    world.schedule.compared(world.now, peer(7), database(0));
    assert_eq!(world.schedule.lane(peer(1), database(0)).unwrap().last_success, None);
}

#[test]
fn what_is_kept_of_an_error_is_bounded() {
    let mut error = Error::new(ErrorKind::PermissionDenied, "no".repeat(1000)).with("reason", "removed");
    for number in 0..100 {
        error = error.with(format!("pair {number}"), "é".repeat(1000));
    }
    let Failure { scope, text, context, .. } = Failure::of(&error);
    assert_eq!((scope, text.len(), context.len()), (Scope::Lane, 512, 16));
    assert_eq!(context[0], ("reason".to_owned(), "removed".to_owned()));
    assert!(context.iter().all(|(_, value)| value.len() <= 512));
}

#[test]
fn what_a_round_itself_brings_is_not_unsent_after_it() {
    let mut world = World::with(ScheduleOptions::default(), 2, 1, Wish::live());
    world.poll();
    world.schedule.arrived(world.now, database(0), Some(peer(0)));
    world.end(lane(0, 0), done());
    assert!(!world.schedule.lane(peer(0), database(0)).unwrap().unsent);
    assert!(world.poll().is_empty());
    // The other one was being synced while it came, so that it may have missed it.
    world.end(lane(1, 0), done());
    assert!(world.schedule.lane(peer(1), database(0)).unwrap().unsent);
    assert_eq!(world.poll(), [lane(1, 0)]);
}

#[test]
fn without_a_wish_for_it_a_commit_pushes_nothing_and_is_known_to_be_unsent() {
    let wish = Wish { on_commit: false, ..Wish::live() };
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, wish);
    world.schedule.committed(world.now, database(0));
    world.schedule.arrived(world.now, database(0), None);
    assert!(world.poll().is_empty());
    assert_eq!(world.schedule.unsettled().collect::<Vec<_>>(), [lane(0, 0)]);
    world.schedule.set_wish(world.now, database(0), Some(Wish::live()));
    assert_eq!(world.poll(), [lane(0, 0)]);
}

#[test]
fn what_happens_during_a_round_makes_one_more_follow() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::live());
    world.schedule.committed(world.now, database(0));
    assert_eq!(world.poll(), [lane(0, 0)]);
    for _ in 0..10 {
        world.schedule.committed(world.now, database(0));
        world.schedule.news(world.now, peer(0), database(0));
        assert!(world.poll().is_empty());
    }
    world.end(lane(0, 0), done());
    assert_eq!(world.poll(), [lane(0, 0)]);
    assert!(world.why(lane(0, 0)).contains(Reason::News));
    world.end(lane(0, 0), done());
    assert!(world.poll().is_empty());
    assert_eq!(world.schedule.unsettled().count(), 0);
}

#[test]
fn telling_the_same_twice_changes_nothing() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::live());
    world.schedule.relate(world.now, peer(0), database(0));
    world.schedule.set_dialable(world.now, peer(0), true);
    world.schedule.set_wish(world.now, database(0), Some(Wish::live()));
    assert!(world.poll().is_empty());
    assert_eq!(world.schedule.lanes().count(), 1);
}

#[test]
fn after_the_end_of_a_wish_nothing_of_it_begins_and_what_runs_is_aborted() {
    let wish = Wish { interval: Some(seconds(1)), ..Wish::live() };
    let mut world = World::settled(ScheduleOptions::default(), 2, 2, wish);
    world.schedule.committed(world.now, database(0));
    world.poll();
    world.schedule.committed(world.now, database(0));
    let of_it = world.running.len();
    world.schedule.set_wish(world.now, database(0), None);
    world.poll();
    assert_eq!(world.aborted.len(), of_it);
    assert_eq!(world.watched[&peer(0)], [database(1)]);
    world.starts.clear();
    // The driver is slow, and some rounds still come to an end of their own.
    world.end(lane(0, 0), done());
    world.end(lane(1, 0), unreachable());
    for _ in 0..60 {
        world.schedule.committed(world.now, database(0));
        world.schedule.arrived(world.now, database(0), None);
        world.schedule.news(world.now, peer(0), database(0));
        world.schedule.contact(world.now, peer(1));
        world.pass(seconds(1), |_| done());
    }
    assert!(world.starts.keys().all(|lane| lane.database == database(1)), "{:?}", world.starts.keys());
    assert_eq!(world.state(lane(0, 0)), LaneState::Stopped(Stop::NotWished));
    assert!(world.watched.values().all(|databases| databases[..] == [database(1)]));
    world.schedule.set_wish(world.now, database(0), Some(wish));
    assert_eq!(world.poll(), [lane(0, 0), lane(1, 0)]);
}

#[test]
fn a_wish_that_comes_back_waits_for_the_round_that_is_being_aborted() {
    let mut world = World::with(ScheduleOptions::default(), 1, 1, Wish::live());
    world.poll();
    world.schedule.set_wish(world.now, database(0), None);
    world.schedule.set_wish(world.now, database(0), Some(Wish::live()));
    assert!(world.poll().is_empty());
    assert!(matches!(world.state(lane(0, 0)), LaneState::Running { aborting: true, .. }));
    world.end(lane(0, 0), End::Aborted);
    assert_eq!(world.poll(), [lane(0, 0)]);
}

#[test]
fn a_relation_that_ends_takes_its_lane_along() {
    let mut world = World::with(ScheduleOptions::default(), 1, 2, Wish::live());
    world.poll();
    world.schedule.unrelate(world.now, peer(0), database(0));
    world.poll();
    assert_eq!(world.aborted.len(), 1);
    assert!(world.schedule.lane(peer(0), database(0)).is_none());
    let round = world.round(lane(0, 0));
    world.end_round(round, unreachable());
    assert_eq!(world.schedule.lanes().collect::<Vec<_>>(), [lane(0, 1)]);
    world.schedule.forget_peer(world.now, peer(0));
    world.finish();
    assert!(world.schedule.peer(peer(0)).is_none());
    assert_eq!((world.schedule.lanes().count(), world.schedule.next_wake()), (0, None));
}

#[test]
fn a_peer_without_an_address_is_left_alone_until_it_has_one() {
    let mut world = World::new(ScheduleOptions::default());
    world.schedule.set_wish(world.now, database(0), Some(Wish::every(seconds(1))));
    world.schedule.relate(world.now, peer(0), database(0));
    assert!(world.schedule.ask(world.now, peer(0), database(0)).is_none());
    world.pass(seconds(10), |_| done());
    assert!(world.starts.is_empty());
    assert_eq!(world.state(lane(0, 0)), LaneState::Stopped(Stop::NoAddress));
    world.schedule.set_dialable(world.now, peer(0), true);
    assert_eq!(world.poll(), [lane(0, 0)]);
}

#[test]
fn who_asks_is_told_which_rounds_count() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::live());
    let first = world.schedule.ask(world.now, peer(0), database(0)).unwrap();
    world.poll();
    assert!(world.round(lane(0, 0)) >= first);
    // A round that has begun before may have missed what this one asks for.
    let second = world.schedule.ask(world.now, peer(0), database(0)).unwrap();
    assert!(world.round(lane(0, 0)) < second);
    world.end(lane(0, 0), done());
    world.poll();
    assert!(world.round(lane(0, 0)) >= second);
    assert!(world.schedule.ask(world.now, peer(0), database(1)).is_none());
    assert!(world.schedule.ask(world.now, peer(1), database(0)).is_none());
}

#[test]
fn somebody_may_ask_for_what_nobody_wishes_and_it_is_tried_once() {
    let mut world = World::with(ScheduleOptions::default(), 1, 1, Wish::default());
    world.schedule.ask(world.now, peer(0), database(0)).unwrap();
    assert_eq!(world.poll(), [lane(0, 0)]);
    world.end(lane(0, 0), unreachable());
    world.pass(seconds(1000), |_| done());
    assert_eq!(world.starts[&lane(0, 0)].len(), 1);
}

#[test]
fn a_round_that_left_something_is_followed_by_another_one_but_not_without_end_at_once() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::live());
    world.schedule.committed(world.now, database(0));
    world.poll();
    world.end(lane(0, 0), End::Done(Done { complete: false, received: 5, sent: 0 }));
    assert_eq!(world.poll(), [lane(0, 0)]);
    assert!(world.why(lane(0, 0)).contains(Reason::More));
    // One that moves nothing is repeated ever more rarely.
    world.end(lane(0, 0), End::Done(Done::default()));
    world.pass(seconds(600), |_| End::Done(Done::default()));
    let rounds = world.starts[&lane(0, 0)].len();
    assert!((12..40).contains(&rounds), "{rounds} rounds in ten minutes");
}

#[test]
fn status_tells_what_rounds_have_done() {
    let mut world = World::with(ScheduleOptions::default(), 1, 1, Wish::every(seconds(60)));
    world.poll();
    let round = world.round(lane(0, 0));
    let behind = Some(Behind { here: 90, there: 3 });
    world.schedule.progressed(world.now, round, Progress { received: 10, sent: 2, behind });
    let status = world.schedule.lane(peer(0), database(0)).unwrap();
    assert_eq!((status.received, status.sent, status.behind), (10, 2, behind));
    assert!(matches!(status.state, LaneState::Running { .. }) && status.next_attempt.is_none() && status.unsent);
    world.now = seconds(5);
    world.end(lane(0, 0), End::Done(Done { complete: true, received: 90, sent: 1 }));
    world.poll();
    let status = world.schedule.lane(peer(0), database(0)).unwrap();
    assert_eq!((status.received, status.sent, status.behind), (100, 3, Some(Behind::default())));
    assert_eq!((status.rounds, status.failed, status.last_success), (1, 0, Some(seconds(5))));
    assert_eq!((status.state, status.next_attempt, status.unsent), (LaneState::Idle, Some(seconds(60)), false));
    // Of a round that has ended nothing is believed.
    world.schedule.progressed(world.now, round, Progress { received: 10, ..Progress::default() });
    world.schedule.ended(world.now, round, unreachable(), &mut || 0);
    assert_eq!(world.schedule.lane(peer(0), database(0)).unwrap(), status);
}
