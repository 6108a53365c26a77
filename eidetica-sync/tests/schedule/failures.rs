//! What follows from failures: who waits, for how long, and who does not.

use std::time::Duration;

use eidetica_contract::{Error, ErrorKind};
use eidetica_sync::schedule::{End, Failure, LaneState, Progress, Reason, ScheduleOptions, Scope, Wish};

use super::kit::*;

fn options() -> ScheduleOptions {
    ScheduleOptions::default()
}

/// Gaps between the rounds of a lane.
fn gaps(world: &World, of: (u16, u16)) -> Vec<Duration> {
    world.starts[&lane(of.0, of.1)].windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn delays_double_up_to_the_ceiling_and_nothing_is_ever_dropped() {
    let mut world = World::with(options(), 1, 1, Wish::live());
    world.pass(seconds(24 * 3600), |_| unreachable());
    let mut whole = options().first_backoff;
    for (nth, gap) in gaps(&world, (0, 0)).into_iter().enumerate() {
        assert!(whole / 2 <= gap && gap <= whole, "gap {nth} is {gap:?} of {whole:?}");
        whole = (whole * 2).min(options().max_backoff);
    }
    let rounds = world.starts[&lane(0, 0)].len();
    assert!((24 * 60..3 * 24 * 60).contains(&rounds), "{rounds} rounds in a day");
    let status = world.schedule.lane(peer(0), database(0)).unwrap();
    assert_eq!(
        (status.rounds, status.failed, u64::from(status.failures)),
        (rounds as u64, rounds as u64, rounds as u64)
    );
    assert_eq!(status.last_failure.unwrap().1.text, "nobody is there");
    assert!(matches!(status.state, LaneState::BackingOff { until } if Some(until) == status.next_attempt));
    // When it is back, it is synced within the ceiling, and all that was held against it is forgotten.
    world.starts.clear();
    world.pass(options().max_backoff, |_| done());
    assert_eq!(world.starts[&lane(0, 0)].len(), 1);
    let status = world.schedule.lane(peer(0), database(0)).unwrap();
    assert_eq!((status.state, status.failures, status.last_failure, status.unsent), (LaneState::Idle, 0, None, false));
    world.schedule.committed(world.now, database(0));
    world.starts.clear();
    world.pass(seconds(1), |_| unreachable());
    assert!(gaps(&world, (0, 0))[0] <= options().first_backoff, "it begins anew with the shortest delay");
}

#[test]
fn a_peer_that_is_away_delays_all_of_its_lanes_and_no_other_peer() {
    let mut world = World::settled(options(), 2, 3, Wish::live());
    (0..3).for_each(|of| world.schedule.committed(world.now, database(of)));
    world.pass(seconds(600), |lane| if lane.peer == peer(0) { unreachable() } else { done() });
    let away: usize = (0..3).map(|of| world.starts.get(&lane(0, of)).map_or(0, Vec::len)).sum();
    assert!((10..40).contains(&away), "{away} rounds with one that is away, whatever the number of its lanes");
    assert!((0..3).all(|of| world.starts[&lane(1, of)].len() == 1));
    // What happens meanwhile does not make it be tried more often.
    world.starts.clear();
    for _ in 0..600 {
        (0..3).for_each(|of| world.schedule.committed(world.now, database(of)));
        world.schedule.news(world.now, peer(1), database(0));
        world.pass(seconds(1), |lane| if lane.peer == peer(0) { unreachable() } else { done() });
    }
    let away: usize = (0..3).map(|of| world.starts.get(&lane(0, of)).map_or(0, Vec::len)).sum();
    assert!((10..40).contains(&away), "{away} rounds in ten minutes");
    assert_eq!(world.starts[&lane(1, 1)].len(), 600);
    world.pass(options().max_backoff, |_| done());
    assert_eq!(world.schedule.unsettled().count(), 0);
}

#[test]
fn a_database_that_is_refused_delays_no_other_database_of_the_peer() {
    let mut world = World::settled(options(), 1, 2, Wish::live());
    for _ in 0..120 {
        (0..2).for_each(|of| world.schedule.committed(world.now, database(of)));
        world.pass(seconds(1), |lane| if lane.database == database(0) { refused() } else { done() });
    }
    assert_eq!(world.starts[&lane(0, 1)].len(), 120);
    let refused = world.starts[&lane(0, 0)].len();
    assert!((7..13).contains(&refused), "{refused} rounds in two minutes");
    let status = world.schedule.lane(peer(0), database(0)).unwrap();
    assert_eq!(status.last_failure.unwrap().1.kind, ErrorKind::NotFound);
    assert_eq!(world.schedule.peer(peer(0)).unwrap().failures, 0);
}

#[test]
fn a_database_whose_rounds_hang_does_not_hold_up_the_others_of_its_peer() {
    let mut world = World::settled(options(), 1, 3, Wish::live());
    (0..3).for_each(|of| world.schedule.committed(world.now, database(of)));
    world.poll();
    // Those of the others come to an end while this one hangs, so it is not the peer that is away.
    for _ in 0..20 {
        world.now += seconds(30);
        (1..3).for_each(|of| world.end(lane(0, of), done()));
        if world.running.values().any(|running| *running == lane(0, 0)) {
            world.end(lane(0, 0), End::Failed(Failure::new(Scope::Peer, ErrorKind::Timeout, "no answer in time")));
        }
        (1..3).for_each(|of| world.schedule.committed(world.now, database(of)));
        let started = world.poll();
        assert!(started.contains(&lane(0, 1)) && started.contains(&lane(0, 2)), "{started:?}");
    }
}

#[test]
fn rounds_that_fail_together_are_one_failure() {
    let mut world = World::settled(options(), 1, 4, Wish::live());
    (0..4).for_each(|of| world.schedule.committed(world.now, database(of)));
    assert_eq!(world.poll().len(), 4);
    world.now += seconds(30);
    (0..4).for_each(|of| world.end(lane(0, of), unreachable()));
    world.poll();
    assert_eq!(world.schedule.peer(peer(0)).unwrap().failures, 1);
    let at = world.schedule.peer(peer(0)).unwrap().retry_at.unwrap();
    assert!(at <= world.now + options().first_backoff);
    // It is tried with one of them, and when it answers with all.
    world.now = at;
    let started = world.poll();
    assert_eq!(started.len(), 1);
    assert!(world.why(started[0]).contains(Reason::Retry));
    world.end(started[0], done());
    assert_eq!(world.poll().len(), 3);
}

#[test]
fn a_sign_of_life_brings_the_next_attempt_forward_but_not_in_a_loop() {
    let mut world = World::with(options(), 1, 1, Wish::live());
    world.pass(seconds(3600), |_| unreachable());
    world.schedule.contact(world.now, peer(0));
    world.starts.clear();
    world.pass(options().first_backoff, |_| unreachable());
    assert_eq!(world.starts[&lane(0, 0)].len(), 1);
    // A peer that comes all the time and cannot be reached is tried at the shortest delay.
    world.starts.clear();
    for _ in 0..1000 {
        world.schedule.contact(world.now, peer(0));
        world.pass(millis(10), |_| unreachable());
    }
    assert!(world.starts[&lane(0, 0)].len() <= 21, "{} rounds in ten seconds", world.starts[&lane(0, 0)].len());
    world.schedule.contact(world.now, peer(9));
}

#[test]
fn who_asks_does_not_wait_for_the_delay_and_is_not_repeated() {
    let mut world = World::with(options(), 1, 2, Wish::live());
    world.pass(seconds(3600), |_| unreachable());
    world.schedule.ask(world.now, peer(0), database(1)).unwrap();
    assert_eq!(world.poll(), [lane(0, 1)]);
    assert!(world.why(lane(0, 1)).contains(Reason::Asked));
    world.end(lane(0, 1), unreachable());
    assert!(world.poll().is_empty());
    let at = world.schedule.peer(peer(0)).unwrap().retry_at.unwrap();
    assert!(at >= world.now + options().max_backoff / 2, "it is one more failure");
    world.pass(options().max_backoff, |_| done());
    // Likewise where the database was refused.
    world.schedule.committed(world.now, database(1));
    world.pass(seconds(3600), |_| refused());
    world.schedule.ask(world.now, peer(0), database(1)).unwrap();
    assert_eq!(world.poll(), [lane(0, 1)]);
}

#[test]
fn a_round_that_the_driver_gives_up_is_begun_again_after_a_pause() {
    let mut world = World::with(options(), 1, 1, Wish::live());
    world.pass(seconds(10), |_| End::Aborted);
    let rounds = world.starts[&lane(0, 0)].len();
    assert_eq!(rounds, 21, "one each half second, since it is nobody's failure");
    assert_eq!(world.schedule.lane(peer(0), database(0)).unwrap().failed, 0);
    // Also one that somebody has asked for, if it was to bring what a watch had not fetched.
    world.pass(seconds(1), |_| done());
    world.schedule.watched_by(world.now, peer(0), [database(0)].into());
    world.schedule.committed(world.now, database(0));
    world.schedule.ask(world.now, peer(0), database(0)).unwrap();
    world.poll();
    world.end(lane(0, 0), End::Aborted);
    world.pass(seconds(10), |_| done());
    assert_eq!(world.schedule.unsettled().count(), 0);
}

#[test]
fn errors_speak_of_the_peer_or_of_the_database() {
    use ErrorKind::{Busy, Closed, Conflict, Corrupted, Full, NotFound, Pending, PermissionDenied};
    use ErrorKind::{Timeout, Unauthenticated, Unreachable};
    let scope = |kind| Failure::of(&Error::new(kind, "text")).scope;
    assert!([Busy, Closed, Timeout, Unauthenticated, Unreachable].into_iter().all(|kind| scope(kind) == Scope::Peer));
    let lane = [Conflict, Corrupted, Full, NotFound, PermissionDenied, Pending];
    assert!(lane.into_iter().all(|kind| scope(kind) == Scope::Lane));
    let long = Failure::new(Scope::Lane, NotFound, "ü".repeat(1000));
    assert_eq!(long.text, "ü".repeat(256));
}

#[test]
fn rounds_are_bounded_in_all_and_for_each_peer_and_none_waits_for_ever() {
    let mut options = options();
    (options.rounds, options.probes, options.rounds_per_peer) = (5, 3, 2);
    let mut world = World::with(options, 10, 10, Wish::live());
    // Nobody has answered yet, so each peer has one.
    assert_eq!(world.poll().len(), 3);
    let mut begun = 3;
    while let Some((round, _)) = world.running.first_key_value().map(|(round, lane)| (*round, *lane)) {
        world.end_round(round, done());
        begun += world.poll().len();
        let busy = world.schedule.busy();
        assert!(busy.rounds <= 5 && busy.probes <= 3 && busy.rounds + busy.probes == world.running.len());
        for number in 0..10 {
            let of_peer = world.running.values().filter(|lane| lane.peer == peer(number)).count();
            assert!(of_peer <= 2, "{of_peer} rounds with one peer");
        }
    }
    assert_eq!(begun, 100);
}

#[test]
fn a_peer_with_a_thousand_lanes_does_not_stand_before_one_with_a_single_one() {
    let mut options = options();
    options.rounds = 1;
    let mut world = World::settled(options, 1, 1000, Wish::live());
    world.schedule.set_dialable(world.now, peer(1), true);
    world.schedule.relate(world.now, peer(1), database(0));
    world.finish();
    (1..1000).for_each(|of| world.schedule.committed(world.now, database(of)));
    world.poll();
    world.schedule.committed(world.now, database(0));
    let mut before = 0;
    while !world.running.values().any(|lane| lane.peer == peer(1)) {
        let round = *world.running.first_key_value().unwrap().0;
        world.end_round(round, done());
        world.poll();
        before += 1;
        assert!(before <= 2, "it waits behind all the lanes of the other one");
    }
}

#[test]
fn a_round_that_hears_nothing_gives_its_place_away_and_one_that_hears_keeps_it() {
    let mut options = options();
    (options.rounds, options.probes) = (2, 2);
    let mut world = World::settled(options, 4, 1, Wish::live());
    world.schedule.committed(world.now, database(0));
    let first = world.poll();
    assert_eq!(first.len(), 2);
    let talks = world.round(first[1]);
    for _ in 0..9 {
        world.now += options.patience / 10;
        world.schedule.progressed(world.now, talks, Progress::default());
        assert!(world.poll().is_empty());
    }
    world.now += options.patience / 10;
    assert_eq!(world.poll().len(), 1, "the place of the one that is silent");
    let busy = world.schedule.busy();
    assert_eq!((busy.rounds, busy.probes, busy.waiting), (2, 1, 1));
    // Silent ones, too, are bounded: then places stay taken.
    world.now += options.patience * 10;
    assert_eq!(world.poll().len(), 1);
    world.now += options.patience * 10;
    assert!(world.poll().is_empty());
    // When it is heard again, it comes back as soon as there is a place.
    world.end_round(talks, done());
    world.poll();
    let silent = world.round(first[0]);
    world.schedule.progressed(world.now, silent, Progress::default());
    world.poll();
    let busy = world.schedule.busy();
    assert!(busy.rounds <= 2 && busy.probes <= 2 && busy.rounds + busy.probes == 3, "{busy:?}");
}

/// How long a commit takes to reach the last peer, with so many others that answer nothing until 30 s have passed.
fn latencies(black_holes: u16, fall_silent_later: bool) -> Vec<Duration> {
    let mut world = World::new(options());
    world.schedule.set_wish(world.now, database(0), Some(Wish::live()));
    let good = black_holes;
    for number in 0..=good {
        world.schedule.set_dialable(world.now, peer(number), true);
        world.schedule.relate(world.now, peer(number), database(0));
    }
    if fall_silent_later {
        world.finish();
    }
    let (timeout, answer) = (seconds(30), millis(20));
    let mut ends: Vec<(Duration, eidetica_sync::schedule::RoundId, bool)> = Vec::new();
    let mut took = Vec::new();
    let mut commit = (world.now, false);
    let mut next_commit = seconds(1);
    while took.len() < 200 {
        for lane in world.poll() {
            let is_good = lane.peer == peer(good);
            ends.push((world.now + if is_good { answer } else { timeout }, world.round(lane), is_good));
        }
        let wake = ends.iter().map(|end| end.0).chain(world.schedule.next_wake()).chain([next_commit]).min().unwrap();
        world.now = wake;
        ends.sort();
        while ends.first().is_some_and(|end| end.0 <= world.now) {
            let (_, round, is_good) = ends.remove(0);
            world.end_round(round, if is_good { done() } else { unreachable() });
            let settled = !world.schedule.lane(peer(good), database(0)).unwrap().unsent;
            if is_good && commit.1 && settled {
                took.push(world.now - commit.0);
                commit.1 = false;
            }
        }
        if world.now >= next_commit {
            world.schedule.committed(world.now, database(0));
            commit = if commit.1 { commit } else { (world.now, true) };
            next_commit += seconds(1);
        }
    }
    took.sort();
    took
}

#[test]
fn seven_black_holes_do_not_delay_an_eighth_peer_nor_do_a_hundred() {
    let alone = latencies(0, false);
    for (black_holes, later) in [(7, false), (7, true), (100, false), (100, true)] {
        let beside = latencies(black_holes, later);
        let (median, of_alone) = (beside[100], alone[100]);
        assert!(median * 2 <= of_alone * 3, "beside {black_holes}: {median:?}, alone: {of_alone:?}");
        // There are places for seven from the first moment on.
        assert!(beside[199] * 2 <= of_alone * 3 || black_holes > 7, "the slowest: {:?}", beside[199]);
    }
}

#[test]
fn a_new_peer_does_not_queue_behind_hundreds_that_have_been_away_for_long() {
    let mut options = options();
    options.probes = 4;
    let mut world = World::with(options, 400, 1, Wish::live());
    let mut ends: Vec<(Duration, eidetica_sync::schedule::RoundId)> = Vec::new();
    let mut added = None;
    let until = seconds(12 * 3600);
    let mut tried = std::collections::BTreeSet::new();
    while world.now < until {
        if world.now > until / 2 && added.is_none() {
            added = Some(world.now);
            world.schedule.set_dialable(world.now, peer(999), true);
            world.schedule.relate(world.now, peer(999), database(0));
        }
        for lane in world.poll() {
            if lane == self::lane(999, 0) {
                let waited = world.now - added.unwrap();
                assert!(waited <= seconds(30), "the new one waited for {waited:?}");
                world.end(lane, done());
                added = Some(until);
            } else {
                if world.now > until / 2 {
                    tried.insert(lane);
                }
                ends.push((world.now + seconds(30), world.round(lane)));
            }
        }
        ends.sort();
        world.now = ends.iter().map(|end| end.0).chain(world.schedule.next_wake()).min().unwrap();
        while ends.first().is_some_and(|end| end.0 <= world.now) {
            let (_, round) = ends.remove(0);
            world.end_round(round, unreachable());
        }
    }
    assert_eq!(added, Some(until), "the new one had its turn");
    assert_eq!(tried.len(), 400, "and so had every old one");
}

#[test]
fn a_peer_that_was_away_for_long_has_its_turn_however_many_new_ones_come() {
    let mut options = options();
    options.probes = 1;
    let mut world = World::with(options, 1, 1, Wish::live());
    world.pass(seconds(3600), |_| unreachable());
    world.starts.clear();
    // One place, half a minute for each, and two new ones come in that time.
    for nth in 0..100 {
        for new in [1000 + 2 * nth, 1001 + 2 * nth] {
            world.schedule.set_dialable(world.now, peer(new), true);
            world.schedule.relate(world.now, peer(new), database(0));
        }
        for lane in world.poll() {
            world.now += seconds(30);
            world.end(lane, unreachable());
        }
    }
    let turns = world.starts.get(&lane(0, 0)).map_or(0, Vec::len);
    // Those that came first have been away for long, too, by then, and share the half of the turns with it.
    assert!((5..=50).contains(&turns), "it had {turns} turns of a hundred");
}
