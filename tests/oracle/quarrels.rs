//! Histories of people who take rights from each other: everybody ends with the same heads, rights and state, and nothing counts that
//! was written beside the removal of its author.

use std::cell::RefCell;

use eidetica_core::Id;
use proptest::prelude::*;

use super::check::{self, Stores};
use super::deliver::{Disk, Peer, arrival, fail};
use super::history::History;
use super::model::Set;
use super::plan::quarrel;
use super::property::{asked, block_on, explain, seeded, seeds};

/// How many quarrels are seen, if nobody says otherwise.
const CASES: u32 = 1_000;

/// Seeds that have found something.
const FOUND: [u64; 2] = [874339419, 943639042];

/// How often the histories held what they are about.
#[derive(Default, Debug)]
struct Seen {
    cases: usize,
    void: usize,
    void_settings: usize,
    kept: usize,
    /// An entry ceased to count when another one came, or began to.
    struck: usize,
    lifted: usize,
}

impl Seen {
    fn note(&mut self, history: &History, peer: &Peer, struck: bool, lifted: bool) {
        let model = &history.model;
        let held = model.held(&peer.given());
        let (live, effective) = (model.live(&held), model.effective(&held));
        self.cases += 1;
        self.struck += usize::from(struck);
        self.lifted += usize::from(lifted);
        self.void += usize::from(effective.len() < held.len());
        self.void_settings += usize::from(model.settings().iter().any(|entry| !effective.contains(&entry.id)));
        self.kept += usize::from(effective.len() < live.len());
    }

    fn judge(&self) {
        println!("{self:?}");
        let shares = [(self.void, 40), (self.void_settings, 25), (self.kept, 10), (self.struck, 25), (self.lifted, 2)];
        for (found, least) in shares {
            assert!(self.cases < 100 || 100 * found >= least * self.cases, "the histories are too peaceful: {self:?}");
        }
    }
}

fn holds(seeds: Vec<(u64, u32)>, property: impl AsyncFn(&History, &mut Peer, &Stores) -> Result<(), TestCaseError>) {
    for (index, (seed, cases)) in seeds.into_iter().enumerate() {
        let seen = RefCell::new(Seen::default());
        let outcome = seeded(cases, seed).run(&(quarrel(), arrival()), |(plan, arrival)| {
            let history = History::new(&plan);
            let stores = Stores::new(&history.model);
            block_on(async {
                let mut peer = Peer::new(Disk::memory(), &history.model).await.map_err(fail)?;
                let (mut struck, mut lifted) = (false, false);
                let mut before = Set::default();
                for batch in arrival.batches(&history.model) {
                    peer.give(&history.model, &batch).await?;
                    check::tips(&peer, &history.model).await?;
                    let held = history.model.held(&peer.given());
                    let counts = history.model.effective(&held);
                    struck |= !before.is_subset(&counts);
                    lifted |= peer.void().iter().any(|id| counts.contains(id));
                    before = counts;
                    if batch.reopen {
                        peer.reopen(&history.model).await?;
                    }
                }
                seen.borrow_mut().note(&history, &peer, struck, lifted);
                property(&history, &mut peer, &stores).await?;
                peer.close().await
            })
        });
        if let Err(failure) = outcome {
            panic!("{}", explain(failure, seed));
        }
        // The few others prove by what they find, not by what they hold.
        if index == 0 {
            seen.borrow().judge();
        }
    }
}

#[test]
fn everybody_ends_with_what_the_rules_say() {
    all_end_alike(seeds(asked(CASES)));
}

#[test]
fn what_was_found_once_is_not_found_again() {
    all_end_alike(FOUND.iter().map(|seed| (*seed, CASES / 8)).collect());
}

fn all_end_alike(seeds: Vec<(u64, u32)>) {
    holds(seeds, async |history, peer, stores| {
        let (model, keys) = (&history.model, history.public());
        check::now(peer, model, stores, &keys).await?;
        let report = peer.database.verify().await.map_err(fail)?;
        prop_assert!(report.problems.is_empty(), "the check finds {:?}", report.problems);
        // All of it once more, at once: the live entries are known, the others void.
        peer.offer_again(model, peer.given()).await?;
        peer.database.reindex().await.map_err(fail)?;
        check::now(peer, model, stores, &keys).await?;
        peer.reopen(model).await?;
        check::now(peer, model, stores, &keys).await
    });
}

#[test]
fn the_past_is_judged_by_itself() {
    holds(seeds(asked(CASES / 2)), async |history, peer, stores| {
        let (model, keys) = (&history.model, history.public());
        let live = model.live(&model.held(&peer.given()));
        let all: Vec<Id> = live.iter().copied().collect();
        let pairs = all.iter().zip(all.iter().rev()).take(all.len() / 2).map(|(a, b)| vec![*a, *b]);
        for heads in all.iter().map(|id| vec![*id]).chain(pairs) {
            let heads = model.tips(&heads.into_iter().collect());
            let view = peer.database.at_heads(&heads).await.map_err(fail)?;
            let shown = model.shown(model.closure(&heads));
            let compared = check::view(&view, model, stores, &live, &shown, &keys).await;
            compared.map_err(|error| TestCaseError::fail(format!("at {}: {error}", history.name_of(&heads))))?;
        }
        Ok(())
    });
}
