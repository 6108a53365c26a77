//! Two sides that wrote apart; the limits are the signatures, and the same rows in one raw batch. What Loro, yrs and
//! automerge take for the same is measured by the package `compare`.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use eidetica_benches::limits;
use eidetica_benches::sides::Sides;
use eidetica_benches::work::ingest::Engine;
use eidetica_benches::work::merge;
use eidetica_benches::workloads::Work;

use crate::{Ground, SIZES, must};

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("merge");
    for work in [Work::MergeSides { changes: 1 }, Work::MergeSides { changes: 100 }, Work::MergeBranches] {
        for n in SIZES {
            let sides = std::cell::OnceCell::new();
            let sides = || sides.get_or_init(|| ground.wait(Sides::build(work, n)));
            group.throughput(Throughput::Elements(work.items(n)));
            for engine in [Engine::Memory, Engine::Sqlite, Engine::Redb] {
                let id = BenchmarkId::new(format!("{}, eidetica, {engine:?}", work.name()), n);
                group.bench_function(id, |b| {
                    b.iter_custom(|times| {
                        (0..times).fold(Duration::ZERO, |all, _| {
                            let (took, _) = ground.wait(merge::merge(sides(), engine));
                            must(sides().sweep());
                            all + took.wall
                        })
                    });
                });
            }
            group.bench_function(BenchmarkId::new(format!("{}, limit: rows by rusqlite", work.name()), n), |b| {
                let (_, batches) = ground.wait(merge::merge(sides(), Engine::Sqlite));
                b.iter_custom(|times| {
                    (0..times).fold(Duration::ZERO, |all, _| {
                        let took = must(merge::raw(sides(), &batches));
                        must(sides().sweep());
                        all + took.wall
                    })
                });
            });
            group.bench_function(BenchmarkId::new(format!("{}, limit: signatures", work.name()), n), |b| {
                let signatures = sides().far().len() as u64;
                b.iter_custom(|times| ground.time(limits::verify_on_all(signatures * times)));
            });
        }
    }
    group.finish();
}
