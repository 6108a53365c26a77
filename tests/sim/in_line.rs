//! Proving in line comes to the same as proving on all cores.

use std::sync::Arc;

use bytes::Bytes;
use eidetica::Options;
use eidetica::backend::database::Memory;
use eidetica_sync::sim::Dice;

use crate::local::kit::{Forge, check, raw};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_becomes_of_each_entry_in_line() {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 700, |n| format!("key {n}"));
    let branches = (0..100).map(|n| forge.entry(&[&chain[n * 7]], &format!("branch {n}"), n as i64));
    let all: Vec<_> = chain.iter().cloned().chain(branches).collect();
    let mut page = raw(&all);
    Dice::new(5).shuffle(&mut page);
    for damaged in page.iter_mut().step_by(97) {
        let mut header = damaged.header.to_vec();
        *header.last_mut().unwrap() ^= 1;
        damaged.header = Bytes::from(header);
    }
    let mut results = Vec::new();
    for options in [Options::default(), Options::default().proves_in_line()] {
        assert_eq!(options.proves_in_line, !results.is_empty());
        let (instance, database) = forge.database_with(Box::new(Memory::new()), options).await;
        let database = Arc::new(database);
        // Those that wait for a damaged one do so in both, and come in when it comes whole.
        let first = database.ingest(page.clone(), "peer").await.unwrap();
        database.ingest(raw(&all), "peer").await.unwrap();
        assert_eq!(check(&database).await.entries, 801);
        results.push((
            first.len(),
            first.iter().filter(|outcome| format!("{outcome:?}").contains("Malformed")).count(),
            database.get_tips().await.unwrap(),
        ));
        instance.close().await.unwrap();
    }
    assert_eq!(results[0].1, 9);
    assert_eq!(results[0], results[1]);
}
