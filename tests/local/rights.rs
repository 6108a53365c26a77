//! Removing people: what it strikes, what it costs, and what whoever is removed is told.

use std::sync::Arc;

use eidetica::auth::{Permission, Right};
use eidetica::backend::database::Memory;
use eidetica::store::{DocStore, SettingsStore};
use eidetica::{Database, Durability, ErrorKind, Id, Instance, Options, SecretKey, Snapshot};

use super::big::{Big, Stage, big};
use super::counting::{Asked, Counting, Counts, Shared, load};
use super::kit::{check, key};

/// A database with an owner and a member who may write.
struct Pair {
    _instance: Instance,
    owner: Database,
    member: Database,
    counts: Arc<Counts>,
}

fn member() -> SecretKey {
    key(2)
}

async fn pair() -> Pair {
    let (backend, counts) = Counting::new(Shared::in_turns(Memory::new()));
    let instance = Instance::open_with(Box::new(backend), Options::default()).await.unwrap();
    let owner = instance.create_database_with_key(Default::default(), &key(1)).await.unwrap();
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.grant(&member().public(), Permission::Write, 0).await.unwrap();
    transaction.commit().await.unwrap();
    let member = owner.with_key(Some(member()));
    Pair { _instance: instance, owner, member, counts }
}

async fn write(database: &Database, key: &str, value: i64) -> Id {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, value).await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap().id
}

async fn read(database: &Database, key: &str) -> Option<i64> {
    let notes: DocStore = database.get_store_viewer("notes").await.unwrap();
    notes.get(key).await.ok().and_then(|value| value.as_int())
}

/// A stage of the long history, opened by its owner, with a member who may write.
async fn on_top_of(stage: &Stage, big: &Big) -> Pair {
    let backend = Shared::in_turns(Memory::new());
    load(&backend, &stage.rows).await;
    let (backend, counts) = Counting::new(backend);
    let instance = Instance::open_with(Box::new(backend), Options::default()).await.unwrap();
    let owner = instance.open_database_with_key(&big.forge.root.id(), Some(big.forge.key.clone())).await.unwrap();
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.grant(&member().public(), Permission::Write, 0).await.unwrap();
    transaction.commit().await.unwrap();
    let member = owner.with_key(Some(member()));
    Pair { _instance: instance, owner, member, counts }
}

/// What it costs to strike ten entries on top of others.
async fn strike_ten(Pair { owner, member, counts, _instance }: Pair) -> Asked {
    write(&owner, "key 3", 3).await;
    let before: Snapshot = owner.snapshot().await.unwrap();
    let others = owner.entry_count().await.unwrap();
    let mut struck = Vec::new();
    for at in 0..10 {
        struck.push(write(&member, &format!("key {at}"), -1).await);
    }
    assert_eq!(read(&owner, "key 3").await, Some(-1));
    let mut watch = owner.watch().await.unwrap();
    let (removed, asked) = counts.of(owner.remove_as_of(&self::member().public(), &before)).await;
    assert_eq!(read(&owner, "key 3").await, Some(3));
    assert_eq!(owner.entry_count().await.unwrap(), others + 1);
    assert_eq!(owner.get_tips().await.unwrap(), [removed.unwrap().id]);
    assert_eq!(watch.next().await.unwrap().struck, struck);
    if others < 1_000 {
        check(&owner).await;
    }
    asked
}

#[tokio::test]
async fn a_strike_costs_what_it_strikes() {
    let big = big().await;
    let mut asked = Vec::new();
    for stage in &big.stages {
        asked.push((stage.entries, strike_ten(on_top_of(stage, big).await).await));
    }
    println!("{asked:?}");
    let few = asked[0].1;
    for (entries, many) in &asked {
        // What differs is where blocks of heights end: a row of each level is written, and up to sixteen are read for it.
        assert!(many.written <= few.written + 8 && many.written <= 110, "at {entries}: {asked:?}");
        assert!(many.read <= few.read + 48, "at {entries}: {asked:?}");
    }
}

/// What the commits of a member read at least, one by one.
async fn usual(Pair { member, counts, _instance, .. }: &Pair) -> u64 {
    let mut least = u64::MAX;
    for at in 0..8 {
        let (_, asked) = counts.of(write(member, "mine", at)).await;
        least = least.min(asked.read);
    }
    least
}

/// A right is found in memory, however many settings there are and whatever was struck.
#[tokio::test]
async fn the_right_of_a_usual_entry_takes_no_row() {
    let quiet = usual(&pair().await).await;
    let busy = pair().await;
    let owner = &busy.owner;
    let rogue = key(3);
    let set = async |right: Option<Permission>| {
        let transaction = owner.new_transaction().await.unwrap();
        let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
        match right {
            Some(right) => settings.grant(&rogue.public(), right, 0).await.unwrap(),
            None => settings.limit(&rogue.public(), Permission::Read, 0).await.unwrap(),
        }
        transaction.commit().await.unwrap();
    };
    for _ in 0..50 {
        set(Some(Permission::Write)).await;
        set(None).await;
    }
    set(Some(Permission::Write)).await;
    let before = owner.snapshot().await.unwrap();
    for at in 0..20 {
        write(&owner.with_key(Some(rogue.clone())), &format!("rogue {at}"), at).await;
    }
    owner.remove_as_of(&rogue.public(), &before).await.unwrap();
    assert_eq!(usual(&busy).await, quiet);
    check(owner).await;
}

#[tokio::test]
async fn whoever_is_removed_is_told_at_the_commit() {
    let Pair { owner, member, .. } = pair().await;
    write(&owner, "a", 1).await;
    let late = member.new_transaction().await.unwrap();
    late.get_store::<DocStore>("notes").await.unwrap().set("a", 2).await.unwrap();
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.remove(&self::member().public()).await.unwrap();
    transaction.commit().await.unwrap();
    let (heads, count) = (owner.get_tips().await.unwrap(), owner.entry_count().await.unwrap());
    let error = late.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!((owner.get_tips().await.unwrap(), owner.entry_count().await.unwrap()), (heads, count));
    assert_eq!(read(&owner, "a").await, Some(1));
    assert_eq!(member.current_permission().await.unwrap(), Right::REMOVED);
}

#[tokio::test]
async fn a_transaction_on_what_was_struck_is_to_be_done_again() {
    let Pair { owner, member, .. } = pair().await;
    let before = owner.snapshot().await.unwrap();
    let struck = write(&member, "a", 1).await;
    let transaction = owner.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set("b", 2).await.unwrap();
    owner.remove_as_of(&self::member().public(), &before).await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
    assert_eq!((read(&owner, "a").await, read(&owner, "b").await), (None, None));
    let error = owner.new_transaction_with_tips(&[struck]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    write(&owner, "b", 2).await;
    assert_eq!(read(&owner, "b").await, Some(2));
    check(&owner).await;
}

#[tokio::test]
async fn rights_are_those_of_the_snapshot() {
    let Pair { owner, member, .. } = pair().await;
    let before = owner.snapshot().await.unwrap();
    let transaction = member.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.step_down(Some(Permission::Read)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(member.current_permission().await.unwrap(), Right::READ);
    let subject = eidetica::auth::Subject::Key(self::member().public());
    let then = owner.permissions_at(&before).await.unwrap();
    assert!(then.contains(&(subject, Right::WRITE)), "{then:?}");
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    // A limit that would raise is refused, and so is a grant that would give nothing.
    settings.limit(&self::member().public(), Permission::Write, 0).await.unwrap();
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}
