//! What users sign so that their databases are synced with nobody logged in.

use eidetica::auth::Permission;
use eidetica::backend::database::Memory;
use eidetica::backend::{Backend, Keyspace, WriteBatch};
use eidetica::crdt::Doc;
use eidetica::sync::access::{Grants, Scope, Shown, may_list, may_read};
use eidetica::user::KeyId;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{ErrorKind, Id, Instance, SecretKey, User};

use super::kit::{Breaking, elsewhere, join, named};
use crate::local::counting::{Shared, dump};

const LOCAL: Keyspace = Keyspace::new(15);

fn grants(instance: &Instance) -> Grants {
    Grants::new(instance.engine().clone(), instance.device_id())
}

async fn of(instance: &Instance, database: &Id) -> Vec<KeyId> {
    grants(instance).of(database).await.unwrap().iter().map(|grant| *grant.user()).collect()
}

async fn listing(instance: &Instance) -> Vec<KeyId> {
    grants(instance).listing().await.unwrap().iter().map(|grant| *grant.user()).collect()
}

async fn track(user: &mut User, id: &Id, key: &KeyId, enabled: bool) {
    let sync_settings = SyncSettings { sync_enabled: enabled, ..SyncSettings::default() };
    user.track_database(TrackedDatabase { database_id: *id, key_id: *key, sync_settings }).await.unwrap();
}

#[tokio::test]
async fn after_a_restart_with_nobody_logged_in_the_grants_of_a_password_user_are_there_and_good() {
    let store = Shared::at_once(Memory::new());
    let instance = Instance::open(Box::new(store.clone())).await.unwrap();
    instance.create_user("alice", Some("secret")).await.unwrap();
    let mut alice = instance.login_user("alice", Some("secret")).await.unwrap();
    let key = alice.add_private_key(None).await.unwrap();
    let id = *alice.create_database(named("notes"), &key).await.unwrap().root_id();
    alice.logout();
    instance.close().await.unwrap();

    let instance = Instance::open(Box::new(store)).await.unwrap();
    let database = instance.open_database_with_key(&id, None).await.unwrap();
    let device = instance.device_id();
    let claims = grants(&instance).to_show(&id, Some(&database), None).await.unwrap();
    let shown = Shown::new(device, Scope::Database(id), claims.clone());
    assert_eq!(may_read(&database, &shown).await.unwrap().unwrap().key, key);
    // Another device, which has got hold of it, gets nowhere.
    let other = SecretKey::from_seed(&[9; 32]).public();
    let stolen = Shown::new(other, Scope::Database(id), claims);
    assert!(may_read(&database, &stolen).await.unwrap().is_none());
    // Both keys may list, and one of them sees this database.
    assert_eq!(listing(&instance).await.len(), 2);
    let claims = grants(&instance).listing_to_show(None).await.unwrap();
    let shown = Shown::new(device, Scope::Listing, claims);
    assert_eq!(may_list(&database, &shown).await.unwrap().unwrap().key, key);
}

#[tokio::test]
async fn a_grant_goes_with_what_is_tracked_with_sync_switched_on() {
    let instance = super::kit::memory().await;
    let mut alice = join(&instance, "alice").await;
    let key = alice.get_default_key().unwrap();
    let second = alice.add_private_key(None).await.unwrap();
    let id = *alice.create_database(Doc::new(), &key).await.unwrap().root_id();
    assert_eq!(of(&instance, &id).await, [key]);
    alice.set_sync_enabled(&id, false).await.unwrap();
    assert!(of(&instance, &id).await.is_empty());
    alice.set_sync_enabled(&id, true).await.unwrap();
    assert_eq!(of(&instance, &id).await, [key]);
    alice.untrack_database(&id).await.unwrap();
    assert!(of(&instance, &id).await.is_empty());

    // What is not here yet: it is the grant that lets it come.
    let unknown = elsewhere().await;
    track(&mut alice, &unknown, &key, true).await;
    assert_eq!(of(&instance, &unknown).await, [key]);
    let first = grants(&instance).of(&unknown).await.unwrap()[0].serial();
    track(&mut alice, &unknown, &key, true).await;
    assert!(grants(&instance).of(&unknown).await.unwrap()[0].serial() > first);
    // With another key, the grant of the first goes.
    track(&mut alice, &unknown, &second, true).await;
    assert_eq!(of(&instance, &unknown).await, [second]);
    track(&mut alice, &unknown, &second, false).await;
    assert!(of(&instance, &unknown).await.is_empty());
    // Signing again later takes no login, and logins sign nothing that was withdrawn.
    instance.login_user("alice", None).await.unwrap();
    assert!(of(&instance, &unknown).await.is_empty() && of(&instance, &id).await.is_empty());
}

#[tokio::test]
async fn two_users_with_one_key_do_not_take_the_grant_from_each_other() {
    let instance = super::kit::memory().await;
    let (mut alice, mut bob) = (join(&instance, "alice").await, join(&instance, "bob").await);
    let secret = SecretKey::from_seed(&[5; 32]);
    let key = alice.import_private_key(secret.clone(), None).await.unwrap();
    bob.import_private_key(secret, None).await.unwrap();
    let id = elsewhere().await;
    track(&mut alice, &id, &key, true).await;
    track(&mut bob, &id, &key, true).await;
    alice.untrack_database(&id).await.unwrap();
    assert_eq!(of(&instance, &id).await, [key]);
    track(&mut alice, &id, &key, false).await;
    assert_eq!(of(&instance, &id).await, [key]);
    bob.set_sync_enabled(&id, false).await.unwrap();
    assert!(of(&instance, &id).await.is_empty());
    alice.set_sync_enabled(&id, true).await.unwrap();
    bob.untrack_database(&id).await.unwrap();
    assert_eq!(of(&instance, &id).await, [key]);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_sessions_change_at_once_the_grant_follows_the_last() {
    let store = Shared::at_once(Memory::new());
    let instances =
        [Instance::open(Box::new(store.clone())).await.unwrap(), Instance::open(Box::new(store)).await.unwrap()];
    let secret = SecretKey::from_seed(&[5; 32]);
    let id = elsewhere().await;
    let mut users = Vec::new();
    for name in ["alice", "bob", "carol"] {
        instances[0].create_user(name, None).await.unwrap();
        let mut user = instances[0].login_user(name, None).await.unwrap();
        let key = user.import_private_key(secret.clone(), None).await.unwrap();
        users.push((user, key));
        users.push((instances[1].login_user(name, None).await.unwrap(), key));
    }
    for round in 0..6 {
        let mut tasks = Vec::new();
        for (n, (user, key)) in users.iter().enumerate() {
            let (mut user, key) = (user.clone(), *key);
            tasks.push(tokio::spawn(async move {
                match (n + round) % 3 {
                    0 => drop(user.untrack_database(&id).await),
                    1 => drop(user.set_sync_enabled(&id, n % 2 == 0).await),
                    _ => track(&mut user, &id, &key, true).await,
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let wished = instances[0].wishes(&id).await.unwrap().is_some_and(|wishes| wishes.sync_enabled);
        assert_eq!(of(&instances[1], &id).await.len(), usize::from(wished), "round {round}");
    }
}

#[tokio::test]
async fn a_login_signs_what_is_missing_and_writes_nothing_otherwise() {
    let store = Shared::at_once(Memory::new());
    let instance = Instance::open(Box::new(store.clone())).await.unwrap();
    instance.create_user("alice", Some("secret")).await.unwrap();
    let mut alice = instance.login_user("alice", Some("secret")).await.unwrap();
    let key = alice.get_default_key().unwrap();
    let mut bob = join(&instance, "bob").await;
    let friend = bob.get_default_key().unwrap();
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(*alice.create_database(Doc::new(), &key).await.unwrap().root_id());
        let unknown = Id::from_bytes([number; 32]);
        track(&mut bob, &unknown, &friend, true).await;
    }
    alice.set_sync_enabled(&ids[2], false).await.unwrap();
    // As in a store from before there were grants, and one whose device has got another key.
    let all = dump(&*store.snapshot().await.unwrap()).await;
    let (mut batch, mut gone) = (WriteBatch::new(), 0);
    for (_, name, row) in all.iter().filter(|(space, name, _)| *space == LOCAL && name.starts_with(b"sync/")) {
        gone += 1;
        if gone % 2 == 0 {
            batch.delete(LOCAL, name.clone());
        } else {
            let at = row.windows(32).position(|part| part == instance.device_id().as_bytes()).unwrap();
            batch.put(LOCAL, name.clone(), [&row[..at], &[7; 32], &row[at + 32..]].concat());
        }
    }
    store.commit(batch).await.unwrap();
    assert_eq!(gone, 2 + 3 + 2, "grants to list, and for databases");
    let mut bell = instance.wishes_changed();
    bell.mark_unchanged();
    assert!(of(&instance, &ids[0]).await.is_empty() && listing(&instance).await.is_empty());
    instance.login_user("alice", Some("secret")).await.unwrap();
    assert!(bell.has_changed().unwrap(), "sync may go on");
    bell.mark_unchanged();
    assert_eq!((of(&instance, &ids[0]).await, of(&instance, &ids[1]).await), (vec![key], vec![key]));
    assert!(of(&instance, &ids[2]).await.is_empty(), "sync is switched off");
    assert_eq!(listing(&instance).await, [key]);
    assert!(of(&instance, &Id::from_bytes([0; 32])).await.is_empty(), "those of others wait for their login");
    let before = dump(&*store.snapshot().await.unwrap()).await;
    instance.login_user("alice", Some("secret")).await.unwrap();
    assert!(before == dump(&*store.snapshot().await.unwrap()).await && !bell.has_changed().unwrap());
}

#[tokio::test]
async fn a_full_disk_keeps_nobody_from_logging_in() {
    let store = Breaking::new();
    let instance = Instance::open(Box::new(store.clone())).await.unwrap();
    instance.create_user("alice", None).await.unwrap();
    store.set_broken(true);
    let alice = instance.login_user("alice", None).await.unwrap();
    assert!(listing(&instance).await.is_empty());
    store.set_broken(false);
    instance.login_user("alice", None).await.unwrap();
    assert_eq!(listing(&instance).await, [alice.get_default_key().unwrap()]);
    // What cannot be stored changes neither what is tracked nor the grant.
    let (mut alice, id) = (alice, elsewhere().await);
    let key = alice.get_default_key().unwrap();
    track(&mut alice, &id, &key, true).await;
    store.set_broken(true);
    assert_eq!(alice.untrack_database(&id).await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!((of(&instance, &id).await, alice.databases().await.unwrap().len()), (vec![key], 1));
}

#[tokio::test]
async fn a_right_that_ends_ends_the_grant() {
    let instance = super::kit::memory().await;
    let (mut alice, mut bob) = (join(&instance, "alice").await, join(&instance, "bob").await);
    let (key, friend) = (alice.get_default_key().unwrap(), bob.get_default_key().unwrap());
    let database = alice.create_database(Doc::new(), &key).await.unwrap();
    let id = *database.root_id();
    let settings = async |permission: Option<Permission>| {
        let transaction = database.new_transaction().await.unwrap();
        let settings = transaction.get_store::<eidetica::store::SettingsStore>("_settings").await.unwrap();
        match permission {
            Some(permission) => settings.set_auth_key(&friend, permission, 0).await.unwrap(),
            None => settings.revoke_auth_key(&friend).await.unwrap(),
        }
        transaction.commit().await.unwrap();
    };
    settings(Some(Permission::Read)).await;
    track(&mut bob, &id, &friend, true).await;
    let claims = grants(&instance).to_show(&id, None, Some(&friend)).await.unwrap();
    let claims = claims.into_iter().filter(|claim| claim.user == friend).collect();
    let shown = Shown::new(instance.device_id(), Scope::Database(id), claims);
    assert!(may_read(&database, &shown).await.unwrap().is_some());
    settings(None).await;
    assert!(may_read(&database, &shown).await.unwrap().is_none());
}
