//! Appending to a list without reading it.

use eidetica::backend::Backend;
use eidetica::backend::database::Memory;
use eidetica::crdt::{Doc, Value};
use eidetica::store::DocStore;
use eidetica::store::doc::{Action, DocDelta, ElementName, Path, Step};
use eidetica::{Database, Durability, ErrorKind, Options, Transaction};

use super::counting::{Counting, Row, Shared, dump, load};
use super::kit::{Forge, check, hand_in_all, raw, seed, splitmix};

async fn begin(database: &Database) -> (Transaction, DocStore) {
    let transaction = database.new_transaction().await.unwrap();
    let doc = transaction.get_store::<DocStore>("doc").await.unwrap();
    (transaction, doc)
}

async fn pushed(database: &Database, path: &str, value: i64) {
    let (transaction, doc) = begin(database).await;
    doc.list_push(path, value).await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap();
}

async fn numbers(doc: &DocStore, path: &str) -> Vec<i64> {
    match doc.get_path(path).await.unwrap() {
        Value::List(list) => list.iter().map(|value| value.as_int().unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appending_to_a_list_reads_none_of_it() {
    const LONG: i64 = 2_000;
    const FEW: u64 = 80;
    let (backend, counts) = Counting::new(Memory::new());
    let (_instance, database) = Forge::new(1).database_with(Box::new(backend), Options::default()).await;
    let (transaction, doc) = begin(&database).await;
    doc.set("list", Value::List((0..LONG).map(Value::from).collect())).await.unwrap();
    transaction.commit().await.unwrap();
    let push = async |doc: &DocStore, value: i64| {
        let ((), asked) = counts.of(async { doc.list_push("list", value).await.unwrap() }).await;
        assert!(asked.read <= FEW, "{value}: {asked:?}");
    };
    let mut all: Vec<i64> = (0..LONG).collect();
    let (transaction, doc) = begin(&database).await;
    for value in 0..3 {
        push(&doc, -value).await;
        all.push(-value);
    }
    assert_eq!(numbers(&doc, "list").await, all);
    // Somebody else has pushed since this transaction began: what it pushes comes behind that.
    pushed(&database, "list", 7).await;
    push(&doc, 8).await;
    transaction.commit().await.unwrap();
    let (transaction, doc) = begin(&database).await;
    let shown = numbers(&doc, "list").await;
    assert_eq!((shown.len(), shown.iter().filter(|value| **value == 7).count()), (all.len() + 2, 2));
    assert_eq!(shown.last(), Some(&8));
    // Moved to the end, and taken away from there, also in the same transaction.
    let last = shown.len() - 1;
    doc.list_move("list", 0, last).await.unwrap();
    push(&doc, 9).await;
    doc.list_remove("list", last).await.unwrap();
    push(&doc, 10).await;
    let shown = numbers(&doc, "list").await;
    assert_eq!(shown[shown.len() - 3..], [8, 9, 10]);
    // As a queue is used.
    for value in 0..20 {
        doc.list_remove("list", 0).await.unwrap();
        push(&doc, value).await;
    }
    transaction.commit().await.unwrap();
    check(&database).await;
}

/// What stands in the way of appending to a list, or makes one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_to_is_a_list_or_becomes_one() {
    let (_instance, database) = Forge::new(1).database().await;
    let (transaction, doc) = begin(&database).await;
    doc.set("text", "a").await.unwrap();
    doc.set("map", [("inner", 1i64)].into_iter().collect::<Doc>()).await.unwrap();
    doc.set("empty", Value::List(vec![])).await.unwrap();
    doc.list_push("fresh.list", 1i64).await.unwrap();
    let wrong = async |doc: &DocStore, path: &str| {
        let error = doc.list_push(path, 1i64).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongType, "{path}");
    };
    for path in ["text", "map"] {
        wrong(&doc, path).await;
    }
    transaction.commit().await.unwrap();
    let (transaction, doc) = begin(&database).await;
    for path in ["text", "map"] {
        wrong(&doc, path).await;
    }
    for path in ["empty", "fresh.list", "newer.list", "map.list"] {
        doc.list_push(path, 2i64).await.unwrap();
        doc.list_push(path, 3i64).await.unwrap();
    }
    assert_eq!(numbers(&doc, "fresh.list").await, [1, 2, 3]);
    assert!(doc.list_push("empty", f64::NAN).await.is_err());
    // Its only element goes, and what is pushed then makes it a list again.
    doc.list_remove("empty", 1).await.unwrap();
    doc.list_remove("empty", 0).await.unwrap();
    doc.list_push("empty", 4i64).await.unwrap();
    doc.delete("text").await.unwrap();
    doc.list_push("text", 5i64).await.unwrap();
    doc.set("map", Value::List(vec![6i64.into()])).await.unwrap();
    doc.list_push("map", 7i64).await.unwrap();
    transaction.commit().await.unwrap();
    let doc = database.get_store_viewer::<DocStore>("doc").await.unwrap();
    for (path, expected) in
        [("empty", &[4][..]), ("fresh.list", &[1, 2, 3]), ("newer.list", &[2, 3]), ("text", &[5]), ("map", &[6, 7])]
    {
        assert_eq!(numbers(&doc, path).await, expected, "{path}");
    }
    assert_eq!(doc.list_push("map", 1i64).await.unwrap_err().kind(), ErrorKind::ReadOnly);
    check(&database).await;
}

/// Random changes of a list by two who do not see each other, appended to in between: what is appended is last where it is
/// appended, whatever else has happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_last() {
    let forge = Forge::new(1);
    let (_instance, one) = forge.database().await;
    let (_other, two) = forge.database().await;
    let mut state = seed();
    let mut random = |below: u64| splitmix(&mut state) % below.max(1);
    for round in 0..120i64 {
        let database = if random(2) == 0 { &one } else { &two };
        let (transaction, doc) = begin(database).await;
        for step in 0..=random(3) as i64 {
            let length = match doc.get("list").await {
                Ok(Value::List(list)) => list.len() as u64,
                _ => 0,
            };
            let (from, to) = (random(length) as usize, random(length) as usize);
            match random(7) {
                0 if length > 0 => doc.list_remove("list", from).await.unwrap(),
                1 if length > 0 => doc.list_move("list", from, to).await.unwrap(),
                2 => doc.list_insert("list", from, round).await.unwrap(),
                3 if round % 40 == 39 => drop(doc.delete("list").await.unwrap()),
                _ => {
                    doc.list_push("list", 1000 * round + step).await.unwrap();
                    assert_eq!(numbers(&doc, "list").await.last(), Some(&(1000 * round + step)));
                }
            }
        }
        transaction.commit_with(Durability::Buffered).await.unwrap();
        if random(4) == 0 {
            for (from, to) in [(&one, &two), (&two, &one)] {
                let ids = from.difference(&from.get_tips().await.unwrap(), &[forge.root.id()]).await.unwrap();
                let entries = from.get_entries(&ids).await.unwrap();
                to.ingest(raw(&entries), "peer").await.unwrap();
            }
        }
    }
    check(&one).await;
    check(&two).await;
}

/// A peer may choose the last position there can be; then a push has to make room.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_room_at_its_end_is_appended_to() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    pushed(&database, "list", 1).await;
    let tip = database.get_entry(&database.get_tips().await.unwrap()[0]).await.unwrap();
    let at = Path(vec![Step::Key("list".into()), Step::Element(ElementName { entry: None, index: 0 })]);
    let position = [vec![255; 255], vec![128]].concat();
    let delta = DocDelta(vec![(at, Action::Insert { position, value: 2i64.into() })]);
    let entry = forge.sign(forge.header(&[&tip]), vec![("doc".into(), "doc".into(), delta.to_bytes())]);
    hand_in_all(&database, &[entry]).await;
    for value in 3..6 {
        pushed(&database, "list", value).await;
    }
    let doc = database.get_store_viewer::<DocStore>("doc").await.unwrap();
    assert_eq!(numbers(&doc, "list").await, [1, 2, 3, 4, 5]);
    check(&database).await;
}

/// A store as the layout before had it: nothing is known of where lists end, until it is rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_an_earlier_layout_is_appended_to() {
    let forge = Forge::new(1);
    let old = Shared::in_turns(Memory::new());
    let (instance, database) = forge.database_with(Box::new(old.clone()), Options::default()).await;
    for value in 0..5 {
        pushed(&database, "list", value).await;
    }
    instance.close().await.unwrap();
    let earlier = |(keyspace, key, value): Row| match keyspace.number() {
        11 => None,
        4 => {
            assert_eq!((value[0], value.last()), (0x88, Some(&0xf5)));
            let shorter = [&[0x87], &value[1..value.len() - 1]].concat();
            Some((keyspace, key, shorter.into()))
        }
        _ => Some((keyspace, key, value)),
    };
    let rows = dump(&*old.snapshot().await.unwrap()).await;
    let rows: Vec<Row> = rows.into_iter().filter_map(earlier).collect();
    let backend = Memory::new();
    load(&backend, &rows).await;
    let (backend, counts) = Counting::new(backend);
    let (_instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
    let (transaction, doc) = begin(&database).await;
    doc.list_insert("list", 1, 10i64).await.unwrap();
    transaction.commit().await.unwrap();
    pushed(&database, "list", 5).await;
    let doc = database.get_store_viewer::<DocStore>("doc").await.unwrap();
    assert_eq!(numbers(&doc, "list").await, [0, 10, 1, 2, 3, 4, 5]);
    check(&database).await;
    for rebuilt in [false, true] {
        if rebuilt {
            database.reindex().await.unwrap();
        }
        let (transaction, doc) = begin(&database).await;
        let ((), asked) = counts.of(async { doc.list_push("list", 6i64).await.unwrap() }).await;
        assert_eq!(asked.read <= 6, rebuilt, "{asked:?}");
        transaction.commit().await.unwrap();
    }
    assert_eq!(numbers(&doc, "list").await, [0, 10, 1, 2, 3, 4, 5, 6, 6]);
    check(&database).await;
}
