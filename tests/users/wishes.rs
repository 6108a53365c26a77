use eidetica::backend::database::Memory;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Id, Instance, User};

use super::kit::{elsewhere, join, named};
use crate::local::counting::Shared;

async fn wish(user: &mut User, id: Id, enabled: bool, on_commit: bool, interval: Option<u64>) {
    let sync_settings = SyncSettings {
        sync_enabled: enabled,
        sync_on_commit: on_commit,
        interval_seconds: interval,
        properties: Default::default(),
    };
    let key_id = user.get_default_key().unwrap();
    user.track_database(TrackedDatabase { database_id: id, key_id, sync_settings }).await.unwrap();
}

/// Sync enabled, on commit, interval.
async fn wishes(instance: &Instance, id: &Id) -> Option<(bool, bool, Option<u64>)> {
    let wishes = instance.wishes(id).await.unwrap();
    assert_eq!(instance.all_wishes().await.unwrap().get(id), wishes.as_ref());
    wishes.map(|wishes| (wishes.sync_enabled, wishes.sync_on_commit, wishes.interval_seconds))
}

#[tokio::test]
async fn what_one_user_wishes_is_wished() {
    let store = Shared::at_once(Memory::new());
    let instance = Instance::open(Box::new(store.clone())).await.unwrap();
    let (mut alice, mut bob) = (join(&instance, "alice").await, join(&instance, "bob").await);
    let id = elsewhere().await;
    assert_eq!(wishes(&instance, &id).await, None);
    wish(&mut alice, id, false, true, Some(1)).await;
    assert_eq!(wishes(&instance, &id).await, Some((false, false, None)), "who wants no sync wants nothing of it");
    wish(&mut bob, id, true, false, Some(60)).await;
    assert_eq!(wishes(&instance, &id).await, Some((true, false, Some(60))));
    wish(&mut alice, id, true, true, None).await;
    assert_eq!(wishes(&instance, &id).await, Some((true, true, Some(60))));
    wish(&mut alice, id, true, true, Some(5)).await;
    assert_eq!(wishes(&instance, &id).await, Some((true, true, Some(5))));

    // Nobody has logged in here since the start.
    let later = Instance::open(Box::new(store)).await.unwrap();
    assert_eq!(wishes(&later, &id).await, Some((true, true, Some(5))));
    alice.untrack_database(&id).await.unwrap();
    assert_eq!(wishes(&later, &id).await, Some((true, false, Some(60))));
    bob.untrack_database(&id).await.unwrap();
    assert_eq!(wishes(&later, &id).await, None);
}

#[tokio::test]
async fn a_change_of_wishes_is_told_when_it_can_be_read() {
    let instance = super::kit::memory().await;
    let mut alice = join(&instance, "alice").await;
    let mut bell = instance.wishes_changed();
    let key = alice.get_default_key().unwrap();
    let id = *alice.create_database(named("notes"), &key).await.unwrap().root_id();
    for enabled in [true, false] {
        assert!(bell.has_changed().unwrap());
        bell.mark_unchanged();
        assert_eq!(instance.wishes(&id).await.unwrap().map(|wishes| wishes.sync_enabled), Some(enabled));
        alice.set_sync_enabled(&id, false).await.unwrap();
    }
    bell.mark_unchanged();
    alice.list_keys().await.unwrap();
    assert!(!bell.has_changed().unwrap());
    alice.untrack_database(&id).await.unwrap();
    assert!(bell.has_changed().unwrap());
}
