//! What is answered, and what is kept.

use eidetica_contract::ErrorKind;
use eidetica_core::auth::Permission;
use eidetica_sync::access::{Answer, Book, Filed, Request, RequestState, Wanted};

use super::kit::*;

#[tokio::test]
async fn whether_there_is_such_a_database_shows_in_no_answer() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let unserved = super::kit::database(&engine, &key(1)).await;
    let known = request(*database.root_id(), &key(5), Permission::Write);
    let hidden = request(*unserved.root_id(), &key(5), Permission::Write);
    let unknown = request(eidetica_core::Id::from_bytes([9; 32]), &key(5), Permission::Write);
    for round in 0..3 {
        let answers = [
            ask(&book, &known, Some(&database)).await.to_bytes(),
            ask(&book, &hidden, None).await.to_bytes(),
            ask(&book, &unknown, None).await.to_bytes(),
        ];
        assert!(answers.iter().all(|answer| answer.len() == 17 && answer[0] == 0), "round {round}: {answers:?}");
        // Each is called the same every time, and nothing connects them.
        assert_eq!(answers[0], ask(&book, &known, Some(&database)).await.to_bytes());
        assert_eq!(answers[2], ask(&book, &unknown, None).await.to_bytes());
        assert!(answers[0] != answers[1] && answers[1] != answers[2]);
        store.clock.pass(40 * MINUTE);
    }
    assert_eq!(book.requests().await.unwrap().len(), 1);
    assert_eq!(store.rows("sync/request/").await.len(), 1, "and nothing is stored for the others");

    // Who asks for nothing in particular is told nothing in particular.
    let what =
        |database| Request::sign(Wanted::new(database, public(5), None, "x"), public(THERE), public(HERE), &key(5));
    let (here, there) = (what(*database.root_id()).unwrap(), what(*unknown_id(&unknown)).unwrap());
    assert_eq!(ask(&book, &here, Some(&database)).await, Answer::Nothing);
    assert_eq!(ask(&book, &there, None).await, Answer::Nothing);
}

fn unknown_id(request: &Request) -> &eidetica_core::Id {
    &request.wanted().database
}

#[tokio::test]
async fn the_answer_waits_for_no_write() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let before = store.commits();
    let known = request(*database.root_id(), &key(5), Permission::Write);
    let (_, filing) = book.ask(&known, None, Some(&database)).await.unwrap();
    assert_eq!(store.commits(), before);
    // Given up: nothing has happened, and the next time it is put down.
    drop(filing);
    assert!(book.requests().await.unwrap().is_empty());
    let (_, filing) = book.ask(&known, None, Some(&database)).await.unwrap();
    assert_eq!(filing.unwrap().file().await.unwrap(), Filed::Kept);
    assert_eq!(book.requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_has_the_right_is_told_so_and_not_kept() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let id = *database.root_id();
    let of =
        |permission| Request::sign(Wanted::new(id, public(5), permission, "x"), public(THERE), public(HERE), &key(5));
    let [any, read, write, admin] =
        [None, Some(Permission::Read), Some(Permission::Write), Some(Permission::Admin)].map(|one| of(one).unwrap());
    everybody(&database, Some(Permission::Read)).await;
    assert_eq!(ask(&book, &read, Some(&database)).await, Answer::Granted(Permission::Read));
    assert_eq!(ask(&book, &any, Some(&database)).await, Answer::Granted(Permission::Read));
    grant(&database, &public(5), Permission::Write).await;
    for request in [&any, &read, &write] {
        assert_eq!(ask(&book, request, Some(&database)).await, Answer::Granted(Permission::Write));
    }
    assert!(book.requests().await.unwrap().is_empty());
    ask_pending(&book, &admin, &database).await;
    assert_eq!(book.requests().await.unwrap().len(), 1);
    // A key that was removed may ask, as anybody may, and has nothing of what everybody has.
    revoke(&database, &public(5)).await;
    assert_eq!(ask(&book, &any, Some(&database)).await, Answer::Nothing);
    ask_pending(&book, &read, &database).await;
}

#[tokio::test]
async fn one_row_for_a_key_however_often_it_asks_and_another_id_for_other_words() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let id = *database.root_id();
    let first = ask_pending(&book, &request(id, &key(5), Permission::Read), &database).await;
    let commits = store.commits();
    for _ in 0..20 {
        assert_eq!(ask_pending(&book, &request(id, &key(5), Permission::Read), &database).await, first);
        // From her other device, too.
        assert_eq!(ask_pending(&book, &request_from(7, id, &key(5), Permission::Read), &database).await, first);
    }
    assert_eq!(store.commits(), commits, "asking again writes nothing");
    let mut wanted = Wanted::new(id, public(5), Some(Permission::Write), "Anna");
    wanted.metadata.insert("why".into(), "to help".into());
    let other = Request::sign(wanted.clone(), public(THERE), public(HERE), &key(5)).unwrap();
    let second = ask_pending(&book, &other, &database).await;
    assert_ne!(first, second);
    let requests = book.requests().await.unwrap();
    let [(listed, shown)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((*listed, shown.key, shown.permission), (second, public(5), Permission::Write));
    assert_eq!((&shown.metadata, shown.name.as_str(), shown.device), (&wanted.metadata, "Anna", public(THERE)));
    assert_eq!((shown.database, &shown.state), (id, &RequestState::Pending));
    assert_eq!(shown.asked_millis, store.clock.millis());
    refused(book.get(&first).await, ErrorKind::NotFound, "unknown_request");
    assert_eq!(book.get(&second).await.unwrap(), *shown);
    // Nobody approves what was not read.
    refused(book.approve(&database, &first, None).await, ErrorKind::NotFound, "unknown_request");
}

#[tokio::test]
async fn requests_are_there_after_a_restart_and_forgotten_by_age() {
    let store = Store::new();
    let engine = store.open().await;
    let (one, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let id = *database.root_id();
    let asked = request(id, &key(5), Permission::Read);
    let first = ask_pending(&one, &asked, &database).await;
    engine.close().await.unwrap();

    let engine = store.open().await;
    let again = book(&engine).await;
    let database = engine.open_database(&id, None).await.unwrap();
    assert_eq!(again.requests().await.unwrap()[0].0, first);
    store.clock.pass(10 * DAY);
    assert_eq!(ask_pending(&again, &asked, &database).await, first);
    store.clock.pass(10 * DAY);
    assert_eq!(again.requests().await.unwrap().len(), 1, "it was asked again meanwhile");
    store.clock.pass(5 * DAY);
    assert!(again.requests().await.unwrap().is_empty());
    refused(again.get(&first).await, ErrorKind::NotFound, "unknown_request");
    // The next that is put down takes the old ones along.
    ask_pending(&again, &request(id, &key(6), Permission::Read), &database).await;
    assert_eq!(store.rows("sync/request/").await.len(), 1);
    // A clock that goes back forgets nothing.
    store.clock.set(1_000);
    assert_eq!(again.requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_for_another_device_or_database_is_a_defect_of_the_caller() {
    let engine = Store::new().open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let wanted = Wanted::new(*database.root_id(), public(5), Some(Permission::Read), "x");
    let elsewhere = Request::sign(wanted, public(THERE), public(3), &key(5)).unwrap();
    let other = request(eidetica_core::Id::from_bytes([9; 32]), &key(5), Permission::Read);
    for request in [elsewhere, other] {
        assert_eq!(book.ask(&request, None, Some(&database)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn damaged_rows_are_reported_and_never_panic() {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let request = request(*database.root_id(), &key(5), Permission::Read);
    ask_pending(&book, &request, &database).await;
    let (name, row) = store.rows("sync/request/").await.remove(0);
    let ok = |error: &eidetica_contract::Error| matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NewerFormat);
    for at in 0..row.len() {
        let mut damaged = row.to_vec();
        damaged[at] ^= 0x41;
        for bytes in [damaged, row[..at].to_vec()] {
            store.put(&name, bytes).await;
            assert!(
                book.requests().await.is_ok_and(|found| found.len() <= 1)
                    || book.requests().await.is_err_and(|e| ok(&e))
            );
            let _ = book.ask(&request, None, Some(&database)).await;
        }
    }
    store.put(&"sync/request-secret".into(), "short").await;
    let opened = Book::open(engine, public(HERE), Default::default()).await;
    refused(opened.map(|_| ()), ErrorKind::Corrupted, "damaged");
}

#[tokio::test]
async fn whoever_waits_for_requests_hears_of_them() {
    let engine = Store::new().open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let mut changes = book.changes();
    assert!(!changes.has_changed().unwrap());
    let id = ask_pending(&book, &request(*database.root_id(), &key(5), Permission::Read), &database).await;
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    book.reject(&database, &id, "").await.unwrap();
    assert!(changes.has_changed().unwrap());
}
