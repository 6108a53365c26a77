//! Bodies that are missing, wrong, unreadable or too large for comfort. The header stands by itself.

use bytes::Bytes;
use eidetica::backend::Backend;
use eidetica::backend::database::Memory;
use eidetica::core::auth::SettingsDelta;
use eidetica::crdt::{Doc, Value};
use eidetica::entry::{RawEntry, Rejected, VerifiedEntry};
use eidetica::store::{Cells, DocStore, StoreHandle, StoreType};
use eidetica::{Database, ErrorKind, Exported, Options, Outcome, Parked};

use super::counting::{Counting, Row, Shared, dump};
use super::kit::{Forge, check, hand_in, hand_in_all, put, raw, set};

/// A history of two documents with overwrites, branches and a merge.
fn history(forge: &Forge) -> Vec<VerifiedEntry> {
    let both = |parents: &[&VerifiedEntry], key: &str, value: i64| {
        forge.sign(forge.header(parents), vec![set("notes", key, value), set("other", key, value)])
    };
    let a = both(&[&forge.root], "x", 1);
    let b = both(&[&a], "x", 2);
    let c = both(&[&a], "x", 3);
    let d = both(&[&b], "y", 4);
    let e = both(&[&c, &d], "x", 5);
    let f = both(&[&c], "y", 6);
    vec![a, b, c, d, e, f]
}

/// All rows that follow from the entries, without the row that counts changes and what belongs to the node.
async fn rows(backend: &Shared) -> Vec<Row> {
    let snapshot = backend.snapshot().await.unwrap();
    dump(&*snapshot).await.into_iter().filter(|(keyspace, ..)| !matches!(keyspace.number(), 0 | 15)).collect()
}

async fn is_partial(database: &Database, store: &str) -> bool {
    database.stores().await.unwrap().iter().find(|summary| summary.name == store).unwrap().partial
}

fn without(entry: &VerifiedEntry, replace: Option<&'static [u8]>) -> RawEntry {
    let mut raw = entry.to_raw();
    raw.bodies[0] = replace.map(Bytes::from_static);
    raw
}

/// The body is refused and the header stands; what comes later completes it, to the same rows as at once.
#[tokio::test]
async fn a_wrong_body_is_left_out_and_can_come_later() {
    let forge = Forge::new(1);
    let history = history(&forge);
    let at_once = Shared::in_turns(Memory::new());
    let (_one, whole) = forge.database_with(Box::new(at_once.clone()), Options::default()).await;
    for entry in &history {
        assert_eq!(hand_in(&whole, entry.to_raw()).await, Outcome::Accepted);
    }

    for (gap, bad) in (0..history.len()).zip([None, Some(&b"wrong"[..]), Some(b""), None, Some(b"\x80"), Some(b"\xff")])
    {
        let backend = Shared::in_turns(Memory::new());
        let (_instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
        for (index, entry) in history.iter().enumerate() {
            let raw = if index == gap { without(entry, bad) } else { entry.to_raw() };
            assert_eq!(hand_in(&database, raw).await, Outcome::Accepted);
        }
        assert_eq!(database.get_tips().await.unwrap(), whole.get_tips().await.unwrap(), "the header stands");
        assert_eq!(database.get_entry(&history[gap].id()).await.unwrap().bodies()[0], None, "the body does not");
        assert!(is_partial(&database, "notes").await && !is_partial(&database, "other").await);
        let report = check(&database).await;
        let missing: Vec<_> = report.missing_bodies.iter().map(|store| (store.name.as_str(), store.entries)).collect();
        assert_eq!((report.is_whole(), missing), (false, vec![("notes", 1)]), "what is missing is named");
        // The same wrong body again changes nothing.
        assert_eq!(hand_in(&database, without(&history[gap], bad)).await, Outcome::Known);
        assert!(is_partial(&database, "notes").await);

        assert_eq!(hand_in(&database, history[gap].to_raw()).await, Outcome::Completed);
        assert!(!is_partial(&database, "notes").await);
        assert_eq!(hand_in(&database, history[gap].to_raw()).await, Outcome::Known);
        assert!(check(&database).await.is_whole());
        assert!(rows(&backend).await == rows(&at_once).await, "a gap at {gap} leaves other rows");
    }
}

/// Two gaps, closed one after the other: partial until the last.
#[tokio::test]
async fn a_store_is_partial_until_its_last_body_is_here() {
    let forge = Forge::new(1);
    let history = history(&forge);
    let (_instance, database) = forge.database().await;
    for entry in &history {
        let mut raw = entry.to_raw();
        raw.bodies.clear();
        assert_eq!(hand_in(&database, raw).await, Outcome::Accepted, "a list of bodies that is too short is short");
    }
    assert!(is_partial(&database, "notes").await && is_partial(&database, "other").await);
    for (index, entry) in history.iter().rev().enumerate() {
        assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Completed);
        assert_eq!(is_partial(&database, "notes").await, index + 1 < history.len());
        check(&database).await;
    }
    let (_other, whole) = forge.database().await;
    hand_in_all(&whole, &history).await;
    let read = async |database: &Database| {
        database.get_store_viewer::<DocStore>("notes").await.unwrap().get_all().await.unwrap()
    };
    assert_eq!(read(&database).await, read(&whole).await);
}

struct Mine(Cells);

impl StoreType for Mine {
    const KIND: &'static str = "mine";

    fn open(handle: StoreHandle) -> Self {
        Mine(Cells::new(handle))
    }
}

/// After a restart no custom kind is known until it is opened; what it holds must not go meanwhile.
#[tokio::test]
async fn a_late_body_of_an_unknown_kind_leaves_what_was_there() {
    let forge = Forge::new(1);
    let first = forge.sign(forge.header(&[&forge.root]), vec![put("s", Mine::KIND, "a", b"1")]);
    let second = forge.sign(forge.header(&[&first]), vec![put("s", Mine::KIND, "b", b"2")]);
    let backend = Shared::in_turns(Memory::new());
    let (instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    hand_in_all(&database, std::slice::from_ref(&first)).await;
    let store = database.get_store_viewer::<Mine>("s").await.unwrap();
    assert_eq!(store.0.get(b"a").await.unwrap().len(), 1);
    assert_eq!(hand_in(&database, without(&second, None)).await, Outcome::Accepted);
    instance.close().await.unwrap();

    let (_instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
    assert_eq!(hand_in(&database, second.to_raw()).await, Outcome::Completed);
    check(&database).await;
    let store = database.get_store_viewer::<Mine>("s").await.unwrap();
    assert_eq!((store.0.get(b"a").await.unwrap().len(), store.0.get(b"b").await.unwrap().len()), (1, 1));
    check(&database).await;
}

/// A view that is open already shows the store with the body, too.
#[tokio::test]
async fn an_open_view_shows_what_a_late_body_brings() {
    let forge = Forge::new(1);
    let history = history(&forge);
    let (_instance, database) = forge.database().await;
    let (_other, whole) = forge.database().await;
    hand_in_all(&whole, &history).await;
    for (index, entry) in history.iter().enumerate() {
        hand_in(&database, if index == 0 { without(entry, None) } else { entry.to_raw() }).await;
    }
    let view = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    view.get_all().await.unwrap();
    assert_eq!(hand_in(&database, history[0].to_raw()).await, Outcome::Completed);
    let all = whole.get_store_viewer::<DocStore>("notes").await.unwrap().get_all().await.unwrap();
    assert_eq!(view.get_all().await.unwrap(), all);
}

/// Whoever sends headers first and bodies later must not make each body cost the whole store.
#[tokio::test]
async fn late_bodies_cost_what_they_bring() {
    let mut reads = Vec::new();
    for count in [100, 200, 400] {
        let forge = Forge::new(1);
        let chain = forge.chain(&forge.root, count, |n| n.to_string());
        let (backend, counts) = Counting::new(Memory::new());
        let (_instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
        let headers = chain.iter().map(|entry| without(entry, None)).collect();
        database.ingest(headers, "peer").await.unwrap();
        let ((), asked) = counts
            .of(async {
                for entry in &chain {
                    assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Completed);
                }
                check(&database).await;
            })
            .await;
        reads.push(asked.read);
    }
    assert!(reads[2] < 5 * reads[0], "the rows read for 100, 200 and 400 late bodies grow faster than they: {reads:?}");
}

/// A body that is there and is not the right one is damage, and not a body that was never there.
#[tokio::test]
async fn an_export_with_a_wrong_body_is_damaged() {
    let forge = Forge::new(1);
    let history = history(&forge);
    let (_instance, database) = forge.database().await;
    hand_in_all(&database, &history).await;
    let mut sound = Vec::new();
    database.export(&mut sound).await.unwrap();
    assert_eq!(Exported::check(&mut &sound[..]).unwrap().entries, 7);
    // The last byte of the body of the third entry that is not the root.
    let body = history[2].bodies()[1].clone().unwrap();
    let at = sound.windows(body.len()).rposition(|bytes| bytes == body).unwrap() + body.len() - 1;
    let mut damaged = sound.clone();
    damaged[at] ^= 1;
    assert_eq!(Exported::check(&mut &damaged[..]).unwrap_err().kind(), ErrorKind::InvalidInput);

    let other = super::kit::memory().await;
    let error = other.import(&mut &damaged[..], None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let root = forge.root.id();
    assert_eq!(error.context("database"), Some(root.to_string().as_str()), "it says what stays: {error}");
    let kept = other.open_database_with_key(&root, None).await.unwrap();
    let count = kept.entry_count().await.unwrap();
    assert_eq!(error.context("entries_kept"), Some(count.to_string().as_str()), "{error}");
    assert!(check(&kept).await.is_whole(), "what stays is whole as far as it goes");
    let (copy, moved) = other.import(&mut &sound[..], None).await.unwrap();
    assert_eq!((moved.entries, moved.missing_bodies), (7, 0));
    assert_eq!(copy.get_tips().await.unwrap(), database.get_tips().await.unwrap());
    check(&copy).await;
}

/// An entry waits without its body, and is offered once more with it: the body must not be lost.
#[tokio::test]
async fn a_body_that_comes_while_its_entry_waits_is_kept() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 2, |n| n.to_string());
    let (_instance, database) = forge.database().await;
    let missing = Outcome::Parked(Parked::Parents(vec![chain[0].id()]));
    assert_eq!(hand_in(&database, without(&chain[1], None)).await, missing);
    assert_eq!(hand_in(&database, chain[1].to_raw()).await, missing);
    assert_eq!(hand_in(&database, chain[0].to_raw()).await, Outcome::Accepted);
    assert_eq!(database.get_entry(&chain[1].id()).await.unwrap().bodies(), chain[1].bodies());
    assert!(!is_partial(&database, "notes").await);
}

/// Settings judge, so an entry with settings waits for them, and bad settings are refused with the entry.
#[tokio::test]
async fn settings_are_needed_to_judge() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let settings = |value: Value| {
        let (_, _, body) = set("notes", "name", value);
        // The values of a settings delta have the form of a document; here behind no operations on rights.
        let body = [&[0x82, 0x80], &body[..]].concat().into();
        ("_settings".to_owned(), "settings".to_owned(), body)
    };
    let good = forge.sign(forge.header(&[&forge.root]), vec![settings("name".into())]);
    assert!(SettingsDelta::parse(good.bodies()[0].as_ref().unwrap()).is_ok());
    assert_eq!(hand_in(&database, without(&good, None)).await, Outcome::Parked(Parked::Settings));
    assert_eq!(hand_in(&database, without(&good, Some(b"wrong"))).await, Outcome::Parked(Parked::Settings));
    assert_eq!(database.entry_count().await.unwrap(), 1);
    assert_eq!(hand_in(&database, good.to_raw()).await, Outcome::Accepted);

    // NaN in settings: nobody may sign it, and who has signed it all the same is refused by everybody.
    let (name, kind, body) = settings(7.5.into());
    let nan = replace(&body, &7.5f64.to_be_bytes(), &f64::NAN.to_be_bytes());
    let by_hand = VerifiedEntry::sign(forge.header(&[&good]), vec![(name, kind, nan.clone())], &forge.key);
    assert!(matches!(by_hand, Err(Rejected::BadSettings(_))), "{by_hand:?}");
    assert!(SettingsDelta::parse(&nan).is_err());
    check(&database).await;
}

fn replace(body: &Bytes, from: &[u8], to: &[u8]) -> Bytes {
    let at = body.windows(from.len()).position(|window| window == from).unwrap();
    [&body[..at], to, &body[at + from.len()..]].concat().into()
}

#[tokio::test]
async fn what_is_not_a_number_is_refused_where_it_is_written() {
    let instance = super::kit::memory().await;
    let key = instance.generate_key().unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let nested: Doc = [("deep", Value::List(vec![bad.into()]))].into_iter().collect();
        let settings: Doc = [("name", bad)].into_iter().collect();
        for settings in [settings, nested.clone()] {
            let error = instance.create_database_with_key(settings, &key).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        }
        let database = instance.create_database_with_key(Doc::new(), &key).await.unwrap();
        let transaction = database.new_transaction().await.unwrap();
        let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
        let settings = transaction.get_store::<eidetica::store::SettingsStore>("_settings").await.unwrap();
        let values: [Value; 3] = [bad.into(), nested.into(), Value::List(vec![Value::List(vec![bad.into()])])];
        for value in values {
            assert_eq!(notes.set("key", value.clone()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(notes.list_push("list", value.clone()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(settings.set("key", value).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        notes.set("zero", -0.0).await.unwrap();
        transaction.commit().await.unwrap();
        let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
        let all = notes.get_all().await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all.get("zero").unwrap().as_float().unwrap().is_sign_negative());
        check(&database).await;
    }
}

/// Deltas that their kind cannot read are admitted everywhere, have no effect, and are shown.
#[tokio::test]
async fn an_unreadable_delta_is_admitted_without_effect() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let (name, kind, body) = set("notes", "key", 7.5);
    let unsorted = {
        let one = |key: &str| set("notes", key, 1i64).2;
        [&[0x82], &one("b")[1..], &one("a")[1..]].concat()
    };
    let bad: Vec<Bytes> = vec![
        replace(&body, &7.5f64.to_be_bytes(), &f64::NAN.to_be_bytes()),
        replace(&body, &7.5f64.to_be_bytes(), &f64::INFINITY.to_be_bytes()),
        [&body[..], &[0]].concat().into(),
        body.slice(..body.len() - 1),
        unsorted.into(),
        Bytes::from_static(b""),
        Bytes::from_static(b"not CBOR at all"),
        Bytes::from(vec![0x81; 100_000]),
    ];
    let mut below = forge.entry(&[&forge.root], "key", "before");
    assert_eq!(hand_in(&database, below.to_raw()).await, Outcome::Accepted);
    let mut unreadable = Vec::new();
    for body in &bad {
        below = forge.sign(forge.header(&[&below]), vec![(name.clone(), kind.clone(), body.clone())]);
        assert_eq!(hand_in(&database, below.to_raw()).await, Outcome::Accepted);
        unreadable.push((below.id(), "notes".to_owned()));
    }
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(notes.get_string("key").await.unwrap(), "before");
    let report = check(&database).await;
    assert_eq!(report.unreadable, unreadable);
    // Beside an unreadable delta a sound one of the same entry works.
    let mixed = vec![set("fine", "key", 1i64), (name, kind, bad[0].clone())];
    let mixed = forge.sign(forge.header(&[&below]), mixed);
    assert_eq!(hand_in(&database, mixed.to_raw()).await, Outcome::Accepted);
    let fine = database.get_store_viewer::<DocStore>("fine").await.unwrap();
    assert_eq!(fine.get("key").await.unwrap(), Value::Int(1));
    check(&database).await;
}

/// Large values written to one key by many who have not seen each other: all are conflicts, and all must fit. What one
/// peer can admit every peer must be able to admit, or they differ for ever.
#[tokio::test(flavor = "multi_thread")]
async fn large_concurrent_values_of_one_key_come_in() {
    let forge = Forge::new(1);
    let large = |n: u8| vec![n; 7 << 20];
    let notes: Vec<_> = (0..4).map(|n| forge.entry(&[&forge.root], "key", large(n))).collect();
    let cells = |n: u8| forge.sign(forge.header(&[&forge.root]), vec![put("cells", "some.kind", "key", &large(n))]);
    let cells: Vec<_> = (0..4).map(cells).collect();
    for entries in [notes, cells] {
        let (_instance, database) = forge.database().await;
        let _ = database.get_store_viewer::<Opaque>("cells").await.unwrap();
        for entry in &entries {
            let outcomes = database.ingest(raw(std::slice::from_ref(entry)), "peer").await;
            assert_eq!(outcomes.map_err(|error| format!("{error:?}")), Ok(vec![Outcome::Accepted]));
        }
        assert_eq!(database.get_tips().await.unwrap().len(), entries.len());
        check(&database).await;
    }
}

/// A kind that this program knows.
struct Opaque;

impl eidetica::store::StoreType for Opaque {
    const KIND: &'static str = "some.kind";

    fn open(_: eidetica::store::StoreHandle) -> Self {
        Opaque
    }
}
