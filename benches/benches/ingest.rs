//! Entries of others, in pages and one by one; the limits are proving them, and the same rows raw.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use eidetica_benches::limits;
use eidetica_benches::work::ingest::{Engine, only};

use crate::{Ground, SIZES};

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("ingest");
    for n in SIZES {
        group.throughput(Throughput::Elements(n));
        let ways: &[(usize, usize)] = if n > 10_000 { &[(1024, 2)] } else { &[(1024, 2), (1, 1)] };
        for &(page, at_once) in ways {
            for engine in [Engine::Sqlite, Engine::Redb, Engine::Memory] {
                let name = format!("eidetica, {engine:?}, pages of {page}, {at_once} under way");
                group.bench_function(BenchmarkId::new(name, n), |b| {
                    let entries = ground.wait(ground.bases().entries(n));
                    b.iter_custom(|times| {
                        let once = || ground.time(only(ground.bases(), engine, &entries, page, at_once));
                        (0..times).fold(Duration::ZERO, |all, _| all + once())
                    });
                });
            }
        }
        group.bench_function(BenchmarkId::new("limit: proving on all cores", n), |b| {
            let entries = ground.wait(ground.bases().entries(n));
            b.iter_custom(|times| (0..times).fold(Duration::ZERO, |all, _| all + ground.time(limits::prove(&entries))));
        });
    }
    group.finish();
}
