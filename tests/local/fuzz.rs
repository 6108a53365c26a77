//! Random damage: to the bytes of entries, and to what a peer with a key may sign.
//!
//! A failure prints its seed; `EIDETICA_SEED=… cargo test …` repeats it.

use bytes::Bytes;
use eidetica::core::store::doc::{Action, DocDelta, ElementName, Path, Plain, Step};
use eidetica::core::store::table::{RowAction, TableDelta};
use eidetica::crdt::Value;
use eidetica::entry::{RawEntry, VerifiedEntry};
use eidetica::store::{DocStore, Table};
use eidetica::{Database, Outcome, Parked};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::kit::{Forge, check, hand_in, put, seed, set, splitmix};

/// One piece of damage.
#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Set { at: usize, byte: u8 },
    Cut { at: usize },
    Insert { at: usize, bytes: Vec<u8> },
    Remove { at: usize, length: usize },
    Copy { from: usize, to: usize, length: usize },
    Swap { at: usize, with: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    // Half of it near the start, where the structure is.
    let at = || prop_oneof![0usize..80, any::<usize>()];
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (
            at(),
            prop_oneof![any::<u8>(), proptest::sample::select(vec![0x00, 0x1b, 0x5f, 0x7f, 0x80, 0x9f, 0xbf, 0xff])]
        )
            .prop_map(|(at, byte)| Damage::Set { at, byte }),
        at().prop_map(|at| Damage::Cut { at }),
        (at(), proptest::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
        (at(), 1usize..40).prop_map(|(at, length)| Damage::Remove { at, length }),
        (at(), at(), 1usize..40).prop_map(|(from, to, length)| Damage::Copy { from, to, length }),
        (at(), at()).prop_map(|(at, with)| Damage::Swap { at, with }),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        match self {
            Damage::Flip { at, bit } => bytes[at % length] ^= 1 << bit,
            Damage::Set { at, byte } => bytes[at % length] = *byte,
            Damage::Cut { at } => bytes.truncate(at % length),
            Damage::Insert { at, bytes: more } => drop(bytes.splice(at % length..at % length, more.iter().copied())),
            Damage::Remove { at, length: count } => {
                let at = at % length;
                bytes.drain(at..(at + count).min(length));
            }
            Damage::Copy { from, to, length: count } => {
                let from = from % length;
                let part = bytes[from..(from + count).min(length)].to_vec();
                let to = to % length;
                bytes.splice(to..(to + part.len()).min(length), part);
            }
            Damage::Swap { at, with } => bytes.swap(at % length, with % length),
        }
    }
}

/// Runs a property on as many random inputs, on one runtime.
fn run<S: Strategy>(cases: u32, strategy: S, property: impl AsyncFn(S::Value)) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &{
        let mut state = seed();
        std::array::from_fn::<u8, 32, _>(|_| splitmix(&mut state) as u8)
    });
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    TestRunner::new_with_rng(config, rng)
        .run(&strategy, |input| {
            runtime.block_on(property(input));
            Ok(())
        })
        .unwrap();
}

/// Entries of many sorts, each on the one before. The first delta is always that of `notes`.
fn samples(forge: &Forge) -> Vec<VerifiedEntry> {
    let deltas = [
        vec![set("notes", "key", "value")],
        vec![set("notes", "key", 7.5), put("cells", "some.kind", "a", b"1")],
        vec![everything(&forge.root)],
        vec![rows(&forge.root)],
    ];
    let mut below = forge.root.clone();
    let mut entries = Vec::new();
    for deltas in deltas {
        below = forge.sign(forge.header(&[&below]), deltas);
        entries.push(below.clone());
    }
    entries
}

/// A delta of a document with every sort of operation.
fn everything(named: &VerifiedEntry) -> (String, String, Bytes) {
    let key = |key: &str| Step::Key(key.to_owned());
    let element = |entry| Step::Element(ElementName { entry, index: 0 });
    let position = vec![0x80];
    let delta = DocDelta(vec![
        (Path(vec![key("counter")]), Action::Create(i64::MAX)),
        (Path(vec![key("gone")]), Action::Delete),
        (Path(vec![key("list")]), Action::Set(Plain::List)),
        (Path(vec![key("list"), element(None)]), Action::Insert { position: position.clone(), value: "x".into() }),
        (
            Path(vec![key("list"), element(Some(named.id()))]),
            Action::Write { position: None, value: Some(Value::Null) },
        ),
        (Path(vec![key("map")]), Action::Set(Plain::Map)),
        (Path(vec![key("map"), key("deep")]), Action::Set(Plain::Scalar(1i64.into()))),
        (Path(vec![key("more")]), Action::Increment { by: i64::MIN, epoch: None }),
        (Path(vec![key("other")]), Action::Increment { by: i64::MAX, epoch: Some(named.id()) }),
    ]);
    assert!(DocDelta::parse(&delta.to_bytes()).is_some(), "the sample is meant to be sound");
    ("notes".into(), "doc".into(), delta.to_bytes())
}

fn rows(named: &VerifiedEntry) -> (String, String, Bytes) {
    let fields = || [("a".to_owned(), Bytes::from_static(b"\x01"))].into_iter().collect();
    let delta = TableDelta(vec![
        ("gone".into(), RowAction::Delete),
        ("new".into(), RowAction::Insert(fields())),
        ("old".into(), RowAction::Write { identity: named.id(), fields: fields() }),
    ]);
    assert!(TableDelta::parse(&delta.to_bytes()).is_some(), "the sample is meant to be sound");
    ("rows".into(), "table".into(), delta.to_bytes())
}

/// Whatever is done to the bytes of an entry, it is never taken for another one, and nothing panics.
#[test]
fn damaged_entries_are_never_accepted() {
    let forge = Forge::new(1);
    let samples = samples(&forge);
    let strategy =
        (0..samples.len(), proptest::collection::vec(damage(), 0..4), proptest::collection::vec(damage(), 0..3));
    run(1500, strategy, async |(which, to_header, to_body)| {
        let (_instance, database) = forge.database().await;
        for entry in &samples[..which] {
            assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Accepted);
        }
        let entry = &samples[which];
        let mut header = entry.header_bytes().to_vec();
        to_header.iter().for_each(|damage| damage.apply(&mut header));
        let mut body = entry.bodies()[0].clone().unwrap().to_vec();
        to_body.iter().for_each(|damage| damage.apply(&mut body));
        let mut bodies = entry.bodies().to_vec();
        bodies[0] = Some(body.clone().into());
        let outcome = hand_in(&database, RawEntry { header: header.clone().into(), bodies }).await;
        let before = which as u64 + 1;
        match outcome {
            Outcome::Accepted => {
                assert_eq!(header, entry.header_bytes()[..], "another header was accepted");
                let stored = database.get_entry(&entry.id()).await.unwrap();
                let kept = entry.bodies()[0].as_ref().filter(|sound| ***sound == *body);
                assert_eq!(stored.bodies()[0].as_ref(), kept);
                assert_eq!(stored.bodies()[1..], entry.bodies()[1..]);
            }
            Outcome::Refused(_) | Outcome::Parked(Parked::NewerVersion(_)) => {
                assert_ne!(header, entry.header_bytes()[..], "the sound header was refused: {outcome:?}");
                assert_eq!(database.entry_count().await.unwrap(), before);
                assert_eq!(database.waiting().await.unwrap(), (0, 0));
            }
            other => panic!("{other:?}"),
        }
        check(&database).await;
    });
}

/// Whatever a peer with a key signs as a delta is admitted by everybody, with the same effect in every order, and
/// nothing panics: not here, not when it is read, not when it is checked.
#[test]
fn damaged_deltas_have_the_same_effect_everywhere() {
    let forge = Forge::new(1);
    let one = || (0..4usize, proptest::collection::vec(damage(), 0..3), any::<u8>());
    run(400, proptest::collection::vec(one(), 1..7), async |deltas| {
        let mut entries = vec![forge.root.clone()];
        for (which, damages, parent) in deltas {
            let sample = match which {
                0 => set("notes", "list", "scalar"),
                1 => everything(entries.last().unwrap()),
                2 => rows(entries.last().unwrap()),
                _ => put("cells", "some.kind", "a", b"1"),
            };
            let mut body = sample.2.to_vec();
            damages.iter().for_each(|damage| damage.apply(&mut body));
            let parent = &entries[usize::from(parent) % entries.len()];
            let mut header = forge.header(&[parent]);
            // So that no two are the same entry.
            header.time = eidetica::Time::from_number(header.time.number() + entries.len() as u64);
            entries.push(forge.sign(header, vec![(sample.0, sample.1, body.into())]));
        }
        let entries = &entries[1..];
        let mut shown = Vec::new();
        for reversed in [false, true] {
            let (_instance, database) = forge.database().await;
            let mut order: Vec<_> = entries.iter().collect();
            if reversed {
                order.reverse();
            }
            for entry in order {
                let outcome = hand_in(&database, entry.to_raw()).await;
                assert!(matches!(outcome, Outcome::Accepted | Outcome::Parked(Parked::Parents(_))), "{outcome:?}");
            }
            assert_eq!(database.entry_count().await.unwrap(), entries.len() as u64 + 1);
            let mut report = check(&database).await;
            report.unreadable.sort();
            shown.push((everything_shown(&database).await, report.unreadable));
            // And one can go on from there.
            let transaction = database.new_transaction().await.unwrap();
            transaction.get_store::<DocStore>("notes").await.unwrap().set("list", "mine").await.unwrap();
            transaction.commit().await.unwrap();
            check(&database).await;
        }
        assert_eq!(shown[0], shown[1]);
    });
}

async fn everything_shown(database: &Database) -> String {
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap().get_all().await.unwrap();
    let table = database.get_store_viewer::<Table<serde_json::Value>>("rows").await.unwrap();
    let rows = table.scan(eidetica::store::table::RowRange::all()).await;
    format!("{notes:?} {:?}", rows.map_err(|error| error.kind()))
}

/// Counters at the ends of their range, written concurrently, do not overflow into a panic.
#[tokio::test]
async fn counters_at_the_ends_of_their_range() {
    let forge = Forge::new(1);
    let path = || Path(vec![Step::Key("counter".into())]);
    let doc = |action| ("notes".to_owned(), "doc".to_owned(), DocDelta(vec![(path(), action)]).to_bytes());
    for by in [i64::MAX, i64::MIN] {
        let (_instance, database) = forge.database().await;
        let made = forge.sign(forge.header(&[&forge.root]), vec![doc(Action::Create(by))]);
        hand_in(&database, made.to_raw()).await;
        let mut below = made.clone();
        for _ in 0..3 {
            below = forge.sign(forge.header(&[&below]), vec![doc(Action::Increment { by, epoch: Some(made.id()) })]);
            assert_eq!(hand_in(&database, below.to_raw()).await, Outcome::Accepted);
            let alone = forge.sign(forge.header(&[&below]), vec![doc(Action::Increment { by, epoch: None })]);
            assert_eq!(hand_in(&database, alone.to_raw()).await, Outcome::Accepted);
            let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
            let shown = notes.get("counter").await.unwrap().as_int().unwrap();
            assert_eq!(shown > 0, by > 0, "it shows the nearest number that fits");
        }
        check(&database).await;
        let transaction = database.new_transaction_with_tips(&[below.id()]).await.unwrap();
        transaction.get_store::<DocStore>("notes").await.unwrap().increment("counter", by.signum()).await.unwrap();
        transaction.commit().await.unwrap();
        check(&database).await;
    }
}
