//! The shortest way through everything.

use eidetica::Instance;
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::crdt::{Doc, Value};
use eidetica::store::table::RowRange;
use eidetica::store::{DocStore, Table};

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
