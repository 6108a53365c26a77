//! Sound entries in the wrong place: refused where they can never fit, parked where they may.

use std::sync::Arc;
use std::time::Duration;

use eidetica::backend::database::Memory;
use eidetica::core::limits::MAX_HEIGHT;
use eidetica::entry::{Header, VerifiedEntry};
use eidetica::store::DocStore;
use eidetica::{Database, Environment, Options, Outcome, Parked, Refused, Time};

use super::counting::Shared;
use super::kit::{Forge, Held, check, hand_in, hand_in_all, raw, set, until};

fn refused(refused: Refused) -> Outcome {
    Outcome::Refused(refused)
}

async fn waiting(database: &Database) -> usize {
    database.waiting().await.unwrap().0
}

#[tokio::test]
async fn an_unknown_parent_is_waited_for() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let chain = forge.chain(&forge.root, 3, |n| n.to_string());
    let merge = forge.entry(&[&chain[2], &chain[0]], "merge", 1i64);
    let missing = |entry: &VerifiedEntry| Outcome::Parked(Parked::Parents(vec![entry.id()]));

    assert_eq!(hand_in(&database, merge.to_raw()).await, {
        let mut both = vec![chain[2].id(), chain[0].id()];
        both.sort_unstable();
        Outcome::Parked(Parked::Parents(both))
    });
    assert_eq!(hand_in(&database, chain[2].to_raw()).await, missing(&chain[1]));
    assert_eq!(hand_in(&database, chain[1].to_raw()).await, missing(&chain[0]));
    assert_eq!(hand_in(&database, chain[1].to_raw()).await, missing(&chain[0]), "offered twice, it is kept once");
    assert_eq!((waiting(&database).await, database.entry_count().await.unwrap()), (3, 1));
    assert_eq!(hand_in(&database, chain[0].to_raw()).await, Outcome::Accepted);
    assert_eq!((waiting(&database).await, database.entry_count().await.unwrap()), (0, 5));
    assert_eq!(database.get_tips().await.unwrap(), [merge.id()]);
    for entry in chain.iter().chain([&merge]) {
        assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Known);
    }
    check(&database).await;
}

#[tokio::test]
async fn what_breaks_the_order_is_refused_with_all_above_it() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let chain = forge.chain(&forge.root, 3, |n| n.to_string());
    hand_in_all(&database, &chain).await;
    let with = |parents: &[&VerifiedEntry], change: &dyn Fn(&mut Header)| {
        let mut header = forge.header(parents);
        change(&mut header);
        forge.sign(header, vec![set("notes", "bad", 1i64)])
    };
    let tip = &chain[2];
    let wrong = [
        (with(&[tip], &|h| h.height += 1), Refused::WrongHeight),
        (with(&[tip], &|h| h.height -= 1), Refused::WrongHeight),
        (with(&[tip], &|h| h.height = MAX_HEIGHT), Refused::WrongHeight),
        // The lower one of two parents does not count.
        (with(&[tip, &chain[0]], &|h| h.height = chain[0].header().height + 1), Refused::WrongHeight),
        (with(&[tip], &|h| h.time = tip.header().time), Refused::NotAfterParents),
        (with(&[tip], &|h| h.time = Time::from_number(0)), Refused::NotAfterParents),
        (with(&[tip, &chain[0]], &|h| h.time = tip.header().time), Refused::NotAfterParents),
    ];
    for (entry, reason) in &wrong {
        assert_eq!(hand_in(&database, entry.to_raw()).await, refused(reason.clone()));
        if entry.header().height == MAX_HEIGHT {
            continue;
        }
        let above = forge.entry(&[entry], "above", 1i64);
        assert_eq!(hand_in(&database, above.to_raw()).await, refused(Refused::AboveRefused(entry.id())));
        let higher = forge.entry(&[&above, tip], "higher", 1i64);
        assert_eq!(hand_in(&database, higher.to_raw()).await, refused(Refused::AboveRefused(above.id())));
    }
    // And what came first and waited goes with it.
    let bad = with(&[tip], &|h| h.height += 2);
    let above = forge.entry(&[&bad], "above", 2i64);
    assert_eq!(hand_in(&database, above.to_raw()).await, Outcome::Parked(Parked::Parents(vec![bad.id()])));
    assert_eq!(hand_in(&database, bad.to_raw()).await, refused(Refused::WrongHeight));
    assert_eq!(hand_in(&database, above.to_raw()).await, refused(Refused::AboveRefused(bad.id())));
    assert_eq!((waiting(&database).await, database.entry_count().await.unwrap()), (0, 4));
    check(&database).await;
}

#[tokio::test]
async fn foreign_entries_and_second_roots_are_refused() {
    let (forge, other) = (Forge::new(1), Forge::new(2));
    let (_instance, database) = forge.database().await;
    // Of another database, though it stands on our root as well as on theirs.
    let mixed = other.entry(&[&other.root, &forge.root], "key", 1i64);
    assert_eq!(hand_in(&database, mixed.to_raw()).await, refused(Refused::ForeignDatabase));
    let foreign = other.entry(&[&other.root], "key", 1i64);
    assert_eq!(hand_in(&database, foreign.to_raw()).await, refused(Refused::ForeignDatabase));
    assert_eq!(hand_in(&database, other.root.to_raw()).await, refused(Refused::ForeignDatabase));
    // And one of ours that stands on theirs.
    let lost = forge.entry(&[&foreign], "key", 1i64);
    assert_eq!(hand_in(&database, lost.to_raw()).await, refused(Refused::AboveRefused(foreign.id())));
    // A second root with the same key, and the first one once more.
    let again = Forge { root: forge.root.clone(), key: forge.key.clone() };
    assert_eq!(hand_in(&database, again.root.to_raw()).await, Outcome::Known);
    let mut header = forge.root.header().clone();
    header.origin = eidetica::entry::Origin::Root { nonce: [77; 16] };
    let settings = forge.root.bodies()[0].clone().unwrap();
    let second = forge.sign(header, vec![("_settings".into(), "settings".into(), settings)]);
    assert_eq!(hand_in(&database, second.to_raw()).await, refused(Refused::ForeignDatabase));
    assert_eq!(database.entry_count().await.unwrap(), 1);
    check(&database).await;
}

/// An entry from the future waits until the clock here has come near it.
#[tokio::test]
async fn the_future_waits() {
    let forge = Forge::new(1);
    let clock = Held::new();
    let (instance, database) = forge.database_with(Box::new(Memory::new()), clock.options()).await;
    let skew = Duration::from_secs(300);
    let at = |ahead: Duration, more: u64| {
        let mut header = forge.header(&[&forge.root]);
        let ahead = (ahead.as_millis() as u64) << 16;
        header.time = Time::from_number(clock.now().number() + ahead + more);
        forge.sign(header, vec![set("notes", "key", more as i64)])
    };
    assert_eq!(hand_in(&database, at(skew, 0).to_raw()).await, Outcome::Accepted, "as far ahead as is allowed");
    let near = at(skew, 1);
    let far = at(skew * 10, 0);
    let above = forge.entry(&[&near], "above", 1i64);
    assert_eq!(hand_in(&database, near.to_raw()).await, Outcome::Parked(Parked::Future));
    assert_eq!(hand_in(&database, far.to_raw()).await, Outcome::Parked(Parked::Future));
    // What stands on it is no nearer, so it waits as well.
    assert_eq!(hand_in(&database, above.to_raw()).await, Outcome::Parked(Parked::Future));
    assert_eq!(waiting(&database).await, 3);
    let end = at(Duration::ZERO, u64::MAX - clock.now().number());
    assert_eq!(end.header().time, Time::from_number(u64::MAX));
    assert_eq!(hand_in(&database, end.to_raw()).await, Outcome::Parked(Parked::Future));

    clock.advance(Duration::from_millis(10));
    until("the near ones come in", async || database.entry_count().await.unwrap() == 4).await;
    assert_eq!(waiting(&database).await, 2);
    assert!(database.get_entry(&above.id()).await.is_ok());
    clock.advance(skew * 9);
    until("the far one comes in", async || database.entry_count().await.unwrap() == 5).await;

    // What is written here now comes after all of it, though the clock is behind.
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set("key", "now").await.unwrap();
    let id = transaction.commit().await.unwrap();
    assert!(database.get_entry(&id).await.unwrap().header().time > far.header().time);
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(notes.get_string("key").await.unwrap(), "now");
    check(&database).await;
    instance.close().await.unwrap();
}

/// A clock that is set back must not make known entries wait.
#[tokio::test]
async fn what_is_known_does_not_wait_for_the_clock() {
    struct Past;
    impl Environment for Past {
        fn now(&self) -> Time {
            Time::from_millis(1)
        }
        fn random(&self, buffer: &mut [u8]) -> eidetica::Result<()> {
            buffer.fill(1);
            Ok(())
        }
    }
    let forge = Forge::new(1);
    let options = eidetica::Options::default().environment(Arc::new(Past));
    let (_instance, database) = forge.database_with(Box::new(Memory::new()), options).await;
    assert_eq!(hand_in(&database, forge.root.to_raw()).await, Outcome::Known);
    assert_eq!(waiting(&database).await, 0);
}

/// Orphans of one source fill its share and no more; others still find room, up to the limit of all.
#[tokio::test]
async fn parking_is_bounded_per_source_and_in_all() {
    const OF_SOURCE: usize = 16 << 20;
    const IN_ALL: usize = 64 << 20;
    let forge = Forge::new(1);
    let clock = Held::new();
    let (_instance, database) = forge.database_with(Box::new(Memory::new()), clock.options()).await;
    let missing = forge.entry(&[&forge.root], "missing", 1i64);
    // Large ones, so that few signatures fill the area.
    let orphan = |n: usize| {
        let mut body = vec![b'x'; 600_000];
        body[..8].copy_from_slice(&n.to_be_bytes());
        forge.sign(forge.header(&[&missing]), vec![super::kit::put("big", "some.kind", "key", &body)])
    };
    let mut orphans = (0..).map(orphan);
    let mut parked_of = Vec::new();
    for source in ["a", "b", "c", "d", "e", "f"] {
        let mut parked = 0;
        loop {
            let page = raw(&orphans.by_ref().take(8).collect::<Vec<_>>());
            let outcomes = database.ingest(page, source).await.unwrap();
            parked += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Parked(_))).count();
            let (count, bytes) = database.waiting().await.unwrap();
            assert!(bytes <= IN_ALL && count <= IN_ALL / 600_000, "{count} entries of {bytes} bytes wait");
            if outcomes.contains(&Outcome::Deferred) {
                break;
            }
            assert!(parked < 1000, "{source} fills without end");
        }
        parked_of.push(parked);
    }
    assert!(parked_of.iter().all(|parked| parked * 600_000 <= OF_SOURCE), "{parked_of:?}");
    assert!(parked_of[..3].iter().all(|parked| (parked + 2) * 600_000 > OF_SOURCE), "{parked_of:?}");
    let in_all: usize = parked_of.iter().sum();
    assert!((in_all + 2) * 600_000 > IN_ALL && waiting(&database).await == in_all, "{parked_of:?}");

    // With the area full, what needs no waiting still comes in; and what is too old is forgotten.
    let sound = forge.entry(&[&forge.root], "sound", 1i64);
    assert_eq!(hand_in(&database, sound.to_raw()).await, Outcome::Accepted);
    clock.advance(Duration::from_secs(700));
    let late = orphans.next().unwrap();
    assert_eq!(hand_in(&database, late.to_raw()).await, Outcome::Parked(Parked::Parents(vec![missing.id()])));
    assert_eq!(waiting(&database).await, 1);
    assert_eq!(hand_in(&database, missing.to_raw()).await, Outcome::Accepted);
    assert_eq!((waiting(&database).await, database.entry_count().await.unwrap()), (0, 4));
    check(&database).await;
}

/// Another process may store what entries wait for here.
#[tokio::test]
async fn what_waits_comes_in_when_another_process_has_stored_the_parent() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 3, |n| n.to_string());
    let backend = Shared::at_once(Memory::new());
    let (_one, first) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    let (_two, second) = forge.database_with(Box::new(backend), Options::default()).await;
    let waits = |entry: &VerifiedEntry| Outcome::Parked(Parked::Parents(vec![entry.id()]));
    assert_eq!(hand_in(&first, chain[1].to_raw()).await, waits(&chain[0]));
    assert_eq!(hand_in(&second, chain[0].to_raw()).await, Outcome::Accepted);
    // Offered once more, or found by itself.
    assert_eq!(hand_in(&first, chain[0].to_raw()).await, Outcome::Known);
    assert_eq!(first.waiting().await.unwrap().0, 0);
    assert_eq!(first.get_tips().await.unwrap(), [chain[1].id()]);

    let other = forge.chain(&chain[1], 2, |n| format!("o{n}"));
    assert_eq!(hand_in(&first, other[1].to_raw()).await, waits(&other[0]));
    assert_eq!(hand_in(&second, other[0].to_raw()).await, Outcome::Accepted);
    until("it is found without being offered again", async || first.waiting().await.unwrap().0 == 0).await;
    assert_eq!(first.get_tips().await.unwrap(), [other[1].id()]);
}

/// The end of a page that is handed over by itself, and is short enough to be judged at once, waits for the part that it stands on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_short_end_of_a_page_is_judged_after_the_rest() {
    const PAGE: usize = 2 * 256 + 3;
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 6 * PAGE, |n| (n % 7).to_string());
    let mut histories = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (instance, database) = forge.database().await;
        let pages: Vec<_> = chain.chunks(PAGE).map(raw).collect();
        histories.spawn(async move {
            for page in pages {
                let outcomes = database.ingest(page, "peer").await.unwrap();
                let other = outcomes.iter().find(|outcome| **outcome != Outcome::Accepted);
                assert!(other.is_none(), "{other:?}");
            }
            drop(instance);
        });
    }
    histories.join_all().await;
}
