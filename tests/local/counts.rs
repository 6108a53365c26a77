//! What work costs, counted in rows and not in milliseconds.

use std::sync::Arc;
use std::time::Duration;

use eidetica::backend::database::{Memory, Sqlite};
use eidetica::store::{DocStore, Table};
use eidetica::{Database, Durability, Id, Instance, Options, Snapshot, Transaction};

use super::big::{Big, HOT_EVERY, Stage, big, key_of};
use super::counting::{Asked, Counting, Counts, Shared, load};

/// The most rows that a commit of one key may write.
const COMMIT: u64 = 8;
/// The most rows that reading one key, now or then, may read.
const READ: u64 = 32;

#[derive(serde::Serialize, serde::Deserialize)]
struct Row {
    name: String,
    state: String,
}

/// A backend with this part of the history in it.
async fn loaded(stage: &Stage, sqlite: bool) -> Shared {
    let backend = match sqlite {
        true => Shared::in_turns(Sqlite::in_memory().await.unwrap()),
        false => Shared::in_turns(Memory::new()),
    };
    load(&backend, &stage.rows).await;
    backend
}

/// The database, just opened, so that nothing is known from before.
async fn opened(big: &Big, backend: &Shared) -> (Instance, Database, Arc<Counts>) {
    let (backend, counts) = Counting::new(backend.clone());
    let instance = Instance::open_with(Box::new(backend), Options::default()).await.unwrap();
    let database = instance.open_database_with_key(&big.forge.root.id(), Some(big.forge.key.clone())).await.unwrap();
    (instance, database, counts)
}

async fn a_difference_costs_what_it_holds(sqlite: bool) {
    let big = big().await;
    let backend = loaded(big.stages.last().unwrap(), sqlite).await;
    let last = |count: usize| big.chain[big.chain.len() - 1 - count];
    let tip = last(0);
    let cases: Vec<(&str, Vec<Id>, Vec<Id>)> = vec![
        ("the tail of the chain", vec![tip], vec![last(10)]),
        ("one entry of the chain", vec![tip], vec![last(1)]),
        ("a long tail", vec![tip], vec![last(5000)]),
        ("nothing", vec![tip], vec![tip]),
        ("the whole chain", vec![tip], vec![big.chain[0]]),
        ("two branches", vec![big.branches[0][999]], vec![big.branches[1][999]]),
        ("two branches, halfway", vec![big.branches[0][500]], vec![big.branches[1][700]]),
        ("the tail of one of two branches", vec![big.branches[0][999]], vec![big.branches[0][989]]),
        ("an old side branch", vec![big.side, big.head], vec![big.head]),
        ("the main line and an old side branch", vec![big.head], vec![big.side, big.merges[490]]),
        ("a merge and its branches", vec![big.merges[0]], vec![big.branches[0][999], big.branches[1][999]]),
        ("many small merges", vec![big.merges[499]], vec![big.merges[0]]),
        ("a few small merges", vec![big.merges[300]], vec![big.merges[290]]),
    ];
    let mut failed = Vec::new();
    for (name, heads, without) in cases {
        let (instance, database, counts) = opened(big, &backend).await;
        let (there, asked) = counts.of(database.difference(&heads, &without)).await;
        instance.close().await.unwrap();
        let (instance, database, counts) = opened(big, &backend).await;
        let (back, asked_back) = counts.of(database.difference(&without, &heads)).await;
        instance.close().await.unwrap();
        // Each direction by itself: nobody pays for what the other one holds.
        for (way, found, asked) in [("there", there, asked), ("back", back, asked_back)] {
            let (d, read) = (found.unwrap().len() as u64, asked.read);
            println!("{name}, {way}: {d} entries, {read} rows");
            if read > 4 * d + 64 {
                failed.push(format!("{name}, {way}: {read} rows for {d} entries"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_costs_what_it_holds_in_memory() {
    a_difference_costs_what_it_holds(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_costs_what_it_holds_in_sqlite() {
    a_difference_costs_what_it_holds(true).await;
}

/// Commits what is done to a transaction, and counts the commit alone.
async fn commit(database: &Database, counts: &Counts, act: impl AsyncFnOnce(&Transaction)) -> Asked {
    let transaction = database.new_transaction().await.unwrap();
    act(&transaction).await;
    let (committed, asked) = counts.of(transaction.commit_with(Durability::Buffered)).await;
    assert!(committed.unwrap().written);
    asked
}

/// Everything that a commit of one key may do, in an order in which it can be done, and how many rows it then writes: five for
/// the entry and the database, the record, what the past gets, the end of a list, and what an index loses and gains.
const DEEDS: [(&str, u64); 24] = [
    ("set a new key", 6),
    ("set it again", 7),
    ("delete it", 8),
    ("set it anew", 6),
    ("begin a counter", 6),
    ("increment it", 7),
    ("set what was a counter", 7),
    ("insert a row", 6),
    ("update a field of it", 6),
    ("update the same field", 7),
    ("delete the row", 9),
    ("insert a row without an update", 6),
    ("delete that row", 8),
    ("insert a row into an index", 7),
    ("update the field with the index", 8),
    ("delete the row with the index", 10),
    ("begin a list", 9),
    ("push to it", 7),
    ("push again", 7),
    ("move an element", 6),
    ("move it again", 7),
    ("move it to the end", 7),
    ("set an element", 6),
    ("delete what was moved and set", 10),
];

/// Does one of them.
async fn act(deed: &str, transaction: &Transaction) -> eidetica::Result<()> {
    let notes = transaction.get_store::<DocStore>("notes").await?;
    let rows = transaction.get_store::<Table<Row>>("rows").await?;
    let indexed = transaction.get_store::<Table<Row>>("indexed").await?;
    let row = |state: &str| Row { name: "name".into(), state: state.into() };
    match deed {
        "set a new key" | "set it again" | "set it anew" => notes.set("key of its own", deed).await,
        "delete it" => notes.delete("key of its own").await.map(drop),
        "begin a counter" | "increment it" => notes.increment("many", 1).await,
        "set what was a counter" => notes.set("many", 1i64).await,
        "insert a row" => rows.set("first", &row("new")).await,
        "update a field of it" | "update the same field" => rows.update("first", |row| row.state = deed.into()).await,
        "delete the row" => rows.delete("first").await.map(drop),
        "insert a row without an update" => rows.set("second", &row("new")).await,
        "delete that row" => rows.delete("second").await.map(drop),
        "insert a row into an index" => indexed.set("third", &row("new")).await,
        "update the field with the index" => indexed.update("third", |row| row.state = deed.into()).await,
        "delete the row with the index" => indexed.delete("third").await.map(drop),
        "begin a list" | "push to it" | "push again" => notes.list_push("list", deed).await,
        "move an element" => notes.list_move("list", 2, 0).await,
        "move it again" => notes.list_move("list", 0, 1).await,
        "move it to the end" => notes.list_move("list", 1, 2).await,
        "set an element" => notes.list_set("list", 2, "other").await,
        "delete what was moved and set" => notes.list_remove("list", 2).await,
        other => panic!("{other}"),
    }
}

/// How high the only head is.
async fn height(database: &Database) -> u64 {
    let log = database.log(None, 1).await.unwrap();
    log[0].height
}

/// Eight rows at most where a commit overtakes one operation, at any length of the history. Each further operation that it
/// overtakes is a row more, and so is a block of heights that it closes, as one commit in about sixteen does, and what comes
/// into being beside the key: a list with its first element, and how deep the store is then.
async fn commits_write_the_same_few_rows_at_any_length(sqlite: bool) {
    let big = big().await;
    let mut at_first: Vec<u64> = Vec::new();
    for (stage, closes) in big.stages.iter().flat_map(|stage| [(stage, false), (stage, true)]) {
        let backend = loaded(stage, sqlite).await;
        let (instance, database, counts) = opened(big, &backend).await;
        // The head from before has a side branch; this brings them together, so that what follows is the common path.
        commit(&database, &counts, async |t| {
            t.get_store::<DocStore>("notes").await.unwrap().set("new", 1i64).await.unwrap();
            let row = Row { name: "name".into(), state: "old".into() };
            t.get_store::<Table<Row>>("indexed").await.unwrap().set("zeroth", &row).await.unwrap();
        })
        .await;
        database.ensure_index("indexed", "state").await.unwrap();
        let (mut reads, mut wrong) = (Vec::new(), Vec::new());
        for (deed, wanted) in DEEDS {
            // A block of 16 heights closes at the height after its last one, and greater ones soon after.
            let fits = |height: u64| if closes { height % 16 == 15 } else { (7..15).contains(&(height % 16)) };
            while !fits(height(&database).await) {
                commit(&database, &counts, async |t| {
                    t.get_store::<DocStore>("other").await.unwrap().increment("filling", 1).await.unwrap();
                })
                .await;
            }
            let asked = commit(&database, &counts, async |t| act(deed, t).await.unwrap()).await;
            assert_eq!(asked.commits, 1, "{deed}");
            println!("n = {}, closing: {closes}, {deed}: {asked:?}", stage.entries);
            if asked.written != wanted + u64::from(closes) {
                wrong.push(format!("{deed}: {} instead of {wanted}", asked.written));
            }
            reads.push(asked.read);
        }
        assert!(wrong.is_empty(), "n = {}, closing: {closes}: {wrong:#?}", stage.entries);
        // What is read does not grow, either.
        if at_first.is_empty() {
            at_first = reads;
        } else {
            for (((deed, _), then), now) in DEEDS.iter().zip(&at_first).zip(&reads) {
                assert!(*now <= then + 24, "{deed} reads {now} rows at n = {}", stage.entries);
            }
        }
        instance.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_write_the_same_few_rows_at_any_length_in_memory() {
    commits_write_the_same_few_rows_at_any_length(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_write_the_same_few_rows_at_any_length_in_sqlite() {
    commits_write_the_same_few_rows_at_any_length(true).await;
}

/// Reading one key costs the same few rows, however long the history is: now, directly after a commit, and then.
async fn reading_a_key_costs_a_few_rows(sqlite: bool) {
    let big = big().await;
    let mut failed = Vec::new();
    for stage in &big.stages {
        let n = stage.entries;
        let backend = loaded(stage, sqlite).await;
        let (instance, database, counts) = opened(big, &backend).await;
        commit(&database, &counts, async |t| {
            t.get_store::<DocStore>("notes").await.unwrap().set("hot", "now").await.unwrap();
        })
        .await;
        let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
        let (value, asked) = counts.of(notes.get_string("hot")).await;
        assert_eq!(value.unwrap(), "now");
        println!("n = {n}: {} rows to read now", asked.read);
        assert!(asked.read <= READ, "now, at n = {n}: {asked:?}");

        let length = big.chain.len().min(n - 1);
        for at in [60, length / 2, length - 1] {
            let hot = at - at % HOT_EVERY;
            for (index, key) in [(hot, "hot".to_owned()), (at - 1, key_of(at - 1)), (at - 1, "absent".to_owned())] {
                // On a store that has just been opened: what is remembered must not be what makes it cheap.
                let (again, database, counts) = opened(big, &backend).await;
                let (value, asked) = counts
                    .of(async {
                        let view = database.at(&Snapshot(vec![big.chain[at]])).await.unwrap();
                        view.get_store_viewer::<DocStore>("notes").await.unwrap().get(&key).await
                    })
                    .await;
                println!("n = {n}: {} rows to read {key:?} at {at}", asked.read);
                match key.as_str() {
                    "absent" => assert_eq!(value.unwrap_err().kind(), eidetica::ErrorKind::NotFound),
                    // The first entry of the chain is made apart, and the others count from there.
                    _ => assert_eq!(value.unwrap().as_int(), Some(index as i64 - 1), "{key} at {at}"),
                }
                if asked.read > READ {
                    failed.push(format!("n = {n}, {key:?} at {at}: {} rows", asked.read));
                }
                again.close().await.unwrap();
            }
        }
        instance.close().await.unwrap();
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_key_costs_a_few_rows_in_memory() {
    reading_a_key_costs_a_few_rows(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_key_costs_a_few_rows_in_sqlite() {
    reading_a_key_costs_a_few_rows(true).await;
}

/// Who waits for the disk at the same time shares the wait.
async fn concurrent_commits_share_flushes(sqlite: bool) {
    const COMMITTERS: usize = 64;
    const EACH: usize = 16;
    let directory = tempfile::tempdir().unwrap();
    let backend = match sqlite {
        true => Shared::in_turns(Sqlite::open(directory.path().join("store.db")).await.unwrap()),
        false => Shared::in_turns(Memory::new()),
    };
    let (backend, counts) = Counting::new(backend);
    // Where a flush takes no time at all there is nothing to share.
    let backend = backend.flush_takes(if sqlite { Duration::ZERO } else { Duration::from_millis(2) });
    let instance = Instance::open(Box::new(backend)).await.unwrap();
    let key = instance.generate_key().unwrap();
    let database = instance.create_database_with_key(Default::default(), &key).await.unwrap();
    let work = async {
        let mut committers = tokio::task::JoinSet::new();
        for committer in 0..COMMITTERS {
            let database = database.clone();
            committers.spawn(async move {
                for round in 0..EACH {
                    let transaction = database.new_transaction().await.unwrap();
                    let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
                    notes.set(&format!("key {committer}"), round as i64).await.unwrap();
                    transaction.commit().await.unwrap();
                }
            });
        }
        while let Some(done) = committers.join_next().await {
            done.unwrap();
        }
    };
    let ((), asked) = counts.of(work).await;
    let commits = (COMMITTERS * EACH) as u64;
    println!("{commits} commits: {asked:?}");
    assert!(asked.flushes * 8 <= commits, "{asked:?}");
    assert!(asked.flushes > 0 && asked.written <= COMMIT * commits, "{asked:?}");
    assert_eq!(database.entry_count().await.unwrap(), commits + 1);
    super::kit::check(&database).await;
    instance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_share_flushes_in_memory() {
    concurrent_commits_share_flushes(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_share_flushes_in_sqlite() {
    concurrent_commits_share_flushes(true).await;
}

/// What was not flushed before is, once a commit is answered that was to be durable, and be it an empty one: what is flushed by
/// itself comes a tenth of a second later.
#[tokio::test]
async fn an_empty_commit_that_is_to_be_durable_flushes_what_came_before() {
    let (backend, counts) = Counting::new(Memory::new());
    let instance = Instance::open(Box::new(backend)).await.unwrap();
    let key = instance.generate_key().unwrap();
    let database = instance.create_database_with_key(Default::default(), &key).await.unwrap();
    let (id, asked) = counts
        .of(async {
            let transaction = database.new_transaction().await.unwrap();
            transaction.get_store::<DocStore>("d").await.unwrap().set("key", 1i64).await.unwrap();
            let written = transaction.commit_with(Durability::Buffered).await.unwrap();
            let empty = database.new_transaction().await.unwrap().commit_with(Durability::Flushed).await.unwrap();
            assert!(written.written && !empty.written && empty.id == written.id);
            empty.id
        })
        .await;
    assert_eq!(asked.commits, 1, "{id}");
    assert!(asked.flushes >= 1, "{asked:?}");
}
