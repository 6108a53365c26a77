//! Stores that older versions of this program have written, each with its own layout of rows, are opened by this one.
//!
//! Each file in `data` was made by the library as it was in the commit before the next layout came, with the program whose
//! writes [`holds_what_was_written`] tells.

use std::path::{Path, PathBuf};

use eidetica::backend::Backend;
use eidetica::backend::database::Sqlite;
use eidetica::crdt::{Doc, Value};
use eidetica::store::doc::{Path as Place, Step};
use eidetica::store::{DocStore, Table};
use eidetica::{Database, Instance};
use eidetica_backend_redb::Redb;

use super::kit::{check, key};

/// A copy of a file, in a directory of its own: opening writes to it.
fn copy(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/local/data").join(name), &path).unwrap();
    (directory, path)
}

/// Twenty commits that set, count, push, move and remove, then two apart.
async fn holds_what_was_written(database: &Database) {
    assert_eq!(database.get_name().await.unwrap(), "old");
    assert_eq!(database.entry_count().await.unwrap(), 23);
    assert_eq!(database.get_tips().await.unwrap().len(), 2);
    let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert_eq!(notes.get_string("title").await.unwrap(), "round 19");
    assert_eq!(notes.get("visits").await.unwrap().as_int(), Some(40));
    assert_eq!(notes.get_path("deep.of.1").await.unwrap().as_int(), Some(19));
    let list = [6, 2, 8, 9, 10, 4, 11, 12, 5, 13, 14, 15, 16, 17, 18, 19];
    let shown = notes.get("list").await.unwrap();
    assert_eq!(shown.as_list().unwrap(), list.map(Value::Int));
    let side = Place(vec![Step::Key("side".into())]);
    assert!(!notes.conflicts(&side).await.unwrap().is_empty());
    let rows = database.get_store_viewer::<Table<Doc>>("rows").await.unwrap();
    assert_eq!(rows.count().await.unwrap(), 8);
    let stores = database.stores().await.unwrap();
    assert_eq!(stores.iter().find(|store| store.name == "rows").unwrap().indexes, ["group"]);
    // Those of rounds 12, 15 and 18.
    assert_eq!(rows.find("group", 0i64).await.unwrap().len(), 3);
}

async fn is_taken_up(backend: Box<dyn Backend>) {
    let instance = Instance::open(backend).await.unwrap();
    assert!(instance.engine().verify_list().await.unwrap().is_empty());
    let [id] = instance.databases().await.unwrap()[..] else { panic!("one database") };
    let database = instance.open_database_with_key(&id, Some(key(7))).await.unwrap();
    check(&database).await;
    holds_what_was_written(&database).await;
    // What an earlier layout has not kept is no obstacle to writing, and is there after a rebuild.
    let push = async |value: i64| {
        let transaction = database.new_transaction().await.unwrap();
        transaction.get_store::<DocStore>("pushed").await.unwrap().list_push("list", value).await.unwrap();
        transaction.get_store::<DocStore>("notes").await.unwrap().set_path("deep.of.all", value).await.unwrap();
        transaction.commit().await.unwrap();
    };
    push(1).await;
    check(&database).await;
    database.reindex().await.unwrap();
    check(&database).await;
    push(2).await;
    check(&database).await;
    instance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_files_of_earlier_layouts_are_taken_up() {
    for name in ["layout-1.db", "layout-2.db"] {
        let (_directory, path) = copy(name);
        is_taken_up(Box::new(Sqlite::open(path).await.unwrap())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redb_file_of_an_earlier_layout_is_taken_up() {
    let (_directory, path) = copy("layout-2.redb");
    is_taken_up(Box::new(Redb::open(path).await.unwrap())).await;
}
