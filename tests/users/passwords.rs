use eidetica::{ErrorKind, Instance};

use super::kit::{Breaking, alice, memory, named, refused, write};

#[tokio::test]
async fn a_password_may_be_anything() {
    let instance = memory().await;
    let long = "é".repeat(100_000);
    for (number, password) in ["", " ", "\0", "пароль 密码 🔑", "e\u{301}", "\u{e9}", &long].into_iter().enumerate()
    {
        let name = number.to_string();
        instance.create_user(&name, Some(password)).await.unwrap();
        instance.login_user(&name, Some(password)).await.unwrap();
    }
    // What looks alike is not the same: bytes count.
    refused(instance.login_user("4", Some("\u{e9}")).await, ErrorKind::Unauthenticated, "wrong_password");
    refused(instance.login_user("6", Some(&long[2..])).await, ErrorKind::Unauthenticated, "wrong_password");
    refused(instance.login_user("0", Some(" ")).await, ErrorKind::Unauthenticated, "wrong_password");
}

#[tokio::test]
async fn a_new_password_takes_the_place_of_the_old_one() {
    let (instance, mut user) = alice().await;
    let second = user.add_private_key(None).await.unwrap();
    let id = *user.create_database(named("notes"), &second).await.unwrap().root_id();
    let keys = user.list_keys().await.unwrap();
    let steps = [None, Some("one"), Some("two"), Some(""), None, Some("one")];
    for pair in steps.windows(2) {
        user.change_password(pair[0], pair[1]).await.unwrap();
        assert!(instance.login_user("alice", pair[0]).await.is_err(), "{pair:?}");
        // This session goes on, and a new one has everything.
        for user in [&user, &instance.login_user("alice", pair[1]).await.unwrap()] {
            assert_eq!(user.list_keys().await.unwrap(), keys);
            write(&user.open_database(&id).await.unwrap()).await.unwrap();
            assert_eq!(user.open_database(&id).await.unwrap().author(), Some(second));
        }
    }
    refused(user.change_password(None, Some("x")).await, ErrorKind::Unauthenticated, "missing_password");
    refused(user.change_password(Some("two"), Some("x")).await, ErrorKind::Unauthenticated, "wrong_password");
    instance.login_user("alice", Some("one")).await.unwrap();
}

#[tokio::test]
async fn a_password_that_was_set_elsewhere_ends_other_sessions_and_a_changed_one_does_not() {
    let (instance, mut one) = alice().await;
    let mut two = instance.login_user("alice", None).await.unwrap();
    let key = two.get_default_key().unwrap();
    one.change_password(None, Some("secret")).await.unwrap();
    refused(two.add_private_key(None).await, ErrorKind::Unauthenticated, "stale_session");
    refused(two.create_database(named("x"), &key).await, ErrorKind::Unauthenticated, "stale_session");
    let mut two = instance.login_user("alice", Some("secret")).await.unwrap();
    one.change_password(Some("secret"), Some("new")).await.unwrap();
    let added = two.add_private_key(None).await.unwrap();
    one.create_database(named("x"), &added).await.unwrap();
}

#[tokio::test]
async fn a_change_that_is_cut_off_leaves_the_old_password_or_the_new_one_with_all_keys() {
    let store = Breaking::new();
    let instance = Instance::open(Box::new(store.clone())).await.unwrap();
    instance.create_user("alice", Some("old")).await.unwrap();
    let mut user = instance.login_user("alice", Some("old")).await.unwrap();
    let key = user.add_private_key(None).await.unwrap();
    for (from, to) in [(Some("old"), Some("new")), (Some("old"), None)] {
        store.set_broken(true);
        assert_eq!(user.change_password(from, to).await.unwrap_err().kind(), ErrorKind::Full);
        store.set_broken(false);
        // In this session, and in a process that is started afterwards.
        let later = Instance::open(Box::new(store.clone())).await.unwrap();
        for instance in [&instance, &later] {
            refused(instance.login_user("alice", None).await, ErrorKind::Unauthenticated, "missing_password");
            let mut user = instance.login_user("alice", Some("old")).await.unwrap();
            user.create_database(named("notes"), &key).await.unwrap();
        }
        user.create_database(named("notes"), &key).await.unwrap();
    }
    user.change_password(Some("old"), None).await.unwrap();
    let mut user = instance.login_user("alice", None).await.unwrap();
    user.create_database(named("notes"), &key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_is_lost_between_a_new_password_and_a_new_key() {
    for _ in 0..3 {
        let (instance, mut one) = alice().await;
        let mut two = instance.login_user("alice", None).await.unwrap();
        let adding = tokio::spawn(async move {
            let mut added = Vec::new();
            while added.len() < 200 {
                match two.add_private_key(None).await {
                    Ok(key) => added.push(key),
                    stale => {
                        refused(stale, ErrorKind::Unauthenticated, "stale_session");
                        break;
                    }
                }
            }
            added
        });
        tokio::task::yield_now().await;
        one.change_password(None, Some("secret")).await.unwrap();
        // The other session has gone stale, and everything that it was told is stored can be opened.
        let added = adding.await.unwrap();
        let mut user = instance.login_user("alice", Some("secret")).await.unwrap();
        assert_eq!(user.list_keys().await.unwrap().len(), added.len() + 1);
        for key in added {
            user.create_database(named("x"), &key).await.unwrap();
        }
    }
}
