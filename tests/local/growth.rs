//! Memory does not grow with the history: the page cache of the backend, and little more.
//!
//! Up to 40,000 entries it is run with all the other tests; a million takes ten minutes, as `cargo xtask full` does:
//! `EIDETICA_GROWTH=1000000 cargo test --release -p eidetica --test main local::growth::memory -- --nocapture`.

use eidetica::Durability;
use eidetica::backend::database::Sqlite;
use eidetica::store::DocStore;

use super::kit::{Forge, hand_in_all};
use crate::backend::children;

const PAGE_CACHE: usize = 16 << 20;
/// How much memory may grow between the two sizes, in bytes.
const GROWTH: usize = 32 << 20;
/// The smaller size.
const FEW: usize = 10_000;
/// The larger size without being asked for more.
const MANY: usize = 40_000;

/// A process of its own: what other tests do must not count.
#[test]
fn memory_does_not_grow_with_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let output = children::command("local::growth::child_grows", &directory.path().join("store.db")).output().unwrap();
    children::check(&output);
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by memory_does_not_grow_with_the_history"]
async fn child_grows() {
    let Some(path) = children::store() else { return };
    let many = std::env::var("EIDETICA_GROWTH").map_or(MANY, |count| count.parse().unwrap());
    let store = Sqlite::builder().path(path).page_cache(PAGE_CACHE).open().await.unwrap();
    let forge = Forge::new(1);
    let (instance, database) = forge.database_with(Box::new(store), Default::default()).await;
    let mut below = forge.root.clone();
    let mut count = 1;
    let mut few = 0;
    let mut watch = database.watch().await.unwrap();
    while count < many {
        let chain = forge.chain(&below, 500, |n| format!("key {}", (count + n) % 20_000));
        hand_in_all(&database, &chain).await;
        below = chain.last().unwrap().clone();
        count += chain.len();
        // What an application does all the time: commits, reads, looks at the past, follows.
        for n in 0..10 {
            let transaction = database.new_transaction().await.unwrap();
            let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
            notes.set(&format!("mine {n}"), count as i64).await.unwrap();
            let id = transaction.commit_with(Durability::Buffered).await.unwrap().id;
            below = database.get_entry(&id).await.unwrap();
            count += 1;
        }
        let view = database.at_heads(&[chain[250].id()]).await.unwrap();
        let notes = view.get_store_viewer::<DocStore>("notes").await.unwrap();
        let key = format!("key {}", (count - 10) % 20_000);
        let _ = notes.contains_key(&key).await.unwrap();
        for _ in 0..510 {
            watch.next().await.unwrap();
        }
        if few == 0 && count >= FEW {
            few = memory("VmRSS");
        }
    }
    database.flush().await.unwrap();
    let most = memory("VmHWM");
    println!("{few} bytes at n = {FEW}, at most {most} up to n = {count}, of which {PAGE_CACHE} are the page cache");
    assert!(most < few + GROWTH, "{few} bytes have become {most}");
    instance.close().await.unwrap();
}

/// What the system says of this process, in bytes.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kibibytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes << 10
}
