//! Lists: elements go where they are put, whatever positions there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use eidetica::backend::database::Memory;
use eidetica::backend::{Backend, BackendInfo, Snapshot, WriteBatch};
use eidetica::crdt::Value;
use eidetica::entry::VerifiedEntry;
use eidetica::store::DocStore;
use eidetica::store::doc::{Action, DocDelta, ElementName, Path, Step};
use eidetica::{Database, Durability, Error, ErrorKind, Result};

use super::kit::{Forge, check, hand_in_all};

async fn list(store: &DocStore) -> Vec<Value> {
    store.get("l").await.unwrap().as_list().unwrap().to_vec()
}

/// Inserts at every place, and moves from end to end: the list shows what a vector would.
async fn behaves_as_a_vector(database: &Database) {
    let transaction = database.new_transaction().await.unwrap();
    let store = transaction.get_store::<DocStore>("d").await.unwrap();
    let mut expected = list(&store).await;
    let places = (0..=expected.len()).step_by(1 + expected.len() / 40).chain([expected.len()]);
    for (round, at) in places.enumerate() {
        let value = Value::Int(-(round as i64) - 1);
        store.list_insert("l", at, value.clone()).await.unwrap();
        expected.insert(at, value);
        assert_eq!(list(&store).await, expected, "inserted at {at}");
        let (from, to) = (at.min(expected.len() - 1), expected.len() - 1 - at.min(expected.len() - 1));
        store.list_move("l", from, to).await.unwrap();
        let moved = expected.remove(from);
        expected.insert(to, moved);
        assert_eq!(list(&store).await, expected, "moved from {from} to {to}");
    }
    transaction.commit().await.unwrap();
    assert_eq!(list(&database.get_store_viewer::<DocStore>("d").await.unwrap()).await, expected);
    check(database).await;
}

#[tokio::test]
async fn a_list_grows_at_its_front_as_at_its_end() {
    let (_instance, database) = Forge::new(1).database().await;
    let mut expected = Vec::new();
    for number in 0..200i64 {
        let transaction = database.new_transaction().await.unwrap();
        let store = transaction.get_store::<DocStore>("d").await.unwrap();
        store.list_insert("l", 0, number).await.unwrap();
        store.list_push("l", -number).await.unwrap();
        transaction.commit_with(Durability::Buffered).await.unwrap();
        expected.insert(0, Value::Int(number));
        expected.push(Value::Int(-number));
    }
    assert_eq!(list(&database.get_store_viewer::<DocStore>("d").await.unwrap()).await, expected);
    behaves_as_a_vector(&database).await;
}

/// A peer may give elements any position that the format admits.
#[tokio::test]
async fn elements_go_between_whatever_positions_a_peer_has_chosen() {
    let forge = Forge::new(1);
    let zeros = |length: usize| [vec![0; length - 1], vec![128]].concat();
    let full = |length: usize| [vec![255; length - 1], vec![128]].concat();
    let cases: Vec<Vec<Vec<u8>>> = vec![
        vec![vec![0, 128], vec![0, 0, 128], vec![0, 128], vec![1, 128]],
        vec![zeros(256), zeros(256), zeros(255), full(255), full(256), full(256)],
        vec![vec![128], [vec![128], zeros(255)].concat()],
        vec![vec![127, 255, 128], vec![128], vec![128], vec![128], vec![128, 128]],
        vec![[vec![7], full(255)].concat(), [vec![8], zeros(255)].concat(), vec![8, 0, 128]],
    ];
    for positions in cases {
        let (_instance, database) = forge.database().await;
        // Two entries that have not seen each other, so that equal positions are those of different entries as well.
        let insert = |positions: &[Vec<u8>], first: i64| -> VerifiedEntry {
            let operation = |(index, position): (usize, &Vec<u8>)| {
                let name = ElementName { entry: None, index: index as u32 };
                let value = Value::Int(first + index as i64);
                (
                    Path(vec![Step::Key("l".into()), Step::Element(name)]),
                    Action::Insert { position: position.clone(), value },
                )
            };
            let delta = DocDelta(positions.iter().enumerate().map(operation).collect());
            assert_eq!(DocDelta::parse(&delta.to_bytes()).as_ref(), Some(&delta), "the format admits it");
            forge.sign(forge.header(&[&forge.root]), vec![("d".into(), "doc".into(), delta.to_bytes())])
        };
        hand_in_all(&database, &[insert(&positions, 0), insert(&positions, 100)]).await;
        behaves_as_a_vector(&database).await;
    }
}

/// A long list that is set as a value has positions that the format admits.
#[tokio::test]
async fn a_long_list_can_be_set_at_once() {
    let (_instance, database) = Forge::new(1).database().await;
    let transaction = database.new_transaction().await.unwrap();
    let store = transaction.get_store::<DocStore>("d").await.unwrap();
    let long: Vec<Value> = (0..40_000i64).map(Value::Int).collect();
    store.set("l", Value::List(long.clone())).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(list(&database.get_store_viewer::<DocStore>("d").await.unwrap()).await == long);
}

/// A store of which one look is answered `Locked`, as while another process rebuilds it.
struct Locked {
    inner: Memory,
    /// How many looks are answered before; none is, while it is negative.
    looks: Arc<AtomicI64>,
}

#[async_trait]
impl Backend for Locked {
    fn info(&self) -> BackendInfo {
        self.inner.info()
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        self.inner.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        if self.looks.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(Error::new(ErrorKind::Locked, "another process has it"));
        }
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// Whichever look fails: an error is told, and what is told to be done leaves the list as it should be.
#[tokio::test]
async fn a_list_that_cannot_be_read_for_a_moment_is_not_begun_anew() {
    // Inserting reads the list and then what shows there; appending reads both at one look.
    for (inserts, least) in [(true, 3), (false, 2)] {
        let looks = Arc::new(AtomicI64::new(-1));
        let backend = Locked { inner: Memory::new(), looks: looks.clone() };
        let (_instance, database) = Forge::new(1).database_with(Box::new(backend), Default::default()).await;
        let mut expected: Vec<Value> = Vec::new();
        let mut failed = 0;
        for before in 0.. {
            let add = async |value: i64, length: usize| {
                let transaction = database.new_transaction().await?;
                let doc = transaction.get_store::<DocStore>("d").await?;
                if inserts { doc.list_insert("l", length, value).await } else { doc.list_push("l", value).await }?;
                transaction.commit_with(Durability::Buffered).await
            };
            // There is a list.
            add(before, expected.len()).await.unwrap();
            expected.push(before.into());
            looks.store(before, Ordering::SeqCst);
            let added = add(-before, expected.len()).await;
            let reached = looks.swap(-1, Ordering::SeqCst) < 0;
            match added {
                Ok(_) => expected.push((-before).into()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Locked);
                    failed += 1;
                }
            }
            let store = database.get_store_viewer::<DocStore>("d").await.unwrap();
            assert_eq!(list(&store).await, expected, "the look after {before} others has failed");
            if !reached {
                break;
            }
        }
        assert!(failed >= least, "{failed}");
    }
}
