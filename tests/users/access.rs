//! Asking for access, and deciding on what others ask for.

use std::collections::BTreeMap;

use eidetica::auth::{Permission, Right};
use eidetica::backend::database::Memory;
use eidetica::crdt::Doc;
use eidetica::sync::access::{Answer, AskedRequests, Book, BookLimits, Grants, Request, RequestId, RequestState};
use eidetica::user::KeyId;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, ErrorKind, Id, Instance, User};

use super::kit::{alice, elsewhere, join, memory, named, refused};
use crate::local::counting::Shared;

async fn book(instance: &Instance) -> Book {
    Book::open(instance.engine().clone(), instance.device_id(), BookLimits::default()).await.unwrap()
}

fn asked(instance: &Instance) -> AskedRequests {
    AskedRequests::new(instance.engine().clone(), instance.device_id())
}

/// Carries a request to the other side, as a session would, and the answer back.
async fn carry(from: &Instance, request: &Request, to: &Book, at: &Instance, served: Option<&Database>) -> Answer {
    let request = Request::parse(&request.to_bytes(), &from.device_id(), &at.device_id()).unwrap();
    let (answer, filing) = to.ask(&request, None, served).await.unwrap();
    if let Some(filing) = filing {
        filing.file().await.unwrap();
    }
    let answer = Answer::parse(&answer.to_bytes()).unwrap();
    asked(from).note(&request, &answer).await.unwrap();
    answer
}

async fn prepare(user: &mut User, to: &Instance, id: &Id, key: &KeyId, permission: Permission) -> Request {
    user.prepare_access_request(&to.device_id(), id, key, permission, BTreeMap::new()).await.unwrap()
}

fn tracked(database: &Id, key: &KeyId) -> TrackedDatabase {
    TrackedDatabase { database_id: *database, key_id: *key, sync_settings: SyncSettings::default() }
}

#[tokio::test]
async fn from_a_request_to_its_approval_with_a_restart_in_between() {
    let (server, mut admin) = alice().await;
    let key = admin.get_default_key().unwrap();
    let database = admin.create_database(named("notes"), &key).await.unwrap();
    let id = *database.root_id();
    let book = book(&server).await;

    let store = Shared::at_once(Memory::new());
    let client = Instance::open(Box::new(store.clone())).await.unwrap();
    client.create_user("bob", Some("secret")).await.unwrap();
    let mut bob = client.login_user("bob", Some("secret")).await.unwrap();
    let friend = bob.add_private_key(Some("bob's laptop")).await.unwrap();
    let metadata: BTreeMap<_, _> = [("why".to_owned(), "we met at the fair".to_owned())].into();
    let to = server.device_id();
    let request = bob.prepare_access_request(&to, &id, &friend, Permission::Write, metadata.clone()).await.unwrap();
    refused(bob.open_database(&id).await, ErrorKind::NotFound, "waits_for_access");
    let answer = carry(&client, &request, &book, &server, Some(&database)).await;
    let Answer::Pending(number) = answer else { panic!("{answer:?}") };
    // Opening says so, and names the request.
    let error = bob.open_database(&id).await.unwrap_err();
    assert_eq!((error.kind(), error.context("request_id")), (ErrorKind::Pending, Some(&*number.to_string())));
    assert_eq!(bob.databases().await.unwrap(), [tracked(&id, &friend)]);
    client.close().await.unwrap();

    // The admin sees who asks, and decides.
    let listed = admin.access_requests(&book).await.unwrap();
    let [(listed_id, shown)] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((*listed_id, shown.key, shown.permission, shown.database), (number, friend, Permission::Write, id));
    assert_eq!((shown.name.as_str(), &shown.metadata), ("bob's laptop", &metadata));
    admin.approve_access_request(&book, &number, &key, None).await.unwrap();
    assert_eq!(database.now().right_of(friend).await.unwrap(), Right::WRITE);

    // Nobody is logged in, and what was asked is asked again.
    let client = Instance::open(Box::new(store)).await.unwrap();
    let remembered = asked(&client).of(&id).await.unwrap();
    assert_eq!(remembered.len(), 1);
    let answer = carry(&client, &remembered[0].request, &book, &server, Some(&database)).await;
    assert_eq!(answer, Answer::Granted(Permission::Write));
    let grants = Grants::new(client.engine().clone(), client.device_id());
    assert_eq!(grants.of(&id).await.unwrap()[0].user(), &friend);
}

#[tokio::test]
async fn a_rejection_is_told_and_untracking_forgets_what_was_asked() {
    let (server, mut admin) = alice().await;
    let key = admin.get_default_key().unwrap();
    let database = admin.create_database(Doc::new(), &key).await.unwrap();
    let id = *database.root_id();
    let book = book(&server).await;
    let client = memory().await;
    let mut bob = join(&client, "bob").await;
    let friend = bob.get_default_key().unwrap();
    let request = prepare(&mut bob, &server, &id, &friend, Permission::Read).await;
    let Answer::Pending(number) = carry(&client, &request, &book, &server, Some(&database)).await else { panic!() };
    admin.reject_access_request(&book, &number, &key, "not this year").await.unwrap();
    let answer = carry(&client, &request, &book, &server, Some(&database)).await;
    assert_eq!(answer, Answer::Rejected { id: number, reason: "not this year".into() });
    let error = bob.open_database(&id).await.unwrap_err();
    assert_eq!((error.kind(), error.context("reason")), (ErrorKind::PermissionDenied, Some("access_rejected")));
    assert_eq!(error.context("because"), Some("not this year"));
    assert!(matches!(admin.access_requests(&book).await.unwrap()[0].1.state, RequestState::Rejected { .. }));
    bob.set_sync_enabled(&id, false).await.unwrap();
    assert_eq!(asked(&client).all().await.unwrap().len(), 1);
    bob.untrack_database(&id).await.unwrap();
    assert!(asked(&client).all().await.unwrap().is_empty());
    refused(bob.open_database(&id).await, ErrorKind::NotFound, "unknown_database");
}

#[tokio::test]
async fn deciding_takes_a_key_of_the_user_that_is_strong_enough() {
    let (server, mut admin) = alice().await;
    let key = admin.get_default_key().unwrap();
    let weak = admin.add_private_key(None).await.unwrap();
    let database = admin.create_database(Doc::new(), &key).await.unwrap();
    let (id, book) = (*database.root_id(), book(&server).await);
    let mut other = join(&server, "carol").await;
    let client = memory().await;
    let mut bob = join(&client, "bob").await;
    let friend = bob.get_default_key().unwrap();
    let request = prepare(&mut bob, &server, &id, &friend, Permission::Write).await;
    let Answer::Pending(number) = carry(&client, &request, &book, &server, Some(&database)).await else { panic!() };
    let unknown: RequestId = "00112233445566778899aabbccddeeff".parse().unwrap();
    let denied = admin.approve_access_request(&book, &number, &weak, None).await;
    refused(denied, ErrorKind::PermissionDenied, "insufficient_permission");
    let denied = admin.approve_access_request(&book, &number, &friend, None).await;
    refused(denied, ErrorKind::NotFound, "unknown_key");
    refused(admin.reject_access_request(&book, &number, &friend, "").await, ErrorKind::NotFound, "unknown_key");
    refused(admin.approve_access_request(&book, &unknown, &key, None).await, ErrorKind::NotFound, "unknown_request");
    // Who is no admin is shown nothing, and decides nothing.
    assert!(other.access_requests(&book).await.unwrap().is_empty());
    let stranger = other.add_private_key(None).await.unwrap();
    let denied = other.approve_access_request(&book, &number, &stranger, None).await;
    refused(denied, ErrorKind::PermissionDenied, "insufficient_permission");
    admin.approve_access_request(&book, &number, &key, Some(Right::READ)).await.unwrap();
    refused(admin.approve_access_request(&book, &number, &key, None).await, ErrorKind::Conflict, "already_decided");
    assert_eq!(database.now().right_of(friend).await.unwrap(), Right::READ);
}

#[tokio::test]
async fn what_is_asked_for_is_tracked_and_a_key_that_can_read_stays() {
    let (server, client) = (memory().await, memory().await);
    let mut bob = join(&client, "bob").await;
    let key = bob.get_default_key().unwrap();
    let second = bob.add_private_key(None).await.unwrap();
    // Not here: whichever was asked for last.
    let unknown = elsewhere().await;
    for asking in [&key, &second] {
        prepare(&mut bob, &server, &unknown, asking, Permission::Read).await;
        assert_eq!(bob.databases().await.unwrap(), [tracked(&unknown, asking)]);
        assert_eq!(asked(&client).of(&unknown).await.unwrap().len(), 1, "what the other key has asked is forgotten");
    }
    bob.untrack_database(&unknown).await.unwrap();
    // Here, and readable by the key it is tracked with; sync is switched on.
    let id = *bob.create_database(Doc::new(), &key).await.unwrap().root_id();
    bob.set_sync_enabled(&id, false).await.unwrap();
    prepare(&mut bob, &server, &id, &second, Permission::Admin).await;
    assert_eq!(bob.databases().await.unwrap(), [tracked(&id, &key)]);
    bob.open_database(&id).await.unwrap();

    let to = server.device_id();
    let strange = KeyId::from_bytes([3; 32]);
    let wrong = bob.prepare_access_request(&to, &id, &strange, Permission::Read, BTreeMap::new()).await;
    refused(wrong, ErrorKind::NotFound, "unknown_key");
    let metadata = [(String::new(), "x".to_owned())].into();
    let wrong = bob.prepare_access_request(&to, &elsewhere().await, &key, Permission::Read, metadata).await;
    refused(wrong, ErrorKind::InvalidInput, "bad_request");
    assert_eq!(bob.databases().await.unwrap().len(), 1, "and nothing is tracked for it");
    // A name that cannot be sent gives way to that of the user.
    let odd = bob.add_private_key(Some("a\u{1b}[2J")).await.unwrap();
    assert_eq!(prepare(&mut bob, &server, &unknown, &odd, Permission::Read).await.wanted().name, "bob");
}
