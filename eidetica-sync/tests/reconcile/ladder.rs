//! Each rung of the ladder, counted in bytes and round trips, which must not grow with the history.
//!
//! On histories of 1,000, 10,000 and 100,000 entries.

use eidetica_core::entry::VerifiedEntry;
use eidetica_core::store::DocStore;
use eidetica_core::{Database, Durability, Engine, Id, Memory};
use eidetica_sync::reconcile::{Ask, Finding, Options, Reply, Request, Width, exchange, fetch_root};

use super::grown::{Grown, SIZES, grown};
use super::kit::*;

async fn commit(db: &Database, key: &str) -> Id {
    let transaction = db.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, "a short value").await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap().id
}

async fn bytes_of(db: &Database, id: &Id) -> usize {
    let entry = db.get_entry(id).await.unwrap();
    entry.header_bytes().len() + entry.bodies().iter().flatten().map(|body| body.len()).sum::<usize>()
}

fn within(crossed: &Crossed, round_trips: usize, beside: usize) {
    println!(
        "{} round trips, {} bytes, {} beside pages: {:?}",
        crossed.round_trips(),
        crossed.bytes(),
        crossed.beside(),
        crossed.messages
    );
    assert!(crossed.round_trips() <= round_trips, "{crossed:?}");
    assert!(crossed.beside() <= beside, "{} bytes beside pages: {crossed:?}", crossed.beside());
    assert_eq!(crossed.needless, 0, "{crossed:?}");
}

#[tokio::test]
async fn nothing_and_little_is_new() {
    let grown = grown().await;
    for n in SIZES {
        let (one, other) = (grown.peer(n, &[]).await, grown.peer(n, &[]).await);
        let both = vec![grown.chain[n - 1].id()];
        for remembered in [None, Some(both.clone())] {
            let (outcome, crossed) = sync(&one, &other, &Options { remembered, ..Options::default() }).await;
            assert_eq!((outcome.sent, outcome.received, &outcome.frontier), (0, 0, &both));
            within(&crossed, 1, 300);
            assert!(crossed.messages[0].0 <= 150 && crossed.messages[0].1 <= 150);
        }

        // Pulled, pushed, pushed on the chance that it is lacking.
        let new = commit(&other, "pulled").await;
        let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
        assert_eq!((outcome.received, outcome.sent), (1, 0));
        within(&crossed, 2, 400);
        assert!(crossed.bytes() <= bytes_of(&one, &new).await + 400);
        let new = commit(&one, "pushed").await;
        let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
        assert_eq!((outcome.received, outcome.sent), (0, 1));
        within(&crossed, 2, 400);
        assert!(crossed.bytes() <= bytes_of(&one, &new).await + 400);
        let remembered = Some(outcome.frontier);
        let new = commit(&one, "pushed at once").await;
        let (outcome, crossed) = sync(&one, &other, &Options { remembered, ..Options::default() }).await;
        assert_eq!((outcome.received, outcome.sent), (0, 1));
        within(&crossed, 1, 400);
        assert!(crossed.bytes() <= bytes_of(&one, &new).await + 400);

        // One on each side, pushed at once: it and the answer to it are one round trip.
        let remembered = Some(outcome.frontier);
        commit(&one, "mine").await;
        commit(&other, "yours").await;
        let (outcome, crossed) = sync(&one, &other, &Options { remembered, ..Options::default() }).await;
        assert_eq!((outcome.received, outcome.sent), (1, 1));
        within(&crossed, 1, 500);
        assert_same(&one, &other).await;
    }
}

/// What came from others is not sent on the chance.
#[tokio::test]
async fn news_are_what_was_committed_here() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 10, "a");
    let (one, other) = (forge.peer(&[&chain]).await, forge.peer(&[&chain]).await);
    let remembered = Some(vec![chain[8].id()]);
    let (outcome, crossed) = sync(&one, &other, &Options { remembered, ..Options::default() }).await;
    assert_eq!((outcome.sent, crossed.entries), (0, 0));
    // A remembered frontier of entries that are not here, or of none, changes nothing.
    for remembered in [vec![], vec![Id::of(b"elsewhere")]] {
        let options = Options { remembered: Some(remembered), ..Options::default() };
        assert_eq!(sync(&one, &other, &options).await.1.round_trips(), 1);
    }
}

/// How 100 new entries lie on an old history.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// A branch from an old entry, which nothing has brought together with the rest.
    Branch,
    /// The same, and an entry above it and the rest.
    MergedBranch,
    /// Each on an old entry of its own.
    Scattered,
    /// The same, brought together with the rest.
    MergedScattered,
}

fn new_entries(grown: &Grown, n: usize, shape: Shape, name: &str, dice: &mut Dice) -> Vec<VerifiedEntry> {
    let (forge, common) = (&grown.forge, &grown.chain[..n]);
    let top = common.last().unwrap();
    let mut new = match shape {
        Shape::Branch | Shape::MergedBranch => forge.chain(&common[dice.below(common.len() / 2)], 99, name),
        Shape::Scattered | Shape::MergedScattered => {
            (0..96).map(|at| forge.entry(&[&common[dice.below(common.len() - 1)]], &format!("{name} {at}"))).collect()
        }
    };
    match shape {
        Shape::MergedBranch => new.push(forge.entry(&[&new[98], top], name)),
        Shape::MergedScattered => {
            for some in 0..2 {
                let mut parents: Vec<&VerifiedEntry> = new[some * 48..(some + 1) * 48].iter().collect();
                parents.push(if some == 0 { top } else { &new[96] });
                let above = forge.entry(&parents, name);
                new.push(above);
            }
        }
        _ => {}
    }
    new
}

/// The difference lies at old heights, and nothing is remembered.
#[tokio::test]
async fn a_hundred_on_each_side() {
    let grown = grown().await;
    for n in SIZES {
        for shape in [Shape::Branch, Shape::MergedBranch, Shape::Scattered, Shape::MergedScattered] {
            let mut dice = Dice(n as u64);
            let (left, right) =
                (new_entries(grown, n, shape, "l", &mut dice), new_entries(grown, n, shape, "r", &mut dice));
            let (one, other) = (grown.peer(n, &left).await, grown.peer(n, &right).await);
            println!("{n} {shape:?}");
            let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
            assert_eq!((outcome.sent, outcome.received), (left.len() as u64, right.len() as u64));
            within(&crossed, 5, 10_000);
            assert_same(&one, &other).await;
        }
    }
}

/// The same where lists may not be used: ranges are compared down to single entries.
#[tokio::test]
async fn a_hundred_on_each_side_by_ranges() {
    let grown = grown().await;
    for n in SIZES {
        for shape in [Shape::MergedBranch, Shape::MergedScattered] {
            let mut dice = Dice(n as u64);
            let (left, right) =
                (new_entries(grown, n, shape, "l", &mut dice), new_entries(grown, n, shape, "r", &mut dice));
            let (one, other) = (grown.peer(n, &left).await, grown.peer(n, &right).await);
            println!("{n} {shape:?}");
            let (outcome, crossed) = sync(&one, &other, &Options { list: 0, ..Options::default() }).await;
            assert_eq!((outcome.sent, outcome.received), (left.len() as u64, right.len() as u64));
            // Where each new entry lies in a range of its own, one level of ranges more is told of each.
            let scattered = if n > 10_000 { 160_000 } else { 64_000 };
            let (round_trips, beside) = if shape == Shape::MergedBranch { (6, 16_000) } else { (7, scattered) };
            within(&crossed, round_trips, beside);
            assert_same(&one, &other).await;
        }
    }
}

fn compressed(entries: &[VerifiedEntry]) -> usize {
    let mut all = Vec::new();
    for entry in entries {
        all.extend_from_slice(entry.header_bytes());
        entry.bodies().iter().flatten().for_each(|body| all.extend_from_slice(body));
    }
    zstd::bulk::compress(&all, 3).unwrap().len()
}

/// Ten thousand behind, in both directions, and an empty peer that has only heard of the database.
#[tokio::test]
async fn far_behind() {
    let grown = grown().await;
    for (few, n) in [(1_000, 11_000), (90_000, 100_000)] {
        let ahead = grown.peer(n, &[]).await;
        let limit = compressed(&grown.chain[few..n]) * 13 / 10;
        let behind = grown.peer(few, &[]).await;
        let (outcome, crossed) = sync(&behind, &ahead, &Options::default()).await;
        assert_eq!(outcome.received, 10_000);
        within(&crossed, 3, 600);
        assert!(crossed.bytes() <= limit, "{} bytes, at most {limit}", crossed.bytes());
        assert_same(&behind, &ahead).await;

        let behind = grown.peer(few, &[]).await;
        let (outcome, crossed) = sync(&ahead, &behind, &Options::default()).await;
        assert_eq!(outcome.sent, 10_000);
        within(&crossed, 4, 600);
        assert!(crossed.bytes() <= limit, "{} bytes, at most {limit}", crossed.bytes());

        let engine = Engine::open(Box::new(Memory::new()), Default::default()).await.unwrap();
        let nobody = grown.forge.peer(&[]).await;
        let wire = Wire::new(&nobody, &ahead);
        let root = fetch_root(&grown.forge.root.id(), &wire).await.unwrap();
        assert!(fetch_root(&grown.chain[0].id(), &wire).await.is_err());
        let empty = engine.adopt_database(root, None).await.unwrap();
        let (outcome, crossed) = sync(&empty, &ahead, &Options::default()).await;
        assert_eq!(outcome.received, n as u64);
        // Pages of about 3,700 entries, and some bytes about each of them.
        within(&crossed, 1 + n / 3_500, 600 + n / 30);
        assert!(crossed.bytes() <= compressed(&grown.chain[..n]) * 13 / 10);
        assert_same(&empty, &ahead).await;
    }
}

/// One has very much, the other a little that the first lacks: the little is named, whichever side asks.
#[tokio::test]
async fn much_on_one_side() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 6_000, "a");
    let own = forge.chain(&chain[900], 20, "own");
    // Above all that is here, so that the heads say nothing, and some that both have are named, too.
    let top = [forge.entry(&[&own[19], &chain[999]], "top")];
    for asks in [true, false] {
        let (much, little) = (forge.peer(&[&chain]).await, forge.peer(&[&chain[..1000], &own, &top]).await);
        let (one, other) = if asks { (&little, &much) } else { (&much, &little) };
        let (outcome, crossed) = sync(one, other, &Options::default()).await;
        assert_eq!(outcome.received + outcome.sent, 5_021);
        within(&crossed, 8, 20_000);
        assert_same(&much, &little).await;
    }
}

/// At any time it is told how much the other side lacks still.
#[tokio::test]
async fn what_is_still_to_be_sent_is_told() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 5_000, "a");
    let (left, right) = (forge.chain(&chain[4_000], 700, "l"), forge.chain(&chain[4_100], 300, "r"));
    let ahead = (forge.peer(&[&chain]).await, forge.peer(&[&chain[..1_000]]).await, 1024, 4_000);
    let apart = |list| {
        let forge = &forge;
        let (left, right, chain) = (&left, &right, &chain);
        async move {
            let (one, other) = (forge.peer(&[chain, left]).await, forge.peer(&[chain, right]).await);
            (one, other, list, 700)
        }
    };
    for (one, other, list, total) in [ahead, apart(1024).await, apart(0).await] {
        let mut wire = Wire::new(&one, &other);
        wire.max = 16 << 10;
        let told = std::sync::Mutex::new(Vec::new());
        let progress = |progress| told.lock().unwrap().push(progress);
        let outcome = exchange(&one, &wire, &Options { list, ..Options::default() }, &progress).await.unwrap();
        assert!(outcome.complete && outcome.sent == total, "{outcome:?}");
        let told = told.into_inner().unwrap();
        assert!(told.len() > 3, "{told:?}");
        assert!(told.iter().all(|told| told.sent + told.unsent == total), "{told:?}");
        assert_eq!(told.last().map(|last| (last.unsent, last.left)), Some((0, 0)));
    }
}

/// Both have far more than a list may hold, and more than the claims of one request may name: only ranges are left.
#[tokio::test]
async fn much_on_both_sides() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 50, "a");
    let (left, right) = (forge.chain(&chain[49], 8_300, "l"), forge.chain(&chain[40], 8_200, "r"));
    let (one, other) = (forge.peer(&[&chain, &left]).await, forge.peer(&[&chain, &right]).await);
    let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
    assert_eq!((outcome.sent, outcome.received), (8_300, 8_200));
    // About 20 bytes for each entry.
    within(&crossed, 40, 330_000);
    assert_same(&one, &other).await;
}

/// In instalments: what was found so far is exchanged before the rest is looked for, as often as it takes.
#[tokio::test]
async fn in_instalments() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 50, "a");
    let (left, right) = (forge.chain(&chain[49], 3_000, "l"), forge.chain(&chain[9], 2_500, "r"));
    let (one, other) = (forge.peer(&[&chain, &left]).await, forge.peer(&[&chain, &right]).await);
    let mut wire = Wire::new(&one, &other);
    // So that few ranges go into one request.
    wire.max = 16 << 10;
    let options = Options { list: 0, instalment: 200, ..Options::default() };
    let outcome = exchange(&one, &wire, &options, &|_| ()).await.unwrap();
    assert!(outcome.complete, "{outcome:?}");
    assert_eq!((outcome.sent, outcome.received, wire.crossed().needless), (3_000, 2_500, 0));
    assert_smooth(&outcome);
    let compared = wire.said.lock().unwrap().iter().filter(|(request, _)| request[0] == 1).count();
    println!("{compared} instalments, {} round trips", wire.crossed().round_trips());
    assert!(compared > 3 && wire.crossed().round_trips() < 120, "{compared} {:?}", wire.crossed());
    assert_same(&one, &other).await;
}

/// Entries that begin alike are taken for each other, and found when whole ids are compared.
#[tokio::test]
async fn what_begins_alike() {
    struct Alike<'a>(Wire<'a>);

    #[async_trait::async_trait]
    impl Ask for Alike<'_> {
        async fn ask(&self, request: Request) -> eidetica_contract::Result<Reply> {
            let mut reply = self.0.ask(request).await?;
            // As if all the other side has began like something that this one has.
            if let Reply::Probed { width: Width::Short, known, list, findings, .. } = &mut reply {
                known.fill(true);
                list.iter_mut().for_each(Vec::clear);
                findings.fill(Finding::Same);
            }
            Ok(reply)
        }

        fn max_reply(&self) -> usize {
            self.0.max_reply()
        }

        fn max_request(&self) -> usize {
            self.0.max_request()
        }
    }

    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 100, "a");
    let (left, right) = (forge.chain(&chain[60], 40, "l"), forge.chain(&chain[40], 40, "r"));
    for list in [1024, 0] {
        let (one, other) = (forge.peer(&[&chain[..70], &left]).await, forge.peer(&[&chain[..80], &right]).await);
        let wire = Alike(Wire::new(&one, &other));
        let outcome = exchange(&one, &wire, &Options { list, ..Options::default() }, &|_| ()).await.unwrap();
        assert!(outcome.complete, "{outcome:?}");
        assert_eq!((outcome.sent, outcome.received), (40, 50));
        assert_same(&one, &other).await;
    }
}

/// More heads than go with the first question.
#[tokio::test]
async fn many_heads() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 200, "a");
    let heads: Vec<_> = chain.iter().map(|below| forge.entry(&[below], "head")).collect();
    let (one, other) = (forge.peer(&[&chain, &heads]).await, forge.peer(&[&chain, &heads]).await);
    let (_, crossed) = sync(&one, &other, &Options::default()).await;
    assert!(crossed.messages == [(crossed.messages[0].0, 2)] && crossed.messages[0].0 <= 150, "{crossed:?}");
    hand_in(&other, &[forge.entry(&[&heads[0]], "new")]).await;
    let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
    assert_eq!((outcome.sent, outcome.received), (0, 1));
    assert!(crossed.round_trips() <= 2, "{crossed:?}");
    hand_in(&one, &[forge.entry(&[&heads[1]], "mine")]).await;
    hand_in(&other, &[forge.entry(&[&heads[2]], "yours")]).await;
    let (outcome, crossed) = sync(&one, &other, &Options::default()).await;
    assert_eq!((outcome.sent, outcome.received), (1, 1));
    within(&crossed, 5, 18_000);
    assert_same(&one, &other).await;
}

/// In one direction alone the other stays as it is.
#[tokio::test]
async fn one_direction() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 300, "a");
    let (left, right) = (forge.chain(&chain[200], 20, "l"), forge.chain(&chain[100], 30, "r"));
    for list in [1024, 25, 0] {
        let (one, other) = (forge.peer(&[&chain, &left]).await, forge.peer(&[&chain, &right]).await);
        let options = Options { push: false, list, ..Options::default() };
        let (outcome, crossed) = sync(&one, &other, &options).await;
        assert_eq!((outcome.sent, outcome.received, crossed.needless), (0, 30, 0));
        assert_eq!(other.entry_count().await.unwrap(), 331);
        assert!(outcome.frontier.contains(&right[29].id()));
        let options = Options { pull: false, list, ..Options::default() };
        let (outcome, crossed) = sync(&one, &other, &options).await;
        assert_eq!((outcome.sent, outcome.received, crossed.needless), (20, 0, 0));
        assert_same(&one, &other).await;

        let (one, other) = (forge.peer(&[&chain, &left]).await, forge.peer(&[&chain, &right]).await);
        let (outcome, _) = sync(&one, &other, &options).await;
        assert_eq!((outcome.sent, outcome.received), (20, 0));
        assert_eq!(one.entry_count().await.unwrap(), 321);
    }
}

/// Entries that are too long for a message are named, and keep nothing else from coming.
#[tokio::test]
async fn an_entry_that_is_too_long() {
    let forge = Forge::new(1);
    let long = forge.sized(&[&forge.root], "long", 100_000);
    let other_way = forge.chain(&forge.root, 40, "short");
    let (one, other) = (forge.peer(&[&[long]]).await, forge.peer(&[&other_way]).await);
    let mut wire = Wire::new(&one, &other);
    wire.max = 16 << 10;
    let error = exchange(&one, &wire, &Options::default(), &|_| ()).await.unwrap_err();
    assert_eq!(error.kind(), eidetica_contract::ErrorKind::TooLarge);
    assert_eq!(one.entry_count().await.unwrap(), 42);
    let mut wire = Wire::new(&other, &one);
    wire.max = 16 << 10;
    let error = exchange(&other, &wire, &Options::default(), &|_| ()).await.unwrap_err();
    assert_eq!(error.kind(), eidetica_contract::ErrorKind::TooLarge);
}

/// Small messages and small pages: everything comes in more pieces.
#[tokio::test]
async fn small_messages() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 500, "a");
    let (left, right) = (forge.chain(&chain[100], 600, "l"), forge.chain(&chain[50], 700, "r"));
    for list in [1024, 100, 0] {
        let (one, other) = (forge.peer(&[&chain, &left]).await, forge.peer(&[&chain, &right]).await);
        let mut wire = Wire::new(&one, &other);
        wire.max = 16 << 10;
        let outcome = exchange(&one, &wire, &Options { list, ..Options::default() }, &|_| ()).await.unwrap();
        assert!(outcome.complete);
        assert_eq!((outcome.sent, outcome.received, wire.crossed().needless), (600, 700, 0));
        assert_smooth(&outcome);
        assert_same(&one, &other).await;
    }
    for (one, other) in [(&chain[..5], &chain[..]), (&chain, &chain[..5])] {
        let (one, other) = (forge.peer(&[one]).await, forge.peer(&[other]).await);
        let mut wire = Wire::new(&one, &other);
        wire.max = 16 << 10;
        let outcome = exchange(&one, &wire, &Options::default(), &|_| ()).await.unwrap();
        assert_eq!((outcome.sent + outcome.received, wire.crossed().needless), (495, 0));
        assert!((4..=8).contains(&wire.crossed().round_trips()), "{:?}", wire.crossed());
        assert_smooth(&outcome);
        assert_same(&one, &other).await;
    }
}
