//! Does one piece of work again and again, and nothing beside it, for a profiler to look at.
//!
//! `spin commit|crowd|read|ingest|import|merge|merge-100 N SECONDS`; all but `crowd` with `-memory`, too.

use std::time::{Duration, Instant};

use eidetica::Durability;
use eidetica_benches::base::Bases;
use eidetica_benches::sides::Sides;
use eidetica_benches::work::ingest::Engine;
use eidetica_benches::work::{commit, import, ingest, merge, read};
use eidetica_benches::workloads::Work;
use eidetica_benches::{Result, clock};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, n, seconds] = &arguments[..] else { return Err("spin WORK N SECONDS".into()) };
    let (work, n, seconds) = (work.clone(), n.parse::<u64>()?, seconds.parse::<u64>()?);
    eidetica_benches::run(async move { spin(&work, n, Duration::from_secs(seconds)).await })?
}

async fn spin(work: &str, n: u64, time: Duration) -> Result<()> {
    let bases = Bases::build(&[n]).await?;
    let entries = bases.entries(n).await?;
    let text = import::text(n as usize);
    let engine = if work.ends_with("memory") { Engine::Memory } else { Engine::Sqlite };
    let mut commits = match engine {
        Engine::Memory => commit::Commits::on_memory(&bases, n).await?,
        Engine::Sqlite => commit::Commits::on_sqlite(&bases, n, Durability::Buffered).await?,
    };
    let mut reads = match engine {
        Engine::Memory => read::Reads::on_memory(&bases, n).await?,
        Engine::Sqlite => read::Reads::on_sqlite(&bases, n).await?,
    };
    let changes = if work.contains("100") { 100 } else { 1 };
    let sides = Sides::build(Work::MergeSides { changes }, n.min(10_000)).await?;
    eprintln!("ready");
    let start = Instant::now();
    let mut took = clock::Rounds::default();
    while start.elapsed() < time {
        match work.trim_end_matches("-memory") {
            "commit" => {
                took.add(commits.commit(200).await?, 200);
                commits.written();
            }
            "read" => took.add(reads.read(10_000).await?, 10_000),
            "ingest" => took.add(ingest::only(&bases, engine, &entries, 1024, 3).await?, n),
            "crowd" => took.add(commit::crowd(&bases, n, 64, 100).await?.took, 6_400),
            "merge" | "merge-100" => {
                took.add(merge::merge(&sides, engine).await?.0, sides.keys());
                sides.sweep()?;
            }
            "import" => took.add(import::only(&bases, engine, &text, 1_000, true).await?, n),
            other => return Err(format!("no work is called {other}").into()),
        }
    }
    println!("{work}: {} each", clock::human(took.median()));
    commits.close().await?;
    reads.close().await
}
