//! Histories of random authors, arriving in random ways: what a database shows is what the oracle says.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;

use eidetica_contract::ErrorKind;
use eidetica_core::Id;
use eidetica_core::crdt::Doc;
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::store::Table;
use eidetica_core::store::table::RowRange;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::check::{self, Stores};
use super::deliver::{Arrival, Disk, Peer, arrival, describe, fail};
use super::history::{History, TABLE};
use super::model::Set;
use super::plan::{FIELDS, Plan, fields, plan};
use super::witness;

/// How many histories each property sees, if nobody says otherwise.
const CASES: u32 = 256;
/// Which ones most of them are: the same ones at each run, so that what they witness does not depend on luck.
const SEED: u64 = 2;
/// Every so many are others at each run, which in time sees more than any fixed seed. One that fails says how to repeat it.
const OTHERS: u32 = 8;
/// How long one case may take before it counts as hanging: a thousand times what it takes, on a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(120);
/// Below this many cases shares say little.
const MANY: u32 = 100;

/// What a share of the histories must hold, and how often it did.
#[derive(Default)]
struct Witnesses {
    cases: u32,
    conflict: u32,
    delete_against_write: u32,
    counter_reset: u32,
    concurrent_creation: u32,
    /// Entries came before their parents.
    parked: u32,
}

pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

/// A runner of this many cases, in proportion to what is asked for.
pub fn runner(cases: u32) -> TestRunner {
    seeded(asked(cases), number("EIDETICA_SEED").unwrap_or(SEED))
}

/// So many cases, in proportion to what is asked for.
pub fn asked(cases: u32) -> u32 {
    let asked = number("EIDETICA_CASES").unwrap_or(CASES.into());
    u32::try_from((u64::from(cases) * asked).div_ceil(CASES.into())).unwrap_or(u32::MAX)
}

/// The seeds of a property, with how many cases each of them makes.
pub fn seeds(cases: u32) -> Vec<(u64, u32)> {
    match number("EIDETICA_SEED") {
        Some(seed) => vec![(seed, cases)],
        None => {
            let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos() as u64;
            vec![(SEED, cases - cases / OTHERS), (now % 1_000_000_000, cases / OTHERS)]
        }
    }
}

pub fn seeded(cases: u32, seed: u64) -> TestRunner {
    TestRunner::new(Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 4096,
        max_shrink_time: 60_000,
        ..Config::default()
    })
}

/// Runs a case to its end on one thread.
pub fn block_on(case: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let hangs = |_| TestCaseError::fail("the case hangs");
        tokio::time::timeout(PATIENCE, case).await.map_err(hangs)?
    })
}

/// Lets a property see histories and ways for them to arrive, and sees to it that they were worth seeing.
fn holds(
    cases: u32,
    property: impl AsyncFn(&History, &Stores, &Arrival, &RefCell<usize>) -> Result<(), TestCaseError>,
) {
    for (index, (seed, cases)) in seeds(asked(cases)).into_iter().enumerate() {
        let witnesses = RefCell::new(Witnesses::default());
        let outcome = seeded(cases, seed).run(&(plan(), arrival()), |(plan, arrival)| {
            let history = History::new(&plan);
            let stores = Stores::new(&history.model);
            let parked = RefCell::new(0);
            block_on(property(&history, &stores, &arrival, &parked))?;
            witnesses.borrow_mut().note(&history, &stores, *parked.borrow());
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{}", explain(failure, seed));
        }
        // The few others prove by what they find, not by what they hold.
        if index == 0 {
            witnesses.borrow().judge();
        }
    }
}

pub fn explain(failure: proptest::test_runner::TestError<(Plan, Arrival)>, seed: u64) -> String {
    match failure {
        proptest::test_runner::TestError::Fail(reason, (plan, arrival)) => {
            let history = History::new(&plan);
            let arrived = describe(&history.model, &arrival);
            format!("{reason}\nEIDETICA_SEED={seed} repeats it. The smallest history:\n{}{arrived}", history.describe())
        }
        abort => abort.to_string(),
    }
}

impl Witnesses {
    fn note(&mut self, history: &History, stores: &Stores, parked: usize) {
        let model = &history.model;
        let all: Set = model.admitted().map(VerifiedEntry::id).collect();
        self.cases += 1;
        self.conflict += u32::from(stores.has_conflict(model, &model.shown(all)));
        self.delete_against_write += u32::from(witness::delete_against_write(model));
        self.counter_reset += u32::from(witness::counter_reset(model));
        self.concurrent_creation += u32::from(witness::concurrent_creation(model));
        self.parked += u32::from(parked > 0);
    }

    fn judge(&self) {
        let shares = [
            ("a conflict", self.conflict, 30),
            ("a delete against a write", self.delete_against_write, 30),
            ("a counter reset", self.counter_reset, 30),
            ("a concurrent creation of a store", self.concurrent_creation, 30),
            ("an entry before its parents", self.parked, 10),
        ];
        for (what, found, least) in shares {
            let share = 100 * found / self.cases.max(1);
            println!("{what}: {share} % of {} cases", self.cases);
            assert!(self.cases < MANY || share >= least, "only {share} % of the cases held {what}");
        }
    }
}

#[test]
fn any_arrival_shows_what_the_oracle_says() {
    holds(CASES, async |history, stores, arrival, parked| {
        let (model, keys) = (&history.model, history.public());
        let mut peer = Peer::new(Disk::memory(), model).await.map_err(fail)?;
        for batch in arrival.batches(model) {
            peer.give(model, &batch).await?;
            check::tips(&peer, model).await?;
            if batch.reopen {
                check::now(&peer, model, stores, &keys).await?;
                peer.reopen(model).await?;
                check::now(&peer, model, stores, &keys).await?;
            }
        }
        check::now(&peer, model, stores, &keys).await?;
        let report = peer.database.verify().await.map_err(fail)?;
        prop_assert!(report.problems.is_empty(), "the check finds {:?}", report.problems);
        *parked.borrow_mut() = peer.parked;
        peer.close().await
    });
}

#[test]
fn a_view_at_any_heads_shows_what_lay_below_them() {
    holds(CASES, async |history, stores, arrival, parked| {
        let (model, keys) = (&history.model, history.public());
        let mut peer = Peer::new(Disk::memory(), model).await.map_err(fail)?;
        peer.receive(model, arrival).await?;
        *parked.borrow_mut() = peer.parked;
        let held = model.live(&model.held(&peer.given()));
        // What is not live need not be here at all.
        let all: Vec<Id> = model.admitted().map(VerifiedEntry::id).filter(|id| held.contains(id)).collect();
        // Each entry alone, and each with one far from it in the order of writing.
        let pairs = || all.iter().zip(all.iter().rev()).take(all.len() / 2);
        for heads in all.iter().map(|id| vec![*id]).chain(pairs().map(|(a, b)| vec![*a, *b])) {
            let heads = model.tips(&heads.into_iter().collect());
            let view = peer.database.at_heads(&heads).await.map_err(fail)?;
            let shown = model.shown(model.closure(&heads));
            let compared = check::view(&view, model, stores, &held, &shown, &keys).await;
            compared.map_err(|error| TestCaseError::fail(format!("at {}: {error}", history.name_of(&heads))))?;
        }
        for (a, b) in pairs().chain(pairs().map(|(a, b)| (b, a))) {
            let missing = peer.database.difference(&[*a], &[*b]).await.map_err(fail)?;
            let early = |pair: &[Id]| model.saw(&pair[0], &pair[1]);
            prop_assert!(!missing.windows(2).any(early), "a difference lists an entry before one below it");
            let (a, b) = (model.closure(&[*a]), model.closure(&[*b]));
            prop_assert_eq!(missing.into_iter().collect::<Set>(), &a - &b, "a difference");
        }
        peer.close().await
    });
}

#[test]
fn every_index_equals_a_full_scan() {
    let (rows, cases) = (Cell::new(0u64), Cell::new(0u64));
    holds(CASES, async |history, _, arrival, parked| {
        let model = &history.model;
        let mut peer = Peer::new(Disk::memory(), model).await.map_err(fail)?;
        let batches = arrival.batches(model);
        for (at, batch) in batches.iter().enumerate() {
            peer.give(model, batch).await?;
            if batch.reopen {
                peer.reopen(model).await?;
            }
            // One index is there as soon as the table is, one comes when half has arrived.
            let fields = &FIELDS[..if at < batches.len() / 2 { 1 } else { 2 }];
            compare_indexes(&peer, fields).await?;
            indexed(&peer, fields).await?;
            compare_indexes(&peer, fields).await?;
        }
        let report = peer.database.verify().await.map_err(fail)?;
        rows.set(rows.get() + report.index_rows);
        cases.set(cases.get() + 1);
        *parked.borrow_mut() = peer.parked;
        peer.close().await
    });
    assert!(rows.get() > cases.get(), "hardly any row was in an index: {} in {} cases", rows.get(), cases.get());
}

#[test]
fn a_file_shows_the_same_when_it_is_opened_again() {
    // Files take longer, and still as many as show what a history holds.
    holds(MANY, async |history, stores, arrival, parked| {
        let (model, keys) = (&history.model, history.public());
        let mut peer = Peer::new(Disk::sqlite(), model).await.map_err(fail)?;
        for batch in arrival.batches(model) {
            peer.give(model, &batch).await?;
            indexed(&peer, &FIELDS[..1]).await?;
            if batch.reopen {
                peer.reopen(model).await?;
            }
        }
        *parked.borrow_mut() = peer.parked;
        check::now(&peer, model, stores, &keys).await?;
        peer.reopen(model).await?;
        check::now(&peer, model, stores, &keys).await?;
        compare_indexes(&peer, &FIELDS[..1]).await?;
        peer.database.reindex().await.map_err(fail)?;
        check::now(&peer, model, stores, &keys).await?;
        compare_indexes(&peer, &FIELDS[..1]).await?;
        peer.close().await
    });
}

async fn indexed(peer: &Peer, fields: &[&str]) -> Result<(), TestCaseError> {
    for field in fields {
        match peer.database.ensure_index(TABLE, field).await {
            // There is no table yet.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(fail)?,
        }
        let stores = peer.database.stores().await.map_err(fail)?;
        let listed =
            stores.iter().any(|store| store.kind == "table" && store.indexes.iter().any(|index| index == field));
        prop_assert!(listed, "the index over {} is not listed", field);
    }
    Ok(())
}

async fn compare_indexes(peer: &Peer, indexed: &[&str]) -> Result<(), TestCaseError> {
    let Ok(table) = peer.database.get_store_viewer::<Table<Doc>>(TABLE).await else { return Ok(()) };
    let rows = table.scan(RowRange::all()).await.map_err(fail)?;
    for field in indexed {
        for (value, _) in fields() {
            let found = table.find(field, value.clone()).await.map_err(fail)?;
            let scanned: Vec<_> = rows.iter().filter(|(_, row)| row.get(field) == Some(&value)).cloned().collect();
            prop_assert_eq!(found, scanned, "{} = {:?}", field, value);
        }
    }
    Ok(())
}
