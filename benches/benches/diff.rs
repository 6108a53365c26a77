//! How far two sets of heads are apart; the limit is a scan of as many rows.

use criterion::{BenchmarkId, Criterion, Throughput};
use eidetica_benches::work::diff::{Differences, Shape};

use crate::{Ground, SIZES};

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("diff");
    for n in SIZES {
        for (shape, how) in [(Shape::Behind, "behind"), (Shape::Forked, "each side of a fork")] {
            for d in [1, 100, 10_000].into_iter().filter(|d| *d < n) {
                group.throughput(Throughput::Elements(d));
                group.bench_function(BenchmarkId::new(format!("eidetica, {d} {how}"), n), |b| {
                    let differences = ground.wait(Differences::on_sqlite(ground.bases(), n));
                    let pair = ground.wait(differences.pair(shape, d));
                    b.iter_custom(|times| ground.time(differences.difference(&pair, times)));
                    ground.wait(differences.close());
                });
                group.bench_function(BenchmarkId::new(format!("limit: scan, {d} {how}"), n), |b| {
                    let differences = ground.wait(Differences::on_sqlite(ground.bases(), n));
                    let pair = ground.wait(differences.pair(shape, d));
                    b.iter_custom(|times| ground.time(differences.scan(&pair, times)));
                    ground.wait(differences.close());
                });
            }
        }
    }
    group.finish();
}
