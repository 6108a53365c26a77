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
        // Each direction by itself, measured by the larger of the two: nobody pays for what the other one holds as well.
        let d = there.unwrap().len().max(back.unwrap().len()) as u64;
        let read = asked.read.max(asked_back.read);
        println!("{name}: {d} entries, {read} rows");
        if read > 4 * d + 64 {
            failed.push(format!("{name}: {read} rows for {d} entries"));
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

/// What commits of one key ask for, by what they do.
async fn commits(database: &Database, counts: &Counts) -> Vec<(&'static str, Asked)> {
    let notes = async |t: &Transaction| t.get_store::<DocStore>("notes").await.unwrap();
    // The head from before has a side branch; this brings them together, so that what follows is the common path.
    let first = commit(database, counts, async |t| notes(t).await.set("new", 1i64).await.unwrap()).await;
    vec![
        ("the first", first),
        ("insert", commit(database, counts, async |t| notes(t).await.set("newer", 1i64).await.unwrap()).await),
        ("overwrite", commit(database, counts, async |t| notes(t).await.set("hot", 1i64).await.unwrap()).await),
        ("overwrite again", commit(database, counts, async |t| notes(t).await.set("hot", 2i64).await.unwrap()).await),
        ("delete", commit(database, counts, async |t| assert!(notes(t).await.delete("hot").await.unwrap())).await),
        (
            "insert after delete",
            commit(database, counts, async |t| notes(t).await.set("hot", 3i64).await.unwrap()).await,
        ),
        (
            "increment",
            commit(database, counts, async |t| {
                t.get_store::<DocStore>("counters").await.unwrap().increment("counter", 1).await.unwrap();
            })
            .await,
        ),
        (
            "field of a row",
            commit(database, counts, async |t| {
                let table = t.get_store::<Table<Row>>("rows").await.unwrap();
                table.update("row", |row| row.state = "changed".into()).await.unwrap();
            })
            .await,
        ),
        (
            "new row",
            commit(database, counts, async |t| {
                let row = Row { name: "another".into(), state: "new".into() };
                t.get_store::<Table<Row>>("rows").await.unwrap().set("row 2", &row).await.unwrap();
            })
            .await,
        ),
        (
            "delete a row",
            commit(database, counts, async |t| {
                assert!(t.get_store::<Table<Row>>("rows").await.unwrap().delete("row 2").await.unwrap());
            })
            .await,
        ),
    ]
}

async fn a_commit_of_one_key_writes_at_most_eight_rows(sqlite: bool) {
    let big = big().await;
    let mut at_first: Vec<(&str, Asked)> = Vec::new();
    for stage in &big.stages {
        let backend = loaded(stage, sqlite).await;
        let (instance, database, counts) = opened(big, &backend).await;
        let asked = commits(&database, &counts).await;
        println!("n = {}: {asked:#?}", stage.entries);
        for (what, asked) in &asked {
            assert!(asked.written <= COMMIT, "{what} at n = {}: {asked:?}", stage.entries);
            assert_eq!(asked.commits, 1, "{what}");
        }
        // What is read does not grow, either.
        if at_first.is_empty() {
            at_first = asked;
        } else {
            for ((what, then), (_, now)) in at_first.iter().zip(&asked) {
                assert!(now.read <= then.read + 16, "{what} reads {} rows at n = {}", now.read, stage.entries);
            }
        }
        instance.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_one_key_writes_at_most_eight_rows_in_memory() {
    a_commit_of_one_key_writes_at_most_eight_rows(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_one_key_writes_at_most_eight_rows_in_sqlite() {
    a_commit_of_one_key_writes_at_most_eight_rows(true).await;
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
