use std::collections::HashSet;

use eidetica::backend::database::{Memory, Sqlite};
use eidetica::{ErrorKind, Instance};

use super::kit::{alice, join, memory, named, refused, write};
use crate::local::counting::Shared;

#[tokio::test]
async fn users_are_listed_and_each_has_an_id() {
    let instance = memory().await;
    assert_eq!(instance.list_users().await.unwrap(), Vec::<String>::new());
    let mut ids = HashSet::new();
    for name in ["bob", "alice", "Alice", "Zoë 東京", "a/b", "user/x", "'; --", &"n".repeat(256)] {
        assert!(ids.insert(instance.create_user(name, None).await.unwrap()), "{name}");
        assert_eq!(instance.login_user(name, None).await.unwrap().name(), name);
    }
    let users = instance.list_users().await.unwrap();
    assert_eq!(users[..4], ["'; --", "Alice", "Zoë 東京", "a/b"]);
    assert_eq!(users.len(), ids.len());
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused() {
    let instance = memory().await;
    for name in ["", "a\nb", "a\0b", "\u{7f}", &"n".repeat(257)] {
        let error = instance.create_user(name, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
        // Nor does looking for it do harm, however long it is.
        refused(instance.login_user(name, None).await, ErrorKind::NotFound, "unknown_user");
        refused(instance.login_user(&name.repeat(2000), None).await, ErrorKind::NotFound, "unknown_user");
    }
    assert!(instance.list_users().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_login_is_told_apart() {
    let instance = memory().await;
    instance.create_user("open", None).await.unwrap();
    instance.create_user("locked", Some("secret")).await.unwrap();
    instance.create_user("empty", Some("")).await.unwrap();
    refused(instance.login_user("nobody", None).await, ErrorKind::NotFound, "unknown_user");
    refused(instance.login_user("nobody", Some("x")).await, ErrorKind::NotFound, "unknown_user");
    refused(instance.login_user("locked", None).await, ErrorKind::Unauthenticated, "missing_password");
    refused(instance.login_user("locked", Some("Secret")).await, ErrorKind::Unauthenticated, "wrong_password");
    refused(instance.login_user("open", Some("secret")).await, ErrorKind::InvalidInput, "superfluous_password");
    refused(instance.login_user("open", Some("")).await, ErrorKind::InvalidInput, "superfluous_password");
    refused(instance.login_user("empty", None).await, ErrorKind::Unauthenticated, "missing_password");
    for (name, password) in [("open", None), ("locked", Some("x")), ("empty", None)] {
        refused(instance.create_user(name, password).await, ErrorKind::AlreadyExists, "name_taken");
    }
    for (name, password) in [("open", None), ("locked", Some("secret")), ("empty", Some(""))] {
        instance.login_user(name, password).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_make_the_same_user_at_once_one_does() {
    let store = Shared::at_once(Memory::new());
    // Half of them through a second instance, as another process would.
    let instances =
        [Instance::open(Box::new(store.clone())).await.unwrap(), Instance::open(Box::new(store)).await.unwrap()];
    let make = |number: usize| {
        let instance = instances[number % 2].clone();
        tokio::spawn(async move { (number, instance.create_user("alice", Some(&format!("password {number}"))).await) })
    };
    let mut made = Vec::new();
    for task in (0..32).map(make).collect::<Vec<_>>() {
        match task.await.unwrap() {
            (number, Ok(id)) => made.push((number, id)),
            (_, error) => refused(error, ErrorKind::AlreadyExists, "name_taken"),
        }
    }
    let [(winner, _)] = &made[..] else { panic!("{made:?}") };
    let password = format!("password {winner}");
    let user = instances[1].login_user("alice", Some(&password)).await.unwrap();
    assert_eq!(user.list_keys().await.unwrap().len(), 1, "the others have left no key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_users_work_at_once_and_see_nothing_of_each_other() {
    let instance = memory().await;
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let instance = instance.clone();
            tokio::spawn(async move {
                let mut user = join(&instance, &format!("user {number}")).await;
                let mut databases = Vec::new();
                for _ in 0..4 {
                    let key = user.add_private_key(None).await.unwrap();
                    let database = user.create_database(named("same"), &key).await.unwrap();
                    write(&database).await.unwrap();
                    databases.push(*database.root_id());
                }
                (user, databases)
            })
        })
        .collect();
    let mut users = Vec::new();
    for task in tasks {
        users.push(task.await.unwrap());
    }
    for (user, databases) in &users {
        assert_eq!(user.list_keys().await.unwrap().len(), 5);
        let mut tracked: Vec<_> = user.databases().await.unwrap().iter().map(|tracked| tracked.database_id).collect();
        let mut own = databases.clone();
        tracked.sort();
        own.sort();
        assert_eq!(tracked, own);
        assert_eq!(user.find_database("same").await.unwrap().len(), 4);
    }
    let (other, (user, _)) = (users[1].1[0], &users[0]);
    refused(user.open_database(&other).await, ErrorKind::PermissionDenied, "no_right");
    let key = users[1].0.get_default_key().unwrap();
    refused(user.open_database_with_key(&other, &key).await, ErrorKind::NotFound, "unknown_key");
}

#[tokio::test]
async fn a_store_that_is_opened_again_has_the_same_device_users_and_databases() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    let open = async || Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    let instance = open().await;
    let device = instance.device_id();
    let id = instance.create_user("alice", Some("secret")).await.unwrap();
    let mut user = instance.login_user("alice", Some("secret")).await.unwrap();
    let key = user.add_private_key(Some("laptop")).await.unwrap();
    let database = *user.create_database(named("notes"), &key).await.unwrap().root_id();
    let keys = user.list_keys().await.unwrap();
    instance.close().await.unwrap();

    let instance = open().await;
    assert_eq!(instance.device_id(), device);
    assert_ne!(memory().await.device_id(), device);
    assert_eq!(instance.list_users().await.unwrap(), ["alice"]);
    refused(instance.create_user("alice", None).await, ErrorKind::AlreadyExists, "name_taken");
    let user = instance.login_user("alice", Some("secret")).await.unwrap();
    assert_eq!(user.list_keys().await.unwrap(), keys);
    assert_eq!(user.get_default_key().unwrap(), keys[0].id);
    let notes = user.open_database(&database).await.unwrap();
    assert_eq!((notes.get_name().await.unwrap().as_str(), notes.author()), ("notes", Some(key)));
    write(&notes).await.unwrap();
    assert_eq!(id.len(), 32);
    instance.close().await.unwrap();
}

#[tokio::test]
async fn instances_that_are_opened_at_once_agree_on_the_device() {
    let store = Shared::at_once(Memory::new());
    let open = || tokio::spawn(Instance::open(Box::new(store.clone())));
    let mut devices = HashSet::new();
    for task in (0..8).map(|_| open()).collect::<Vec<_>>() {
        devices.insert(task.await.unwrap().unwrap().device_id());
    }
    assert_eq!(devices.len(), 1);
}

#[tokio::test]
async fn a_logout_ends_the_session_and_no_other() {
    let (instance, user) = alice().await;
    let (mut clone, other) = (user.clone(), instance.login_user("alice", None).await.unwrap());
    let key = user.get_default_key().unwrap();
    let database = clone.create_database(named("notes"), &key).await.unwrap();
    user.logout();
    refused(clone.get_default_key(), ErrorKind::Closed, "logged_out");
    refused(clone.list_keys().await, ErrorKind::Closed, "logged_out");
    refused(clone.databases().await, ErrorKind::Closed, "logged_out");
    refused(clone.add_private_key(None).await, ErrorKind::Closed, "logged_out");
    refused(clone.open_database(database.root_id()).await, ErrorKind::Closed, "logged_out");
    refused(clone.untrack_database(database.root_id()).await, ErrorKind::Closed, "logged_out");
    refused(clone.change_password(None, Some("x")).await, ErrorKind::Closed, "logged_out");
    // What was opened stays open, as the documentation says.
    write(&database).await.unwrap();
    other.open_database(database.root_id()).await.unwrap();
}

#[test]
fn futures_can_go_to_other_threads() {
    fn check<T: Send>(_: impl FnOnce(Instance, eidetica::User) -> T) {}
    fn handle<T: Clone + Send + Sync>() {}
    handle::<Instance>();
    handle::<eidetica::User>();
    check(|instance, _| async move { instance.create_user("a", Some("b")).await });
    check(|instance, _| async move { instance.login_user("a", Some("b")).await });
    check(|_, mut user| async move { user.change_password(None, None).await });
    check(|_, mut user| async move {
        let key = user.add_private_key(None).await?;
        let database = user.create_database(named("n"), &key).await?;
        user.untrack_database(database.root_id()).await
    });
    check(|_, user| async move { user.find_database("n").await });
    check(|instance, _| async move { instance.all_wishes().await });
}
