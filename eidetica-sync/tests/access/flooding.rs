//! Floods of requests: what they displace, and what they cost.

use eidetica_core::auth::Permission;
use eidetica_core::{Database, Engine, Id};
use eidetica_sync::access::{Answer, Book, BookLimits, Request, Wanted};

use super::kit::*;

async fn small(engine: &Engine) -> Book {
    let mut limits = BookLimits::default();
    (limits.in_all, limits.per_database, limits.per_device) = (20, 8, 3);
    Book::open(engine.clone(), public(HERE), limits).await.unwrap()
}

/// A request of the n-th key from the n-th device.
fn nth(database: Id, user: u64, device: u64) -> Request {
    let user = nth_key(user);
    let wanted = Wanted::new(database, user.public(), Some(Permission::Read), "x");
    Request::sign(wanted, nth_key(device).public(), public(HERE), &user).unwrap()
}

async fn kept(book: &Book, database: &Database) -> Vec<eidetica_contract::PublicKey> {
    let all = book.requests().await.unwrap().into_iter();
    all.filter(|(_, request)| request.database == *database.root_id()).map(|(_, request)| request.key).collect()
}

#[tokio::test]
async fn one_device_takes_its_own_places_alone() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (small(&engine).await, database(&engine, &key(1)).await);
    let id = *database.root_id();
    ask_pending(&book, &nth(id, 1, 1), &database).await;
    for user in 100..150 {
        ask_pending(&book, &nth(id, user, 2), &database).await;
    }
    assert_eq!(kept(&book, &database).await.len(), 1 + 3);
    assert!(kept(&book, &database).await.contains(&nth_key(1).public()));
}

#[tokio::test]
async fn many_devices_are_bounded_and_displace_whoever_has_asked_longest_ago() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, one, two) = (small(&engine).await, database(&engine, &key(1)).await, database(&engine, &key(1)).await);
    let (patient, flooded) = (*two.root_id(), *one.root_id());
    ask_pending(&book, &nth(patient, 1, 1), &two).await;
    for n in 100..140 {
        store.clock.pass(2 * MINUTE * 60);
        // Who goes on asking stays.
        ask_pending(&book, &nth(flooded, 2, 2), &one).await;
        ask_pending(&book, &nth(flooded, n, n), &one).await;
    }
    let left = kept(&book, &one).await;
    assert_eq!(left.len(), 8, "the bound of a database");
    assert!(left.contains(&nth_key(2).public()) && left.contains(&nth_key(139).public()));
    assert!(kept(&book, &two).await.contains(&nth_key(1).public()), "other databases are not touched");
    assert_eq!(store.rows("sync/request/").await.len(), 9);
}

#[tokio::test]
async fn all_databases_together_are_bounded() {
    let store = Store::new();
    let engine = store.open().await;
    let book = small(&engine).await;
    let mut databases = Vec::new();
    for _ in 0..6 {
        databases.push(database(&engine, &key(1)).await);
    }
    for n in 0..48 {
        store.clock.pass(MINUTE);
        let database = &databases[n as usize % 6];
        ask_pending(&book, &nth(*database.root_id(), n, n), database).await;
        assert!(store.rows("sync/request/").await.len() <= 20);
    }
    assert_eq!(book.requests().await.unwrap().len(), 20);
    // Decided ones give way when they take more than half.
    let requests = book.requests().await.unwrap();
    for (id, request) in &requests[..12] {
        let database = databases.iter().find(|database| *database.root_id() == request.database).unwrap();
        book.reject(database, id, "").await.unwrap();
        store.clock.pass(1);
    }
    let newest = nth(*databases[0].root_id(), 500, 500);
    ask_pending(&book, &newest, &databases[0]).await;
    let left: Vec<_> = book.requests().await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert!(left.len() == 20 && !left.contains(&requests[0].0) && left.contains(&requests[12].0));
}

#[tokio::test]
async fn a_flood_from_one_origin_writes_at_a_pace_and_is_answered_all_the_same() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let id = *database.root_id();
    let before = store.commits();
    let mut filings = 0;
    for n in 0..300 {
        let request = nth(id, n, n);
        let (answer, filing) = book.ask(&request, Some("10.0.0.1"), Some(&database)).await.unwrap();
        assert!(matches!(answer, Answer::Pending(_)));
        if let Some(filing) = filing {
            filing.file().await.unwrap();
            filings += 1;
        }
    }
    assert_eq!(filings, BookLimits::default().origin_pace.0);
    assert!(store.commits() - before <= filings as usize);
    // Somebody else comes through.
    let (_, filing) = book.ask(&nth(id, 900, 900), Some("10.0.0.2"), Some(&database)).await.unwrap();
    assert!(filing.is_some());
    store.clock.pass(1_000);
    let (_, filing) = book.ask(&nth(id, 901, 901), Some("10.0.0.1"), Some(&database)).await.unwrap();
    assert!(filing.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_put_down_at_once_keep_the_bound_and_lose_nothing() {
    let store = Store::new();
    let engines = [store.open().await, store.open().await];
    let database = database(&engines[0], &key(1)).await;
    let id = *database.root_id();
    let mut books = Vec::new();
    for engine in &engines {
        books.push((small(engine).await, engine.open_database(&id, None).await.unwrap()));
    }
    let mut tasks = Vec::new();
    for n in 0..7 {
        let (book, database) = books[n as usize % 2].clone();
        tasks.push(tokio::spawn(async move { ask_pending(&book, &nth(id, n, n), &database).await }));
    }
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    assert_eq!(books[0].0.requests().await.unwrap().len(), 7, "nothing is lost");
    let listed: Vec<_> = books[1].0.requests().await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert!(ids.iter().all(|id| listed.contains(id)), "and both call them the same");
    let mut tasks = Vec::new();
    for n in 10..40 {
        let (book, database) = books[n as usize % 2].clone();
        tasks.push(tokio::spawn(async move { ask_pending(&book, &nth(id, n, n), &database).await }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.rows("sync/request/").await.len(), 8);
}
