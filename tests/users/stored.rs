//! What of users lies in a store, to the byte.

use bytes::Bytes;
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::backend::{Backend, Keyspace, WriteBatch};
use eidetica::{ErrorKind, Instance, SecretKey};

use super::kit::{bytes_of, holds, named, refused};
use crate::local::counting::{Shared, dump};

const LOCAL: Keyspace = Keyspace::new(15);

async fn rows(store: &Shared, prefix: &str) -> Vec<(Bytes, Bytes)> {
    let all = dump(&*store.snapshot().await.unwrap()).await.into_iter();
    all.filter(|(space, key, _)| *space == LOCAL && key.starts_with(prefix.as_bytes()))
        .map(|row| (row.1, row.2))
        .collect()
}

async fn put(store: &Shared, rows: &[(&Bytes, &Bytes)]) {
    let mut batch = WriteBatch::new();
    rows.iter().for_each(|(key, value)| batch.put(LOCAL, Bytes::clone(key), Bytes::clone(value)));
    store.commit(batch).await.unwrap();
}

#[tokio::test]
async fn no_row_and_no_file_holds_a_key_or_the_password_of_a_user_who_has_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.db");
    let password = "correct horse battery staple";
    let seeds = [[0x5a; 32], [0xa5; 32]];
    let fill = async |backend: Box<dyn Backend>| {
        let instance = Instance::open(backend).await.unwrap();
        instance.create_user_with_key("alice", Some(password), SecretKey::from_seed(&seeds[0])).await.unwrap();
        let mut user = instance.login_user("alice", Some(password)).await.unwrap();
        let key = user.import_private_key(SecretKey::from_seed(&seeds[1]), None).await.unwrap();
        user.create_database(named("notes"), &key).await.unwrap();
        user.change_password(Some(password), Some("another password")).await.unwrap();
        assert!(instance.login_user("alice", Some(password)).await.is_err());
        instance
    };
    let secrets = [&seeds[0][..], &seeds[1], password.as_bytes(), b"another password"];
    let store = Shared::at_once(Memory::new());
    fill(Box::new(store.clone())).await;
    let memory = bytes_of(&store).await;
    let instance = fill(Box::new(Sqlite::open(&path).await.unwrap())).await;
    // With the log as it is before it is moved into the file, and without.
    let open: Vec<u8> =
        ["s.db", "s.db-wal"].iter().flat_map(|name| std::fs::read(directory.path().join(name)).unwrap()).collect();
    instance.close().await.unwrap();
    let closed = std::fs::read(&path).unwrap();
    assert!(holds(&memory, b"user-key/") && holds(&open, b"user-key/") && holds(&closed, b"user-key/"));
    for (secret, bytes) in secrets.iter().flat_map(|secret| [&memory, &open, &closed].map(|bytes| (secret, bytes))) {
        assert!(!holds(bytes, secret), "{secret:?}");
    }
}

#[tokio::test]
async fn rows_of_users_in_the_place_of_others_are_refused() {
    for passwords in [[Some("one"), Some("two")], [None, None]] {
        let store = Shared::at_once(Memory::new());
        let instance = Instance::open(Box::new(store.clone())).await.unwrap();
        for (name, password) in ["alice", "bob"].into_iter().zip(passwords) {
            instance.create_user(name, password).await.unwrap();
        }
        let users = rows(&store, "user/").await;
        let [(alice, of_alice), (bob, of_bob)] = &users[..] else { panic!("{users:?}") };
        put(&store, &[(alice, of_bob), (bob, of_alice)]).await;
        for name in ["alice", "bob"] {
            for password in passwords {
                refused(instance.login_user(name, password).await, ErrorKind::Corrupted, "damaged");
            }
        }
        put(&store, &[(alice, of_alice), (bob, of_bob)]).await;

        // Their keys, each under the name that the other one has.
        let keys = rows(&store, "user-key/").await;
        let [(one, of_one), (two, of_two)] = &keys[..] else { panic!("{keys:?}") };
        put(&store, &[(one, of_two), (two, of_one)]).await;
        for (name, password) in ["alice", "bob"].into_iter().zip(passwords) {
            refused(instance.login_user(name, password).await, ErrorKind::Corrupted, "damaged");
        }
    }
}

#[tokio::test]
async fn a_sealed_user_under_a_forged_name_is_refused() {
    let store = Shared::at_once(Memory::new());
    let instance = Instance::open(Box::new(store.clone())).await.unwrap();
    instance.create_user("alice", Some("secret")).await.unwrap();
    let (_, row) = rows(&store, "user/").await.remove(0);
    let mut forged = row.to_vec();
    let place = forged.windows(5).position(|part| part == b"alice").unwrap();
    forged[place..place + 5].copy_from_slice(b"mally");
    put(&store, &[(&Bytes::from("user/mally"), &forged.into())]).await;
    refused(instance.login_user("mally", Some("secret")).await, ErrorKind::Unauthenticated, "wrong_password");
    instance.login_user("alice", Some("secret")).await.unwrap();
}

#[tokio::test]
async fn keys_in_the_place_of_other_keys_of_the_same_user_are_refused() {
    for password in [Some("secret"), None] {
        let store = Shared::at_once(Memory::new());
        let instance = Instance::open(Box::new(store.clone())).await.unwrap();
        instance.create_user("alice", password).await.unwrap();
        let mut user = instance.login_user("alice", password).await.unwrap();
        let second = user.add_private_key(None).await.unwrap();
        let keys = rows(&store, "user-key/").await;
        let [(one, of_one), (two, of_two)] = &keys[..] else { panic!("{keys:?}") };
        put(&store, &[(one, of_two), (two, of_one)]).await;
        refused(user.create_database(named("x"), &second).await, ErrorKind::Corrupted, "damaged");
        refused(instance.login_user("alice", password).await, ErrorKind::Corrupted, "damaged");
        put(&store, &[(one, of_one), (two, of_two)]).await;
        instance.login_user("alice", password).await.unwrap();
    }
}

#[tokio::test]
async fn no_damaged_row_panics_or_lets_anybody_in() {
    let store = Shared::at_once(Memory::new());
    let instance = Instance::open(Box::new(store.clone())).await.unwrap();
    instance.create_user("alice", None).await.unwrap();
    let mut user = instance.login_user("alice", None).await.unwrap();
    let key = user.get_default_key().unwrap();
    user.create_database(named("x"), &key).await.unwrap();
    for prefix in ["user/", "user-key/", "tracked/"] {
        let (name, row) = rows(&store, prefix).await.remove(0);
        for place in 0..row.len() {
            let mut flipped = row.to_vec();
            flipped[place] ^= 0x41;
            for damaged in [Bytes::from(flipped), row.slice(..place)] {
                put(&store, &[(&name, &damaged)]).await;
                // What it says does not matter here, as long as it says something.
                if let Ok(user) = instance.login_user("alice", None).await {
                    let _ = (user.list_keys().await, user.databases().await, user.find_database("x").await);
                    assert_eq!(user.get_default_key().unwrap(), key);
                }
                let _ = instance.all_wishes().await;
            }
        }
        put(&store, &[(&name, &row)]).await;
    }
    let (name, row) = rows(&store, "user/").await.remove(0);
    let mut newer = row.to_vec();
    newer[1] = 2;
    put(&store, &[(&name, &newer.into())]).await;
    assert_eq!(instance.login_user("alice", None).await.unwrap_err().kind(), ErrorKind::NewerFormat);
}

#[tokio::test]
async fn no_message_shows_a_secret() {
    let instance = super::kit::memory().await;
    instance.create_user("alice", Some("secret")).await.unwrap();
    let user = instance.login_user("alice", Some("secret")).await.unwrap();
    assert_eq!(format!("{user:?}"), "User { name: \"alice\", .. }");
    let error = instance.login_user("alice", Some("my secret guess")).await.unwrap_err();
    assert!(!format!("{error:?}{error}").contains("guess"));
}
