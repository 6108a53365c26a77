//! Criterion groups, each beside the limit of its work: `cargo bench --package eidetica-benches -- merge` runs one.
//!
//! What stands beside what, with goals, is the table of `src/bin/table.rs`; here criterion tells how much figures wander, and
//! compares them with those of the last run.

mod commit;
mod diff;
mod import;
mod ingest;
mod merge;
mod open;
mod read;
mod sync;

use std::cell::OnceCell;
use std::time::Duration;

use criterion::Criterion;
use eidetica_benches::base::Bases;
use eidetica_benches::clock::Took;
use eidetica_benches::{Result, work::open as open_work};
use tokio::runtime::Runtime;

/// The lengths of the histories.
const SIZES: [u64; 3] = [100, 10_000, 100_000];

/// What the groups share.
struct Ground {
    runtime: Runtime,
    bases: OnceCell<Bases>,
}

impl Ground {
    /// The stores with histories. Making them takes a while, so it is done for those who need them.
    fn bases(&self) -> &Bases {
        self.bases.get_or_init(|| self.wait(Bases::build(&SIZES)))
    }

    /// What a future comes to. A bench in which something fails is no bench.
    fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> T {
        must(self.runtime.block_on(future))
    }

    /// The time on the wall that a piece of work took.
    fn time(&self, work: impl Future<Output = Result<Took>>) -> Duration {
        self.wait(work).wall
    }
}

fn must<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("a bench has failed: {error}"))
}

fn main() {
    // Opening is measured in a process of its own, which is this program again.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, path, id] = &arguments[..]
        && child == open_work::CHILD
    {
        must(open::child(path, id));
        return;
    }
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Into::into));
    let ground = Ground { runtime, bases: OnceCell::new() };
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    commit::group(&mut criterion, &ground);
    read::group(&mut criterion, &ground);
    merge::group(&mut criterion, &ground);
    diff::group(&mut criterion, &ground);
    ingest::group(&mut criterion, &ground);
    import::group(&mut criterion, &ground);
    open::group(&mut criterion, &ground);
    sync::groups(&mut criterion, &ground);
    criterion.final_summary();
}
