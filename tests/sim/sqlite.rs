//! SQLite in a simulated world: the clock does not run ahead of its threads, and a run is the same as in memory.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::backend::{Backend, Capabilities};
use eidetica::core::Engine;
use eidetica::crdt::Doc;
use eidetica::store::DocStore;
use eidetica::{Durability, Result, SecretKey};
use eidetica_contract::{CallOptions, Caller, Service, Transport};
use eidetica_sync::sim::{self, Conditions, Crashing, Delay, InPlace, World, copy_rows, in_place};

/// SQLite with the rows of an image.
async fn sqlite(image: Memory) -> Result<InPlace<Sqlite>> {
    let store = InPlace::new(in_place(Sqlite::in_memory())?);
    copy_rows(&image, &store).await?;
    Ok(store)
}

/// Counts what it is told to, durably.
struct Counts(eidetica::Database);

#[async_trait]
impl Service for Counts {
    async fn handle(&self, _: Caller, message: Bytes) -> Result<Bytes> {
        let database = self.0.clone();
        let count = async move {
            let transaction = database.new_transaction().await?;
            let counts = transaction.get_store::<DocStore>("counts").await?;
            counts.increment(&String::from_utf8_lossy(&message), 1).await?;
            let durability = if message[0].is_multiple_of(2) { Durability::Flushed } else { Durability::Buffered };
            transaction.commit_with(durability).await.map(|committed| format!("{committed:?}"))
        };
        tokio::spawn(count).await.unwrap().map(Bytes::from)
    }
}

/// What has happened in a world: when, over the network, in the store.
#[derive(Debug, PartialEq)]
struct Told {
    took: Duration,
    trace: (u64, [u8; 32]),
    answers: Vec<String>,
    counts: Vec<(u64, Doc)>,
}

/// Callers count over a poor line, and the host crashes three times.
async fn story<B: Backend, F>(world: World, restore: impl Fn(Memory) -> F + Send + Sync + 'static) -> Told
where
    F: Future<Output = Result<B>> + Send + 'static,
{
    world.network.everywhere(Conditions::poor());
    let environment = world.environment("host");
    let delay = Delay::Between(Duration::ZERO, Duration::from_millis(20));
    let mut store = Crashing::new(world.seed, restore).await.unwrap().flush_takes(delay);
    let mut root = None;
    let (mut answers, mut counts) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let engine = Engine::open(Box::new(store.clone()), world.options(&environment)).await.unwrap();
        let key = SecretKey::from_seed(&[7; 32]);
        let database = match root {
            None => engine.create_database(Doc::new(), &key).await.unwrap(),
            Some(root) => engine.open_database(&root, Some(key)).await.unwrap(),
        };
        root = Some(*database.root_id());
        if let Ok(counted) = database.get_store_viewer::<DocStore>("counts").await {
            counts.push((database.entry_count().await.unwrap(), counted.get_all().await.unwrap()));
        }
        let host = world.network.transport("host");
        host.listen(Arc::new(Counts(database.clone()))).await.unwrap();
        let caller = world.network.transport("caller");
        let mut calls = tokio::task::JoinSet::new();
        let dialled = caller.dial(&host.address(), CallOptions::default()).await;
        let Ok(channel) = dialled.map(Arc::<dyn eidetica_contract::Channel>::from) else { continue };
        for number in 0..24u8 {
            let channel = channel.clone();
            calls.spawn(async move {
                tokio::time::sleep(Duration::from_millis(u64::from(number) * 7)).await;
                let options = CallOptions::timeout(Duration::from_secs(4));
                let answer = channel.request(Bytes::from(vec![b'a' + number % 5]), options).await;
                format!("{:?}", answer.map_err(|error| error.kind()))
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        store.crash();
        world.network.crash("host");
        answers.extend(calls.join_all().await);
        store = store.reopen().await.unwrap();
    }
    assert!(database_is_sound(&store, &world, root).await);
    Told { took: world.clock.elapsed(), trace: world.network.trace_digest(), answers, counts }
}

async fn database_is_sound<B: Backend>(store: &Crashing<B>, world: &World, root: Option<eidetica::Id>) -> bool {
    let environment = world.environment("judge");
    let engine = Engine::open(Box::new(store.clone()), world.options(&environment)).await.unwrap();
    let database = engine.open_database(&root.unwrap(), None).await.unwrap();
    database.verify().await.unwrap().is_clean()
}

#[test]
fn a_run_on_sqlite_is_the_same_run_as_in_memory() {
    let mut crashed = 0;
    for seed in sim::seeds(4) {
        let on_sqlite = || sim::run(seed, async |world| story(world, sqlite).await);
        let in_memory = sim::run(seed, async |world| story(world, async |image| Ok(image)).await);
        let first = on_sqlite();
        assert_eq!(first, in_memory, "seed {seed}, SQLite and memory");
        assert_eq!(first, on_sqlite(), "seed {seed}, twice");
        crashed += first.counts.len();
        assert!(first.answers.iter().any(|answer| answer.starts_with("Ok")));
    }
    assert!(crashed > 0);
}

/// What the wrapper is for: without it the clock jumps over the time in which the threads of SQLite are at work.
#[test]
fn timeouts_do_not_pass_while_sqlite_is_at_work() {
    sim::run(1, async |world| {
        let directory = tempfile::tempdir().unwrap();
        let store = in_place(Sqlite::open(directory.path().join("store.db"))).unwrap();
        assert_eq!(world.clock.elapsed(), Duration::ZERO);
        let store = InPlace::new(store);
        assert_ne!(store.info().capabilities, Capabilities::default());
        let environment = world.environment("host");
        let engine = Engine::open(Box::new(store), world.options(&environment)).await.unwrap();
        let database = engine.create_database(Doc::new(), &SecretKey::from_seed(&[1; 32])).await.unwrap();
        for number in 0..20 {
            let commit = database.with_transaction(async move |transaction| {
                transaction.get_store::<DocStore>("notes").await?.set("number", number).await
            });
            tokio::time::timeout(Duration::from_millis(1), commit).await.expect("the clock has run ahead").unwrap();
        }
        engine.close().await.unwrap();
        assert_eq!(world.clock.elapsed(), Duration::ZERO);
    });
}
