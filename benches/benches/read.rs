//! One key by a view; the limit is a raw get of the row that holds it.

use criterion::{BenchmarkId, Criterion};
use eidetica_benches::work::read::Reads;

use crate::{Ground, SIZES, must};

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("read");
    for n in SIZES {
        let on_sqlite = || ground.wait(Reads::on_sqlite(ground.bases(), n));
        group.bench_function(BenchmarkId::new("eidetica, SQLite", n), |b| {
            let mut reads = on_sqlite();
            b.iter_custom(|times| ground.time(reads.read(times)));
            ground.wait(reads.close());
        });
        group.bench_function(BenchmarkId::new("eidetica, SQLite, each after a commit", n), |b| {
            let mut reads = on_sqlite();
            b.iter_custom(|times| ground.time(reads.after_commits(times)));
            ground.wait(reads.close());
        });
        group.bench_function(BenchmarkId::new("limit: get by rusqlite", n), |b| {
            let reads = on_sqlite();
            b.iter_custom(|times| must(reads.raw(times)).map_or_else(Default::default, |took| took.wall));
            ground.wait(reads.close());
        });
        group.bench_function(BenchmarkId::new("eidetica, redb", n), |b| {
            let mut reads = ground.wait(Reads::on_redb(ground.bases(), n));
            b.iter_custom(|times| ground.time(reads.read(times)));
            ground.wait(reads.close());
        });
        group.bench_function(BenchmarkId::new("limit: get by redb", n), |b| {
            let reads = ground.wait(Reads::on_redb(ground.bases(), n));
            b.iter_custom(|times| must(reads.raw(times)).map_or_else(Default::default, |took| took.wall));
            ground.wait(reads.close());
        });
        group.bench_function(BenchmarkId::new("eidetica, memory", n), |b| {
            let mut reads = ground.wait(Reads::on_memory(ground.bases(), n));
            b.iter_custom(|times| ground.time(reads.read(times)));
            ground.wait(reads.close());
        });
        group.bench_function(BenchmarkId::new("limit: snapshot and get, memory", n), |b| {
            let mut reads = ground.wait(Reads::on_memory(ground.bases(), n));
            b.iter_custom(|times| ground.time(reads.engine(times)));
            ground.wait(reads.close());
        });
    }
    group.finish();
}
