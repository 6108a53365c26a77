//! Rounds of sync over HTTP; the limit is one HTTP round trip of as many bytes.

use std::cell::RefCell;

use criterion::{BenchmarkId, Criterion};
use eidetica_benches::clock::Took;
use eidetica_benches::work::sync::{Pair, RoundTrips};

use crate::{Ground, SIZES};

/// What there is to be done.
#[derive(Clone, Copy)]
enum Round {
    Nothing,
    PullOne,
    PushOne,
}

impl Round {
    async fn run(self, pair: &mut Pair, times: u64) -> eidetica_benches::Result<Took> {
        match self {
            Round::Nothing => pair.nothing_new(times).await,
            Round::PullOne => pair.pull_one(times).await,
            Round::PushOne => pair.push_one(times).await,
        }
    }
}

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("sync_http");
    for n in SIZES {
        // Made for the first that needs it: a bootstrap takes a while.
        let pair: RefCell<Option<Pair>> = RefCell::default();
        let rounds = [
            (Round::Nothing, "nothing new"),
            (Round::PullOne, "one entry pulled"),
            (Round::PushOne, "one entry pushed"),
        ];
        for (round, what) in rounds {
            let with_pair = |times: u64| {
                let mut pair = pair.borrow_mut();
                let pair = pair.get_or_insert_with(|| ground.wait(Pair::new(ground.bases(), n)));
                ground.wait(round.run(pair, times))
            };
            group.bench_function(BenchmarkId::new(format!("eidetica, {what}"), n), |b| {
                b.iter_custom(|times| with_pair(times).wall);
            });
            group.bench_function(BenchmarkId::new(format!("limit: HTTP, as many bytes as {what}"), n), |b| {
                with_pair(1);
                pair.borrow().as_ref().map(Pair::counts);
                with_pair(1);
                // All requests of the round as one.
                let [_, out, back] = pair.borrow().as_ref().map_or([0; 3], Pair::counts);
                let trips = ground.wait(RoundTrips::new());
                b.iter_custom(|times| ground.time(trips.run(times, out, back)));
            });
        }
        if let Some(pair) = pair.into_inner() {
            ground.wait(pair.close());
        }
    }
    group.finish();
}
