//! Watches: those that are held with others, and those that others hold here.

use std::collections::BTreeSet;

use eidetica_sync::schedule::{Reason, ScheduleOptions, Wish};

use super::kit::*;

fn world(databases: u16) -> World {
    let mut world = World::settled(ScheduleOptions::default(), 1, databases, Wish::live());
    world.pass(seconds(1), |_| done());
    world
}

#[test]
fn a_peer_is_watched_for_what_it_has_answered() {
    let mut world = World::with(ScheduleOptions::default(), 1, 3, Wish::live());
    world.poll();
    assert!(world.watched.is_empty(), "nobody knows yet whether it is there");
    world.end(lane(0, 0), done());
    world.poll();
    assert_eq!(world.watched[&peer(0)], [database(0)]);
    // What comes in quick succession is told together.
    world.end(lane(0, 1), done());
    world.poll();
    world.end(lane(0, 2), refused());
    world.poll();
    assert_eq!(world.watched[&peer(0)], [database(0)]);
    world.now = world.schedule.next_wake().unwrap();
    world.poll();
    assert_eq!(world.watched[&peer(0)], [database(0), database(1)]);
}

#[test]
fn thousands_of_databases_are_not_told_thousands_of_times() {
    let databases = 4000;
    let mut world = World::with(ScheduleOptions::default(), 1, databases, Wish::live());
    world.poll();
    while let Some(round) = world.running.keys().next().copied() {
        world.now += millis(1);
        world.end_round(round, done());
        world.poll();
    }
    world.pass(seconds(1), |_| done());
    assert_eq!(world.watched[&peer(0)].len(), usize::from(databases));
    // Four seconds, ten times a second, and two thousand on the way.
    assert!(world.told <= 50 * usize::from(databases), "{} were named", world.told);
}

#[test]
fn a_database_without_sync_on_commit_is_not_watched() {
    let mut world = World::settled(ScheduleOptions::default(), 1, 1, Wish::every(seconds(60)));
    world.pass(seconds(61), |_| done());
    assert!(world.watched.is_empty());
    world.schedule.set_wish(world.now, database(0), Some(Wish::live()));
    world.poll();
    assert_eq!(world.watched[&peer(0)], [database(0)]);
    world.schedule.set_wish(world.now, database(0), Some(Wish::every(seconds(60))));
    world.poll();
    assert!(world.watched.is_empty());
}

#[test]
fn what_is_no_longer_to_be_watched_is_told_at_once() {
    let mut world = world(3);
    assert_eq!(world.watched[&peer(0)].len(), 3);
    world.schedule.set_wish(world.now, database(0), None);
    world.poll();
    assert_eq!(world.watched[&peer(0)], [database(1), database(2)]);
    world.schedule.unrelate(world.now, peer(0), database(1));
    world.poll();
    assert_eq!(world.watched[&peer(0)], [database(2)]);
    world.schedule.committed(world.now, database(2));
    world.poll();
    world.end(lane(0, 2), refused());
    world.poll();
    assert!(world.watched.is_empty());
}

#[test]
fn a_peer_that_can_no_longer_be_dialled_is_not_watched() {
    let mut world = world(1);
    world.schedule.set_dialable(world.now, peer(0), false);
    world.poll();
    assert!(world.watched.is_empty());
    world.schedule.set_dialable(world.now, peer(0), true);
    assert_eq!(world.poll(), [lane(0, 0)], "it may have had news meanwhile");
    world.end(lane(0, 0), done());
    world.pass(seconds(1), |_| done());
    assert_eq!(world.watched[&peer(0)], [database(0)]);
    world.schedule.forget_peer(world.now, peer(0));
    world.poll();
    assert!(world.watched.is_empty());
}

#[test]
fn news_make_a_round_begin_and_show_that_the_peer_is_there() {
    let mut world = world(2);
    world.schedule.news(world.now, peer(0), database(1));
    assert_eq!(world.poll(), [lane(0, 1)]);
    assert!(world.why(lane(0, 1)).contains(Reason::News));
    world.end(lane(0, 1), unreachable());
    world.poll();
    assert_eq!(world.schedule.peer(peer(0)).unwrap().failures, 1);
    world.schedule.answered(world.now, peer(0));
    assert_eq!(world.schedule.peer(peer(0)).unwrap().failures, 0);
    assert_eq!(world.poll(), [lane(0, 1)]);
    // Of what is not related, or not wished for, nothing follows.
    world.schedule.news(world.now, peer(0), database(7));
    world.schedule.news(world.now, peer(7), database(1));
    assert!(world.poll().is_empty());
}

#[test]
fn after_a_watch_has_failed_everything_is_compared_and_then_it_is_watched_again() {
    let mut world = world(3);
    world.watch_fails(peer(0));
    assert_eq!(world.poll().len(), 1, "one round shows whether it is there");
    let first = *world.running.values().next().unwrap();
    assert!(world.why(first).contains(Reason::Reconnect));
    world.end(first, unreachable());
    world.pass(seconds(600), |_| unreachable());
    assert!(world.watched.is_empty());
    world.starts.clear();
    world.pass(seconds(61), |_| done());
    assert_eq!((world.starts.len(), world.watched[&peer(0)].len()), (3, 3));
}

#[test]
fn a_peer_that_answers_rounds_and_never_a_watch_is_bothered_ever_more_rarely() {
    let mut world = world(2);
    let mut failures = 0;
    world.starts.clear();
    for _ in 0..36_000 {
        if world.watched.contains_key(&peer(0)) {
            world.watch_fails(peer(0));
            failures += 1;
        }
        world.pass(millis(100), |_| done());
    }
    assert!((60..160).contains(&failures), "{failures} watches in an hour");
    assert!(world.starts[&lane(0, 1)].len() <= failures);
    // Not even a new address shortens that.
    while !world.watched.contains_key(&peer(0)) {
        world.pass(seconds(1), |_| done());
    }
    world.watch_fails(peer(0));
    world.pass(seconds(1), |_| done());
    world.schedule.set_dialable(world.now, peer(0), false);
    world.schedule.set_dialable(world.now, peer(0), true);
    world.pass(seconds(1), |_| done());
    assert!(!world.watched.contains_key(&peer(0)));
    // One that is answered is as good as new.
    world.schedule.answered(world.now, peer(0));
    while !world.watched.contains_key(&peer(0)) {
        world.pass(seconds(1), |_| done());
    }
    world.schedule.answered(world.now, peer(0));
    world.watch_fails(peer(0));
    world.pass(seconds(1), |_| done());
    assert!(world.watched.contains_key(&peer(0)));
}

#[test]
fn a_peer_that_watches_here_is_left_to_fetch_by_itself() {
    let mut world = world(2);
    world.schedule.watched_by(world.now, peer(0), BTreeSet::from([database(0)]));
    world.schedule.committed(world.now, database(0));
    world.schedule.committed(world.now, database(1));
    assert_eq!(world.poll(), [lane(0, 1)]);
    world.end(lane(0, 1), done());
    assert_eq!(world.schedule.unsettled().collect::<Vec<_>>(), [lane(0, 0)]);
    let mark = world.schedule.mark(&database(0));
    world.schedule.served(world.now, peer(0), database(0), mark);
    assert_eq!(world.schedule.unsettled().count(), 0);
    world.starts.clear();
    world.pass(seconds(60), |_| done());
    assert!(world.starts.is_empty());
}

#[test]
fn what_a_watching_peer_does_not_fetch_is_sent_after_all() {
    let grace = ScheduleOptions::default().watch_grace;
    let mut world = world(1);
    world.schedule.watched_by(world.now, peer(0), BTreeSet::from([database(0)]));
    let before = world.schedule.mark(&database(0));
    let since = world.now;
    world.schedule.committed(world.now, database(0));
    // What it fetched before does not hold that commit.
    world.schedule.served(world.now, peer(0), database(0), before);
    world.starts.clear();
    world.now += grace / 2;
    world.schedule.committed(world.now, database(0));
    assert_eq!(world.schedule.lane(peer(0), database(0)).unwrap().next_attempt, Some(since + grace));
    world.pass(grace, |_| done());
    assert_eq!(world.starts[&lane(0, 0)], [since + grace]);
    // When it no longer watches, all is as before.
    world.schedule.watched_by(world.now, peer(0), BTreeSet::new());
    world.schedule.committed(world.now, database(0));
    assert_eq!(world.poll(), [lane(0, 0)]);
}

#[test]
fn what_a_peer_has_fetched_need_not_be_sent() {
    let mut options = ScheduleOptions::default();
    options.rounds = 1;
    let mut world = World::settled(options, 2, 1, Wish::live());
    world.schedule.committed(world.now, database(0));
    assert_eq!(world.poll(), [lane(0, 0)]);
    let mark = world.schedule.mark(&database(0));
    world.schedule.served(world.now, peer(1), database(0), mark);
    world.end(lane(0, 0), done());
    assert!(world.poll().is_empty());
    assert_eq!(world.schedule.unsettled().count(), 0);
}

#[test]
fn what_comes_from_a_peer_that_watches_goes_to_the_others_alone() {
    let mut world = World::settled(ScheduleOptions::default(), 3, 1, Wish::live());
    for number in 0..2 {
        world.schedule.watched_by(world.now, peer(number), BTreeSet::from([database(0)]));
    }
    world.schedule.arrived(world.now, database(0), Some(peer(0)));
    assert_eq!(world.poll(), [lane(2, 0)]);
    world.finish();
    assert_eq!(world.schedule.unsettled().collect::<Vec<_>>(), [lane(1, 0)]);
    world.starts.clear();
    world.pass(seconds(10), |_| done());
    assert_eq!(world.starts.keys().collect::<Vec<_>>(), [&lane(1, 0)]);
}

#[test]
fn a_round_brings_what_was_left_to_a_watch() {
    let mut world = world(1);
    world.schedule.watched_by(world.now, peer(0), BTreeSet::from([database(0)]));
    world.schedule.committed(world.now, database(0));
    world.schedule.ask(world.now, peer(0), database(0)).unwrap();
    world.starts.clear();
    world.pass(seconds(60), |_| done());
    assert_eq!(world.starts[&lane(0, 0)].len(), 1);
    // One that fails has brought nothing.
    world.schedule.committed(world.now, database(0));
    world.schedule.ask(world.now, peer(0), database(0)).unwrap();
    world.poll();
    world.end(lane(0, 0), unreachable());
    world.pass(seconds(60), |_| done());
    assert_eq!(world.schedule.unsettled().count(), 0);
}
