//! The shortest way through everything.

use eidetica::backend::database::{Memory, Sqlite};
use eidetica::crdt::{Doc, Value};
use eidetica::store::table::RowRange;
use eidetica::store::{DocStore, Table};
use eidetica::{ErrorKind, Instance};

use super::kit::{Forge, Held};

#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq, Clone)]
struct Airport {
    name: String,
    state: String,
    latitude: f64,
}

async fn walk(instance: Instance) -> eidetica::Result<()> {
    let key = instance.generate_key()?;
    let settings: Doc = [("name", "airports")].into_iter().collect();
    let database = instance.create_database_with_key(settings, &key).await?;
    assert_eq!(database.get_name().await?, "airports");
    let airport = |name: &str, state: &str, latitude| Airport { name: name.into(), state: state.into(), latitude };

    let transaction = database.new_transaction().await?;
    let table = transaction.get_store::<Table<Airport>>("airports").await?;
    table.set("SEA", &airport("Seattle", "WA", 47.4)).await?;
    table.set("PDX", &airport("Portland", "OR", 45.6)).await?;
    assert_eq!(table.get("SEA").await?.name, "Seattle");
    transaction.commit().await?;
    database.ensure_index("airports", "state").await?;
    let before = database.snapshot().await?;

    let transaction = database.new_transaction().await?;
    let table = transaction.get_store::<Table<Airport>>("airports").await?;
    table.update("SEA", |row| row.name = "Seattle-Tacoma".into()).await?;
    assert!(table.delete("PDX").await?);
    table.set("GEG", &airport("Spokane", "WA", 47.6)).await?;
    let doc = transaction.get_store::<DocStore>("notes").await?;
    doc.set("a", [("b", 1i64)].into_iter().collect::<Doc>()).await?;
    doc.increment("visits", 2).await?;
    doc.list_push("todo", "one").await?;
    doc.list_push("todo", "three").await?;
    doc.list_insert("todo", 1, "two").await?;
    transaction.commit().await?;

    let table = database.get_store_viewer::<Table<Airport>>("airports").await?;
    let rows = table.scan(RowRange::all()).await?;
    assert_eq!(rows.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["GEG", "SEA"]);
    let found = table.find("state", "WA").await?;
    assert_eq!(found.len(), 2);
    assert_eq!(found, table.search(|row| row.state == "WA").await?);
    let doc = database.get_store_viewer::<DocStore>("notes").await?;
    assert_eq!(doc.get_path("a.b").await?, Value::Int(1));
    assert_eq!(doc.get("visits").await?, Value::Counter(2));
    assert_eq!(doc.get("todo").await?, Value::List(vec!["one".into(), "two".into(), "three".into()]));

    let then = database.at(&before).await?;
    let table = then.get_store_viewer::<Table<Airport>>("airports").await?;
    assert_eq!(table.get("SEA").await?.name, "Seattle");
    assert_eq!(table.scan(RowRange::all()).await?.len(), 2);
    let doc = then.get_store_viewer::<DocStore>("notes").await?;
    assert!(doc.get_all().await?.is_empty());

    let report = database.verify().await?;
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(report.entries, 3);
    database.reindex().await?;
    let report = database.verify().await?;
    assert!(report.is_clean(), "{:?}", report.problems);

    let mut exported = Vec::new();
    database.export(&mut exported).await?;
    let other = Instance::open(Box::new(Memory::new())).await?;
    let longer = [&exported[..], b"\n"].concat();
    assert_eq!(other.import(&mut &longer[..], None).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let (copy, moved) = other.import(&mut &exported[..], None).await?;
    assert_eq!(moved.entries, 3);
    assert_eq!(copy.get_tips().await?, database.get_tips().await?);
    assert!(copy.verify().await?.is_clean());
    other.close().await?;
    instance.close().await
}

#[tokio::test]
async fn walk_on_memory() -> eidetica::Result<()> {
    walk(Instance::open(Box::new(Memory::new())).await?).await
}

#[tokio::test]
async fn walk_on_sqlite() -> eidetica::Result<()> {
    walk(Instance::open(Box::new(Sqlite::in_memory().await?)).await?).await
}

/// The clock of this test stands still: what tells the keys apart is the order in which they were made.
#[tokio::test]
async fn inserted_rows_keep_the_order_in_which_they_were_made() {
    let (_instance, database) = Forge::new(1).database_with(Box::new(Memory::new()), Held::new().options()).await;
    let mut keys = Vec::new();
    for number in 0..50 {
        let transaction = database.new_transaction().await.unwrap();
        let table = transaction.get_store::<Table<Doc>>("t").await.unwrap();
        for n in 0..20 {
            keys.push(table.insert(&[("n", 20i64 * number + n)].into_iter().collect()).await.unwrap());
        }
        transaction.commit().await.unwrap();
    }
    let rows = database.get_store_viewer::<Table<Doc>>("t").await.unwrap().scan(RowRange::all()).await.unwrap();
    assert!(rows.iter().map(|(key, _)| key).eq(&keys));
    assert!(rows.iter().map(|(_, row)| row.get("n").unwrap().as_int().unwrap()).eq(0..1000));
}
