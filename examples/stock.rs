//! A shared table with a live query: what is on the shelves of a shop, and always what runs low. In two terminals:
//!
//! ```text
//! cargo run -p eidetica-examples --bin stock -- sqlite:shop.db
//! cargo run -p eidetica-examples --bin stock -- sqlite:cellar.db 'eidetica:…'   (the ticket that the first one shows)
//! ```
//!
//! Then type `put ITEM SHELF COUNT`, `count ITEM COUNT`, `move ITEM SHELF`, or `shelf SHELF` to look what is on one; Ctrl-D ends. Who counts and who
//! moves the same item apart both keep their change.

mod shared;

use std::error::Error;

use eidetica::store::Table;
use eidetica::{Database, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// What runs low.
const FEW: i64 = 3;

/// A row; its key is the name of the item.
#[derive(Serialize, Deserialize)]
struct Item {
    shelf: String,
    count: i64,
}

fn lines(items: &[(String, Item)]) -> String {
    items.iter().map(|(name, item)| format!("  {name}: {} on shelf {}\n", item.count, item.shelf)).collect()
}

/// The live query. `follow` asks it after each change, from here or elsewhere, and shows it if something else comes out.
async fn runs_low(database: &Database) -> Result<String> {
    let table = database.get_store_viewer::<Table<Item>>("stock").await?;
    Ok(format!("runs low:\n{}", lines(&table.search(|item| item.count < FEW).await?)))
}

async fn act(database: &Database, typed: &str) -> Result<()> {
    let number = |text: &str| {
        let wrong = |_| eidetica::Error::new(ErrorKind::InvalidInput, "a count is a whole number").with("found", text);
        text.parse::<i64>().map_err(wrong)
    };
    match typed.split_whitespace().collect::<Vec<_>>()[..] {
        ["shelf", shelf] => {
            // An index belongs to this copy of the database. It is made once and kept; by it nothing else of the table is read.
            database.ensure_index("stock", "shelf").await?;
            let table = database.get_store_viewer::<Table<Item>>("stock").await?;
            println!("shelf {shelf}:\n{}", lines(&table.find("shelf", shelf).await?));
            Ok(())
        }
        ["put", item, shelf, count] => {
            let row = Item { shelf: shelf.to_owned(), count: number(count)? };
            change(database, async |table| table.set(item, &row).await).await
        }
        ["count", item, count] => {
            let count = number(count)?;
            change(database, async |table| table.update(item, |row| row.count = count).await).await
        }
        ["move", item, shelf] => {
            change(database, async |table| table.update(item, |row| shelf.clone_into(&mut row.shelf)).await).await
        }
        _ => {
            eprintln!("put ITEM SHELF COUNT, count ITEM COUNT, move ITEM SHELF, or shelf SHELF");
            Ok(())
        }
    }
}

async fn change(database: &Database, change: impl AsyncFnOnce(Table<Item>) -> Result<()>) -> Result<()> {
    let transaction = database.new_transaction().await?;
    change(transaction.get_store::<Table<Item>>("stock").await?).await?;
    transaction.commit().await.map(drop)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    shared::open("stock").await?.follow(runs_low, act).await
}
