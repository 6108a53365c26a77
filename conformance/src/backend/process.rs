//! What shows only between processes: what is left of one that was killed, and what another one sees or is refused.

use std::time::Duration;

use eidetica_contract::ErrorKind;
use proptest::prelude::Rng as _;
use tokio::time::Instant;

use super::{Ground, ONE, OTHER, Store, dump, kind, put};
use crate::case::case;
use crate::process::{Other, Starts, count_once};
use crate::{Budget, Case, Place, seed};

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.process.a-killed-one-leaves-a-prefix",
        "After a crash of the process, of the system or of the power, the store holds a prefix of the commit order that includes at least all that was flushed.",
        leaves_a_prefix, need Durable + Process, sees ["killed while it wrote"]),
    case!(Backend, must "backend.process.a-killed-one-locks-nobody-out",
        "After a crash a store opens by itself: the backend cuts off what was written halfway (a torn record at the end of a log, say), back to a prefix of the commit order that holds at least all that was flushed.",
        locks_nobody_out, need Durable + Process),
    case!(Backend, must "backend.process.another-one-is-locked-out",
        "Any other backend sees to it that a store is open once: it holds a lock for as long as it has the store open, and a second opening, by this process or another, answers [`ErrorKind::Locked`] and changes nothing.",
        another_is_locked_out, need Exclusive + Process),
    case!(Backend, must "backend.process.starting-others-keeps-no-lock",
        "So it can while this process starts others, which have its files open until their own programs run, and with them a lock of `flock(2)` that was dropped rather than given back by a call.",
        starting_keeps_no_lock, need Durable + Process, sees ["a process was being started"]),
    case!(Backend, must "backend.process.two-see-one-order",
        "A backend whose store several processes may have open says so in [`Capabilities::shared`], and then each of them sees one commit order.",
        two_see_one_order, need Shared + Process, sees ["both at once"]),
    case!(Backend, must "backend.process.others-are-heard",
        "A number that differs from an earlier answer if somebody else may have committed in between: another process, or another handle on the same store.",
        others_are_heard, need Shared + Process),
    case!(Backend, must "backend.process.nothing-lasts-undeclared",
        "What is not declared is checked to be refused.", nothing_lasts, need Process, unless Durable),
];

fn elsewhere(place: &dyn Place) -> String {
    place.elsewhere().expect("another process is told where the store is")
}

/// A process writes, and is killed at any moment.
async fn leaves_a_prefix(ground: Ground) {
    let place = ground.place().await;
    let mut random = seed::rng(ground.seed);
    let mut least = 0u32;
    for round in 0..if ground.budget == Budget::Quick { 6 } else { 100 } {
        let mut other = Other::open(&elsewhere(&*place)).await;
        other.tell(&format!("write {}", least + 1));
        let mut answers = Vec::new();
        for _ in 0..1 + random.next_u32() % 40 {
            answers.push(other.answer().await);
        }
        answers.extend(other.kill().await);
        let number = |answer: &String, word: &str| answer.strip_prefix(word).and_then(|number| number.parse().ok());
        let committed: u32 = answers.iter().filter_map(|one| number(one, "committed ")).max().unwrap_or(least);
        let flushed: u32 = answers.iter().filter_map(|one| number(one, "flushed ")).max().unwrap_or(least);
        if committed > least {
            ground.saw("killed while it wrote");
        }
        let store = place.open().await.expect("what a killed process has left opens");
        let rows = dump(&*store.snapshot().await.expect("a snapshot")).await;
        for row in &rows {
            assert!(row.2.len() == 3000, "round {round}: a value was cut to {} bytes", row.2.len());
        }
        let numbers = |keyspace: eidetica_contract::Keyspace| -> Vec<u32> {
            let of = rows.iter().filter(|row| row.0 == keyspace.number());
            of.map(|row| u32::from_be_bytes(row.1[..].try_into().expect("a number"))).collect()
        };
        let (one, two) = (numbers(ONE), numbers(OTHER));
        assert_eq!(one, two, "round {round}: half of a commit is left");
        let kept = one.len() as u32;
        assert_eq!(one, (1..=kept).collect::<Vec<_>>(), "round {round}: a commit in between is missing");
        assert!(kept >= flushed, "round {round}: {flushed} commits were flushed, and {kept} are left");
        // The one that it was at may be there, too.
        assert!(kept <= committed + 1, "round {round}: {committed} commits were made, and {kept} are there");
        least = kept;
        store.close().await.expect("it closes");
    }
}

async fn locks_nobody_out(ground: Ground) {
    let store = ground.fresh().await;
    store.put("before", "kept").await;
    store.backend.close().await.expect("it closes");
    let place = store.place;
    for order in [None, Some("put k v"), Some("write 1")] {
        let mut other = Other::open(&elsewhere(&*place)).await;
        if let Some(order) = order {
            other.ask(order).await;
        }
        other.kill().await;
        // Nobody waits, and nobody repairs anything.
        let backend = place.open().await.expect("the store opens after its process was killed");
        let found = backend.snapshot().await.expect("a snapshot").get(ONE, b"before").await.expect("a key can be read");
        assert_eq!(found.as_deref(), Some(&b"kept"[..]));
        backend.close().await.expect("it closes");
        // So does one in a process of its own.
        drop(Other::open(&elsewhere(&*place)).await);
    }
}

async fn another_is_locked_out(ground: Ground) {
    let store = ground.fresh().await;
    store.put("k", "v").await;
    // Here is who has it.
    for _ in 0..2 {
        let begun = Instant::now();
        let (_refused, answer) = Other::start(&elsewhere(&*store.place)).await;
        assert_eq!(answer, "error Locked", "another process opens what is open here");
        assert!(begun.elapsed() < Duration::from_secs(30), "it was told after {:?}", begun.elapsed());
    }
    store.put("more", "v").await;
    assert_eq!(store.dump().await.len(), 2, "who was refused has changed something");
    store.backend.close().await.expect("it closes");
    // There is who has it.
    let mut other = Other::open(&elsewhere(&*store.place)).await;
    assert_eq!(other.ask("get more").await, "v");
    for _ in 0..2 {
        assert_eq!(kind(store.place.open().await), Some(ErrorKind::Locked), "it opens what another process has open");
        assert_eq!(other.ask("put there v").await, "done");
    }
    assert_eq!(other.ask("close").await, "done");
    let backend = store.place.open().await.expect("what another process has closed opens").into();
    let store = Store { backend, place: store.place };
    assert_eq!(store.dump().await.len(), 3);
}

async fn starting_keeps_no_lock(ground: Ground) {
    let place = ground.place().await;
    let others = Starts::begin();
    let mut closed = 0;
    // As many of either, so that many closings fall into the start of a process whichever takes longer.
    let least = if ground.budget == Budget::Quick { 50 } else { 500 };
    while closed < least || others.count() < least {
        let backend = place.open().await;
        let backend = backend.unwrap_or_else(|error| panic!("what was closed {closed} times opens again: {error}"));
        backend.commit(put(ONE, "k", "v")).await.expect("a commit");
        backend.close().await.expect("it closes");
        closed += 1;
    }
    ground.saw("a process was being started");
}

async fn two_see_one_order(ground: Ground) {
    let times = if ground.budget == Budget::Quick { 30 } else { 1000 };
    let store = ground.fresh().await;
    store.put("count", "0").await;
    let mut other = Other::open(&elsewhere(&*store.place)).await;
    other.tell(&format!("count {times}"));
    for _ in 0..times {
        while !count_once(&*store.backend).await.expect("it counts") {}
    }
    let answer = other.answer().await;
    assert!(answer.starts_with("conflicts "), "it has not counted: {answer}");
    // Were they never at it at once, one is made to be late.
    let seen = store.get(ONE, b"count").await.expect("the count");
    assert_eq!(String::from_utf8_lossy(&seen), (2 * times).to_string(), "an update was lost");
    assert_eq!(other.ask("count 1").await, "conflicts 0");
    let mut late = put(ONE, "count", "late");
    late.expect_value(ONE, "count", seen);
    let found = kind(store.backend.commit(late).await);
    assert_eq!(found, Some(ErrorKind::Conflict), "it does not see what another process has committed");
    ground.saw("both at once");
    assert_eq!(other.ask("get count").await, (2 * times + 1).to_string());
}

async fn others_are_heard(ground: Ground) {
    let store = ground.fresh().await;
    let mut other = Other::open(&elsewhere(&*store.place)).await;
    for round in 0..10 {
        let before = store.backend.changed().await.expect("a number");
        assert_eq!(other.ask(&format!("put {round} there")).await, "done");
        let after = store.backend.changed().await.expect("a number");
        assert_ne!(after, before, "a commit of another process is not heard");
        let there = store.get(ONE, format!("{round}").as_bytes()).await;
        assert_eq!(there.as_deref(), Some(&b"there"[..]), "a commit of another process is not seen");
        // And the other way.
        let before = other.ask("changed").await;
        store.put(format!("{round}"), "here").await;
        assert_ne!(other.ask("changed").await, before, "another process does not hear a commit");
        assert_eq!(other.ask(&format!("get {round}")).await, "here");
    }
}

/// What says that nothing lasts keeps to it: nobody begins to rely on what is there by chance.
async fn nothing_lasts(ground: Ground) {
    let store = ground.fresh().await;
    store.put("k", "here").await;
    store.backend.flush().await.expect("a flush");
    let mut other = Other::open(&elsewhere(&*store.place)).await;
    assert_eq!(other.ask("get k").await, "nothing", "another process finds what is kept in the memory of this one");
    assert_eq!(other.ask("put k there").await, "done");
    assert_eq!(other.ask("flush").await, "done");
    other.kill().await;
    assert_eq!(store.get(ONE, b"k").await.as_deref(), Some(&b"here"[..]));
    let mut next = Other::open(&elsewhere(&*store.place)).await;
    assert_eq!(next.ask("get k").await, "nothing", "it has outlived its process");
}
