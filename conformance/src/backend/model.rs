//! A backend beside the most naive store there is, over random histories, and over those that once found a defect.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use eidetica_contract::{
    Backend, Direction, ErrorKind, Keyspace, Maintenance, Operation, Page, Result, Scan, Snapshot, WriteBatch,
};
use proptest::test_runner::{Config, TestError, TestRunner};
use tokio::task::JoinSet;

use super::steps::{Excess, Key, Step, space, steps};
use super::{Ground, Store, open_soon};
use crate::case::case;
use crate::{Budget, Case, Place, seed};

/// Sixteen maps.
#[derive(Clone, Default)]
pub struct Model([BTreeMap<Bytes, Bytes>; Keyspace::COUNT as usize]);

impl Model {
    pub fn get(&self, keyspace: Keyspace, key: &[u8]) -> Option<Bytes> {
        self.0[keyspace.number() as usize].get(key).cloned()
    }

    /// Applies a batch, or says which expectation failed first.
    fn commit(&mut self, batch: &WriteBatch) -> std::result::Result<(), (String, String)> {
        for expectation in &batch.expectations {
            if self.get(expectation.keyspace, &expectation.key) != expectation.value {
                let key: String = expectation.key.iter().map(|byte| format!("{byte:02x}")).collect();
                return Err((expectation.keyspace.number().to_string(), key));
            }
        }
        for operation in &batch.operations {
            match operation {
                Operation::Put { keyspace, key, value } => {
                    self.0[keyspace.number() as usize].insert(key.clone(), value.clone());
                }
                Operation::Delete { keyspace, key } => {
                    self.0[keyspace.number() as usize].remove(key);
                }
                Operation::DeleteRange { keyspace, start, end } => {
                    let goes = |key: &Bytes| key >= start && end.as_ref().is_none_or(|end| key < end);
                    self.0[keyspace.number() as usize].retain(|key, _| !goes(key));
                }
                unknown => panic!("the model does not know {unknown:?}"),
            }
        }
        Ok(())
    }

    pub fn page(&self, scan: &Scan) -> Page {
        let inside = |key: &Bytes| *key >= scan.start && scan.end.as_ref().is_none_or(|end| key < end);
        let all = self.0[scan.keyspace.number() as usize].iter().filter(|(key, _)| inside(key));
        let mut all: Vec<(Bytes, Bytes)> = all.map(|(key, value)| (key.clone(), value.clone())).collect();
        if scan.direction == Direction::Backward {
            all.reverse();
        }
        // The row with which the page reaches its bytes is its last one.
        let reaches = |rows: usize| {
            all[..rows].iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() >= scan.max_bytes
        };
        let full = (1..=all.len()).find(|&rows| rows == scan.max_rows || reaches(rows)).unwrap_or(all.len());
        let more = full < all.len();
        all.truncate(full);
        Page::new(all, more)
    }
}

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.model.random-histories",
        "An ordered key-value store with atomic batches and snapshots.", random_histories),
    case!(Backend, must "backend.model.kept-histories",
        "An ordered key-value store with atomic batches and snapshots.", kept_histories),
];

/// Histories that have found something, and are gone through ever after.
const KEPT: &[&str] = &[include_str!("../../regressions/largest.json")];

async fn random_histories(ground: Ground) {
    let cases = if ground.budget == Budget::Full { 2000 } else { 60 };
    let runtime = tokio::runtime::Handle::current();
    // proptest waits where it is called.
    let run = tokio::task::spawn_blocking(move || {
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, seed::rng(ground.seed));
        let outcome = runner.run(&steps(), |steps| {
            runtime.block_on(Machine::run(&ground, &steps));
            Ok(())
        });
        outcome.map_err(|error| match error {
            TestError::Fail(why, steps) => {
                let kept = serde_json::to_string(&steps).unwrap_or_default();
                format!("{why}\nthe fewest steps that were found, to be kept in regressions/: {kept}")
            }
            error => error.to_string(),
        })
    });
    if let Err(why) = run.await.expect("the histories come to their end") {
        panic!("{why}");
    }
}

async fn kept_histories(ground: Ground) {
    for kept in KEPT {
        let steps: Vec<Step> = serde_json::from_str(kept).expect("a kept history can be read");
        Machine::run(&ground, &steps).await;
    }
}

/// A store, what it must hold, and the snapshots that are kept with what each must show.
struct Machine {
    place: Box<dyn Place>,
    store: Arc<dyn Backend>,
    model: Model,
    kept: Vec<(Box<dyn Snapshot>, Model)>,
}

impl Machine {
    async fn run(ground: &Ground, steps: &[Step]) {
        let Store { backend: store, place } = ground.fresh().await;
        let mut machine = Machine { place, store, model: Model::default(), kept: Vec::new() };
        for step in steps {
            machine.step(step).await;
        }
        for (view, model) in &machine.kept {
            check_all(&**view, model).await;
        }
        check_all(&*machine.store.snapshot().await.unwrap(), &machine.model).await;
        machine.close().await;
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(batch) => self.commit(batch.build(&self.model)).await,
            Step::TooLarge(batch, excess) => self.refuse(batch.build(&self.model), *excess).await,
            Step::Keep => self.kept.push((self.store.snapshot().await.unwrap(), self.model.clone())),
            Step::Release(index) if !self.kept.is_empty() => {
                self.kept.swap_remove(index % self.kept.len());
            }
            Step::Release(_) => {}
            Step::Get { view, keyspace, keys } => {
                let keys: Vec<Bytes> = keys.iter().map(Key::bytes).collect();
                let asked: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                let (view, model) = self.view(view % (self.kept.len() + 1)).await;
                let found = view.get_many(space(*keyspace), &asked).await.unwrap();
                let expected: Vec<_> = keys.iter().map(|key| model.get(space(*keyspace), key)).collect();
                assert!(found == expected, "get: {} values of {keys:?} differ", found.len());
            }
            Step::Scan { view, range } => {
                let (view, model) = self.view(view % (self.kept.len() + 1)).await;
                check_page(view, model, &range.build(model)).await;
            }
            Step::Walk { view, range } => {
                let (view, model) = self.view(view % (self.kept.len() + 1)).await;
                walk(view, model, range.build(model)).await;
            }
            Step::Flush => self.store.flush().await.unwrap(),
            Step::Reopen { kill } => self.reopen(*kill).await,
            Step::Concurrent { commits, value } => self.concurrently(*commits, *value).await,
            Step::Maintain => self.maintain().await,
        }
    }

    /// A kept snapshot, or a fresh one, which is then kept in the last place.
    async fn view(&mut self, index: usize) -> (&dyn Snapshot, &Model) {
        if index == self.kept.len() {
            self.kept.push((self.store.snapshot().await.unwrap(), self.model.clone()));
        }
        let (view, model) = &self.kept[index];
        (&**view, model)
    }

    async fn commit(&mut self, batch: WriteBatch) {
        let expected = self.model.commit(&batch);
        let found = self.store.commit(batch).await.map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
            (error.context("keyspace").unwrap().to_owned(), error.context("key").unwrap().to_owned())
        });
        assert_eq!(found, expected, "commit");
    }

    async fn refuse(&mut self, mut batch: WriteBatch, excess: Excess) {
        let limits = self.store.info().limits;
        let (keyspace, long) = (space(1), Bytes::from(vec![b'x'; limits.max_key + 1]));
        match excess {
            Excess::PutKey => batch.put(keyspace, long, "value"),
            Excess::PutValue => batch.put(keyspace, "key", vec![1; limits.max_value + 1]),
            Excess::DeleteKey => batch.delete(keyspace, long),
            Excess::ExpectKey => batch.expect_absent(keyspace, long),
            Excess::ExpectValue => batch.expect_value(keyspace, "key", vec![1; limits.max_value + 1]),
        }
        let error = self.store.commit(batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
        check_all(&*self.store.snapshot().await.unwrap(), &self.model).await;
    }

    async fn reopen(&mut self, kill: bool) {
        if !self.store.info().capabilities.durable {
            return;
        }
        self.kept.clear();
        match kill {
            true => self.store.flush().await.unwrap(),
            false => self.close().await,
        }
        // The store has to go before it is opened again: some let nobody else in.
        self.store = Arc::new(eidetica_core::Memory::new());
        self.store = open_soon(&*self.place).await.into();
        check_all(&*self.store.snapshot().await.unwrap(), &self.model).await;
    }

    /// Each commit writes the same value to two keyspaces. Nobody may ever see one without the other.
    async fn concurrently(&mut self, commits: u8, value: u8) {
        let mut reset = WriteBatch::new();
        for number in 0..commits {
            reset.delete(space(2), vec![number]);
            reset.delete(space(3), vec![number]);
        }
        self.commit(reset).await;
        let mut tasks = JoinSet::new();
        for number in 0..commits {
            let mut batch = WriteBatch::new();
            for keyspace in [space(2), space(3)] {
                batch.put(keyspace, vec![number], vec![value; 100]);
            }
            self.model.commit(&batch).unwrap();
            let (writer, reader) = (self.store.clone(), self.store.clone());
            tasks.spawn(async move { writer.commit(batch).await });
            tasks.spawn(async move {
                let view = reader.snapshot().await?;
                for number in 0..commits {
                    let (one, other) = (view.get(space(2), &[number]).await?, view.get(space(3), &[number]).await?);
                    assert_eq!(one, other, "half of a commit is visible");
                }
                Result::<()>::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
    }

    async fn maintain(&mut self) {
        let capabilities = self.store.info().capabilities;
        for (job, declared) in [(Maintenance::Compact, capabilities.compact), (Maintenance::Check, capabilities.check)]
        {
            match self.store.maintain(job).await {
                Ok(()) => assert!(declared, "{job:?} works, but is not declared"),
                Err(error) => assert!(!declared && error.kind() == ErrorKind::Unsupported, "{job:?}: {error:?}"),
            }
        }
        check_all(&*self.store.snapshot().await.unwrap(), &self.model).await;
    }

    /// Closes the store; from then on every method says so.
    async fn close(&mut self) {
        self.store.close().await.unwrap();
        self.store.close().await.unwrap();
        let mut batch = WriteBatch::new();
        batch.put(space(0), "late", "late");
        assert_eq!(self.store.commit(batch).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(self.store.flush().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(self.store.snapshot().await.err().unwrap().kind(), ErrorKind::Closed);
    }
}

/// Everything that a view shows is what the model holds.
async fn check_all(view: &dyn Snapshot, model: &Model) {
    for keyspace in Keyspace::all() {
        walk(view, model, Scan::new(keyspace)).await;
    }
}

async fn walk(view: &dyn Snapshot, model: &Model, mut scan: Scan) {
    while let Some(last) = check_page(view, model, &scan).await {
        scan = scan.after(&last);
    }
}

/// Compares one page. The last key of it, if there is more.
async fn check_page(view: &dyn Snapshot, model: &Model, scan: &Scan) -> Option<Bytes> {
    let (found, expected) = (view.scan(scan.clone()).await.unwrap(), model.page(scan));
    let keys = |page: &Page| page.rows.iter().map(|(key, value)| (key.clone(), value.len())).collect::<Vec<_>>();
    assert_eq!((keys(&found), found.more), (keys(&expected), expected.more), "keys and lengths of {scan:?}");
    assert!(found == expected, "values of {scan:?}");
    found.more.then(|| found.rows.last().unwrap().0.clone())
}
