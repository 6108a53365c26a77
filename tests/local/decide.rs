//! Deciding conflicts of rows.

use eidetica::Database;
use eidetica::store::Table;

use super::kit::{Forge, check};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Item {
    amount: i64,
    bought: bool,
}

const ITEM: Item = Item { amount: 1, bought: false };

async fn set(database: &Database, row: &Item) {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<Table<Item>>("items").await.unwrap().set("eggs", row).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Two who do not know of each other put a row each, and see the row first.
async fn at_once(database: &Database, rows: [Item; 2]) {
    let [one, other] = [database.new_transaction().await.unwrap(), database.new_transaction().await.unwrap()];
    for (transaction, row) in [(&one, &rows[0]), (&other, &rows[1])] {
        let items = transaction.get_store::<Table<Item>>("items").await.unwrap();
        let _ = items.get("eggs").await;
        items.set("eggs", row).await.unwrap();
    }
    one.commit().await.unwrap();
    other.commit().await.unwrap();
}

/// What shows, and how many values and rows are hidden.
async fn state(database: &Database) -> (Item, usize, usize) {
    let items = database.get_store_viewer::<Table<Item>>("items").await.unwrap();
    let conflicts = items.conflicts("eggs").await.unwrap();
    let whole = conflicts.iter().filter(|conflict| conflict.field.is_none()).count();
    (items.get("eggs").await.unwrap(), conflicts.len() - whole, whole)
}

#[tokio::test]
async fn a_row_that_is_set_decides_its_fields_also_for_what_shows() {
    let (_instance, database) = Forge::new(1).database().await;
    set(&database, &ITEM).await;
    at_once(&database, [Item { amount: 3, ..ITEM }, Item { amount: 5, ..ITEM }]).await;
    let (shown, fields, rows) = state(&database).await;
    assert_eq!((fields, rows), (1, 0));

    // Who changes another field has not decided this one.
    let transaction = database.new_transaction().await.unwrap();
    let items = transaction.get_store::<Table<Item>>("items").await.unwrap();
    items.update("eggs", |row| row.bought = true).await.unwrap();
    assert!(transaction.commit_with(Default::default()).await.unwrap().written);
    assert_eq!(state(&database).await, (Item { bought: true, ..shown.clone() }, 1, 0));

    let kept = Item { bought: true, ..shown };
    set(&database, &kept).await;
    assert_eq!(state(&database).await, (kept.clone(), 0, 0));
    // Now there is nothing more to write.
    let transaction = database.new_transaction().await.unwrap();
    let items = transaction.get_store::<Table<Item>>("items").await.unwrap();
    assert_eq!(items.set_all([("eggs", &kept)]).await.unwrap(), 0);
    items.resolve("eggs", &kept).await.unwrap();
    assert!(!transaction.commit_with(Default::default()).await.unwrap().written);
    check(&database).await;
}

#[tokio::test]
async fn of_two_rows_under_one_key_one_is_decided_for() {
    let (_instance, database) = Forge::new(1).database().await;
    at_once(&database, [Item { amount: 3, ..ITEM }, Item { amount: 5, ..ITEM }]).await;
    let (shown, fields, rows) = state(&database).await;
    assert_eq!((fields, rows), (0, 1));
    // Nobody is made to decide by a write to one of the fields.
    set(&database, &Item { amount: 7, ..shown.clone() }).await;
    assert_eq!(state(&database).await, (Item { amount: 7, ..shown.clone() }, 0, 1));

    let transaction = database.new_transaction().await.unwrap();
    let items = transaction.get_store::<Table<Item>>("items").await.unwrap();
    items.resolve("eggs", &Item { amount: 7, ..shown.clone() }).await.unwrap();
    // What is decided in the transaction is not decided twice, and can be changed.
    items.set("eggs", &Item { amount: 8, ..shown.clone() }).await.unwrap();
    assert_eq!(items.get("eggs").await.unwrap().amount, 8);
    transaction.commit().await.unwrap();
    assert_eq!(state(&database).await, (Item { amount: 8, ..shown }, 0, 0));
    check(&database).await;
}
