//! Going through a table while others write.

use std::sync::atomic::{AtomicBool, Ordering};

use eidetica::Durability;
use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::store::table::RowRange;

use super::kit::*;

/// A row moves from one end of a table to the other, in one transaction each time: whoever counts finds it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_of_many_pages_shows_one_moment() {
    const ROWS: usize = 3000;
    let instance = memory().await;
    let database = instance.create_database_with_key(Doc::new(), &key(1)).await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    let table = transaction.get_store::<Table<Doc>>("t").await.unwrap();
    let row: Doc = [("n", 1)].into_iter().collect();
    for n in 0..ROWS {
        table.set(&format!("m{n:05}"), &row).await.unwrap();
    }
    table.set("a", &row).await.unwrap();
    transaction.commit().await.unwrap();

    let on = AtomicBool::new(true);
    let writing = async {
        let mut moved = 0;
        while on.load(Ordering::Relaxed) {
            let transaction = database.new_transaction().await.unwrap();
            let table = transaction.get_store::<Table<Doc>>("t").await.unwrap();
            let (from, to) = if moved % 2 == 0 { ("a", "z") } else { ("z", "a") };
            table.delete(from).await.unwrap();
            table.set(to, &row).await.unwrap();
            transaction.commit_with(Durability::Buffered).await.unwrap();
            moved += 1;
            tokio::task::yield_now().await;
        }
        moved
    };
    let reading = async {
        for _ in 0..40 {
            let table = database.get_store_viewer::<Table<Doc>>("t").await.unwrap();
            let rows = table.scan(RowRange::all()).await.unwrap();
            assert_eq!(rows.len(), ROWS + 1, "a transaction is seen half");
            tokio::task::yield_now().await;
        }
        on.store(false, Ordering::Relaxed);
    };
    let (moved, ()) = tokio::join!(writing, reading);
    assert!(moved > 10, "nothing has moved: {moved}");
}
