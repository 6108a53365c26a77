//! Measures sync between two processes on this machine, over HTTP, and prints a table.
//!
//! `processes [N…]`: with histories of so many commits; 10,000 and 100,000 without any. The two are this program again.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use eidetica::sync::Address;
use eidetica::{Durability, Id, PublicKey};
use eidetica_benches::Result;
use eidetica_benches::base::{self, Bases};
use eidetica_benches::clock::{human, thousands};
use eidetica_benches::work::sync::{Side, Way, let_in};
use eidetica_benches::workloads::{self, NEAR};
use tokio::sync::mpsc;

/// How many commits are timed each way.
const COMMITS: usize = 500;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    eidetica_benches::run(async move {
        match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["side", name, path, id, listens] => side(name, Path::new(path), id.parse()?, *listens == "true").await,
            [] => all(&[10_000, 100_000]).await,
            sizes => all(&sizes.iter().map(|size| size.parse()).collect::<std::result::Result<Vec<_>, _>>()?).await,
        }
    })?
}

async fn all(sizes: &[u64]) -> Result<()> {
    let bases = Bases::build(sizes).await?;
    println!(
        "SQLite (page cache 64 MiB, WAL, NORMAL) on both sides, HTTP on loopback, each in a process of its own.\n"
    );
    println!("| work | n | | |\n| --- | --- | --- | --- |");
    for &n in sizes {
        for listens in [false, true] {
            both(&bases, n, listens).await?;
        }
    }
    Ok(())
}

async fn both(bases: &Bases, n: u64, ben_listens: bool) -> Result<()> {
    let (id, path) = (bases.id(), bases.copy(n)?);
    let mut ben = Process::start("ben", &bases.fresh(), id, ben_listens)?;
    let key: PublicKey = ben.hear("key")?.parse()?;
    let mut store = Side::open(Way::Http, &path, "anna").await?;
    let database = store.database(&id).await?;
    let_in(&database, &[store.user.get_default_key()?, key]).await?;
    store.track(id, true).await?;
    drop(database);
    store.close().await?;
    let mut anna = Process::start("anna", &path, id, true)?;
    anna.hear("key")?;
    let address = anna.hear("at")?;
    if ben_listens {
        ben.hear("at")?;
    }

    let before = [anna.peak()?, ben.peak()?];
    ben.say(&format!("join {address}"))?;
    let seconds: f64 = ben.hear("joined")?.parse()?;
    let after = [anna.peak()?, ben.peak()?];
    if !ben_listens {
        let rate = thousands((n as f64 / seconds) as u64);
        println!("| bootstrap | {} | {} | {rate} entries/s |", thousands(n), human(seconds));
        let [gives, gets] =
            [0, 1].map(|side: usize| format!("{} MiB (before: {})", after[side] >> 10, before[side] >> 10));
        println!("| most memory (VmHWM) of who gives, of who gets | {} | {gives} | {gets} |", thousands(n));
    }
    let ways = match ben_listens {
        false => [("ben calls", true), ("anna cannot call, ben waits for news", false)],
        true => [("both can be called, from ben", true), ("both can be called, from anna", false)],
    };
    for (how, from_ben) in ways {
        let (from, to) = if from_ben { (&mut ben, &mut anna) } else { (&mut anna, &mut ben) };
        let times = timed(from, to)?;
        let [median, late] = [COMMITS / 2, COMMITS * 99 / 100].map(|at| human(times[at].as_secs_f64()));
        println!("| commit to readable: {how} | {} | median {median} | 99th percentile {late} |", thousands(n));
    }
    anna.end()?;
    ben.end()
}

/// How long each commit of one took to be read at the other, in ascending order.
fn timed(from: &mut Process, to: &mut Process) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(COMMITS);
    for turn in 0..COMMITS {
        from.say(&format!("put {turn}"))?;
        let wrote = from.hear("wrote")?;
        let (id, began) = wrote.split_once(' ').ok_or("an id and a time")?;
        let seen = loop {
            let saw = to.hear("saw")?;
            let (other, at) = saw.split_once(' ').ok_or("an id and a time")?;
            if other == id {
                break at.parse::<u64>()?;
            }
        };
        times.push(Duration::from_nanos(seen.saturating_sub(began.parse()?)));
        std::thread::sleep(Duration::from_millis(2));
    }
    times.sort_unstable();
    Ok(times)
}

/// One side, as the process that measures sees it.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(name: &str, path: &Path, id: Id, listens: bool) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["side", name]).arg(path).arg(id.to_string()).arg(listens.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().ok_or("piped")?, child.stdout.take().ok_or("piped")?);
        Ok(Process { child, input, output: BufReader::new(output).lines() })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.input, "{line}")?)
    }

    /// What it says next of this kind. What it says of others is passed over.
    fn hear(&mut self, kind: &str) -> Result<String> {
        loop {
            let line = self.output.next().ok_or_else(|| format!("a side has ended before it said: {kind}"))??;
            if let Some((said, rest)) = line.split_once(' ')
                && said == kind
            {
                return Ok(rest.to_owned());
            }
        }
    }

    /// The most memory that it has ever used, in KiB.
    fn peak(&mut self) -> Result<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("Linux counts it")?;
        Ok(line.split_whitespace().nth(1).ok_or("a number")?.parse()?)
    }

    fn end(self) -> Result<()> {
        let Process { mut child, input, .. } = self;
        drop(input);
        if child.wait()?.success() { Ok(()) } else { Err("a side has failed".into()) }
    }
}

/// One side: does what it is told, line by line, and tells of each entry that comes in.
async fn side(name: &str, path: &Path, id: Id, listens: bool) -> Result<()> {
    let mut side = Side::open(Way::Http, path, name).await?;
    println!("key {}", side.user.get_default_key()?);
    if listens {
        println!("at {}", side.listen().await?);
    }
    let mut lines = input();
    if name == "ben" {
        let line = lines.recv().await.ok_or("what to join")?;
        let address = Address::http(line.strip_prefix("join ").ok_or("what to join")?);
        side.track(id, true).await?;
        let began = Instant::now();
        side.sync.sync_with_peer(&address, Some(&id)).await?;
        println!("joined {}", began.elapsed().as_secs_f64());
    }
    let database = side.database(&id).await?;
    let mut watch = database.watch().await?;
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                let turn: u64 = line.strip_prefix("put ").ok_or("what to put")?.parse()?;
                let began = now();
                let put = base::commit(&database, &workloads::puts(NEAR, turn..turn + 1), Durability::Buffered).await?;
                println!("wrote {put} {began}");
            }
            change = watch.next() => println!("saw {} {}", change?.log.id, now()),
        }
    }
    drop((watch, database));
    side.close().await
}

/// Nanoseconds by the one clock that both processes read.
fn now() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// The lines that come in, until there are no more.
fn input() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
