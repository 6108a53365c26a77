//! Documents: what a transaction sees of its own changes, and what concurrent ones leave.

use eidetica::auth::{Permission, Right, Setting, Subject};
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::crdt::{Doc, Value};
use eidetica::store::doc::Path;
use eidetica::store::table::{RowConflict, RowRange};
use eidetica::store::{DocStore, SettingsStore, Table};
use eidetica::{Database, Durability, ErrorKind, Instance, Result, Transaction};

pub async fn fresh() -> Result<(Instance, Database)> {
    let instance = Instance::open(Box::new(Memory::new())).await?;
    let key = instance.generate_key()?;
    let database = instance.create_database_with_key(Doc::new(), &key).await?;
    Ok((instance, database))
}

async fn doc(transaction: &Transaction) -> Result<DocStore> {
    transaction.get_store::<DocStore>("d").await
}

async fn json(store: &DocStore) -> Result<String> {
    Ok(store.get_all().await?.to_json().to_string())
}

fn value(text: &str) -> Value {
    Value::from_json(&serde_json::from_str(text).unwrap()).unwrap()
}

#[tokio::test]
async fn a_transaction_reads_what_it_writes() -> Result<()> {
    let (_instance, database) = fresh().await?;
    let transaction = database.new_transaction().await?;
    let store = doc(&transaction).await?;
    store.set("a", value(r#"{"b":{"c":1},"l":[1,2]}"#)).await?;
    store.set_path("a.b.d", 2i64).await?;
    assert!(store.delete_path("a.b.c").await?);
    assert!(!store.delete_path("a.b.c").await?);
    assert_eq!(json(&store).await?, r#"{"a":{"b":{"d":2},"l":[1,2]}}"#);
    store.set_path("a.b", 5i64).await?;
    store.set_path("a.b.x", 6i64).await?;
    assert_eq!(json(&store).await?, r#"{"a":{"b":{"x":6},"l":[1,2]}}"#);
    transaction.commit().await?;
    let view = database.get_store_viewer::<DocStore>("d").await?;
    assert_eq!(json(&view).await?, r#"{"a":{"b":{"x":6},"l":[1,2]}}"#);

    // The same once more, on top of what is committed.
    let transaction = database.new_transaction().await?;
    let store = doc(&transaction).await?;
    store.set_path("a.l", 1i64).await?;
    store.set_path("a.l.deep", 2i64).await?;
    store.delete_path("a.b").await?;
    store.set_path("a.b.y", 7i64).await?;
    let expected = r#"{"a":{"b":{"y":7},"l":{"deep":2}}}"#;
    assert_eq!(json(&store).await?, expected);
    transaction.commit().await?;
    assert_eq!(json(&view).await?, expected);
    assert!(view.conflicts(&Path::dotted("a.l")).await?.is_empty());
    assert!(database.verify().await?.is_clean());
    Ok(())
}

#[tokio::test]
async fn lists_insert_move_and_remove() -> Result<()> {
    let (_instance, database) = fresh().await?;
    let transaction = database.new_transaction().await?;
    let store = doc(&transaction).await?;
    for word in ["a", "b", "c", "d"] {
        store.list_push("l", word).await?;
    }
    store.list_move("l", 3, 0).await?;
    store.list_remove("l", 2).await?;
    store.list_set("l", 1, "A").await?;
    assert_eq!(store.get("l").await?, value(r#"["d","A","c"]"#));
    assert_eq!(store.list_insert("l", 9, "x").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    transaction.commit().await?;
    let view = database.get_store_viewer::<DocStore>("d").await?;
    assert_eq!(view.get("l").await?, value(r#"["d","A","c"]"#));

    // Two people move the same element and change another one apart; then somebody inserts between equals.
    let heads = database.get_tips().await?;
    for (to, last) in [(2, "x"), (1, "y")] {
        let transaction = database.new_transaction_with_tips(&heads).await?;
        let store = doc(&transaction).await?;
        store.list_move("l", 0, to).await?;
        store.list_push("l", last).await?;
        transaction.commit().await?;
    }
    let Value::List(merged) = view.get("l").await? else { panic!("no list") };
    let count = |text: &str| merged.iter().filter(|value| value.as_text() == Some(text)).count();
    assert_eq!((merged.len(), count("d"), count("x"), count("y")), (5, 1, 1, 1), "{merged:?}");
    let transaction = database.new_transaction().await?;
    let store = doc(&transaction).await?;
    let mut expected = merged.clone();
    for at in 0..=merged.len() {
        let text = format!("new{at}");
        store.list_insert("l", at * 2, text.as_str()).await?;
        expected.insert(at * 2, text.into());
    }
    assert_eq!(store.get("l").await?, Value::List(expected.clone()));
    transaction.commit().await?;
    assert_eq!(view.get("l").await?, Value::List(expected));
    assert!(database.verify().await?.is_clean());
    Ok(())
}

#[tokio::test]
async fn counters_add_up_and_resets_win() -> Result<()> {
    let (_instance, database) = fresh().await?;
    let root = database.get_tips().await?;
    for by in [2, 3] {
        let transaction = database.new_transaction_with_tips(&root).await?;
        doc(&transaction).await?.increment("n", by).await?;
        transaction.commit().await?;
    }
    let view = database.get_store_viewer::<DocStore>("d").await?;
    assert_eq!(view.get("n").await?, Value::Counter(5));
    let before = database.snapshot().await?;
    let transaction = database.new_transaction().await?;
    let store = doc(&transaction).await?;
    store.increment("n", 10).await?;
    assert_eq!(store.get("n").await?, Value::Counter(15));
    store.set("n", Value::Counter(100)).await?;
    store.increment("n", 1).await?;
    assert_eq!(store.get("n").await?, Value::Counter(101));
    transaction.commit().await?;
    assert_eq!(view.get("n").await?, Value::Counter(101));
    let then = database.at(&before).await?.get_store_viewer::<DocStore>("d").await?;
    assert_eq!(then.get("n").await?, Value::Counter(5));
    // A plain number does not count; that would lose it.
    let transaction = database.new_transaction().await?;
    let store = doc(&transaction).await?;
    store.set("plain", 5i64).await?;
    assert_eq!(store.increment("plain", 1).await.unwrap_err().kind(), ErrorKind::WrongType);
    Ok(())
}

#[tokio::test]
async fn concurrent_writes_leave_a_conflict_until_somebody_writes() -> Result<()> {
    let (_instance, database) = fresh().await?;
    let root = database.get_tips().await?;
    for text in ["one", "two"] {
        let transaction = database.new_transaction_with_tips(&root).await?;
        doc(&transaction).await?.set("k", text).await?;
        transaction.commit().await?;
    }
    let view = database.get_store_viewer::<DocStore>("d").await?;
    assert_eq!(view.get_string("k").await?, "two");
    let conflicts = view.conflicts(&Path::key("k")).await?;
    assert_eq!(conflicts.iter().map(|c| &c.value).collect::<Vec<_>>(), [&Value::from("one")]);
    let transaction = database.new_transaction().await?;
    doc(&transaction).await?.set("k", "three").await?;
    transaction.commit().await?;
    assert!(view.conflicts(&Path::key("k")).await?.is_empty());
    assert_eq!(database.get_tips().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn all_conflicts_of_a_table_are_found_with_who_and_when() -> Result<()> {
    let (instance, database) = fresh().await?;
    let row = |field: &str, value: i64| -> Doc { [(field, value)].into_iter().collect() };
    for key in ["a", "calm", "z"] {
        let transaction = database.new_transaction().await?;
        transaction.get_store::<Table<Doc>>("t").await?.set(key, &row("n", 0)).await?;
        transaction.commit().await?;
    }
    let tips = database.get_tips().await?;
    let mut hidden = Vec::new();
    for n in [1, 2] {
        let transaction = database.new_transaction_with_tips(&tips).await?;
        let table = transaction.get_store::<Table<Doc>>("t").await?;
        table.set("a", &row("n", n)).await?;
        table.set("made twice", &row(if n == 1 { "left" } else { "right" }, n)).await?;
        table.set("z", &row("n", n)).await?;
        hidden.push(transaction.commit().await?);
    }
    let entry = database.get_entry(&hidden[0]).await?;
    let table = database.get_store_viewer::<Table<Doc>>("t").await?;
    let all = table.all_conflicts(RowRange::all()).await?;
    let keys = |all: &[(String, Vec<RowConflict>)]| all.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&all), ["a", "made twice", "z"]);
    for (key, conflicts) in &all {
        assert_eq!(conflicts, &table.conflicts(key).await?);
        let [one] = &conflicts[..] else { panic!("{conflicts:?}") };
        assert_eq!((one.entry, one.author, one.time), (hidden[0], entry.header().author, entry.header().time));
        let twice = key == "made twice";
        assert_eq!(one.field.as_deref(), (!twice).then_some("n"));
        assert_eq!(one.value, if twice { Value::from(row("left", 1)) } else { Value::Int(1) });
    }
    assert!(table.conflicts("calm").await?.is_empty());
    // Parts of it, in either direction.
    assert_eq!(keys(&table.all_conflicts(RowRange::all().limit(1)).await?), ["a"]);
    assert_eq!(keys(&table.all_conflicts(RowRange::all().bytes(1)).await?), ["a"]);
    assert_eq!(keys(&table.all_conflicts(RowRange::all().reversed().limit(2)).await?), ["z", "made twice"]);
    assert_eq!(keys(&table.all_conflicts(RowRange::prefix("made")).await?), ["made twice"]);
    // Before the second one was known there was none; and where there is no table there is none, either.
    let before = database.at_heads(&hidden[..1]).await?.get_store_viewer::<Table<Doc>>("t").await?;
    assert!(before.all_conflicts(RowRange::all()).await?.is_empty());
    let none = database.get_store_viewer::<Table<Doc>>("nothing").await?;
    assert!(none.all_conflicts(RowRange::all()).await?.is_empty() && none.conflicts("a").await?.is_empty());
    drop(instance);
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_said_with_its_store() -> Result<()> {
    let (_instance, database) = fresh().await?;
    let nameless = database.get_name().await.unwrap_err();
    let pairs: Vec<_> = nameless.context_pairs().collect();
    assert_eq!((nameless.kind(), pairs), (ErrorKind::NotFound, vec![("path", "name"), ("store", "_settings")]));
    Ok(())
}

#[tokio::test]
async fn misuse_is_answered_and_changes_nothing() -> Result<()> {
    let (instance, database) = fresh().await?;
    let tips = database.get_tips().await?;
    let transaction = database.new_transaction().await?;
    let store = doc(&transaction).await?;
    assert_eq!(store.set("x", f64::NAN).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(store.set(&"k".repeat(2000), 1i64).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(store.get("x").await.unwrap_err().kind(), ErrorKind::NotFound);
    let committed = transaction.clone().commit_with(Durability::Flushed).await?;
    assert!(!committed.written);
    assert_eq!(vec![committed.id], tips);
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.set("y", 1i64).await.unwrap_err().kind(), ErrorKind::Closed);
    let view = database.get_store_viewer::<DocStore>("d").await?;
    assert_eq!(view.set("y", 1i64).await.unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(database.get_tips().await?, tips);
    let reader = database.with_key(None);
    let transaction = reader.new_transaction().await?;
    doc(&transaction).await?.set("y", 1i64).await?;
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let stranger = database.with_key(Some(instance.generate_key()?));
    let transaction = stranger.new_transaction().await?;
    doc(&transaction).await?.set("y", 1i64).await?;
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("right to write"), "{error}");
    assert_eq!(database.get_tips().await?, tips);
    assert!(database.new_transaction_with_tips(&[]).await.is_err());
    instance.close().await?;
    assert_eq!(view.get("y").await.unwrap_err().kind(), ErrorKind::Closed);
    Ok(())
}

/// Positions get longer with each insert at one place; the list is spread before they get too long.
#[tokio::test]
async fn a_list_takes_any_number_of_inserts_at_one_place() -> Result<()> {
    let (_instance, database) = fresh().await?;
    let view = database.get_store_viewer::<DocStore>("d").await?;
    let mut expected: Vec<Value> = Vec::new();
    for round in 0..12 {
        let transaction = database.new_transaction().await?;
        let store = doc(&transaction).await?;
        for index in 0..50 {
            let value = Value::Int(round * 50 + index);
            store.list_insert("l", expected.len() / 2, value.clone()).await?;
            expected.insert(expected.len() / 2, value);
        }
        transaction.commit_with(Durability::Buffered).await?;
        assert_eq!(view.get("l").await?, Value::List(expected.clone()), "round {round}");
    }
    let report = database.verify().await?;
    assert!(report.is_clean() && report.unreadable.is_empty(), "{report:?}");
    Ok(())
}

#[tokio::test]
async fn everybody_cannot_be_an_admin_and_a_refused_commit_leaves_nothing() -> Result<()> {
    let (instance, database) = fresh().await?;
    let engine = instance.engine();
    let key = instance.generate_key()?;
    let rights = vec![(Subject::Everybody, Setting::Grant(Right::admin(5)))];
    let refused = engine.create_database_with_rights(Doc::new(), rights, &key).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);

    let root = database.get_tips().await?;
    for index in 0..70i64 {
        let transaction = database.new_transaction_with_tips(&root).await?;
        doc(&transaction).await?.set("k", index).await?;
        transaction.commit_with(Durability::Buffered).await?;
    }
    let transaction = database.new_transaction().await?;
    let settings = transaction.get_store::<SettingsStore>("_settings").await?;
    // Nobody can give more than what is below the own right.
    settings.set_auth_key(&key.public(), Permission::Admin, u32::MAX).await?;
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!((database.entry_count().await?, database.get_tips().await?.len()), (71, 70));
    let transaction = database.new_transaction().await?;
    doc(&transaction).await?.set("k", 1i64).await?;
    transaction.commit().await?;
    assert_eq!((database.entry_count().await?, database.get_tips().await?.len()), (73, 1));
    assert!(database.verify().await?.is_clean());
    Ok(())
}

/// More concurrent bytes at one key than a backend takes in one value.
#[tokio::test]
async fn concurrent_values_may_be_longer_than_a_row() -> Result<()> {
    let instance = Instance::open(Box::new(Sqlite::in_memory().await?)).await?;
    let key = instance.generate_key()?;
    let database = instance.create_database_with_key(Doc::new(), &key).await?;
    let root = database.get_tips().await?;
    let long = |index: usize| char::from(b'a' + index as u8).to_string().repeat(5 << 20);
    for index in 0..5 {
        let transaction = database.new_transaction_with_tips(&root).await?;
        doc(&transaction).await?.set("k", long(index)).await?;
        transaction.commit_with(Durability::Buffered).await?;
    }
    let view = database.get_store_viewer::<DocStore>("d").await?;
    assert_eq!(view.get_string("k").await?, long(4));
    assert_eq!(view.conflicts(&Path::key("k")).await?.len(), 4);
    assert!(database.verify().await?.is_clean());
    let transaction = database.new_transaction().await?;
    doc(&transaction).await?.set("k", "short").await?;
    transaction.commit().await?;
    assert_eq!(view.get_string("k").await?, "short");
    assert!(view.conflicts(&Path::key("k")).await?.is_empty());
    assert!(database.verify().await?.is_clean());
    instance.close().await
}

#[test]
fn futures_can_be_sent() {
    fn sent<T: Send>(_: T) {}
    fn all(database: Database, transaction: Transaction, store: DocStore) {
        sent(database.new_transaction());
        sent(database.verify());
        sent(store.set("a", 1i64));
        sent(store.list_push("a", 1i64));
        sent(transaction.commit());
    }
    let _ = all;
}
