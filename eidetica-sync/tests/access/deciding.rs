//! Approving and rejecting.

use eidetica_contract::{ErrorKind, Retry};
use eidetica_core::auth::{Permission, Right};
use eidetica_core::{Database, Engine, Id};
use eidetica_sync::access::{Answer, Book, RequestState};

use super::kit::*;

async fn here() -> (Store, Engine, Book, Database, Id) {
    let store = Store::new();
    let engine = store.open().await;
    let (book, database) = (book(&engine).await, database(&engine, &key(1)).await);
    let id = *database.root_id();
    (store, engine, book, database, id)
}

async fn right(database: &Database, seed: u8) -> Right {
    database.now().right_of(public(seed)).await.unwrap()
}

#[tokio::test]
async fn an_approval_grants_what_was_asked_for_and_says_so() {
    let (store, _engine, book, database, id) = here().await;
    for (user, permission, expected) in [
        (5, Permission::Read, Right::READ),
        (6, Permission::Write, Right::WRITE),
        (7, Permission::Admin, Right::admin(0)),
    ] {
        let asked = request(id, &key(user), permission);
        let request = ask_pending(&book, &asked, &database).await;
        let entries = database.entry_count().await.unwrap();
        book.approve(&database, &request, None).await.unwrap();
        assert_eq!((right(&database, user).await, database.entry_count().await.unwrap()), (expected, entries + 1));
        let shown = book.get(&request).await.unwrap();
        let approved = RequestState::Approved { by: public(1), at_millis: store.clock.millis(), right: expected };
        assert_eq!(shown.state, approved);
        assert_eq!(ask(&book, &asked, Some(&database)).await, Answer::Granted(permission));
    }
    assert_eq!(database.get_tips().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_approval_may_give_less_and_never_more_and_never_takes() {
    let (_store, _engine, book, database, id) = here().await;
    let asked = request(id, &key(5), Permission::Write);
    let request_id = ask_pending(&book, &asked, &database).await;
    for wrong in [Right::admin(0), Right::NONE, Right::REMOVED] {
        refused(book.approve(&database, &request_id, Some(wrong)).await, ErrorKind::InvalidInput, "more_than_asked");
    }
    book.approve(&database, &request_id, Some(Right::READ)).await.unwrap();
    assert_eq!(right(&database, 5).await, Right::READ);
    // That is the answer from now on, and no new request.
    assert_eq!(ask(&book, &asked, Some(&database)).await, Answer::Granted(Permission::Read));
    assert!(matches!(book.get(&request_id).await.unwrap().state, RequestState::Approved { .. }));
    // When that ends, it may be asked for again.
    revoke(&database, &public(5)).await;
    let again = ask_pending(&book, &asked, &database).await;
    assert_eq!(book.get(&again).await.unwrap().state, RequestState::Pending);
    book.approve(&database, &again, None).await.unwrap();
    assert_eq!(right(&database, 5).await, Right::WRITE);

    // Somebody was granted more while the request waited: that stays, and nothing is written.
    let waiting = ask_pending(&book, &request(id, &key(6), Permission::Read), &database).await;
    grant_with(&database, &public(6), Permission::Admin, 3).await;
    let entries = database.entry_count().await.unwrap();
    book.approve(&database, &waiting, None).await.unwrap();
    assert_eq!((right(&database, 6).await, database.entry_count().await.unwrap()), (Right::admin(3), entries));
}

#[tokio::test]
async fn a_rejection_holds_for_as_much_until_it_is_forgotten_and_says_why() {
    let (store, _engine, book, database, id) = here().await;
    let asked = request(id, &key(5), Permission::Write);
    let request_id = ask_pending(&book, &asked, &database).await;
    let entries = database.entry_count().await.unwrap();
    book.reject(&database, &request_id, "not this year").await.unwrap();
    assert_eq!((right(&database, 5).await, database.entry_count().await.unwrap()), (Right::NONE, entries));
    let shown = book.get(&request_id).await.unwrap().state;
    assert_eq!(
        shown,
        RequestState::Rejected { by: public(1), at_millis: store.clock.millis(), reason: "not this year".into() }
    );
    let rejected = Answer::Rejected { id: request_id, reason: "not this year".into() };
    for permission in [Permission::Write, Permission::Admin] {
        assert_eq!(ask(&book, &request(id, &key(5), permission), Some(&database)).await, rejected);
    }
    // Less may be asked for.
    ask_pending(&book, &request(id, &key(5), Permission::Read), &database).await;
    let again = ask_pending(&book, &asked, &database).await;
    book.reject(&database, &again, "").await.unwrap();
    store.clock.pass(29 * DAY);
    assert!(matches!(ask(&book, &asked, Some(&database)).await, Answer::Rejected { .. }));
    store.clock.pass(2 * DAY);
    ask_pending(&book, &asked, &database).await;
    for reason in ["x".repeat(1025), "\u{7}".into()] {
        refused(book.reject(&database, &again, &reason).await, ErrorKind::InvalidInput, "bad_reason");
    }
}

#[tokio::test]
async fn what_was_decided_is_decided() {
    let (_store, _engine, book, database, id) = here().await;
    let approved = ask_pending(&book, &request(id, &key(5), Permission::Read), &database).await;
    let rejected = ask_pending(&book, &request(id, &key(6), Permission::Read), &database).await;
    book.approve(&database, &approved, None).await.unwrap();
    book.reject(&database, &rejected, "").await.unwrap();
    let entries = database.entry_count().await.unwrap();
    for (request, state) in [(approved, "approved"), (rejected, "rejected")] {
        for error in [
            book.approve(&database, &request, None).await.unwrap_err(),
            book.reject(&database, &request, "").await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.retry_hint()), (ErrorKind::Conflict, Retry::Never));
            assert_eq!((error.context("reason"), error.context("state")), (Some("already_decided"), Some(state)));
            assert_eq!(error.context("by"), Some(&*public(1).to_string()));
        }
    }
    assert_eq!(database.entry_count().await.unwrap(), entries);
    assert_eq!(right(&database, 6).await, Right::NONE);
}

#[tokio::test]
async fn a_rejection_may_be_taken_back_by_an_admin_and_an_approval_may_not() {
    let (_store, _engine, book, database, id) = here().await;
    let wanted = request(id, &key(5), Permission::Read);
    let asked = ask_pending(&book, &wanted, &database).await;
    book.reopen(&database, &asked).await.unwrap();
    book.reject(&database, &asked, "by mistake").await.unwrap();
    grant(&database, &public(10), Permission::Write).await;
    let refusal = book.reopen(&database.with_key(Some(key(10))), &asked).await;
    refused(refusal, ErrorKind::PermissionDenied, "insufficient_permission");
    assert!(matches!(ask(&book, &wanted, Some(&database)).await, Answer::Rejected { .. }));
    book.reopen(&database, &asked).await.unwrap();
    assert_eq!(book.get(&asked).await.unwrap().state, RequestState::Pending);
    assert_eq!(ask_pending(&book, &wanted, &database).await, asked);
    book.approve(&database, &asked, None).await.unwrap();
    assert_eq!(right(&database, 5).await, Right::READ);
    refused(book.reopen(&database, &asked).await, ErrorKind::Conflict, "already_decided");
}

#[tokio::test]
async fn only_a_strong_enough_admin_of_that_database_decides() {
    let (_store, engine, book, database, id) = here().await;
    let admin = ask_pending(&book, &request(id, &key(5), Permission::Admin), &database).await;
    let write = ask_pending(&book, &request(id, &key(6), Permission::Write), &database).await;
    grant(&database, &public(10), Permission::Write).await;
    grant(&database, &public(11), Permission::Admin).await;
    let with = |seed: u8| database.with_key(Some(key(seed)));
    for (seed, request) in [(10, write), (10, admin), (12, write), (11, admin)] {
        let denied = book.approve(&with(seed), &request, None).await;
        refused(denied, ErrorKind::PermissionDenied, "insufficient_permission");
    }
    for seed in [10, 12] {
        let denied = book.reject(&with(seed), &write, "").await;
        refused(denied, ErrorKind::PermissionDenied, "insufficient_permission");
    }
    refused(book.approve(&database.with_key(None), &write, None).await, ErrorKind::InvalidInput, "no_key");
    let other = super::kit::database(&engine, &key(1)).await;
    refused(book.approve(&other, &write, None).await, ErrorKind::InvalidInput, "other_database");
    refused(book.reject(&other, &write, "").await, ErrorKind::InvalidInput, "other_database");
    let unknown = "00112233445566778899aabbccddeeff".parse().unwrap();
    refused(book.approve(&database, &unknown, None).await, ErrorKind::NotFound, "unknown_request");
    refused(book.reject(&database, &unknown, "").await, ErrorKind::NotFound, "unknown_request");
    // All of that has changed nothing.
    assert!(book.requests().await.unwrap().iter().all(|(_, request)| request.state == RequestState::Pending));
    book.approve(&with(11), &write, None).await.unwrap();
    book.reject(&with(11), &admin, "").await.unwrap();
    // A weaker admin than was asked for can be given by a stronger one.
    let strong = ask_pending(&book, &request(id, &key(7), Permission::Admin), &database).await;
    book.approve(&database, &strong, Some(Right::admin(9))).await.unwrap();
    assert_eq!(right(&database, 7).await, Right::admin(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_decide_at_once_one_does() {
    let (store, _engine, book, database, id) = here().await;
    let second = store.open().await;
    let books = [(book.clone(), database.clone()), {
        (super::kit::book(&second).await, second.open_database(&id, Some(key(1))).await.unwrap())
    }];
    for round in 0..8u64 {
        let user = nth_key(round);
        let request = ask_pending(&book, &request(id, &user, Permission::Write), &database).await;
        let entries = database.entry_count().await.unwrap();
        let mut tasks = Vec::new();
        for n in 0..8 {
            let (book, database) = books[n % 2].clone();
            tasks.push(tokio::spawn(async move {
                match n % 4 < 2 {
                    true => (true, book.approve(&database, &request, None).await),
                    false => (false, book.reject(&database, &request, "").await),
                }
            }));
        }
        let mut done = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (approved, Ok(())) => done.push(approved),
                (_, Err(error)) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
        let [approved] = done[..] else { panic!("{done:?}") };
        let has = database.now().right_of(user.public()).await.unwrap();
        let grown = database.entry_count().await.unwrap() - entries;
        let state = books[1].0.get(&request).await.unwrap().state;
        let expected = match approved {
            true => (Right::WRITE, 1, "approved"),
            false => (Right::NONE, 0, "rejected"),
        };
        let state = match state {
            RequestState::Approved { .. } => "approved",
            RequestState::Rejected { .. } => "rejected",
            _ => "pending",
        };
        assert_eq!((has, grown, state), expected, "round {round}");
    }
}

#[tokio::test]
async fn several_requests_are_approved_at_once_and_none_is_lost() {
    let (_store, _engine, book, database, id) = here().await;
    let mut tasks = Vec::new();
    for n in 0..8u64 {
        let asked = request_from(n as u8, id, &nth_key(n), Permission::Write);
        let request = ask_pending(&book, &asked, &database).await;
        let (book, database) = (book.clone(), database.clone());
        tasks.push(tokio::spawn(async move { book.approve(&database, &request, None).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for n in 0..8 {
        assert_eq!(database.now().right_of(nth_key(n).public()).await.unwrap(), Right::WRITE);
    }
}

#[tokio::test]
async fn an_approval_that_was_broken_off_can_be_made_again() {
    let (store, engine, book, database, id) = here().await;
    let request = ask_pending(&book, &request(id, &key(5), Permission::Read), &database).await;
    // Dropped at every await there is, one after the other.
    let mut polls = 0;
    loop {
        let mut approval = Box::pin(book.approve(&database, &request, None));
        let mut finished = false;
        for _ in 0..=polls {
            tokio::select! {
                biased;
                done = &mut approval => {
                    finished = true;
                    done.unwrap();
                    break;
                }
                () = tokio::task::yield_now() => {}
            }
        }
        drop(approval);
        if finished {
            break;
        }
        polls += 1;
        store.clock.pass(2 * MINUTE);
        assert!(polls < 1000);
    }
    assert_eq!(right(&database, 5).await, Right::READ);
    assert!(matches!(book.get(&request).await.unwrap().state, RequestState::Approved { .. }));
    let _ = engine;
}

#[tokio::test]
async fn while_an_approval_is_under_way_nobody_else_decides() {
    let (store, _engine, book, database, id) = here().await;
    let request = ask_pending(&book, &request(id, &key(5), Permission::Read), &database).await;
    let (name, row) = store.rows("sync/request/").await.remove(0);
    // As a process leaves it that has ended in the middle: decision 1, begun by somebody at this time.
    let none = row.windows(3).rposition(|part| part == [0x82, 0x00, 0x80]).unwrap();
    let mut begun = row[..none].to_vec();
    begun.extend_from_slice(&[0x82, 0x01, 0x81, 0x82, 0x58, 0x20]);
    begun.extend_from_slice(public(1).as_bytes());
    begun.push(0x1b);
    begun.extend_from_slice(&store.clock.millis().to_be_bytes());
    store.put(&name, begun).await;
    assert_eq!(book.get(&request).await.unwrap().state, RequestState::Pending);
    for refusal in [book.approve(&database, &request, None).await, book.reject(&database, &request, "").await] {
        let error = refusal.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry_hint(), &*reason(&error)),
            (ErrorKind::Conflict, Retry::Later, "being_decided")
        );
    }
    store.clock.pass(2 * MINUTE);
    book.approve(&database, &request, None).await.unwrap();
    assert_eq!(right(&database, 5).await, Right::READ);
}
