//! One key in one commit; the limit is a signature and the same rows put raw.

use criterion::{BenchmarkId, Criterion, Throughput};
use eidetica::Durability;
use eidetica_benches::limits;
use eidetica_benches::work::commit::{Commits, crowd};

use crate::{Ground, SIZES, must};

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(1));
    group.bench_function("limit: signature", |b| b.iter_custom(|times| limits::sign(times).wall));
    for n in SIZES {
        for durability in [Durability::Buffered, Durability::Flushed] {
            let name = format!("eidetica, SQLite, {durability:?}");
            group.bench_function(BenchmarkId::new(name, n), |b| {
                let mut commits = ground.wait(Commits::on_sqlite(ground.bases(), n, durability));
                b.iter_custom(|times| ground.time(commits.commit(times)));
                ground.wait(commits.close());
            });
            group.bench_function(BenchmarkId::new(format!("limit: rows by rusqlite, {durability:?}"), n), |b| {
                let mut commits = ground.wait(Commits::on_sqlite(ground.bases(), n, durability));
                b.iter_custom(|times| {
                    ground.wait(commits.commit(times));
                    let batches = commits.written();
                    must(commits.raw(&batches)).map_or_else(Default::default, |took| took.wall)
                });
                ground.wait(commits.close());
            });
        }
        for durability in [Durability::Buffered, Durability::Flushed] {
            group.bench_function(BenchmarkId::new(format!("eidetica, redb, {durability:?}"), n), |b| {
                let mut commits = ground.wait(Commits::on_redb(ground.bases(), n, durability));
                b.iter_custom(|times| ground.time(commits.commit(times)));
                ground.wait(commits.close());
            });
            group.bench_function(BenchmarkId::new(format!("limit: rows by redb, {durability:?}"), n), |b| {
                let mut commits = ground.wait(Commits::on_redb(ground.bases(), n, durability));
                b.iter_custom(|times| {
                    ground.wait(commits.commit(times));
                    let batches = commits.written();
                    must(commits.raw(&batches)).map_or_else(Default::default, |took| took.wall)
                });
                ground.wait(commits.close());
            });
        }
        group.bench_function(BenchmarkId::new("eidetica, memory", n), |b| {
            let mut commits = ground.wait(Commits::on_memory(ground.bases(), n));
            b.iter_custom(|times| ground.time(commits.commit(times)));
            ground.wait(commits.close());
        });
    }
    let n = SIZES[2];
    group.bench_function(BenchmarkId::new("eidetica, SQLite, Flushed, 64 committers", n), |b| {
        b.iter_custom(|times| ground.wait(crowd(ground.bases(), n, 64, times.div_ceil(64))).took.wall);
    });
    group.finish();
}
