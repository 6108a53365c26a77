//! Whatever follows from the entries may be damaged: it is found, and made anew from them.

use std::collections::BTreeSet;

use bytes::Bytes;
use eidetica::backend::database::Memory;
use eidetica::backend::{Backend, Keyspace, WriteBatch};
use eidetica::store::{DocStore, Table};
use eidetica::{Error, ErrorKind, Instance, Options};

use super::counting::{Row, Shared, dump, load};
use super::kit::{Forge, check, put, raw, seed, splitmix};

const META: Keyspace = Keyspace::new(0);
const ENTRIES: Keyspace = Keyspace::new(1);
const CATALOG: Keyspace = Keyspace::new(4);
const STATE: Keyspace = Keyspace::new(6);
const PAST: Keyspace = Keyspace::new(7);
const INDEX: Keyspace = Keyspace::new(8);
const LOCAL: Keyspace = Keyspace::new(15);

#[derive(serde::Serialize, serde::Deserialize)]
struct Airport {
    name: String,
    state: String,
}

/// Two databases in one store: the first with branches, documents, lists, counters, a table, a kind that is not known, and
/// blocks of heights that are closed; with `indexed`, the table has an index.
async fn ground(indexed: bool) -> (Forge, Vec<Row>) {
    let forge = Forge::new(1);
    let backend = Shared::in_turns(Memory::new());
    let (instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    Forge::new(2).adopt(&instance).await;
    let mut chain = forge.chain(&forge.root, 12, |n| format!("key {}", n % 5));
    chain.extend(forge.chain(&chain[4], 5, |n| format!("key {}", n % 3)));
    let last = chain[11].clone();
    let merged = forge.sign(forge.header(&[&last, &chain[16]]), vec![put("cells", "some.kind", "cell", b"value")]);
    chain.push(merged);
    let outcomes = database.ingest(raw(&chain), "peer").await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == eidetica::Outcome::Accepted));
    for round in 0..6i64 {
        let transaction = database.new_transaction().await.unwrap();
        let table = transaction.get_store::<Table<Airport>>("airports").await.unwrap();
        let key = format!("row {}", round % 3);
        match round {
            5 => drop(table.delete(&key).await.unwrap()),
            _ => table.set(&key, &Airport { name: key.clone(), state: format!("S{}", round % 2) }).await.unwrap(),
        }
        let doc = transaction.get_store::<DocStore>("doc").await.unwrap();
        doc.increment("visits", round).await.unwrap();
        doc.list_push("list", round).await.unwrap();
        transaction.commit().await.unwrap();
    }
    if indexed {
        database.ensure_index("airports", "state").await.unwrap();
    }
    check(&database).await;
    instance.close().await.unwrap();
    (forge, dump(&*backend.snapshot().await.unwrap()).await)
}

/// The rows that must be the same afterwards: all but those that count openings and changes.
fn lasting<'a>(rows: impl IntoIterator<Item = &'a Row>) -> BTreeSet<Row> {
    // The list of databases, and who rebuilds one; what nobody reads stays where it is.
    let listed = |key: &Bytes| key == &b"c"[..] || matches!(key.first(), Some(b'i' | b'r'));
    rows.into_iter().filter(|(keyspace, key, _)| *keyspace != META || listed(key)).cloned().collect()
}

/// A change of one row.
#[derive(Clone, Debug)]
struct Damage {
    keyspace: Keyspace,
    key: Bytes,
    value: Option<Bytes>,
}

/// Opens a store with a damage, looks at it, and rebuilds it. Returns whether anything was found.
async fn mended(forge: &Forge, rows: &[Row], damage: &Damage) -> Result<bool, Error> {
    let backend = Shared::in_turns(Memory::new());
    load(&backend, rows).await;
    let mut batch = WriteBatch::new();
    match &damage.value {
        Some(value) => batch.put(damage.keyspace, damage.key.clone(), value.clone()),
        None => batch.delete(damage.keyspace, damage.key.clone()),
    }
    backend.commit(batch).await.unwrap();
    let instance = Instance::open(Box::new(backend.clone())).await?;
    let engine = instance.engine();
    let mut found = !engine.verify_list().await?.is_empty();
    assert_eq!(!engine.rebuild_list().await?.is_empty(), found);
    assert!(engine.verify_list().await?.is_empty(), "the list is mended");
    assert_eq!(engine.databases().await?.len(), 2);
    let database = engine.open_database(&forge.root.id(), Some(forge.key.clone())).await?;
    let report = database.verify().await?;
    found |= !report.is_clean();
    assert!(report.problems.iter().all(|problem| problem.reindex_mends), "{:#?}", report.problems);
    database.reindex().await?;
    check(&database).await;
    let other = engine.open_database(&Forge::new(2).root.id(), None).await?;
    let report = other.verify().await?;
    found |= !report.is_clean();
    assert!(report.problems.iter().all(|problem| problem.reindex_mends), "{:#?}", report.problems);
    other.reindex().await?;
    check(&other).await;
    let after = dump(&*backend.snapshot().await.unwrap()).await;
    let (before, after) = (lasting(rows), lasting(&after));
    let (lost, new): (Vec<_>, Vec<_>) = (before.difference(&after).collect(), after.difference(&before).collect());
    assert!(lost.is_empty() && new.is_empty(), "lost: {lost:#?}\nnew: {new:#?}");
    // It is in use again.
    let transaction = database.new_transaction().await?;
    transaction.get_store::<DocStore>("doc").await?.list_push("list", 7i64).await?;
    transaction.commit().await?;
    let doc = database.get_store_viewer::<DocStore>("doc").await?;
    let list = doc.get("list").await?;
    assert_eq!(list.as_list().map(|list| list.len()), Some(7));
    check(&database).await;
    instance.close().await?;
    Ok(found)
}

fn changed(value: &Bytes, state: &mut u64) -> Bytes {
    let mut bytes = value.to_vec();
    match bytes.len() {
        0 => bytes.push(7),
        length => bytes[splitmix(state) as usize % length] ^= 1 << (splitmix(state) % 8),
    }
    bytes.into()
}

/// What may happen to the rows of a keyspace: some are changed in a bit, are gone, or say something else, and some come in
/// between.
fn damages(keyspace: Keyspace, rows: &[Row], most: usize, state: &mut u64) -> Vec<Damage> {
    let mut own: Vec<&Row> = rows.iter().filter(|row| row.0 == keyspace).collect();
    while own.len() > most {
        own.swap_remove(splitmix(state) as usize % own.len());
    }
    let mut damages = Vec::new();
    let mut damage = |key: Bytes, value| damages.push(Damage { keyspace, key, value });
    for (_, key, value) in own {
        damage(key.clone(), Some(changed(value, state)));
        damage(key.clone(), Some(Bytes::from_static(b"\x82nonsense")));
        damage(key.clone(), None);
        // Beside it, in a place of its own.
        let beside = changed(key, state);
        if !rows.iter().any(|row| row.0 == keyspace && row.1 == beside) {
            damage(beside, Some(value.clone()));
        }
        damage([&key[..], b"more"].concat().into(), Some(Bytes::from_static(b"nonsense")));
        damage(key.slice(..key.len() - 1), Some(Bytes::new()));
    }
    for key in [&b"\0"[..], b"\0\0\0\0", b"\0\0\0\0\0\0\0\x09", b"\0\0\0\x07\0\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff"]
    {
        damage(Bytes::from_static(key), Some(Bytes::from_static(b"\x00")));
    }
    damages
}

/// Where what follows from the entries lies.
fn derived() -> impl Iterator<Item = Keyspace> {
    Keyspace::all().filter(|keyspace| keyspace.number() < 12 && *keyspace != ENTRIES)
}

/// How many rows of each keyspace are damaged, in each way.
fn most() -> usize {
    std::env::var("EIDETICA_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_the_entries_is_made_anew_from_them() {
    let mut state = seed();
    let (forge, rows) = ground(false).await;
    let (mut all, mut unseen) = (0, Vec::new());
    for keyspace in derived() {
        for damage in damages(keyspace, &rows, if keyspace == META { 4 * most() } else { most() }, &mut state) {
            let is_first_row = keyspace == META && damage.key == "e"[..];
            match mended(&forge, &rows, &damage).await {
                Ok(found) => {
                    all += 1;
                    if !found {
                        unseen.push(damage);
                    }
                }
                // Which version has written a store nothing else tells.
                Err(error) if is_first_row => {
                    assert!(
                        matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NewerFormat),
                        "{damage:?}: {error}"
                    );
                    assert!(!error.message().contains("reindex"), "{error}");
                }
                Err(error) => panic!("{damage:?}: {error:?}"),
            }
        }
    }
    println!("{all} damages, of which these were not seen before they were mended: {unseen:#?}");
    // Counters that nothing else tells of, and what the past says of operations that no reader asks for.
    let unsaid = |damage: &Damage| [META, CATALOG, PAST].contains(&damage.keyspace);
    assert!(unseen.iter().all(unsaid), "{unseen:#?}");
}

/// Which indexes a table has here is not in the entries. Where their definition cannot be read, it is said that they are to be
/// made again; the rest is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_stay_as_long_as_their_definition_can_be_read() {
    let mut state = seed();
    let (forge, rows) = ground(true).await;
    for keyspace in [STATE, INDEX] {
        for damage in damages(keyspace, &rows, most(), &mut state) {
            assert!(mended(&forge, &rows, &damage).await.unwrap(), "{damage:?}");
        }
    }
    let defined = rows.iter().filter(|row| row.0 == CATALOG && row.2.windows(5).any(|part| part == b"state"));
    for (_, key, _) in defined {
        let backend = Shared::in_turns(Memory::new());
        load(&backend, &rows).await;
        let mut batch = WriteBatch::new();
        batch.put(CATALOG, key.clone(), &b"nonsense"[..]);
        backend.commit(batch).await.unwrap();
        let instance = Instance::open(Box::new(backend)).await.unwrap();
        let database = instance.open_database_with_key(&forge.root.id(), None).await.unwrap();
        let error = database.stores().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
        let report = database.verify().await.unwrap();
        assert!(report.summary().keys().any(|what| what.contains("indexes of tables")), "{:#?}", report.summary());
        database.reindex().await.unwrap();
        check(&database).await;
        database.ensure_index("airports", "state").await.unwrap();
        check(&database).await;
        instance.close().await.unwrap();
    }
}

/// What is of this store alone follows from nothing.
#[tokio::test]
async fn a_damaged_key_says_that_it_is_not_to_be_had_from_the_entries() {
    let (_, rows) = ground(false).await;
    let backend = Shared::in_turns(Memory::new());
    load(&backend, &rows).await;
    let mut batch = WriteBatch::new();
    batch.put(LOCAL, "device-key", &b"nonsense"[..]);
    backend.commit(batch).await.unwrap();
    let error = Instance::open(Box::new(backend)).await.err().unwrap();
    assert_eq!((error.kind(), error.context("damaged")), (ErrorKind::Corrupted, Some("device-key")));
    assert!(error.message().contains("backup") && !error.message().contains("reindex"), "{error}");
}

/// An entry cannot be had from the rest: nothing is taken away, and what is said does not send in circles.
#[tokio::test]
async fn a_damaged_entry_is_named_and_nothing_is_taken_away() {
    let (forge, rows) = ground(false).await;
    let backend = Shared::in_turns(Memory::new());
    load(&backend, &rows).await;
    let entries: Vec<&Row> = rows.iter().filter(|row| row.0 == ENTRIES && row.1.starts_with(&[0; 4])).collect();
    let mut batch = WriteBatch::new();
    batch.put(ENTRIES, entries[9].1.clone(), &b"nonsense"[..]);
    backend.commit(batch).await.unwrap();
    let instance = Instance::open(Box::new(backend.clone())).await.unwrap();
    assert!(instance.engine().verify_list().await.unwrap().is_empty());
    let database = instance.open_database_with_key(&forge.root.id(), None).await.unwrap();
    let report = database.verify().await.unwrap();
    assert!(report.problems.iter().any(|p| p.what == "entry 9 cannot be read" && !p.reindex_mends), "{report:#?}");
    let error = database.reindex().await.unwrap_err();
    assert_eq!((error.kind(), error.context("number")), (ErrorKind::Corrupted, Some("9")));
    assert!(!error.message().contains("reindex"), "{error}");
    let after = dump(&*backend.snapshot().await.unwrap()).await;
    let without = |rows: &[Row]| lasting(rows.iter().filter(|row| row.0 != ENTRIES));
    assert_eq!(without(&after), without(&rows));
    instance.close().await.unwrap();
}
