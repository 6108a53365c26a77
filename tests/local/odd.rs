//! What another program may have written, or another clock, and what reading goes on to do beside it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use eidetica::backend::database::Memory;
use eidetica::core::store::cells::CellsDelta;
use eidetica::core::store::{Lattice, Semilattice};
use eidetica::crdt::{Doc, Value};
use eidetica::store::doc::{Action, DocDelta, Path, Plain, Step};
use eidetica::store::table::RowRange;
use eidetica::store::{DocStore, Table};
use eidetica::{ErrorKind, Instance, Options, Outcome, Time};

use super::counting::{Counting, Shared};
use super::kit::{BEGIN, Forge, Held, check, hand_in, set};

#[derive(Clone, Default, Debug, PartialEq)]
struct Tags(BTreeSet<u8>);

impl Semilattice for Tags {
    const KIND: &'static str = "tags";

    fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().copied().collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes != b"bad").then(|| Tags(bytes.iter().copied().collect()))
    }
}

#[tokio::test]
async fn a_lattice_passes_over_keys_that_are_no_text() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let cell = |key: &'static [u8]| (Bytes::from_static(key), Some(Bytes::from_static(b"\x01")));
    let delta = CellsDelta(vec![cell(b"a"), cell(b"b\xff"), cell(b"c"), cell(b"\xff")]);
    let entry = forge.sign(forge.header(&[&forge.root]), vec![("g".into(), "tags".into(), delta.to_bytes())]);
    assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Accepted);
    let tags = database.get_store_viewer::<Lattice<Tags>>("g").await.unwrap();
    let one = Tags([1].into());
    assert_eq!(tags.all().await.unwrap(), [("a".to_owned(), one.clone()), ("c".to_owned(), one)]);
}

#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq, Clone)]
struct Task {
    title: String,
    done: bool,
}

#[tokio::test]
async fn a_row_of_another_form_is_named_and_can_be_passed_over() {
    let (_instance, database) = Forge::new(1).database().await;
    let transaction = database.new_transaction().await.unwrap();
    let tasks = transaction.get_store::<Table<Task>>("t").await.unwrap();
    let task = |title: &str| Task { title: title.to_owned(), done: false };
    for key in ["a", "c"] {
        tasks.set(key, &task(key)).await.unwrap();
    }
    transaction.commit().await.unwrap();
    // Another program takes `done` for a date.
    let transaction = database.new_transaction().await.unwrap();
    let any = transaction.get_store::<Table<Doc>>("t").await.unwrap();
    let odd: Doc = [("title", "odd"), ("done", "yesterday")].into_iter().collect();
    any.set("b", &odd).await.unwrap();
    transaction.commit().await.unwrap();

    for index in [false, true] {
        if index {
            database.ensure_index("t", "title").await.unwrap();
        }
        let tasks = database.get_store_viewer::<Table<Task>>("t").await.unwrap();
        let failures = [
            tasks.get("b").await.map(drop),
            tasks.scan(RowRange::all()).await.map(drop),
            tasks.scan(RowRange::all().reversed()).await.map(drop),
            tasks.select(RowRange::all(), |_, _| false).await.map(drop),
            tasks.search(|_| false).await.map(drop),
            tasks.find("title", "odd").await.map(drop),
        ];
        for failure in failures {
            let error = failure.unwrap_err();
            assert_eq!((error.kind(), error.context("row")), (ErrorKind::WrongType, Some("b")), "{error}");
        }
        // What does not come by it is not kept from being read.
        assert_eq!(tasks.scan(RowRange::all().limit(1)).await.unwrap(), [("a".to_owned(), task("a"))]);
        assert_eq!(tasks.find("title", "c").await.unwrap(), [("c".to_owned(), task("c"))]);
        for range in [RowRange::all(), RowRange::all().reversed(), RowRange::prefix("").limit(3)] {
            let each = tasks.scan_each(range).await.unwrap();
            let (read, passed): (Vec<_>, Vec<_>) = each.into_iter().partition(|(_, row)| row.is_ok());
            let mut read: Vec<_> = read.into_iter().map(|(key, row)| (key, row.unwrap())).collect();
            read.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(read, [("a".to_owned(), task("a")), ("c".to_owned(), task("c"))]);
            let [(key, Err(error))] = &passed[..] else { panic!("{passed:?}") };
            assert_eq!((key.as_str(), error.kind(), error.context("row")), ("b", ErrorKind::WrongType, Some("b")));
        }
        let any = database.get_store_viewer::<Table<Doc>>("t").await.unwrap();
        assert_eq!(any.get("b").await.unwrap(), odd);
        assert_eq!(any.count().await.unwrap(), 3);
    }
}

/// A history that was written by a clock that was ahead, and read back where the clock is right.
#[tokio::test]
async fn an_import_that_is_ahead_of_the_clock_says_so() {
    let forge = Forge::new(1);
    let clock = Held::new();
    let (there, database) = forge.database_with(Box::new(Memory::new()), clock.options()).await;
    clock.advance(Duration::from_secs(30 * 86_400));
    let near = forge.entry(&[&forge.root], "a", 1i64);
    let mut header = forge.header(&[&near]);
    header.time = Time::from_millis(BEGIN + 20 * 86_400_000);
    let far = forge.sign(header, vec![set("notes", "b", 2i64)]);
    let above = forge.entry(&[&far], "c", 3i64);
    for entry in [&near, &far, &above] {
        assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Accepted);
    }
    let mut exported = Vec::new();
    database.export(&mut exported).await.unwrap();
    there.close().await.unwrap();

    let clock = Held::new();
    let here = Instance::open_with(Box::new(Memory::new()), clock.options()).await.unwrap();
    let error = here.import(&mut &exported[..], None).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("ahead of the clock"), "{error}");
    assert_eq!(error.context("entry"), Some(far.id().to_string().as_str()));
    let database = here.open_database_with_key(&forge.root.id(), None).await.unwrap();
    assert_eq!(database.entry_count().await.unwrap(), 2, "what is not ahead is here");
    clock.advance(Duration::from_secs(30 * 86_400));
    let (database, _) = here.import(&mut &exported[..], None).await.unwrap();
    assert_eq!(database.entry_count().await.unwrap(), 4);
    check(&database).await;
}

/// A delta whose paths have so many steps: each is looked at, and what is above it is not looked up step by step.
#[tokio::test]
async fn long_paths_are_not_looked_up_step_by_step() {
    const OPERATIONS: u64 = 100;
    let forge = Forge::new(1);
    let deep = |first: Vec<String>, length: usize| {
        Path(first.into_iter().chain(std::iter::repeat_n(String::new(), length)).map(Step::Key).collect())
    };
    let delta = |paths: Vec<Path>| {
        let set = |path| (path, Action::Set(Plain::Scalar(Value::Null)));
        vec![("n".to_owned(), "doc".to_owned(), DocDelta(paths.into_iter().map(set).collect()).to_bytes())]
    };
    let name = |number: u64| format!("{number:03}");
    // Each below a key of its own; all below one; and each at the end of a path that begins alike.
    let apart = (0..OPERATIONS).map(|n| deep(vec![name(n)], 360)).collect();
    let together = (0..OPERATIONS).map(|n| deep(vec!["x".into(), name(n)], 360)).collect();
    let at_the_end = (0..OPERATIONS)
        .map(|n| Path(deep(vec!["y".into()], 360).0.into_iter().chain([Step::Key(name(n))]).collect()))
        .collect();
    for paths in [apart, together, at_the_end] {
        let (backend, counts) = Counting::new(Shared::in_turns(Memory::new()));
        let (_instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
        // There is something in the store, also above what is to come.
        let scalars = ["a", "x", "y", "z"].map(|key| deep(vec![key.to_owned()], 0));
        let first = forge.sign(forge.header(&[&forge.root]), delta(scalars.to_vec()));
        assert_eq!(hand_in(&database, first.to_raw()).await, Outcome::Accepted);
        let entry = forge.sign(forge.header(&[&first]), delta(paths));
        let (outcome, asked) = counts.of(hand_in(&database, entry.to_raw())).await;
        assert_eq!(outcome, Outcome::Accepted);
        assert!(asked.read < 8 * OPERATIONS + 500, "{} rows for {OPERATIONS} operations", asked.read);
        check(&database).await;
        let shown = database.get_store_viewer::<DocStore>("n").await.unwrap().get_all().await.unwrap();
        assert!(shown.get("a") == Some(&Value::Null) && shown.get("z") == Some(&Value::Null));
    }
}
