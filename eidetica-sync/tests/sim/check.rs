//! The checks of a scenario hold of what is right, and find each thing that is wrong.

use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Backend, Error, ErrorKind, Keyspace, Result, Scan, WriteBatch};
use eidetica_core::auth::{Right, Setting, Subject};
use eidetica_core::crdt::{Doc, Value};
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::store::{DocStore, Table};
use eidetica_core::{Database, Durability, Engine, Id, LocalChange, Memory, SecretKey};
use eidetica_sync::sim::check::{self, Ledger};
use eidetica_sync::sim::{self, Crashing, Delay, Dice, SimEnvironment, World};

const IDS: Keyspace = Keyspace::new(2);
const HEIGHTS: Keyspace = Keyspace::new(3);
const STATE: Keyspace = Keyspace::new(6);
const BLOCKS: Keyspace = Keyspace::new(10);

struct Node {
    environment: Arc<SimEnvironment>,
    key: SecretKey,
    store: Crashing<Memory>,
    engine: Engine,
    database: Database,
    ledger: Ledger,
}

impl Node {
    /// The first of two who may write.
    async fn first(world: &World) -> Node {
        let (environment, key) = (world.environment("first"), SecretKey::from_seed(&[1; 32]));
        let store = Crashing::memory(world.seed).flush_takes(Delay::Between(Duration::ZERO, Duration::from_millis(40)));
        let engine = Engine::open(Box::new(store.clone()), world.options(&environment)).await.unwrap();
        let rights = [1, 2].map(|seed| {
            let key = SecretKey::from_seed(&[seed; 32]).public();
            (Subject::Key(key), Setting::Grant(Right::admin(u32::from(seed))))
        });
        let database = engine.create_database_with_rights(Doc::new(), rights.to_vec(), &key).await.unwrap();
        Node { environment, key, store, engine, database, ledger: Ledger::new() }
    }

    async fn second(world: &World, first: &Node) -> Node {
        let (environment, key) = (world.environment("second"), SecretKey::from_seed(&[2; 32]));
        environment.set_skew(-40_000);
        let store = Crashing::memory(world.seed ^ 2);
        let engine = Engine::open(Box::new(store.clone()), world.options(&environment)).await.unwrap();
        let root = first.database.get_entry(first.database.root_id()).await.unwrap().to_raw();
        let database = engine.adopt_database(root, Some(key.clone())).await.unwrap();
        Node { environment, key, store, engine, database, ledger: Ledger::new() }
    }

    /// One change of any kind. What has been answered as durable stands in the ledger from then on.
    async fn change(&mut self, dice: &mut Dice) -> Result<()> {
        let transaction = self.database.new_transaction().await?;
        let key = format!("k{}", dice.below(6));
        let value = dice.below(100) as i64;
        match dice.below(6) {
            0 => transaction.get_store::<DocStore>("notes").await?.increment("sum", value).await?,
            1 => drop(transaction.get_store::<DocStore>("notes").await?.delete(&key).await?),
            2 => transaction.get_store::<DocStore>("notes").await?.list_push("list", value).await?,
            3 => transaction.get_store::<DocStore>("notes").await?.set_path(&format!("deep.{key}"), value).await?,
            _ => {
                let mut row = Doc::new();
                row.set("value", value);
                transaction.get_store::<Table<Doc>>("rows").await?.set(&key, &row).await?;
            }
        }
        if dice.chance(0.4) {
            let committed = transaction.commit_with(Durability::Flushed).await?;
            // Where nothing was to be written, the id is that of a head that may not be flushed.
            if committed.written {
                self.ledger.note(committed.id);
            }
        } else {
            transaction.commit_with(Durability::Buffered).await?;
        }
        if dice.chance(0.2) {
            let name = format!("local {}", dice.below(3));
            let before = self.engine.local(&name).await?;
            let after = Some(value.to_string().into());
            let change = LocalChange { name: name.clone(), before, after: after.clone() };
            self.engine.change_locals(vec![change]).await?;
            self.ledger.note_local(&name, after);
        }
        Ok(())
    }

    /// Crashes, opens what has survived, and looks whether all is there that must be.
    async fn crash(&mut self, world: &World) -> usize {
        self.store.crash();
        let reopened = self.store.reopen().await.unwrap();
        let lost = self.store.survived().await.unwrap().lost;
        self.store = reopened;
        self.engine = Engine::open(Box::new(self.store.clone()), world.options(&self.environment)).await.unwrap();
        self.database = self.engine.open_database(self.database.root_id(), Some(self.key.clone())).await.unwrap();
        self.ledger.check(&self.database).await.unwrap();
        self.ledger.check_locals(&self.engine).await.unwrap();
        lost
    }

    async fn everything(&self) -> Vec<VerifiedEntry> {
        let ids: Vec<Id> = check::history(&self.database).await.unwrap().into_iter().collect();
        self.database.get_entries(&ids).await.unwrap()
    }

    async fn give_all_to(&self, other: &Node) {
        let entries = self.everything().await.iter().map(VerifiedEntry::to_raw).collect();
        other.database.ingest(entries, "peer").await.unwrap();
    }
}

/// Two write, exchange now and then, and crash; each time everything holds.
#[test]
fn what_must_hold_does_through_crashes() {
    let mut lost = 0;
    for seed in sim::seeds(12) {
        lost += sim::run(seed, async |world| {
            let mut dice = world.dice("steps");
            let mut first = Node::first(&world).await;
            let mut second = Node::second(&world, &first).await;
            let mut lost = 0;
            for _ in 0..40 {
                let node = if dice.chance(0.5) { &mut first } else { &mut second };
                node.change(&mut dice).await.unwrap();
                if dice.chance(0.1) {
                    node.ledger.flush(&node.database).await.unwrap();
                }
                if dice.chance(0.1) {
                    lost += node.crash(&world).await;
                    check::all(&node.database, &mut dice).await.unwrap();
                }
                if dice.chance(0.1) {
                    first.give_all_to(&second).await;
                }
            }
            first.give_all_to(&second).await;
            second.give_all_to(&first).await;
            check::converged(&[&first.database, &second.database]).await.unwrap();
            check::all(&first.database, &mut dice).await.unwrap();
            check::all(&second.database, &mut dice).await.unwrap();
            let shown = check::shown(&first.database).await.unwrap();
            assert_eq!(shown.stores.len(), 3, "{:?}", shown.stores.keys());
            assert_eq!(shown.rights.len(), 2);
            lost
        });
    }
    assert!(lost > 10 || std::env::var_os("EIDETICA_SEED").is_some(), "only {lost} commits were ever lost");
}

/// What a damage does to a sound database.
async fn damaged<T>(
    world: &World,
    damage: impl AsyncFn(&dyn Backend) -> WriteBatch,
    look: impl AsyncFn(&Node) -> Result<T>,
) -> Error {
    let mut node = Node::first(world).await;
    let mut dice = world.dice("steps");
    for _ in 0..40 {
        node.change(&mut dice).await.unwrap();
    }
    look(&node).await.unwrap();
    let batch = damage(&node.store).await;
    assert!(!batch.is_empty());
    node.store.commit(batch).await.unwrap();
    let error = look(&node).await.err().expect("the damage was not found");
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    error
}

/// The row of a keyspace at this place from the end.
async fn row(store: &dyn Backend, keyspace: Keyspace, from_end: usize) -> (Vec<u8>, Vec<u8>) {
    let rows = store.snapshot().await.unwrap().scan(Scan::new(keyspace).backward()).await.unwrap().rows;
    (rows[from_end].0.to_vec(), rows[from_end].1.to_vec())
}

#[test]
fn damage_to_the_history_is_found() {
    sim::run(1, async |world| {
        let history = async |node: &Node| check::history(&node.database).await;
        let without_height = async |store: &dyn Backend| {
            let mut batch = WriteBatch::new();
            batch.delete(HEIGHTS, row(store, HEIGHTS, 3).await.0);
            batch
        };
        let error = damaged(&world, without_height, history).await;
        assert!(error.to_string().contains("order by height"), "{error}");
        let other_block = async |store: &dyn Backend| {
            let (key, mut value) = row(store, BLOCKS, 0).await;
            value[20] ^= 1;
            let mut batch = WriteBatch::new();
            batch.put(BLOCKS, key, value);
            batch
        };
        let error = damaged(&world, other_block, history).await;
        assert!(error.to_string().contains("fingerprint"), "{error}");
        let without_entry = async |store: &dyn Backend| {
            let mut batch = WriteBatch::new();
            batch.delete(Keyspace::new(1), row(store, Keyspace::new(1), 5).await.0);
            batch
        };
        let error = damaged(&world, without_entry, history).await;
        assert!(error.to_string().contains("a parent of an entry is not here"), "{error}");
    });
}

#[test]
fn a_state_that_does_not_follow_from_the_entries_is_found() {
    sim::run(1, async |world| {
        // The live record of one cell is that of another moment: here it is gone.
        let without_state = async |store: &dyn Backend| {
            let mut batch = WriteBatch::new();
            batch.delete(STATE, row(store, STATE, 0).await.0);
            batch
        };
        let fresh = async |node: &Node| check::fresh(&node.database, &mut Dice::new(1)).await;
        let error = damaged(&world, without_state, fresh).await;
        assert!(error.to_string().contains("show different things"), "{error}");
        let all = async |node: &Node| check::all(&node.database, &mut Dice::new(1)).await;
        damaged(&world, without_state, all).await;
        let without_id = async |store: &dyn Backend| {
            let mut batch = WriteBatch::new();
            batch.delete(IDS, row(store, IDS, 4).await.0);
            batch
        };
        let all_but_fresh = async |node: &Node| {
            check::history(&node.database).await?;
            check::all(&node.database, &mut Dice::new(1)).await
        };
        damaged(&world, without_id, all_but_fresh).await;
    });
}

#[test]
fn rows_and_documents_that_do_not_follow_from_the_entries_are_found() {
    sim::run(1, async |world| {
        let (mut at, mut records, mut rows, mut documents) = (0, 1, 0, 0);
        // Of all live records one after the other is gone.
        while at < records {
            let mut node = Node::first(&world).await;
            let mut dice = world.dice("steps");
            for _ in 0..40 {
                node.change(&mut dice).await.unwrap();
            }
            check::rows(&node.database).await.unwrap();
            let scan = Scan::new(STATE);
            let all = node.store.snapshot().await.unwrap().scan(scan).await.unwrap().rows;
            let mut batch = WriteBatch::new();
            batch.delete(STATE, all[at].0.to_vec());
            node.store.commit(batch).await.unwrap();
            (at, records) = (at + 1, all.len());
            if let Err(error) = check::rows(&node.database).await {
                assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
                rows += usize::from(error.to_string().contains("a row is not what its entries say"));
                documents += usize::from(error.to_string().contains("a document is not what its entries say"));
            }
        }
        println!("{rows} of rows, {documents} of documents, of {records}");
        // As many as the table has keys, and none besides.
        assert_eq!(rows, 6, "of {records}");
        // Keys, the sum, and elements of the list.
        assert!(documents >= 8, "{documents} of {records}");
    });
}

#[test]
fn replicas_that_differ_and_entries_that_are_lost_are_found() {
    sim::run(1, async |world| {
        let mut dice = world.dice("steps");
        let mut first = Node::first(&world).await;
        let second = Node::second(&world, &first).await;
        check::converged(&[&first.database, &second.database]).await.unwrap();
        let transaction = first.database.new_transaction().await.unwrap();
        transaction.get_store::<DocStore>("notes").await.unwrap().set("a", Value::Int(1)).await.unwrap();
        let committed = transaction.commit_with(Durability::Buffered).await.unwrap();
        let error = check::converged(&[&first.database, &second.database]).await.unwrap_err();
        assert!(error.to_string().contains("different entries"), "{error}");
        // Noted though it is not flushed: then a crash may take it, and the ledger says so.
        let mut ledger = Ledger::new();
        ledger.note(committed.id);
        assert_eq!((ledger.len(), ledger.is_empty()), (1, false));
        ledger.check(&first.database).await.unwrap();
        assert_eq!(ledger.check(&second.database).await.unwrap_err().kind(), ErrorKind::Corrupted);
        ledger.note_local("never written", Some("x".into()));
        assert_eq!(ledger.check_locals(&first.engine).await.unwrap_err().kind(), ErrorKind::Corrupted);
        first.give_all_to(&second).await;
        check::converged(&[&first.database, &second.database]).await.unwrap();
        ledger.check(&second.database).await.unwrap();
        first.change(&mut dice).await.unwrap();
    });
}
