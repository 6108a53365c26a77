//! A real file into a table, in batches of 1,000 rows; its limits, parsing and the same rows raw, are in the table.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use eidetica_benches::work::import::{only, text};
use eidetica_benches::work::ingest::Engine;

use crate::{Ground, SIZES};

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("import");
    for n in SIZES {
        group.throughput(Throughput::Elements(n));
        let text = text(n as usize);
        for (engine, together) in
            [(Engine::Sqlite, true), (Engine::Sqlite, false), (Engine::Redb, true), (Engine::Memory, true)]
        {
            let how = if together { "set_all" } else { "set" };
            group.bench_function(BenchmarkId::new(format!("eidetica, {engine:?}, {how}"), n), |b| {
                b.iter_custom(|times| {
                    let once = || ground.time(only(ground.bases(), engine, &text, 1_000, together));
                    (0..times).fold(Duration::ZERO, |all, _| all + once())
                });
            });
        }
    }
    group.finish();
}
