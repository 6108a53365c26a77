//! Real processes on one store.

use std::time::Duration;

use eidetica::backend::database::Sqlite;
use eidetica::{ErrorKind, Instance};

use super::kit::{named, write};
use crate::backend::children;

const PROCESSES: usize = 3;
const KEYS: usize = 5;

#[tokio::test]
async fn processes_share_users() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    let instance = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    let start = |_| children::command("users::processes::child_works", &path).spawn().unwrap();
    for child in (0..PROCESSES).map(start).collect::<Vec<_>>() {
        children::finish(child);
    }
    // What the others have stored, this one sees.
    assert_eq!(instance.list_users().await.unwrap(), ["alice"]);
    let user = instance.login_user("alice", Some("secret")).await.unwrap();
    assert_eq!(user.list_keys().await.unwrap().len(), 1 + PROCESSES * KEYS);
    let databases = user.find_database("notes").await.unwrap();
    assert_eq!(databases.len(), PROCESSES);
    write(&databases[0]).await.unwrap();
    instance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child of another test"]
async fn child_works() {
    let Some(path) = children::store() else { return };
    let store = Sqlite::builder().path(&path).lock_timeout(Duration::from_secs(60)).open().await.unwrap();
    let instance = Instance::open(Box::new(store)).await.unwrap();
    match instance.create_user("alice", Some("secret")).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
        Ok(id) => assert_eq!(id.len(), 32),
    }
    let mut user = instance.login_user("alice", Some("secret")).await.unwrap();
    for _ in 0..KEYS {
        user.add_private_key(None).await.unwrap();
    }
    let key = user.list_keys().await.unwrap().last().unwrap().id;
    user.create_database(named("notes"), &key).await.unwrap();
    instance.close().await.unwrap();
}
