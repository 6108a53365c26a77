//! What work holds at once, and what it reads: bounded, and no more than what is asked for.

use eidetica::backend::database::Memory;
use eidetica::crdt::{Doc, Value};
use eidetica::store::table::RowRange;
use eidetica::store::{Cells, StoreHandle, StoreType, Table};
use eidetica::{Database, Durability, Options};

use super::counting::Counting;
use super::kit::{Forge, check, hand_in_all, put, raw};

/// What is read and written for one step ends when it has come to so many bytes.
const STEP: u64 = 8 << 20;

/// Large values of a kind that is not known at first.
struct Blobs(Cells);

impl StoreType for Blobs {
    const KIND: &'static str = "test.blobs";

    fn open(handle: StoreHandle) -> Self {
        Blobs(Cells::new(handle))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn catching_up_holds_few_bytes_however_large_the_bodies_are() {
    const LARGE: usize = 1 << 20;
    let forge = Forge::new(1);
    let (backend, counts) = Counting::new(Memory::new());
    let (_instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
    let mut below = forge.root.clone();
    for n in 0..30u8 {
        let delta = put("blobs", Blobs::KIND, &format!("key {n}"), &vec![n; LARGE]);
        below = forge.sign(forge.header(&[&below]), vec![delta]);
        hand_in_all(&database, std::slice::from_ref(&below)).await;
    }
    counts.largest_step();
    let blobs = database.get_store_viewer::<Blobs>("blobs").await.unwrap();
    let largest = counts.largest_step();
    assert!((STEP / 2..STEP + 3 * LARGE as u64).contains(&largest), "{largest} bytes");
    assert_eq!(blobs.0.get(b"key 29").await.unwrap()[0].value, vec![29; LARGE]);

    // The same entries once more, for a rebuild, which first reads all of them, and drops what it has read.
    database.reindex().await.unwrap();
    let largest = counts.largest_batch();
    assert!(largest < STEP + 3 * LARGE as u64, "{largest} bytes");
    check(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_in_steps_of_few_bytes() {
    let (backend, counts) = Counting::new(Memory::new());
    let (_instance, database) = Forge::new(1).database_with(Box::new(backend), Options::default()).await;
    wide(&database, 0..400).await;
    counts.largest_step();
    let ((), asked) = counts.of(async { database.ensure_index("wide", "group").await.unwrap() }).await;
    let largest = counts.largest_step();
    assert!(asked.commits >= 6 && largest < (2 << 20), "{asked:?}, {largest} bytes at once");
    assert_eq!(groups(&database).await, [58, 57, 57]);
    let ((), asked) = counts.of(async { database.drop_index("wide", "group").await.unwrap() }).await;
    assert!(asked.read + asked.written < 12, "{asked:?}");
    check(&database).await;
}

/// Rows of 16 KiB each, in seven groups.
pub async fn wide(database: &Database, numbers: std::ops::Range<i64>) {
    let transaction = database.new_transaction().await.unwrap();
    let table = transaction.get_store::<Table<Doc>>("wide").await.unwrap();
    for number in numbers {
        let fields: [(&str, Value); 2] = [("group", (number % 7).into()), ("text", "x".repeat(16 << 10).into())];
        table.set(&format!("r{number:04}"), &fields.into_iter().collect()).await.unwrap();
    }
    transaction.commit_with(Durability::Buffered).await.unwrap();
}

/// How many rows are in some of the groups.
pub async fn groups(database: &Database) -> Vec<usize> {
    let table = database.get_store_viewer::<Table<Doc>>("wide").await.unwrap();
    let mut counts = Vec::new();
    for group in [0i64, 3, 6] {
        counts.push(table.find("group", group).await.unwrap().len());
    }
    counts
}

/// What one source has waiting in one database takes room from what it may have waiting in another.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_all_databases_of_a_store_is_bounded() {
    let (one, other) = (Forge::new(1), Forge::new(2));
    let (instance, first) = one.database().await;
    let second = other.adopt(&instance).await;
    let mut waiting = 0;
    for (forge, database) in [(&one, &first), (&other, &second)] {
        let missing = forge.entry(&[&forge.root], "missing", 1i64);
        for n in 0..12u8 {
            let large = put("blobs", Blobs::KIND, &format!("{n}"), &vec![n; 1 << 20]);
            let entry = forge.sign(forge.header(&[&missing]), vec![large]);
            database.ingest(raw(&[entry]), "peer").await.unwrap();
        }
        waiting += database.waiting().await.unwrap().1;
    }
    assert!(((15 << 20)..=(16 << 20)).contains(&waiting), "{waiting} bytes");
    // Those of another source still find room.
    let missing = other.entry(&[&other.root], "missing", 1i64);
    let entry = other.entry(&[&missing], "key", 1i64);
    let before = second.waiting().await.unwrap().0;
    second.ingest(raw(&[entry]), "another peer").await.unwrap();
    assert_eq!(second.waiting().await.unwrap().0, before + 1);
}

type Rows = Vec<(String, Doc)>;

/// What a range gives, taken from all rows.
fn expected(all: &Rows, reversed: bool, limit: usize) -> Rows {
    let mut rows = all.clone();
    if reversed {
        rows.reverse();
    }
    rows.truncate(limit);
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_with_a_limit_reads_about_so_many_rows_from_either_end() {
    const ALL: i64 = 3_000;
    let (backend, counts) = Counting::new(Memory::new());
    let (_instance, database) = Forge::new(1).database_with(Box::new(backend), Options::default()).await;
    let fill = async |first: i64, keys: std::ops::Range<i64>| {
        let transaction = database.new_transaction().await.unwrap();
        let table = transaction.get_store::<Table<Doc>>("t").await.unwrap();
        for number in keys {
            table.set(&format!("r{number:05}"), &[("n", first + number)].into_iter().collect()).await.unwrap();
        }
        transaction.commit().await.unwrap();
    };
    fill(0, 0..ALL).await;
    let then = database.snapshot().await.unwrap();
    fill(1_000_000, 0..ALL).await;
    let now = database.get_store_viewer::<Table<Doc>>("t").await.unwrap();
    let past = database.at(&then).await.unwrap().get_store_viewer::<Table<Doc>>("t").await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    let staged = transaction.get_store::<Table<Doc>>("t").await.unwrap();
    for number in [0, 1, 7, ALL - 1, ALL - 3] {
        staged.delete(&format!("r{number:05}")).await.unwrap();
    }
    for key in ["a", "r00003x", "r02998x", "z"] {
        staged.set(key, &[("n", -1i64)].into_iter().collect()).await.unwrap();
    }
    // A row of the past costs a look at each place, and the entry that it is in once.
    for (table, each) in [(&now, 1), (&staged, 1), (&past, 8)] {
        for (range, prefix) in
            [(RowRange::all(), ""), (RowRange::prefix("r01"), "r01"), (RowRange::from("r02990"), "r0299")]
        {
            let all: Rows = table.scan(range.clone()).await.unwrap();
            assert!(!all.is_empty() && all.windows(2).all(|pair| pair[0].0 < pair[1].0), "{prefix}");
            for (reversed, limit) in [(true, 10), (false, 10), (true, 1), (true, 0), (false, 0)] {
                let asked_for = if reversed { range.clone().reversed() } else { range.clone() }.limit(limit);
                let (found, asked) = counts.of(async { table.scan(asked_for).await.unwrap() }).await;
                assert_eq!(found, expected(&all, reversed, limit), "{prefix} {reversed} {limit}");
                let most = (3 * limit as u64 + 8) * each;
                assert!(asked.read <= most, "{prefix} {reversed} {limit}: {asked:?}, and {most} would do");
            }
            // Across the pages of the store.
            let found = table.scan(range.clone().reversed()).await.unwrap();
            assert_eq!(found, expected(&all, true, usize::MAX), "{prefix}");
        }
        let found = table.scan(RowRange::all().bytes(200)).await.unwrap();
        let all: Rows = table.scan(RowRange::all().limit(100)).await.unwrap();
        assert!((2..50).contains(&found.len()) && found[..] == all[..found.len()], "{found:?}");
        assert_eq!(table.scan(RowRange::all().bytes(1)).await.unwrap(), all[..1]);
        let found = table.select(RowRange::all().reversed().limit(2), |key, _| key.ends_with('5')).await.unwrap();
        assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["r02995", "r02985"]);
    }
}
