//! A store of a layout before 4, in which nobody had asked which entries count, opens and is right.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Backend, BackendInfo, ErrorKind, Result, Scan, Snapshot, WriteBatch};

use super::database::Database;
use super::entries::StoredEntry;
use super::work::Work;
use crate::auth::{self, Permission};
use crate::cbor::Writer;
use crate::entry::VerifiedEntry;
use crate::layout::{ENTRIES, META, STRIKES, VOID, epoch_key};
use crate::store::{DocStore, SettingsStore};
use crate::{Engine, Memory, Options, SecretKey};

/// A backend that outlives its engine.
struct Kept(Arc<Memory>);

#[async_trait]
impl Backend for Kept {
    fn info(&self) -> BackendInfo {
        self.0.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.0.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.0.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

async fn open(rows: &Arc<Memory>) -> Engine {
    Engine::open(Box::new(Kept(rows.clone())), Options::default()).await.unwrap()
}

async fn write(database: &Database, value: i64) -> VerifiedEntry {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set("x", value).await.unwrap();
    let committed = transaction.commit().await.unwrap();
    database.get_entry(&committed).await.unwrap()
}

/// Takes an entry in as layout 2 did: whoever passes the door counts, and a removal changes nothing for others.
async fn take_in_without_asking(database: &Database, entry: VerifiedEntry) {
    let core = &database.core;
    let mut work = Work::begin(core, 0).await.unwrap();
    let below = work.below(&entry).await.unwrap();
    let parents = super::entries::require(&work.rows, core.number, &entry.header().parents).await.unwrap();
    let parents: Vec<u64> = parents.iter().map(|place| place.number).collect();
    let settings = entry.settings().map(|body| auth::Settings::parse(body).unwrap());
    auth::admit(&work.state.rights, &below, entry.header(), settings.as_ref()).unwrap();
    let number = work.next();
    let lineage = core.graph.lineage(&work.rows, &mut work.fresh, number, &parents, &below).await.unwrap();
    let stored = StoredEntry { number, lineage, local: false, entry };
    work.store_entry(&stored, &below, (true, &[]), true).await.unwrap();
    let ready = work.into_batch(false).unwrap();
    assert!(core.commit(ready.batch, ready.bytes, ready.after.state.clone()).await.unwrap());
}

/// A store says that it has an older layout.
async fn set_layout(rows: &Memory, version: u64) {
    let mut epoch = Writer::new();
    epoch.list(2).uint(version).uint(1);
    let mut batch = WriteBatch::new();
    batch.put(META, epoch_key(), Bytes::from(epoch.finish()));
    rows.commit(batch).await.unwrap();
}

/// Everything that follows from the entries, and the entries.
async fn all_rows(rows: &Memory) -> Vec<(Bytes, Bytes)> {
    let snapshot = rows.snapshot().await.unwrap();
    let mut all = Vec::new();
    for keyspace in eidetica_contract::Keyspace::all().filter(|keyspace| *keyspace != META) {
        all.extend(snapshot.scan(Scan::new(keyspace)).await.unwrap().rows);
    }
    all
}

#[tokio::test]
async fn what_counts_is_found_out_when_an_older_store_is_opened() {
    for layout in [2, 3] {
        what_counts_is_found_out(layout).await;
    }
}

async fn what_counts_is_found_out(layout: u64) {
    let (owner, member) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let rows = Arc::new(Memory::new());
    let engine = open(&rows).await;
    let database = engine.create_database(Default::default(), &owner).await.unwrap();
    database
        .with_transaction(async |transaction| {
            let settings: SettingsStore = transaction.get_store(auth::STORE).await?;
            settings.grant(&member.public(), Permission::Write, 0).await
        })
        .await
        .unwrap();
    write(&database, 1).await;

    // Elsewhere the owner removes the member, who writes here beside it.
    let other = Engine::open(Box::new(Memory::new()), Options::default()).await.unwrap();
    let mut history = database.log(None, 100).await.unwrap();
    history.reverse();
    let ids: Vec<_> = history.iter().map(|entry| entry.id).collect();
    let mut entries = database.get_entries(&ids).await.unwrap().into_iter();
    let root = entries.next().unwrap();
    let there = other.adopt_database(root.to_raw(), Some(owner.clone())).await.unwrap();
    there.ingest(entries.map(|entry| entry.to_raw()).collect(), "here").await.unwrap();
    let transaction = there.new_transaction().await.unwrap();
    transaction.get_store::<SettingsStore>(auth::STORE).await.unwrap().remove(&member.public()).await.unwrap();
    let removal = there.get_entry(&transaction.commit().await.unwrap()).await.unwrap();

    let beside = write(&database.with_key(Some(member)), 2).await;
    take_in_without_asking(&database, removal.clone()).await;
    let id = *database.root_id();
    engine.close().await.unwrap();

    let snapshot = rows.snapshot().await.unwrap();
    for keyspace in [VOID, STRIKES] {
        assert!(snapshot.scan(Scan::new(keyspace)).await.unwrap().rows.is_empty());
    }
    set_layout(&rows, layout).await;

    let engine = open(&rows).await;
    let database = engine.open_database(&id, None).await.unwrap();
    assert_eq!(database.get_tips().await.unwrap(), [removal.id()]);
    assert!(!database.known(&[beside.id()]).await.unwrap()[0]);
    let notes: DocStore = database.get_store_viewer("notes").await.unwrap();
    assert_eq!(notes.get("x").await.unwrap().as_int(), Some(1));
    let report = database.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    // Once is enough.
    engine.close().await.unwrap();
    assert!(!open(&rows).await.open_database(&id, None).await.unwrap().core.state().meta.rebuilding);
}

/// What is damaged cannot be judged. That is said, with what helps; nothing else in the store is touched by it, and once the
/// entry is what it was the database opens.
#[tokio::test]
async fn an_older_store_with_a_damaged_entry_says_so_and_is_left_as_it_is() {
    let owner = SecretKey::from_seed(&[1; 32]);
    let rows = Arc::new(Memory::new());
    let engine = open(&rows).await;
    let database = engine.create_database(Default::default(), &owner).await.unwrap();
    let sound = engine.create_database(Default::default(), &owner).await.unwrap();
    write(&database, 1).await;
    write(&sound, 2).await;
    let (id, sound) = (*database.root_id(), *sound.root_id());
    let key = database.core.number.entry_key(1);
    engine.close().await.unwrap();
    set_layout(&rows, 3).await;
    let whole = rows.snapshot().await.unwrap().get(ENTRIES, &key).await.unwrap().unwrap();
    let put = async |row: Bytes| {
        let mut batch = WriteBatch::new();
        batch.put(ENTRIES, key.clone(), row);
        rows.commit(batch).await.unwrap();
    };
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    put(damaged.into()).await;
    let before = all_rows(&rows).await;

    // Also when it is opened again.
    for _ in 0..2 {
        let engine = open(&rows).await;
        let error = engine.open_database(&id, None).await.err().unwrap();
        assert_eq!((error.kind(), error.context("number")), (ErrorKind::Corrupted, Some("1")), "{error}");
        assert!(error.message().contains("from a backup, an export or a peer"), "{error}");
        assert_eq!(all_rows(&rows).await, before);
        engine.close().await.unwrap();
    }
    let engine = open(&rows).await;
    let sound = engine.open_database(&sound, None).await.unwrap();
    assert!(sound.verify().await.unwrap().is_clean());
    put(whole).await;
    let database = engine.open_database(&id, None).await.unwrap();
    let notes: DocStore = database.get_store_viewer("notes").await.unwrap();
    assert_eq!(notes.get("x").await.unwrap().as_int(), Some(1));
    assert!(database.verify().await.unwrap().is_clean());
}
