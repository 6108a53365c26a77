//! A to-do list that several people share. In two terminals:
//!
//! ```text
//! cargo run -p eidetica-examples --bin todo -- sqlite:anna.db
//! cargo run -p eidetica-examples --bin todo -- sqlite:ben.db 'eidetica:…'   (the ticket that the first one shows)
//! ```
//!
//! Then type what there is to do, or the number of what is done; Ctrl-D ends. Both go on without each other, and come together again.

mod shared;

use std::error::Error;

use eidetica::store::Table;
use eidetica::store::table::RowRange;
use eidetica::{Database, Result};
use serde::{Deserialize, Serialize};

/// A row. If two people change its fields apart, both changes stay.
#[derive(Serialize, Deserialize)]
struct Task {
    text: String,
    done: bool,
}

/// The list, in the order in which things came up.
async fn show(database: &Database) -> Result<String> {
    let tasks = database.get_store_viewer::<Table<Task>>("tasks").await?.scan(RowRange::all()).await?;
    let line = |(at, (_, task)): (usize, &(String, Task))| {
        format!("{}. [{}] {}\n", at + 1, if task.done { 'x' } else { ' ' }, task.text)
    };
    Ok(if tasks.is_empty() { "nothing to do\n".to_owned() } else { tasks.iter().enumerate().map(line).collect() })
}

async fn act(database: &Database, typed: &str) -> Result<()> {
    if typed.is_empty() {
        return Ok(());
    }
    database
        .with_transaction(async |transaction| {
            let table = transaction.get_store::<Table<Task>>("tasks").await?;
            let tasks = table.scan(RowRange::all()).await?;
            match typed.parse::<usize>().ok().and_then(|number| tasks.get(number.checked_sub(1)?)) {
                Some((key, _)) => table.update(key, |task| task.done = !task.done).await,
                None => table.insert(&Task { text: typed.to_owned(), done: false }).await.map(drop),
            }
        })
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    shared::open("to do").await?.follow(show, act).await
}
