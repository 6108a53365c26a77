//! Does one piece of work again and again, and nothing beside it, for a profiler to look at.
//!
//! `spin commit|crowd|read|ingest|single|import|set|merge|merge-100|branches N SECONDS`; all but `crowd` with `-memory`
//! and with `-redb`, too. `single` takes entries in one by one; `set` imports row by row.

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
    let (work, engine) = match work.rsplit_once('-') {
        Some((work, "memory")) => (work, Engine::Memory),
        Some((work, "redb")) => (work, Engine::Redb),
        _ => (work, Engine::Sqlite),
    };
    let mut took = clock::Rounds::default();
    let mut start = Instant::now();
    // Only what the work needs is made beforehand, so that little else shows in a profile.
    let bases = Bases::build(&[if work.starts_with("merge") || work == "branches" { 1 } else { n }]).await?;
    match work {
        "commit" => {
            let mut commits = match engine {
                Engine::Memory => commit::Commits::on_memory(&bases, n).await?,
                Engine::Redb => commit::Commits::on_redb(&bases, n, Durability::Buffered).await?,
                Engine::Sqlite => commit::Commits::on_sqlite(&bases, n, Durability::Buffered).await?,
            };
            ready(&mut start);
            while start.elapsed() < time {
                took.add(commits.commit(200).await?, 200);
                commits.written();
            }
            commits.close().await?;
        }
        "read" => {
            let mut reads = match engine {
                Engine::Memory => read::Reads::on_memory(&bases, n).await?,
                Engine::Redb => read::Reads::on_redb(&bases, n).await?,
                Engine::Sqlite => read::Reads::on_sqlite(&bases, n).await?,
            };
            ready(&mut start);
            while start.elapsed() < time {
                took.add(reads.read(10_000).await?, 10_000);
            }
            reads.close().await?;
        }
        "ingest" | "single" => {
            let entries = bases.entries(n).await?;
            let (page, at_once) = if work == "single" { (1, 1) } else { (1024, 2) };
            ready(&mut start);
            while start.elapsed() < time {
                took.add(ingest::only(&bases, engine, &entries, page, at_once).await?, n);
            }
        }
        "crowd" => {
            ready(&mut start);
            while start.elapsed() < time {
                took.add(commit::crowd(&bases, n, 64, 100).await?.took, 6_400);
            }
        }
        "import" | "set" => {
            let text = import::text(n as usize);
            ready(&mut start);
            while start.elapsed() < time {
                took.add(import::only(&bases, engine, &text, 1_000, work == "import").await?, n);
            }
        }
        "merge" | "merge-100" | "branches" => {
            let shape = match work {
                "branches" => Work::MergeBranches,
                "merge-100" => Work::MergeSides { changes: 100 },
                _ => Work::MergeSides { changes: 1 },
            };
            let sides = Sides::build(shape, n).await?;
            ready(&mut start);
            while start.elapsed() < time {
                took.add(merge::merge(&sides, engine).await?.0, sides.keys());
                sides.sweep()?;
            }
        }
        other => return Err(format!("no work is called {other}").into()),
    }
    println!("{work}: {} each, {} on the processors", clock::human(took.median()), clock::human(took.cpu()));
    Ok(())
}

fn ready(start: &mut Instant) {
    eprintln!("ready");
    *start = Instant::now();
}
