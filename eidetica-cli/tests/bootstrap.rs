//! What it takes two processes to bring a whole history to a new peer.

use std::process::Child;

use eidetica::store::DocStore;
use eidetica::{Durability, Instance};
use serde_json::json;

use crate::kit::{Place, until, wait};
use crate::serving::serve;

/// How long the text of each entry is. Nothing that is compressed makes it shorter.
const TEXT: usize = 2 << 10;

/// The most memory, in KiB, of the process that gives so many entries and of the one that gets them.
fn peaks(entries: u64) -> [usize; 2] {
    let (anna, ben) = (Place::new(), Place::new());
    let file = anna.write("few.csv", "k,v\n1,2\n");
    anna.run(&["import", file.to_str().unwrap(), "--database", "travel", "--table", "few", "--key", "k"]).ok();
    write(&anna, entries);
    let (giving, getting) = (serve(&anna), serve(&ben));
    let id = anna.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    let joining: Child = ben.start(&["join", &giving.address, &id, "--wait", "60"]);
    until("the request is there", || anna.json(&["requests"]).len() == 1);
    anna.run(&["approve", anna.json(&["requests"])[0]["request"].as_str().unwrap()]).ok();
    wait(joining).ok();
    let info = |place: &Place| place.json(&["info", "travel"]).remove(0);
    until("all of it has come", || info(&anna)["heads"] == info(&ben)["heads"]);
    assert!(info(&ben)["entries"].as_u64().unwrap() > entries, "{}", info(&ben));
    assert_eq!(ben.json(&["verify", "travel"])[0]["clean"], json!(true));
    [giving.peak(), getting.peak()]
}

/// Writes so many entries, in this process.
#[tokio::main]
async fn write(place: &Place, entries: u64) {
    let instance = Instance::open_url(place.store()).await.unwrap();
    let user = instance.login_user("default", None).await.unwrap();
    let database = user.find_database("travel").await.unwrap().remove(0);
    for number in 0..entries {
        let mut text = vec![0; TEXT / 2];
        blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut text);
        let text: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
        let transaction = database.new_transaction().await.unwrap();
        let readings = transaction.get_store::<DocStore>("readings").await.unwrap();
        readings.set(&format!("{number:08}"), text).await.unwrap();
        transaction.commit_with(Durability::Buffered).await.unwrap();
    }
    drop((database, user));
    instance.close().await.unwrap();
}

/// Pages are read, sent, proven and written one after the other, so five times the history takes no more memory, but for the
/// page caches of SQLite that fill with what passes through.
#[test]
fn memory_does_not_grow_with_the_history() {
    let (few, many) = (peaks(2_000), peaks(10_000));
    println!("most memory of who gives, of who gets: {few:?} KiB for 2,000 entries, {many:?} KiB for 10,000");
    for (number, (side, most)) in MOST.into_iter().enumerate() {
        let grown = many[number].saturating_sub(few[number]) >> 10;
        assert!(grown <= most, "who {side} takes {grown} MiB more");
    }
}

/// In MiB: what 8,000 more entries may take, which are 18 MiB. A connection that reads has a cache of 8 MiB, and who gives reads with one
/// at a time, or two where the commands of the test come in between; the one that writes has 32 MiB, which the 18 do not fill, and who
/// gets reads besides. Measured: 1 to 11, and 16 to 22.
const MOST: [(&str, usize); 2] = [("gives", 2 * 8), ("gets", 18 + 8)];
