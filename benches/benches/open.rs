//! Opening a store and reading a key, in a new process; and looking back.

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use eidetica_benches::Result;
use eidetica_benches::work::open;

use crate::{Ground, SIZES, must};

pub fn group(criterion: &mut Criterion, ground: &Ground) {
    let mut group = criterion.benchmark_group("open");
    for n in SIZES {
        group.bench_function(BenchmarkId::new("eidetica, SQLite, open and read", n), |b| {
            b.iter_custom(|times| {
                let once = || must(open::open_in_child(&ground.bases().path(n), ground.bases().id())).open;
                (0..times).fold(Duration::ZERO, |all, _| all + Duration::from_secs_f64(once()))
            });
        });
        for depth in [1, n / 2, n - 1] {
            group.bench_function(BenchmarkId::new(format!("a view {depth} below the head, and a get"), n), |b| {
                b.iter_custom(|times| {
                    let rounds = ground.wait(open::look_back(ground.bases(), n, &[depth], times));
                    Duration::from_secs_f64(rounds[0].median() * times as f64)
                });
            });
        }
    }
    group.finish();
}

/// What the child does: opens, reads, and prints what it took.
pub fn child(path: &str, id: &str) -> Result<()> {
    let (path, id) = (Path::new(path).to_owned(), id.parse()?);
    let figures = eidetica_benches::run(async move { open::child(&path, &id).await })??;
    println!("{} {}", figures.open, figures.memory);
    Ok(())
}
