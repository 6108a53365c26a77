use eidetica::{ErrorKind, Instance, SecretKey};

use super::kit::{alice, join, memory, named, refused};

#[tokio::test]
async fn keys_are_listed_the_oldest_first_with_their_names() {
    let (instance, mut user) = alice().await;
    let mut expected = vec![(user.get_default_key().unwrap(), None)];
    for name in [Some("laptop"), None, Some("laptop"), Some("Zoë")] {
        expected.push((user.add_private_key(name).await.unwrap(), name.map(str::to_owned)));
    }
    let listed =
        |keys: Vec<eidetica::user::UserKey>| keys.into_iter().map(|key| (key.id, key.name)).collect::<Vec<_>>();
    assert_eq!(listed(user.list_keys().await.unwrap()), expected);
    let other = instance.login_user("alice", None).await.unwrap();
    assert_eq!(listed(other.list_keys().await.unwrap()), expected);
    assert_eq!(other.get_default_key().unwrap(), expected[0].0);
    assert!(expected[0].0.to_string().starts_with("ed25519:"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_add_keys_at_once_lose_none() {
    let (instance, user) = alice().await;
    let add = |_| {
        let instance = instance.clone();
        tokio::spawn(async move {
            let mut user = instance.login_user("alice", None).await.unwrap();
            user.add_private_key(None).await.unwrap()
        })
    };
    let mut added = vec![user.get_default_key().unwrap()];
    for task in (0..24).map(add).collect::<Vec<_>>() {
        added.push(task.await.unwrap());
    }
    let mut keys: Vec<_> = user.list_keys().await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(keys[0], added[0]);
    keys.sort();
    added.sort();
    assert_eq!(keys, added);
}

#[tokio::test]
async fn a_key_of_another_user_is_of_no_use() {
    let (instance, mut alice) = alice().await;
    let bob = join(&instance, "bob").await;
    let key = bob.get_default_key().unwrap();
    refused(alice.create_database(named("x"), &key).await, ErrorKind::NotFound, "unknown_key");
    assert!(instance.databases().await.unwrap().is_empty());
    assert!(alice.databases().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_there_is_can_be_taken_in_once() {
    let instance = memory().await;
    let key = SecretKey::from_seed(&[7; 32]);
    instance.create_user_with_key("alice", Some("secret"), key.clone()).await.unwrap();
    let mut user = instance.login_user("alice", Some("secret")).await.unwrap();
    assert_eq!(user.get_default_key().unwrap(), key.public());
    let other = SecretKey::from_seed(&[8; 32]);
    assert_eq!(user.import_private_key(other.clone(), Some("phone")).await.unwrap(), other.public());
    assert_eq!(user.import_private_key(other.clone(), Some("again")).await.unwrap(), other.public());
    let keys = user.list_keys().await.unwrap();
    assert_eq!((keys.len(), keys[1].name.as_deref()), (2, Some("phone")));
    // The same person on another device: one key in two places.
    let elsewhere = memory().await;
    elsewhere.create_user_with_key("alice", None, other.clone()).await.unwrap();
    let there: Instance = elsewhere;
    assert_eq!(there.login_user("alice", None).await.unwrap().get_default_key().unwrap(), other.public());
}
