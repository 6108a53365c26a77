use eidetica::auth::Permission;
use eidetica::crdt::Doc;
use eidetica::store::SettingsStore;
use eidetica::user::KeyId;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, ErrorKind, Id, Retry};

use super::kit::{alice, elsewhere, join, named, refused, write};

fn tracked(database: &Id, key: &KeyId) -> TrackedDatabase {
    TrackedDatabase { database_id: *database, key_id: *key, sync_settings: SyncSettings::default() }
}

async fn grant(database: &Database, key: &KeyId, permission: Permission) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_auth_key(key, permission, 0).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_new_database_is_tracked_with_sync_enabled_and_can_be_found() {
    let (_instance, mut user) = alice().await;
    let key = user.get_default_key().unwrap();
    let mut settings = named("notes");
    settings.set("colour", "green");
    let one = user.create_database(settings, &key).await.unwrap();
    let two = user.create_database(named("notes"), &key).await.unwrap();
    let nameless = user.create_database(Doc::new(), &key).await.unwrap();
    assert_eq!(one.get_settings().await.unwrap().get("colour").await.unwrap(), "green".into());
    assert_eq!((one.author(), write(&one).await.is_ok()), (Some(key), true));
    let all = user.databases().await.unwrap();
    assert_eq!(all.len(), 3);
    for database in [&one, &two, &nameless] {
        assert!(all.contains(&tracked(database.root_id(), &key)));
    }
    let mut found: Vec<_> = user.find_database("notes").await.unwrap().iter().map(|found| *found.root_id()).collect();
    let mut expected = [*one.root_id(), *two.root_id()];
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    refused(user.find_database("note").await, ErrorKind::NotFound, "unknown_name");
}

#[tokio::test]
async fn why_a_database_cannot_be_opened_is_told_apart() {
    let (instance, mut alice) = alice().await;
    let mut bob = join(&instance, "bob").await;
    let (key, strange) = (alice.get_default_key().unwrap(), bob.get_default_key().unwrap());
    let second = alice.add_private_key(None).await.unwrap();
    let database = alice.create_database(named("notes"), &key).await.unwrap();
    let id = database.root_id();

    let unknown = elsewhere().await;
    refused(alice.open_database(&unknown).await, ErrorKind::NotFound, "unknown_database");
    refused(alice.open_database_with_key(&unknown, &key).await, ErrorKind::NotFound, "unknown_database");
    refused(alice.open_database_with_key(id, &strange).await, ErrorKind::NotFound, "unknown_key");
    refused(alice.open_database_with_key(id, &second).await, ErrorKind::PermissionDenied, "no_right_of_key");
    refused(bob.open_database(id).await, ErrorKind::PermissionDenied, "no_right");

    // Tracked before it is here: it waits.
    bob.track_database(tracked(&unknown, &strange)).await.unwrap();
    let error = bob.open_database(&unknown).await.unwrap_err();
    assert_eq!((error.kind(), error.context("reason")), (ErrorKind::NotFound, Some("waits_for_access")));
    assert_eq!((error.retry_hint(), error.context("key").unwrap()), (Retry::Later, strange.to_string().as_str()));
    refused(bob.find_database("notes").await, ErrorKind::NotFound, "unknown_name");

    // Tracked with a right that was taken away later.
    grant(&database, &strange, Permission::Read).await;
    bob.track_database(tracked(id, &strange)).await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<SettingsStore>("_settings").await.unwrap().revoke_auth_key(&strange).await.unwrap();
    transaction.commit().await.unwrap();
    refused(bob.open_database(id).await, ErrorKind::PermissionDenied, "no_right_of_key");
}

#[tokio::test]
async fn tracking_takes_a_right_of_that_key_on_a_database_that_is_here() {
    let (instance, mut alice) = alice().await;
    let mut bob = join(&instance, "bob").await;
    let (key, friend) = (alice.get_default_key().unwrap(), bob.get_default_key().unwrap());
    let database = alice.create_database(named("notes"), &key).await.unwrap();
    let id = database.root_id();
    refused(bob.track_database(tracked(id, &friend)).await, ErrorKind::PermissionDenied, "no_right_of_key");
    refused(bob.track_database(tracked(id, &key)).await, ErrorKind::NotFound, "unknown_key");
    assert!(bob.databases().await.unwrap().is_empty());

    let second = bob.add_private_key(None).await.unwrap();
    grant(&database, &second, Permission::Write).await;
    // Not tracked yet: the key that may do most is found.
    assert_eq!(bob.open_database(id).await.unwrap().author(), Some(second));
    grant(&database, &friend, Permission::Read).await;
    bob.track_database(tracked(id, &friend)).await.unwrap();
    let read = bob.open_database(id).await.unwrap();
    assert_eq!(read.author(), Some(friend));
    assert_eq!(write(&read).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    // Another key of hers, and the other settings with it.
    bob.track_database(tracked(id, &second)).await.unwrap();
    write(&bob.open_database(id).await.unwrap()).await.unwrap();
    assert_eq!(bob.databases().await.unwrap(), [tracked(id, &second)]);
    assert_eq!(bob.open_database_with_key(id, &friend).await.unwrap().author(), Some(friend));
}

#[tokio::test]
async fn everybodys_right_is_a_right_of_each_key() {
    let (instance, mut alice) = alice().await;
    let mut bob = join(&instance, "bob").await;
    let (key, guest) = (alice.get_default_key().unwrap(), bob.get_default_key().unwrap());
    let database = alice.create_database(named("news"), &key).await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_global_permission(Some(Permission::Read)).await.unwrap();
    transaction.commit().await.unwrap();
    bob.track_database(tracked(database.root_id(), &guest)).await.unwrap();
    assert_eq!(bob.find_database("news").await.unwrap().len(), 1);
}

#[tokio::test]
async fn settings_change_and_a_wrong_interval_changes_nothing() {
    let (_instance, mut user) = alice().await;
    let key = user.get_default_key().unwrap();
    let id = *user.create_database(Doc::new(), &key).await.unwrap().root_id();
    let settings = SyncSettings {
        sync_enabled: true,
        sync_on_commit: false,
        interval_seconds: Some(60),
        properties: [("colour".to_owned(), "green".to_owned())].into(),
    };
    let wished = TrackedDatabase { database_id: id, key_id: key, sync_settings: settings };
    user.track_database(wished.clone()).await.unwrap();
    assert_eq!(user.databases().await.unwrap(), std::slice::from_ref(&wished));

    let mut wrong = wished.clone();
    wrong.sync_settings.interval_seconds = Some(0);
    let error = user.track_database(wrong).await.unwrap_err();
    assert_eq!((error.kind(), error.context("interval_seconds")), (ErrorKind::InvalidInput, Some("0")));
    for enabled in [false, false, true, true] {
        user.set_sync_enabled(&id, enabled).await.unwrap();
        let mut expected = wished.clone();
        expected.sync_settings.sync_enabled = enabled;
        assert_eq!(user.databases().await.unwrap(), [expected]);
    }
}

#[tokio::test]
async fn what_is_not_tracked_any_more_is_gone_from_the_list_and_stays_in_the_store() {
    let (instance, mut user) = alice().await;
    let key = user.get_default_key().unwrap();
    let id = *user.create_database(named("notes"), &key).await.unwrap().root_id();
    user.untrack_database(&id).await.unwrap();
    assert!(user.databases().await.unwrap().is_empty());
    refused(user.untrack_database(&id).await, ErrorKind::NotFound, "not_tracked");
    refused(user.set_sync_enabled(&id, true).await, ErrorKind::NotFound, "not_tracked");
    refused(user.find_database("notes").await, ErrorKind::NotFound, "unknown_name");
    assert_eq!(instance.databases().await.unwrap(), [id]);
    write(&user.open_database(&id).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn two_sessions_of_a_user_see_what_the_other_stores() {
    let (instance, mut one) = alice().await;
    let mut two = instance.login_user("alice", None).await.unwrap();
    let key = one.add_private_key(Some("new")).await.unwrap();
    let id = *two.create_database(named("notes"), &key).await.unwrap().root_id();
    assert_eq!(one.databases().await.unwrap(), [tracked(&id, &key)]);
    one.set_sync_enabled(&id, false).await.unwrap();
    assert!(!two.databases().await.unwrap()[0].sync_settings.sync_enabled);
    write(&one.open_database(&id).await.unwrap()).await.unwrap();
    two.untrack_database(&id).await.unwrap();
    assert!(one.databases().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_without_a_right_of_its_own_can_be_shut_out_of_what_everybody_may() {
    let (instance, mut alice) = alice().await;
    let key = alice.get_default_key().unwrap();
    let stranger = instance.generate_key().unwrap().public();
    let database = alice.create_database(named("notes"), &key).await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_global_permission(Some(Permission::Read)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(database.now().right_of(stranger).await.unwrap(), eidetica::auth::Right::READ);
    for written in [true, false] {
        let transaction = database.new_transaction().await.unwrap();
        let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
        settings.revoke_auth_key(&stranger).await.unwrap();
        // The second time there is nothing left to take, which is no error.
        assert_eq!(transaction.commit_with(eidetica::Durability::Buffered).await.unwrap().written, written);
        assert_eq!(database.now().right_of(stranger).await.unwrap(), eidetica::auth::Right::REMOVED);
    }
}
