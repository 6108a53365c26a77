//! Users who change rights, rotate keys, and put another key in the place of a lost one.

use eidetica::auth::{Right, Subject};
use eidetica::crdt::Doc;
use eidetica::user::RightsChange;
use eidetica::{Database, ErrorKind, PublicKey};

use super::kit::*;

async fn right(database: &Database, key: &PublicKey) -> Right {
    database.now().own_right_of(Subject::Key(*key)).await.unwrap()
}

#[tokio::test]
async fn an_admin_grants_limits_and_removes() {
    let (instance, mut alice) = alice().await;
    let (mut bob, key) = (join(&instance, "bob").await, alice.get_default_key().unwrap());
    let theirs = bob.get_default_key().unwrap();
    let database = alice.create_database(Doc::new(), &key).await.unwrap();
    let id = *database.root_id();
    refused(bob.grant(&id, &theirs, Right::WRITE).await, ErrorKind::PermissionDenied, "no_admin");
    refused(alice.grant(&elsewhere().await, &theirs, Right::WRITE).await, ErrorKind::NotFound, "unknown_database");
    assert_eq!(alice.grant(&id, &theirs, Right::NONE).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(
        alice.grant(&id, &theirs, Right::admin(u32::MAX)).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );

    alice.grant(&id, &theirs, Right::admin(5)).await.unwrap();
    assert_eq!(right(&database, &theirs).await, Right::admin(5));
    assert_eq!(alice.grant(&id, &theirs, Right::WRITE).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    alice.limit(&id, &theirs, Right::WRITE).await.unwrap();
    assert_eq!(right(&database, &theirs).await, Right::WRITE);
    let before = database.snapshot().await.unwrap();
    let there = bob.open_database(&id).await.unwrap();
    write(&there).await.unwrap();
    let count = database.entry_count().await.unwrap();
    alice.remove_key(&id, &theirs, Some(&before)).await.unwrap();
    assert_eq!((right(&database, &theirs).await, database.entry_count().await.unwrap()), (Right::REMOVED, count));
    assert_eq!(write(&there).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(database.permissions_at(&before).await.unwrap().len(), 2);

    // Given back; and given up again, by the one who has it.
    alice.grant(&id, &theirs, Right::WRITE).await.unwrap();
    refused(alice.step_down(&id, &theirs, Right::NONE).await, ErrorKind::NotFound, "unknown_key");
    bob.step_down(&id, &theirs, Right::READ).await.unwrap();
    assert_eq!(right(&database, &theirs).await, Right::READ);
    let everybody = alice.prepare_change(&id, RightsChange::Everybody { right: Right::WRITE }).await.unwrap();
    everybody.commit().await.unwrap();
    write(&bob.open_database(&id).await.unwrap()).await.unwrap();
    let _ = bob.add_private_key(None).await.unwrap();
}

#[tokio::test]
async fn the_strongest_key_hands_over_and_the_database_is_followed_with_the_new_one() {
    let (instance, mut alice) = alice().await;
    let old = alice.get_default_key().unwrap();
    let database = alice.create_database(Doc::new(), &old).await.unwrap();
    let id = *database.root_id();
    write(&database).await.unwrap();
    let new = alice.add_private_key(Some("new")).await.unwrap();
    let change = RightsChange::Rotate { key: old, successor: new, as_of: None };
    let prepared = alice.prepare_change(&id, change.clone()).await.unwrap();
    assert_eq!((*prepared.by(), prepared.right()), (old, Right::admin(u32::MAX - 1)));
    assert!(prepared.hands_over() && prepared.foresee().await.unwrap().struck.is_empty());
    prepared.commit().await.unwrap();
    assert_eq!(
        (right(&database, &old).await, right(&database, &new).await),
        (Right::REMOVED, Right::admin(u32::MAX - 1))
    );
    assert_eq!(alice.databases().await.unwrap()[0].key_id, new);
    let opened = alice.open_database(&id).await.unwrap();
    assert_eq!(opened.author(), Some(new));
    write(&opened).await.unwrap();
    // What the old key signed for this device is still shown, until the database is not followed any more.
    let grants = || eidetica::sync::access::Grants::new(instance.engine().clone(), instance.device_id());
    assert_eq!(grants().of(&id).await.unwrap().len(), 2);
    alice.untrack_database(&id).await.unwrap();
    assert_eq!(grants().of(&id).await.unwrap().len(), 0);
    // The old key has nothing that could be handed over once more.
    refused(alice.prepare_change(&id, change).await, ErrorKind::NotFound, "");
}

#[tokio::test]
async fn a_weak_key_is_replaced_by_one_above_it_with_the_same_right() {
    let (instance, mut alice) = alice().await;
    let (mut bob, key) = (join(&instance, "bob").await, alice.get_default_key().unwrap());
    let (old, new) = (bob.get_default_key().unwrap(), bob.add_private_key(None).await.unwrap());
    let database = alice.create_database(Doc::new(), &key).await.unwrap();
    let id = *database.root_id();
    alice.grant(&id, &old, Right::WRITE).await.unwrap();
    // He cannot do it alone, and is told so.
    let error = bob.rotate_key(&id, &old, &new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("admin above it"), "{error}");
    let before = database.snapshot().await.unwrap();
    write(&bob.open_database(&id).await.unwrap()).await.unwrap();
    let change = RightsChange::Rotate { key: old, successor: new, as_of: Some(before) };
    let prepared = alice.prepare_change(&id, change).await.unwrap();
    assert_eq!((*prepared.by(), prepared.right(), prepared.hands_over()), (key, Right::WRITE, false));
    assert_eq!(prepared.foresee().await.unwrap().struck, [(old, 1)].into());
    prepared.commit().await.unwrap();
    assert_eq!((right(&database, &old).await, right(&database, &new).await), (Right::REMOVED, Right::WRITE));
    write(&bob.open_database_with_key(&id, &new).await.unwrap()).await.unwrap();
    // Nobody here is above alice.
    refused(bob.rotate_key(&id, &key, &new).await, ErrorKind::PermissionDenied, "no_admin");
}

#[tokio::test]
async fn a_recovery_key_puts_a_new_key_in_the_place_of_a_stolen_one() {
    let (instance, mut alice) = alice().await;
    let (stolen, recovery) = (alice.get_default_key().unwrap(), instance.generate_key().unwrap());
    let database = alice.create_database_with_recovery(named("notes"), &stolen, &recovery.public()).await.unwrap();
    let id = *database.root_id();
    assert_eq!(alice.databases().await.unwrap().len(), 1);
    assert_eq!(right(&database, &recovery.public()).await, Right::admin(u32::MAX));
    assert_eq!(right(&database, &stolen).await, Right::admin(u32::MAX - 1));
    write(&database).await.unwrap();
    let before = database.snapshot().await.unwrap();
    // The thief lets himself in, and tries to remove the recovery key.
    let thief = instance.generate_key().unwrap().public();
    alice.grant(&id, &thief, Right::admin(9)).await.unwrap();
    let against = alice.remove_key(&id, &recovery.public(), None).await.unwrap_err();
    assert_eq!(against.kind(), ErrorKind::PermissionDenied);

    let new = alice.add_private_key(Some("after the theft")).await.unwrap();
    let change = RightsChange::Rotate { key: stolen, successor: new, as_of: Some(before) };
    let prepared = alice.prepare_change_with(&id, &recovery, change).await.unwrap();
    assert_eq!(prepared.foresee().await.unwrap().struck, [(stolen, 1)].into());
    prepared.commit().await.unwrap();
    assert_eq!(right(&database, &new).await, Right::admin(u32::MAX - 1));
    assert_eq!((right(&database, &stolen).await, right(&database, &thief).await), (Right::REMOVED, Right::NONE));
    let opened = alice.open_database(&id).await.unwrap();
    assert_eq!(opened.author(), Some(new));
    assert_eq!(opened.get_name().await.unwrap(), "notes");
    write(&opened).await.unwrap();
    let same = alice.create_database_with_recovery(Doc::new(), &new, &new).await.unwrap_err();
    assert_eq!(same.kind(), ErrorKind::InvalidInput);
}
