//! Sync over HTTP and over iroh; the limit is a round trip of as many bytes over the same.

use std::cell::RefCell;

use criterion::{BenchmarkId, Criterion, Throughput};
use eidetica_benches::work::sync::{Pair, RoundTrips, Way, bootstraps};

use crate::{Ground, SIZES};

/// What there is to be done.
#[derive(Clone, Copy)]
enum Round {
    Nothing,
    PullOne,
    PushOne,
}

impl Round {
    async fn run(self, pair: &mut Pair, times: u64) -> eidetica_benches::Result<std::time::Duration> {
        let took = match self {
            Round::Nothing => pair.nothing_new(times).await?,
            Round::PullOne => pair.pull_one(times).await?,
            Round::PushOne => pair.push_one(times).await?,
        };
        Ok(took.wall)
    }
}

pub fn groups(criterion: &mut Criterion, ground: &Ground) {
    for (way, name) in [(Way::Http, "HTTP"), (Way::Iroh, "iroh")] {
        let mut group = criterion.benchmark_group(format!("sync_{}", name.to_lowercase()));
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
                    let pair = pair.get_or_insert_with(|| ground.wait(Pair::new(way, ground.bases(), n)));
                    ground.wait(round.run(pair, times))
                };
                group.bench_function(BenchmarkId::new(format!("eidetica, {what}"), n), |b| b.iter_custom(with_pair));
                group.bench_function(BenchmarkId::new(format!("limit: {name}, as many bytes as {what}"), n), |b| {
                    with_pair(1);
                    pair.borrow().as_ref().map(Pair::counts);
                    with_pair(1);
                    // All requests of the round as one.
                    let [_, out, back] = pair.borrow().as_ref().map_or([0; 3], Pair::counts);
                    let trips = ground.wait(RoundTrips::new(way));
                    b.iter_custom(|times| ground.wait(trips.run(times, out, back)));
                });
            }
            if let Some(pair) = pair.into_inner() {
                ground.wait(pair.close());
            }
        }
        let live: RefCell<Option<Pair>> = RefCell::default();
        for (from_here, what) in [(true, "pushed"), (false, "watched")] {
            group.bench_function(BenchmarkId::new(format!("eidetica, commit to readable, {what}"), SIZES[1]), |b| {
                let mut pair = live.borrow_mut();
                let pair = pair.get_or_insert_with(|| ground.wait(Pair::live(way, ground.bases(), SIZES[1])));
                b.iter_custom(|times| {
                    ground.wait(async {
                        let mut all = std::time::Duration::ZERO;
                        for _ in 0..times {
                            all += pair.until_readable(from_here).await?;
                        }
                        Ok(all)
                    })
                });
            });
        }
        if let Some(pair) = live.into_inner() {
            ground.wait(pair.close());
        }
        for n in &SIZES[1..] {
            group.throughput(Throughput::Elements(*n));
            group.bench_function(BenchmarkId::new("eidetica, bootstrap", n), |b| {
                b.iter_custom(|times| ground.time(bootstraps(way, ground.bases(), *n, times)));
            });
        }
        group.finish();
    }
}
