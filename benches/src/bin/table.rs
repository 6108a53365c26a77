//! Runs every piece of work a few times and prints a table of goals and figures.
//!
//! `table [--only TEXT] [--most N] [--loro MS]`: only the work whose name (commit, read, merge, diff, ingest, import,
//! open) contains the text; no history longer than N; what Loro takes to merge 10,000 keys of one change on each side, which
//! `compare` measures.

use std::path::Path;

use eidetica::Durability;
use eidetica_benches::base::Bases;
use eidetica_benches::clock::{self, human, rate, thousands};
use eidetica_benches::sides::Sides;
use eidetica_benches::work::diff::Shape;
use eidetica_benches::work::ingest::{self, Engine};
use eidetica_benches::work::{commit, diff, import, merge, open, read};
use eidetica_benches::workloads::Work;
use eidetica_benches::{PAGE_CACHE, Result, limits};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, path, id] = &arguments[..]
        && child == open::CHILD
    {
        let (path, id) = (Path::new(path).to_owned(), id.parse()?);
        let figures = eidetica_benches::run(async move { open::child(&path, &id).await })??;
        println!("{} {}", figures.open, figures.memory);
        return Ok(());
    }
    let after = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)).cloned()
    };
    let only = after("--only");
    let most = after("--most").map_or(Ok(100_000), |most| most.parse::<u64>())?;
    let loro = after("--loro").map_or(Ok(LORO), |loro| loro.parse::<f64>())? / 1e3;
    eidetica_benches::run(async move { Table { only, loro }.all(most).await })?
}

/// Milliseconds in which Loro merges 10,000 concurrent keys in memory, without signatures, by the table of targets.
const LORO: f64 = 20.0;

struct Table {
    only: Option<String>,
    /// Seconds.
    loro: f64,
}

impl Table {
    fn wants(&self, work: &str) -> bool {
        self.only.as_ref().is_none_or(|only| work.contains(only.as_str()))
    }

    async fn all(&self, most: u64) -> Result<()> {
        let sizes: Vec<u64> = [100, 10_000, 100_000].into_iter().filter(|size| *size <= most).collect();
        let largest = *sizes.last().ok_or("--most is too small")?;
        let bases = Bases::build(&sizes).await?;
        println!(
            "{} cores, page cache {} MiB (SQLite: half for writing, an eighth for each reader), SQLite in WAL mode, \
             synchronous NORMAL.\n\n| work | goal | measured | limit in the same run | ratio | on the processors | ok |\n\
             | --- | --- | --- | --- | --- | --- | --- |",
            limits::cores(),
            PAGE_CACHE >> 20
        );
        if self.wants("commit") {
            self.commits(&bases, largest).await?;
        }
        if self.wants("read") {
            self.reads(&bases).await?;
        }
        if self.wants("merge") {
            self.merges(most).await?;
        }
        if self.wants("diff") {
            self.diffs(&bases).await?;
        }
        if self.wants("ingest") {
            self.ingests(&bases, largest).await?;
        }
        if self.wants("import") {
            self.imports(&bases, largest).await?;
        }
        if self.wants("open") {
            self.opens(&bases, largest).await?;
        }
        Ok(())
    }

    async fn commits(&self, bases: &Bases, largest: u64) -> Result<()> {
        for n in bases.sizes().to_vec() {
            for engine in [Engine::Sqlite, Engine::Redb, Engine::Memory] {
                let mut commits = match engine {
                    Engine::Redb => commit::Commits::on_redb(bases, n, Durability::Buffered).await?,
                    Engine::Sqlite => commit::Commits::on_sqlite(bases, n, Durability::Buffered).await?,
                    Engine::Memory => commit::Commits::on_memory(bases, n).await?,
                };
                let f = commits.figures(9, 200).await?;
                commits.close().await?;
                let work = format!(
                    "commit one key, Buffered, {engine:?}, n = {} ({:.0} rows, {:.1} snapshots)",
                    thousands(n),
                    f.rows,
                    f.snapshots
                );
                let through = Limit::new("sign", &f.sign).and("rows through Backend", &f.engine);
                match engine {
                    Engine::Sqlite | Engine::Redb => {
                        times(&work, 2.0, &f.commit, &Limit::new("sign", &f.sign).and(by(engine), &f.raw));
                        times("″", 2.0, &f.commit, &through);
                    }
                    Engine::Memory => times(&work, 2.0, &f.commit, &through),
                }
            }
        }
        let mut commits = commit::Commits::on_sqlite(bases, largest, Durability::Flushed).await?;
        let f = commits.figures(7, 60).await?;
        commits.close().await?;
        let work = format!("commit one key, Flushed, Sqlite, n = {}", thousands(largest));
        times(&work, 1.5, &f.commit, &Limit::new("put + flush through Backend", &f.engine));
        times("″", 1.5, &f.commit, &Limit::new("rusqlite, synchronous FULL", &f.raw));
        let crowd = commit::crowd(bases, largest, 64, 100).await?;
        let work = format!("64 committers, Flushed, Sqlite, n = {}", thousands(largest));
        let took = crowd.commit.median();
        let cpu = format!("{} a commit", human(crowd.commit.cpu()));
        line([&work, "≥ 15,000/s", &rate(took), "", "", &cpu], Some(took <= 1.0 / 15_000.0));
        // What the goal above is of the same limit on the machine that the goals were set on.
        times("″", 2.1, &crowd.commit, &Limit::new("sign", &f.sign).and("these batches by rusqlite", &crowd.raw));
        let gain = f.commit.median() / took;
        let single = rate(f.commit.median());
        line(["″", "≥ 4 × one alone", "″", &single, &format!("{gain:.1} ×"), ""], Some(gain >= 4.0));
        let flushes = format!("{:.3} flushes per commit", crowd.flushes);
        line(["″", "≤ 1 flush per 8 commits", &flushes, "", "", ""], Some(crowd.flushes <= 0.125));
        Ok(())
    }

    async fn reads(&self, bases: &Bases) -> Result<()> {
        for n in bases.sizes().to_vec() {
            for engine in [Engine::Sqlite, Engine::Redb, Engine::Memory] {
                let mut reads = match engine {
                    Engine::Redb => read::Reads::on_redb(bases, n).await?,
                    Engine::Sqlite => read::Reads::on_sqlite(bases, n).await?,
                    Engine::Memory => read::Reads::on_memory(bases, n).await?,
                };
                let f = reads.figures(9, 2_000).await?;
                reads.close().await?;
                let work = format!("read one key, {engine:?}, n = {}", thousands(n));
                let after = format!("read one key after a commit, {engine:?}, n = {}", thousands(n));
                let through = Limit::new("snapshot + get", &f.engine);
                if engine == Engine::Sqlite {
                    times(&work, 5.0, &f.read, &Limit::new("get by rusqlite", &f.raw));
                    times("″", 5.0, &f.read, &through);
                    let raw = Limit::new("rusqlite after a commit of another connection", &f.raw_after_commit);
                    times(&after, 5.0, &f.after_commit, &raw);
                } else {
                    if engine == Engine::Redb {
                        times(&work, 5.0, &f.read, &Limit::new("get by redb", &f.raw));
                    }
                    times(&work, 5.0, &f.read, &through);
                    let raw = Limit::new("snapshot + get after a signature and the same rows", &f.raw_after_commit);
                    times(&after, 5.0, &f.after_commit, &raw);
                }
            }
        }
        Ok(())
    }

    async fn merges(&self, most: u64) -> Result<()> {
        let n = most.min(10_000);
        for changes in [1, 100] {
            let sides = Sides::build(Work::MergeSides { changes }, n).await?;
            let each = if changes == 1 { "1 entry".to_owned() } else { format!("{changes} entries") };
            for engine in [Engine::Memory, Engine::Sqlite] {
                let f = merge::figures(&sides, engine, 7).await?;
                let work = format!("merge {} concurrent keys, {each} each side, {engine:?}", thousands(sides.keys()));
                if engine == Engine::Memory {
                    self.beside_loro(&work, &f);
                } else {
                    let limit = format!("{} rows by rusqlite in one batch", thousands(f.rows as u64));
                    times(&work, 3.0, &f.merge, &Limit::new(&limit, &f.raw));
                    times("″", 3.0, &f.merge, &Limit::new("rows through Backend in one batch", &f.engine));
                }
            }
        }
        let sides = Sides::build(Work::MergeBranches, n).await?;
        for engine in [Engine::Memory, Engine::Sqlite] {
            let f = merge::figures(&sides, engine, 5).await?;
            let count = sides.far().len() as u64;
            let work = format!("merge two branches of {} commits, {engine:?}", thousands(count));
            let verify = || Limit::new("verify on all cores", &f.signatures);
            if engine == Engine::Sqlite {
                let rows = format!("{} rows by rusqlite in one batch", thousands(f.rows as u64));
                times(&work, 3.0, &f.merge, &verify().and(&rows, &f.raw));
                times("″", 3.0, &f.merge, &verify().and("rows through Backend in one batch", &f.engine));
            } else {
                let rows = format!("{} rows through Backend in one batch", thousands(f.rows as u64));
                times(&work, 3.0, &f.merge, &verify().and(&rows, &f.engine));
            }
            let proven = human(f.prove.median());
            line(["″ proving the entries beforehand, all cores", "", &proven, "", "", ""], None);
        }
        Ok(())
    }

    /// Loro signs nothing: the signatures are taken off. Hashes and decoding are not.
    fn beside_loro(&self, work: &str, f: &merge::Figures) {
        let apart = f.merge.median() - f.signatures.median();
        let ratio = apart / self.loro;
        let cpu = human(f.merge.cpu() - f.signatures.cpu());
        let limit = format!("Loro {} (not this run)", human(self.loro));
        let work = format!("{work}, signatures apart");
        line([&work, "≤ 2.0 ×", &human(apart), &limit, &format!("{ratio:.2}"), &cpu], Some(ratio <= 2.0));
        let (signatures, prove) = (human(f.signatures.median()), human(f.prove.median()));
        let parts =
            format!("signatures {signatures}; proving whole {prove}; rows in memory {}", human(f.engine.median()));
        line(["″ whole", "", &human(f.merge.median()), &parts, "", &human(f.merge.cpu())], None);
    }

    async fn diffs(&self, bases: &Bases) -> Result<()> {
        for n in bases.sizes().iter().copied().filter(|n| *n >= 10_000) {
            let differences = diff::Differences::on_sqlite(bases, n).await?;
            for shape in [Shape::Behind, Shape::Forked] {
                for d in [1, 100, 10_000] {
                    let pair = differences.pair(shape, d).await?;
                    let f = differences.figures(&pair, 7, if d == 10_000 { 3 } else { 100 }).await?;
                    let how = if shape == Shape::Behind { "behind" } else { "on each side of a fork" };
                    let work = format!("difference of {} {how}, SQLite, n = {}", thousands(d), thousands(n));
                    let limit = format!("a scan of as many rows {}", human(f.scan.median()));
                    let ratio = format!("{:.2}", f.took.median() / f.scan.median());
                    line([&work, "", &human(f.took.median()), &limit, &ratio, &human(f.took.cpu())], None);
                    let rows = format!("{} rows in {} reads", thousands(f.rows), thousands(f.calls));
                    let (most, goal) = (4 * d + 64, format!("≤ {} rows", thousands(4 * d + 64)));
                    line(["″", &goal, &rows, "", "", ""], Some(f.rows <= most));
                }
            }
            differences.close().await?;
        }
        Ok(())
    }

    async fn ingests(&self, bases: &Bases, largest: u64) -> Result<()> {
        let cores = limits::cores() as f64;
        let verified = || clock::Rounds::once(limits::verify(3_000), 3_000);
        for n in bases.sizes().iter().copied().filter(|n| *n >= 10_000) {
            let entries = bases.entries(n).await?;
            for (engine, at_once) in [(Engine::Sqlite, 2), (Engine::Redb, 2), (Engine::Memory, 2)] {
                let verified = verified();
                let f = ingest::ingest(bases, engine, &entries, 1024, at_once).await?;
                let raw = f.raw.as_ref().unwrap_or(&f.engine);
                let least = (verified.median() + raw.median()) / cores;
                let work = format!("ingest pages of 1,024, {at_once} under way, {engine:?}, n = {}", thousands(n));
                let limit = format!(
                    "{} = {cores} / (verify {} + bulk rows {}); proving whole {}",
                    rate(least),
                    human(verified.median()),
                    human(raw.median()),
                    human(f.prove.median())
                );
                let ratio = least / f.ingest.median();
                let (spent, must) = (f.ingest.cpu(), verified.cpu() + raw.cpu());
                let cpu = format!("{} / {} = {:.2} ×", human(must), human(spent), must / spent);
                let measured = rate(f.ingest.median());
                line([&work, "≥ 0.60 ×", &measured, &limit, &format!("{ratio:.2}"), &cpu], Some(ratio >= 0.6));
            }
        }
        let entries = bases.entries(10_000.min(largest)).await?;
        for engine in [Engine::Memory, Engine::Sqlite, Engine::Redb] {
            let verified = verified();
            let f = ingest::ingest(bases, engine, &entries, 1, 1).await?;
            let work = format!("{} remote entries one by one, {engine:?}", thousands(entries.len() as u64 - 1));
            let limit = Limit::new("verify", &verified);
            match &f.raw {
                Some(raw) => times(&work, 1.5, &f.ingest, &limit.and(by(engine), raw)),
                None => times(&work, 1.5, &f.ingest, &limit),
            }
        }
        Ok(())
    }

    async fn imports(&self, bases: &Bases, largest: u64) -> Result<()> {
        let text = import::text(largest as usize);
        for (engine, together) in [(Engine::Sqlite, true), (Engine::Sqlite, false), (Engine::Memory, true)] {
            let f = import::import(bases, engine, &text, 1_000, together).await?;
            let how = if together { "set_all" } else { "set" };
            let work = format!("import {} rows of CSV by 1,000, {how}, {engine:?}", thousands(largest));
            let raw = f.raw.as_ref().unwrap_or(&f.engine);
            let limit = format!(
                "rows raw {}, parsing alone {}; {:.0} B of file per row",
                rate(raw.median()),
                rate(f.parse.median()),
                f.bytes
            );
            let (took, least) = (f.import.median(), raw.median() + f.parse.median());
            let (spent, must) = (f.import.cpu(), raw.cpu() + f.parse.cpu());
            let cpu = format!("{} / {} = {:.2} ×", human(spent), human(must), spent / must);
            let ratio = format!("{:.2} × raw + parse", took / least);
            line([&work, "≥ 60,000/s", &rate(took), &limit, &ratio, &cpu], Some(took <= 1.0 / 60_000.0));
        }
        Ok(())
    }

    async fn opens(&self, bases: &Bases, largest: u64) -> Result<()> {
        for n in bases.sizes().to_vec() {
            let path = bases.path(n);
            let id = bases.id();
            open::open_in_child(&path, id)?;
            let all: Result<Vec<_>> = (0..5).map(|_| open::open_in_child(&path, id)).collect();
            let mut all = all?;
            all.sort_by(|a, b| a.open.total_cmp(&b.open));
            let middle = &all[all.len() / 2];
            let work = format!("open (without a login) and read, SQLite, n = {}", thousands(n));
            line([&work, "≤ 20 ms", &human(middle.open), "", "", ""], Some(middle.open <= 0.020));
            let memory = format!("{:.1} MiB more memory", middle.memory as f64 / f64::from(1 << 20));
            line(["″", "≤ 32 MiB above the page cache", &memory, "", "", ""], Some(middle.memory <= 32 << 20));
        }
        let depths: Vec<u64> = [0, 1, 100, 9_900, 90_000].into_iter().filter(|depth| *depth < largest).collect();
        for n in bases.sizes().iter().copied().filter(|n| *n >= 10_000) {
            let depths: Vec<u64> = depths.iter().copied().filter(|depth| *depth < n).collect();
            for (depth, rounds) in depths.iter().zip(open::look_back(bases, n, &depths, 20).await?) {
                let work = format!("open a view {} below the head and get, n = {}", thousands(*depth), thousands(n));
                line([&work, "not of n", &human(rounds.median()), "", "", ""], None);
            }
        }
        let size = |n| Ok::<_, std::io::Error>(std::fs::metadata(bases.path(n))?.len());
        let sizes = bases.sizes();
        if let [.., less, more] = sizes {
            let bytes = (size(*more)? - size(*less)?) as f64 / (more - less) as f64 - 48.0;
            let text = format!("{bytes:.0} B");
            line(
                ["bytes on disk per entry above key and value, SQLite", "≤ 1,000 B", &text, "", "", ""],
                Some(bytes <= 1e3),
            );
        }
        let entries = bases.entries(100).await?;
        let last = entries.last().ok_or("no entries")?;
        let wire = last.header.len() + last.bodies.iter().flatten().map(|body| body.len()).sum::<usize>() - 48;
        line(
            ["bytes of header and body above key and value", "≤ 250 B", &format!("{wire} B"), "", "", ""],
            Some(wire <= 250),
        );
        Ok(())
    }
}

/// Work that nothing can be faster than: the sum of its parts.
struct Limit {
    text: String,
    wall: f64,
    cpu: f64,
}

impl Limit {
    fn new(name: &str, part: &clock::Rounds) -> Limit {
        let text = format!("{name} {}", human(part.median()));
        Limit { text, wall: part.median(), cpu: part.cpu() }
    }

    fn and(self, name: &str, part: &clock::Rounds) -> Limit {
        let text = format!("{} + {name} {}", self.text, human(part.median()));
        Limit { text, wall: self.wall + part.median(), cpu: self.cpu + part.cpu() }
    }
}

/// A line for work that must take at most `goal` times its limit.
fn times(work: &str, goal: f64, took: &clock::Rounds, limit: &Limit) {
    let ratio = took.median() / limit.wall;
    let cpu = match took.cpu() > 0.0 && limit.cpu > 0.0 {
        true => format!("{} / {} = {:.2} ×", human(took.cpu()), human(limit.cpu), took.cpu() / limit.cpu),
        false => String::new(),
    };
    let goal_text = format!("≤ {goal:.1} ×");
    line([work, &goal_text, &human(took.median()), &limit.text, &format!("{ratio:.2}"), &cpu], Some(ratio <= goal));
}

fn line(columns: [&str; 6], ok: Option<bool>) {
    let ok = ok.map_or("", |ok| if ok { "yes" } else { "**no**" });
    println!("| {} | {ok} |", columns.join(" | "));
}

/// What the same rows in the engine itself are called.
fn by(engine: Engine) -> &'static str {
    match engine {
        Engine::Redb => "rows by redb",
        _ => "rows by rusqlite",
    }
}
