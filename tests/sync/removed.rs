//! Who is removed, over real sockets: what is under way ends, what was written beside the removal shows nowhere, and nobody's help
//! changes that.

use std::time::{Duration, Instant};

use eidetica::auth::{Permission, Right};
use eidetica::crdt::Doc;
use eidetica::store::SettingsStore;
use eidetica::sync::Address;
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, ErrorKind, Id, Snapshot};

use super::kit::*;
use super::ways::Ways;

/// Within which whoever is removed knows it.
const SECOND: Duration = Duration::from_secs(1);

async fn follow(device: &mut Device, id: &Id) {
    let sync_settings = SyncSettings::default();
    device.user.track_database(TrackedDatabase { database_id: *id, key_id: device.key, sync_settings }).await.unwrap();
}

/// A database of anna's that others have, too, and follow live. All but anna only call.
async fn shared(anna: &mut Device, others: &mut [&mut Device], address: &Address) -> (Database, Vec<Database>) {
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *database.root_id();
    let mut there = Vec::new();
    for other in others.iter_mut() {
        let_in(&database, &other.key).await;
        follow(other, &id).await;
        other.sync.sync_with_peer(address, Some(&id)).await.unwrap();
        there.push(other.user.open_database(&id).await.unwrap());
    }
    set(&database, "before", "1").await.unwrap();
    for there in &there {
        until("all have it", || async { get(there, "before").await.is_some() }).await;
    }
    (database, there)
}

/// How a device says that it stands with another one.
fn is_told(device: &Device, peer: &Device, id: &Id) -> bool {
    let status = device.sync.handle(&peer.instance.device_id(), id).status();
    let error = status.ok().and_then(|status| status.last_error);
    error.is_some_and(|(_, kind, text)| kind == ErrorKind::PermissionDenied && text.contains("this device was removed"))
}

async fn is_told_within_a_second(ways: Ways) {
    let (mut anna, mut ben) = (Device::over("anna", ways).await, Device::over("ben", ways).await);
    let address = anna.listen().await;
    let (database, there) = shared(&mut anna, &mut [&mut ben], &address).await;
    let id = *database.root_id();
    let removal = anna.user.remove_key(&id, &ben.key, None).await.unwrap();
    let began = Instant::now();
    until_within(SECOND, "ben is told", || async { is_told(&ben, &anna, &id) }).await;
    println!("told {:?} after the removal, over {ways:?}", began.elapsed());
    set(&database, "after", "1").await.unwrap();
    for _ in 0..3 {
        let error = ben.sync.sync_with_peer(&address, Some(&id)).await.unwrap_err();
        assert_eq!((error.kind(), error.context("reason")), (ErrorKind::PermissionDenied, Some("removed")), "{error}");
    }
    assert!(get(&there[0], "after").await.is_none());
    assert_eq!(there[0].get_entry(&removal.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    // Without a new wish of ben's nobody is asked for access.
    assert!(anna.user.access_requests(anna.sync.access_book()).await.unwrap().is_empty());
    anna.user.grant(&id, &ben.key, Right::READ).await.unwrap();
    until("it is given back", || async { get(&there[0], "after").await.is_some() }).await;
}

#[tokio::test]
async fn who_is_removed_is_told_within_a_second_over_http() {
    is_told_within_a_second(Ways::Http).await;
}

#[tokio::test]
async fn who_is_removed_is_told_within_a_second_over_iroh() {
    is_told_within_a_second(Ways::Iroh).await;
}

/// What a removed member writes beside its removal reaches nobody through a friend: not by one who knows of the removal, and by one
/// who does not only as long as that one does not.
async fn no_friend_helps(ways: Ways) {
    let (mut anna, mut ben, mut cleo) =
        (Device::over("anna", ways).await, Device::over("ben", ways).await, Device::over("cleo", ways).await);
    let (address, friend) = (anna.listen().await, cleo.listen().await);
    let (database, there) = shared(&mut anna, &mut [&mut ben, &mut cleo], &address).await;
    let (id, before) = (*database.root_id(), database.snapshot().await.unwrap());
    ben.sync.sync_with_peer(&friend, Some(&id)).await.unwrap();
    // Anna is away while cleo does not know.
    anna.sync.stop_server().await.unwrap();
    anna.sync.remove_peer(cleo.instance.device_id()).await.ok();
    anna.sync.remove_peer(ben.instance.device_id()).await.ok();
    anna.user.remove_key(&id, &ben.key, None).await.unwrap();
    backdate(&there[0], &before).await;
    until("cleo has it, who does not know", || async { get(&there[1], "backdated").await.is_some() }).await;
    assert!(get(&database, "backdated").await.is_none());

    let address = anna.listen().await;
    cleo.sync.sync_with_peer(&address, Some(&id)).await.unwrap();
    until("cleo knows", || async { there[1].heads_digest().await.unwrap() == database.heads_digest().await.unwrap() })
        .await;
    for database in [&database, &there[1]] {
        assert!(get(database, "backdated").await.is_none() && get(database, "before").await.is_some());
        assert!(database.verify().await.unwrap().is_clean());
    }
    until_within(SECOND, "cleo tells ben, too", || async { is_told(&ben, &cleo, &id) }).await;
    let error = ben.sync.sync_with_peer(&friend, Some(&id)).await.unwrap_err();
    assert_eq!(error.context("reason"), Some("removed"), "{error}");
    // Cleo goes on on top of what ben wrote, as far as she can: nothing of his counts.
    set(&there[1], "after", "cleo").await.unwrap();
    until("anna has it", || async { get(&database, "after").await.is_some() }).await;
    assert!(get(&database, "backdated").await.is_none());
}

/// Writes on an old state.
async fn backdate(database: &Database, on: &Snapshot) {
    let transaction = database.new_transaction_with_tips(&on.0).await.unwrap();
    let notes = transaction.get_store::<eidetica::store::DocStore>("notes").await.unwrap();
    notes.set("backdated", "1").await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn no_friend_helps_who_was_removed_over_http() {
    no_friend_helps(Ways::Http).await;
}

#[tokio::test]
async fn no_friend_helps_who_was_removed_over_iroh() {
    no_friend_helps(Ways::Iroh).await;
}

/// A device that only calls rotates its key: those whom it calls know it by the old key until they know the new one.
#[tokio::test]
async fn a_rotated_key_is_known_to_those_who_are_called() {
    let (mut anna, mut ben) = (Device::over("anna", Ways::Http).await, Device::over("ben", Ways::Http).await);
    let (address, once) = (ben.listen().await, anna.listen().await);
    let (database, there) = shared(&mut anna, &mut [&mut ben], &once).await;
    let (id, there) = (*database.root_id(), &there[0]);
    // From now on nobody can call anna.
    anna.sync.stop_server().await.unwrap();
    anna.sync.sync_with_peer(&address, Some(&id)).await.unwrap();
    let new = anna.user.add_private_key(None).await.unwrap();
    anna.user.rotate_key(&id, &anna.key, &new).await.unwrap();
    until("ben knows the new one", || async { there.now().right_of(new).await.unwrap() > Right::admin(0) }).await;
    assert_eq!(there.now().right_of(anna.key).await.unwrap(), Right::REMOVED);
    set(&anna.user.open_database(&id).await.unwrap(), "by", "the new one").await.unwrap();
    until("it arrives", || async { get(there, "by").await.is_some() }).await;
    set(there, "back", "1").await.unwrap();
    until("it comes back", || async { get(&database, "back").await.is_some() }).await;
    assert!(there.verify().await.unwrap().is_clean());
}

/// Anybody who proves a device key reads what is public, and nobody without a right reads anything else, whatever it shows.
#[tokio::test]
async fn what_is_public_is_given_to_any_device_and_nothing_else_is() {
    let (mut anna, mut eve) = (Device::over("anna", Ways::Http).await, Device::over("eve", Ways::Http).await);
    let address = anna.listen().await;
    let public = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let hidden = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let transaction = public.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_global_permission(Some(Permission::Read)).await.unwrap();
    transaction.commit().await.unwrap();
    set(&public, "to", "everybody").await.unwrap();
    set(&hidden, "to", "nobody").await.unwrap();
    for id in [public.root_id(), hidden.root_id()] {
        follow(&mut eve, id).await;
    }
    eve.sync.sync_with_peer(&address, Some(public.root_id())).await.unwrap();
    let here = eve.user.open_database(public.root_id()).await.unwrap();
    assert_eq!(get(&here, "to").await.as_deref(), Some("everybody"));
    assert_eq!(set(&here, "to", "eve").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let error = eve.sync.sync_with_peer(&address, Some(hidden.root_id())).await.unwrap_err();
    assert_eq!((error.kind(), error.context("reason")), (ErrorKind::PermissionDenied, Some("not_served")), "{error}");
    assert_eq!(eve.instance.databases().await.unwrap(), [*public.root_id()]);
    let listed = eve.sync.discover_peer_trees(&address).await.unwrap();
    assert_eq!(listed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [*public.root_id()]);
    // An old grant that is still shown opens nothing once the right has ended.
    let_in(&hidden, &eve.key).await;
    eve.sync.sync_with_peer(&address, Some(hidden.root_id())).await.unwrap();
    anna.user.remove_key(hidden.root_id(), &eve.key, None).await.unwrap();
    set(&hidden, "to", "nobody again").await.unwrap();
    let error = eve.sync.sync_with_peer(&address, Some(hidden.root_id())).await.unwrap_err();
    assert_eq!(error.context("reason"), Some("removed"), "{error}");
    let there = eve.user.open_database_with_key(hidden.root_id(), &eve.key).await.unwrap();
    assert_eq!(get(&there, "to").await.as_deref(), Some("nobody"));
}
