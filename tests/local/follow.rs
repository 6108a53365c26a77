//! Following a database: streams without loss, callbacks in order.

use std::sync::{Arc, Mutex};

use eidetica::backend::Backend;
use eidetica::backend::database::Memory;
use eidetica::store::DocStore;
use eidetica::{Database, Durability, ErrorKind, Id, Outcome, WriteEvent};

use super::counting::{Shared, dump};
use super::kit::{Forge, PATIENCE, hand_in, hand_in_all, memory};

async fn commit(database: &Database, key: &str) -> Id {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, 1i64).await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_misses_nothing() {
    const COMMITTERS: usize = 50;
    const EACH: usize = 200;
    let instance = memory().await;
    let key = instance.generate_key().unwrap();
    let database = instance.create_database_with_key(Default::default(), &key).await.unwrap();
    let mut watch = database.watch().await.unwrap();
    let mut committers = tokio::task::JoinSet::new();
    for committer in 0..COMMITTERS {
        let database = database.clone();
        committers.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..EACH {
                ids.push(commit(&database, &format!("key {committer}")).await);
            }
            ids
        });
    }
    let mine = committers.join_all().await;
    // Only now does it read.
    let mut seen = Vec::new();
    for number in 1..=(COMMITTERS * EACH) as u64 {
        let change = tokio::time::timeout(PATIENCE, watch.next()).await.expect("something is missing").unwrap();
        assert_eq!((change.log.number, change.log.id), (number, change.entry.id()));
        assert!(change.log.local);
        assert_eq!(watch.cursor(), change.cursor);
        seen.push(change.log.id);
    }
    let none = tokio::time::timeout(std::time::Duration::from_millis(100), watch.next()).await;
    assert!(none.is_err(), "there is more than was written");
    // Each writer finds its own in its own order.
    for ids in mine {
        let places: Vec<_> = ids.iter().map(|id| seen.iter().position(|other| other == id).unwrap()).collect();
        assert!(places.is_sorted());
    }
    // One that was waiting gets what comes next, and one that starts at a cursor gets the rest.
    let cursor = watch.cursor();
    let next = tokio::spawn(async move { watch.next().await });
    let id = commit(&database, "last").await;
    assert_eq!(tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap().unwrap().log.id, id);
    let again = tokio::time::timeout(PATIENCE, database.watch_from(cursor).next()).await.unwrap().unwrap();
    assert_eq!(again.log.id, id);
    instance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_a_stream_that_waits() {
    for _ in 0..20 {
        let instance = memory().await;
        let key = instance.generate_key().unwrap();
        let database = instance.create_database_with_key(Default::default(), &key).await.unwrap();
        let mut watch = database.watch().await.unwrap();
        let waiting = tokio::spawn(async move { watch.next().await });
        tokio::task::yield_now().await;
        instance.close().await.unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), waiting).await;
        let error = ended.expect("the stream waits for ever").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_come_in_order_and_end_with_their_guard() {
    let forge = Forge::new(1);
    let (instance, database) = forge.database().await;
    let events: Arc<Mutex<Vec<(&str, WriteEvent)>>> = Arc::default();
    let note = |name: &'static str| {
        let events = events.clone();
        move |event: &WriteEvent| events.lock().unwrap().push((name, event.clone()))
    };
    let _panics = database.on_local_write(|_| panic!("as a test"));
    let local = database.on_local_write(note("local"));
    let remote = database.on_remote_write(note("remote"));

    let mut expected = vec![];
    for round in 0..20 {
        let id = commit(&database, &format!("key {round}")).await;
        expected.push(("local", vec![id]));
        if round % 5 == 0 {
            let entry = forge.entry(&[&database.get_entry(&id).await.unwrap()], "foreign", round as i64);
            assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Accepted);
            assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Known);
            expected.push(("remote", vec![entry.id()]));
        }
    }
    let page = forge.chain(&forge.root, 10, |n| format!("branch {n}"));
    hand_in_all(&database, &page).await;
    expected.push(("remote", page.iter().map(|entry| entry.id()).collect()));
    {
        let events = events.lock().unwrap();
        let got: Vec<_> = events.iter().map(|(name, event)| (*name, event.entries.clone())).collect();
        assert_eq!(got, expected);
        let mut tips = vec![forge.root.id()];
        for (name, event) in events.iter() {
            assert_eq!((event.local, &event.previous), (*name == "local", &tips), "each begins where the last ended");
            tips = event.tips.clone();
        }
        assert_eq!(tips.len(), 2);
    }
    drop(local);
    commit(&database, "unseen").await;
    let tip = database.get_entry(&database.get_tips().await.unwrap()[0]).await.unwrap();
    hand_in(&database, forge.entry(&[&tip], "seen", 1i64).to_raw()).await;
    drop(remote);
    hand_in(&database, forge.entry(&[&tip], "unseen", 1i64).to_raw()).await;
    let events = events.lock().unwrap().clone();
    assert_eq!(events.len(), expected.len() + 1);
    assert_eq!(events.last().unwrap().0, "remote");
    instance.close().await.unwrap();
}

/// A callback that waited for a commit of its own database would wait for ever: it is told so. Another database is free.
#[tokio::test]
async fn a_callback_cannot_wait_for_its_own_database() {
    let forge = Forge::new(1);
    let (instance, database) = forge.database().await;
    let other = Forge::new(2).adopt(&instance).await;
    let begun = async |database: &Database| {
        let transaction = database.new_transaction().await.unwrap();
        transaction.get_store::<DocStore>("notes").await.unwrap().set("within", 1i64).await.unwrap();
        Some(transaction.commit_with(Durability::Buffered))
    };
    // Polled once: that is all that a callback can do for a future on its own thread, but to wait.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
    let waiting = Mutex::new((begun(&database).await, begun(&other).await));
    let entry = forge.entry(&[&forge.root], "entry", 1i64).to_raw();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let within = database.clone();
    let guard = database.on_local_write(move |_| {
        let (own, other) = &mut *waiting.lock().unwrap();
        let (Some(own), Some(other)) = (own.take(), other.take()) else { return };
        let refused = |kind: Option<ErrorKind>| kind == Some(ErrorKind::Unsupported);
        let own = refused(now(own).and_then(|done| done.err().map(|error| error.kind())));
        let ingested = within.ingest(vec![entry.clone()], "peer");
        let ingested = refused(now(ingested).and_then(|done| done.err().map(|error| error.kind())));
        let other = now(other).is_some_and(|done| done.is_ok());
        told.lock().unwrap().push((own, ingested, other));
    });
    commit(&database, "first").await;
    assert_eq!(*seen.lock().unwrap(), [(true, true, true)]);
    drop(guard);
    // It was this call that was refused, and nothing else.
    commit(&database, "second").await;
    assert_eq!(database.entry_count().await.unwrap(), 3);
    assert_eq!(other.entry_count().await.unwrap(), 2);
}

/// Of openings in which nothing was written no row is kept, and cursors hold across them.
#[tokio::test]
async fn openings_in_which_nothing_comes_leave_no_rows() {
    let forge = Forge::new(1);
    let backend = Shared::in_turns(Memory::new());
    let mut cursors = Vec::new();
    let mut rows = Vec::new();
    for round in 0..12 {
        let (instance, database) = forge.database_with(Box::new(backend.clone()), Default::default()).await;
        if round % 4 == 0 {
            commit(&database, &format!("key {round}")).await;
        }
        cursors.push((database.cursor().await.unwrap(), database.entry_count().await.unwrap()));
        for (cursor, entries) in &cursors {
            let (changes, _) = database.changes_since(*cursor, 100).await.unwrap();
            assert_eq!(changes.len() as u64, cursors.last().unwrap().1 - entries, "{cursor}");
        }
        instance.close().await.unwrap();
        rows.push(dump(&*backend.snapshot().await.unwrap()).await.iter().filter(|row| row.0.number() == 0).count());
    }
    assert_eq!(rows[11] - rows[0], 3, "{rows:?}: one for each opening after one in which something came");
    assert!(cursors.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

/// The end of the store waits for its writers, and so for the callback that would wait for it.
#[tokio::test]
async fn closing_the_store_within_a_callback_is_refused() {
    let forge = Forge::new(1);
    let (instance, database) = forge.database().await;
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let engine = instance.engine().clone();
    let _guard = database.on_local_write(move |_| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = told.send(std::pin::pin!(engine.close()).poll(&mut context));
    });
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<eidetica::store::DocStore>("notes").await.unwrap().set("key", 1i64).await.unwrap();
    transaction.commit().await.unwrap();
    match tell.recv().await.unwrap() {
        std::task::Poll::Ready(Err(error)) => assert_eq!(error.kind(), eidetica::ErrorKind::Unsupported),
        other => panic!("{other:?}"),
    }
    instance.close().await.unwrap();
}
