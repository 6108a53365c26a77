//! What transactions see, and what they stand on.

use std::time::Duration;

use eidetica::auth::Permission;
use eidetica::backend::database::Memory;
use eidetica::crdt::Value;
use eidetica::store::doc::{Path, Step};
use eidetica::store::{DocStore, SettingsStore};
use eidetica::{
    Database, Durability, Environment, ErrorKind, Id, Outcome, Retry, SecretKey, Time, Transaction, Warning,
};

use super::kit::{Forge, Held, check, hand_in, key, set};

async fn notes(transaction: &Transaction) -> DocStore {
    transaction.get_store::<DocStore>("notes").await.unwrap()
}

async fn parents(database: &Database, id: Id) -> Vec<Id> {
    database.get_entry(&id).await.unwrap().header().parents.clone()
}

async fn commit(database: &Database, key: &str, value: i64) -> Id {
    let transaction = database.new_transaction().await.unwrap();
    notes(&transaction).await.set(key, value).await.unwrap();
    transaction.commit().await.unwrap()
}

#[tokio::test]
async fn an_empty_commit_writes_nothing() {
    let (_instance, database) = Forge::new(1).database().await;
    let id = commit(&database, "key", 1).await;
    let transaction = database.new_transaction().await.unwrap();
    let committed = transaction.commit_with(Default::default()).await.unwrap();
    assert_eq!((committed.id, committed.written), (id, false));
    // Reading, and deleting what is not there, changes nothing either.
    let transaction = database.new_transaction().await.unwrap();
    notes(&transaction).await.get("key").await.unwrap();
    assert!(!notes(&transaction).await.delete("absent").await.unwrap());
    assert_eq!(transaction.commit().await.unwrap(), id);
    // Without a key, too: nothing has to be signed.
    let transaction = database.with_key(None).new_transaction().await.unwrap();
    assert_eq!(transaction.commit().await.unwrap(), id);
    assert_eq!(database.entry_count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_transaction_is_committed_once() {
    let (_instance, database) = Forge::new(1).database().await;
    let transaction = database.new_transaction().await.unwrap();
    let store = notes(&transaction).await;
    store.set("key", 1i64).await.unwrap();
    let again = transaction.clone();
    transaction.commit().await.unwrap();
    assert_eq!(store.set("key", 2i64).await.unwrap_err().kind(), ErrorKind::Closed);
    let error = again.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.retry_hint()), (ErrorKind::Conflict, Retry::Never));
    assert_eq!(database.entry_count().await.unwrap(), 2);
}

#[tokio::test]
async fn without_a_key_nothing_is_written() {
    let (_instance, database) = Forge::new(1).database().await;
    for key in [None, Some(super::kit::key(9))] {
        let reader = database.with_key(key);
        let transaction = reader.new_transaction().await.unwrap();
        notes(&transaction).await.set("key", 1i64).await.unwrap();
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    }
    assert_eq!(database.entry_count().await.unwrap(), 1);
    check(&database).await;
}

#[tokio::test]
async fn given_tips_become_the_parents() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let first = commit(&database, "key", 1).await;
    let second = commit(&database, "key", 2).await;
    let transaction = database.new_transaction_with_tips(&[first]).await.unwrap();
    assert_eq!(notes(&transaction).await.get("key").await.unwrap(), Value::Int(1), "it sees what it stands on");
    notes(&transaction).await.set("other", 3i64).await.unwrap();
    let branch = transaction.commit().await.unwrap();
    assert_eq!(parents(&database, branch).await, [first]);
    let mut both = vec![second, branch];
    both.sort_unstable();
    assert_eq!(database.get_tips().await.unwrap(), both);
    let transaction = database.new_transaction_with_tips(&[branch, second, branch]).await.unwrap();
    assert_eq!(notes(&transaction).await.get("key").await.unwrap(), Value::Int(2));
    notes(&transaction).await.set("key", 4i64).await.unwrap();
    let merge = transaction.commit().await.unwrap();
    assert_eq!(parents(&database, merge).await, both);
    let error = database.new_transaction_with_tips(&[]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let unknown = Forge::new(2).root.id();
    let error = database.new_transaction_with_tips(&[first, unknown]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&unknown.to_string()));
    check(&database).await;
}

/// Begins so many transactions at one moment, lets each do its thing, and commits them all at once.
async fn at_once(database: &Database, count: usize, act: impl AsyncFn(usize, DocStore)) -> Vec<Id> {
    let mut all = Vec::new();
    for index in 0..count {
        let transaction = database.new_transaction().await.unwrap();
        act(index, notes(&transaction).await).await;
        all.push(transaction);
    }
    let mut commits = tokio::task::JoinSet::new();
    all.into_iter().for_each(|transaction| drop(commits.spawn(async move { transaction.commit().await.unwrap() })));
    commits.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_do_not_touch_make_a_chain() {
    let (_instance, database) = Forge::new(1).database().await;
    commit(&database, "key 0", 0).await;
    let ids = at_once(&database, 50, async |n, notes| notes.set(&format!("key {n}"), n as i64).await.unwrap()).await;
    assert_eq!(database.get_tips().await.unwrap().len(), 1);
    for id in ids {
        assert_eq!(parents(&database, id).await.len(), 1);
    }
    let log = database.log(None, 100).await.unwrap();
    assert!(log.windows(2).all(|pair| pair[0].parents == [pair[1].id]), "it is one line");
    check(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_touch_are_concurrent() {
    let (_instance, database) = Forge::new(1).database().await;
    let before = commit(&database, "key", -1).await;
    let ids = at_once(&database, 10, async |n, notes| notes.set("key", n as i64).await.unwrap()).await;
    for id in &ids {
        assert_eq!(parents(&database, *id).await, [before], "none has seen another");
    }
    let path = Path(vec![Step::Key("key".into())]);
    let store = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(store.conflicts(&path).await.unwrap().len(), 9);
    commit(&database, "key", 100).await;
    assert!(store.conflicts(&path).await.unwrap().is_empty());

    // What was only read counts as well: the second has decided by a value that is no longer there.
    let before = commit(&database, "balance", 10).await;
    let [one, other] = [database.new_transaction().await.unwrap(), database.new_transaction().await.unwrap()];
    for (transaction, key) in [(&one, "a"), (&other, "b")] {
        let notes = notes(transaction).await;
        assert_eq!(notes.get("balance").await.unwrap(), Value::Int(10));
        notes.set(key, 1i64).await.unwrap();
    }
    notes(&one).await.set("balance", 0i64).await.unwrap();
    one.commit().await.unwrap();
    let id = other.commit().await.unwrap();
    assert_eq!(parents(&database, id).await, [before]);
    check(&database).await;
}

/// Increments add up, whoever has seen what; and a transaction shows its own changes before they are committed.
#[tokio::test(flavor = "multi_thread")]
async fn counters_add_up() {
    let (_instance, database) = Forge::new(1).database().await;
    let transaction = database.new_transaction().await.unwrap();
    notes(&transaction).await.increment("count", 5).await.unwrap();
    assert_eq!(notes(&transaction).await.get("count").await.unwrap(), Value::Counter(5));
    transaction.commit().await.unwrap();
    at_once(&database, 20, async |_, notes| notes.increment("count", 1).await.unwrap()).await;
    let store = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(store.get("count").await.unwrap(), Value::Counter(25));
    check(&database).await;
}

/// Rights have no keys that a transaction could read, and count as read by all of them (rule 29).
#[tokio::test]
async fn a_change_of_rights_counts_as_read() {
    let (_instance, database) = Forge::new(1).database().await;
    let give = async |key: &SecretKey| {
        let transaction = database.new_transaction().await.unwrap();
        let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
        settings.set_auth_key(&key.public(), Permission::Write, 0).await.unwrap();
        transaction.commit().await.unwrap();
    };
    give(&key(2)).await;
    let heads = database.get_tips().await.unwrap();
    let mine = database.with_key(Some(key(2))).new_transaction().await.unwrap();
    notes(&mine).await.set("a", 1i64).await.unwrap();
    give(&key(3)).await;
    let id = mine.commit().await.unwrap();
    assert_eq!(parents(&database, id).await, heads);
}

#[tokio::test]
async fn work_in_a_transaction_is_committed_or_leaves_nothing() {
    fn send<F: Future + Send>(future: F) -> F {
        future
    }
    let (_instance, database) = Forge::new(1).database().await;
    let work = async |transaction: Transaction| {
        notes(&transaction).await.set("key", 1i64).await?;
        Ok(7)
    };
    assert_eq!(send(database.with_transaction(work)).await.unwrap(), 7);
    assert_eq!(database.entry_count().await.unwrap(), 2);

    // What it borrows is found again afterwards, and its error comes back as it is.
    let mut kept = None;
    let error = database
        .with_transaction(async |transaction| {
            let store = notes(&transaction).await;
            store.set("key", 2i64).await?;
            kept = Some((transaction, store));
            store_of(&kept).get("absent").await
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let (transaction, store) = kept.unwrap();
    assert_eq!(store.set("key", 3i64).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(database.entry_count().await.unwrap(), 2, "nothing was written");

    let reader = database.with_key(None);
    let denied = reader.with_transaction(async |transaction| notes(&transaction).await.set("key", 4i64).await);
    assert_eq!(denied.await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(notes.get("key").await.unwrap(), Value::Int(1));
    check(&database).await;
}

fn store_of(kept: &Option<(Transaction, DocStore)>) -> DocStore {
    kept.as_ref().unwrap().1.clone()
}

#[tokio::test]
async fn entries_come_in_the_order_that_is_asked_for() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let mut ids = vec![forge.root.id()];
    for value in 0..5 {
        ids.push(commit(&database, "key", value).await);
    }
    ids.reverse();
    ids.push(ids[2]);
    let entries = database.get_entries(&ids).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.id()).collect::<Vec<_>>(), ids);
    assert_eq!(entries[0], database.get_entry(&ids[0]).await.unwrap());
    assert!(database.get_entries(&[]).await.unwrap().is_empty());
    let unknown = Forge::new(2).root.id();
    let error = database.get_entries(&[ids[0], unknown, ids[1]]).await.unwrap_err();
    let named = unknown.to_string();
    assert_eq!((error.kind(), error.context("entry")), (ErrorKind::NotFound, Some(named.as_str())));
}

/// An entry that is here was written by a clock that runs ahead; what is written here comes after it, and peers let it
/// wait. Whoever commits is told.
#[tokio::test]
async fn a_commit_far_ahead_of_the_clock_carries_a_warning() {
    let forge = Forge::new(1);
    let clock = Held::new();
    let write = async |database: &Database, value: i64| {
        let transaction = database.new_transaction().await.unwrap();
        notes(&transaction).await.set("key", value).await.unwrap();
        transaction.commit_with(Durability::Buffered).await.unwrap().warnings
    };
    let (_instance, database) = forge.database_with(Box::new(Memory::new()), clock.options()).await;
    assert_eq!(write(&database, 1).await, []);
    let skew = Duration::from_secs(300);
    let mut header = forge.header(&[&forge.root]);
    header.time = Time::from_number(clock.now().number() + ((skew.as_millis() as u64) << 16));
    let ahead = forge.sign(header, vec![set("notes", "key", 2i64)]);
    assert_eq!(hand_in(&database, ahead.to_raw()).await, Outcome::Accepted);
    let warnings = write(&database, 3).await;
    assert_eq!(warnings, [Warning::AheadOfClock { by: skew }], "it comes after what is just allowed");
    assert!(warnings[0].to_string().contains("check the clock"));
    clock.advance(Duration::from_secs(1));
    assert_eq!(write(&database, 4).await, [], "until the clock has come near it");
}
