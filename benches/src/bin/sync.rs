//! Measures sync between two stores on this machine, over HTTP and over iroh, and prints a table for each.
//!
//! `sync [http|iroh] [N…]`: over both, unless one is named; with histories of so many commits; 1,000, 10,000 and 100,000 without
//! any. Over iroh each figure stands beside iroh itself, which carries as many bytes in as many requests.

use std::time::{Duration, Instant};

use eidetica::Durability;
use eidetica_benches::Result;
use eidetica_benches::base::{self, Bases};
use eidetica_benches::clock::{human, thousands};
use eidetica_benches::raw_iroh::RawIroh;
use eidetica_benches::work::sync::{Pair, Side, Way, let_in};
use eidetica_benches::workloads::{self, NEAR};

fn main() -> Result<()> {
    let (mut sizes, mut ways) = (Vec::new(), Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "http" => ways.push(Way::Http),
            "iroh" => ways.push(Way::Iroh),
            size => sizes.push(size.parse::<u64>()?),
        }
    }
    if ways.is_empty() {
        ways = vec![Way::Http, Way::Iroh];
    }
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000];
    }
    eidetica_benches::run(async move { all(&sizes, &ways).await })?
}

fn row(work: &str, n: u64, took: Duration, counts: [u64; 3], more: &str) {
    let [requests, out, back] = counts;
    println!(
        "| {work} | {} | {} | {requests} | {} | {} | {more} |",
        thousands(n),
        human(took.as_secs_f64()),
        thousands(out),
        thousands(back)
    );
}

/// The same over iroh itself.
fn raw_row(work: &str, n: u64, took: Duration, counts: [u64; 3], whole: Duration) {
    let more = format!("{:.1} times this is the row above", whole.as_secs_f64() / took.as_secs_f64());
    row(&format!("iroh itself: {work}"), n, took, counts, &more);
}

async fn all(sizes: &[u64], ways: &[Way]) -> Result<()> {
    let bases = Bases::build(sizes).await?;
    for &way in ways {
        let (name, raw) = match way {
            Way::Http => ("HTTP", None),
            Way::Iroh => ("iroh, without relays,", Some(RawIroh::open().await?)),
        };
        println!("SQLite (page cache 64 MiB, WAL, NORMAL) on both sides, {name} on loopback, both in this process.\n");
        println!(
            "| work | n | time | requests | bytes out | bytes back | |\n| --- | --- | --- | --- | --- | --- | --- |"
        );
        for &n in sizes {
            one_size(way, raw.as_ref(), &bases, n).await?;
        }
        live(way, raw.as_ref(), &bases, sizes[0]).await?;
        println!();
        if let Some(raw) = raw {
            raw.close().await;
        }
    }
    Ok(())
}

async fn one_size(way: Way, raw: Option<&RawIroh>, bases: &Bases, n: u64) -> Result<()> {
    let id = bases.id();
    let mut anna = Side::open(way, &bases.copy(n)?, "anna").await?;
    let mut ben = Side::open(way, &bases.fresh(), "ben").await?;
    // Will know the whole history, and never have met anna.
    let mut carl = Side::open(way, &bases.fresh(), "carl").await?;
    let mut keys = Vec::new();
    for side in [&anna, &ben, &carl] {
        keys.push(side.user.get_default_key()?);
    }
    let there = anna.database(&id).await?;
    let_in(&there, &keys).await?;
    let mut exported = Vec::new();
    there.export(&mut exported).await?;
    let address = anna.listen().await?;
    anna.track(id, false).await?;

    ben.track(id, false).await?;
    let began = Instant::now();
    ben.sync.sync_with_peer(&address, Some(&id)).await?;
    let took = began.elapsed();
    let counts = ben.counts.take();
    let rate = format!("{} entries/s", thousands((n as f64 / took.as_secs_f64()) as u64));
    row("bootstrap", n, took, counts, &rate);
    if let Some(raw) = raw {
        raw_row("as much, as often", n, raw.carry(counts).await?, counts, took);
    }
    let here = ben.database(&id).await?;
    assert_eq!(here.get_tips().await?, there.get_tips().await?);

    let once = async |side: &Side| -> Result<(Duration, [u64; 3])> {
        side.counts.take();
        let began = Instant::now();
        side.sync.sync_with_peer(&address, Some(&id)).await?;
        Ok((began.elapsed(), side.counts.take()))
    };
    let mut best = once(&ben).await?;
    for _ in 0..20 {
        best = best.min(once(&ben).await?);
    }
    row("nothing new", n, best.0, best.1, "best of 21");
    if let Some(raw) = raw {
        let mut least = raw.carry(best.1).await?;
        for _ in 0..20 {
            least = least.min(raw.carry(best.1).await?);
        }
        raw_row("as much, as often", n, least, best.1, best.0);
    }

    let mut pulled = (Duration::MAX, [0; 3]);
    let mut pushed = (Duration::MAX, [0; 3]);
    for turn in 0..20 {
        base::commit(&there, &workloads::puts(NEAR, turn..turn + 1), Durability::Buffered).await?;
        pulled = pulled.min(once(&ben).await?);
        base::commit(&here, &workloads::puts(NEAR, turn..turn + 1), Durability::Buffered).await?;
        pushed = pushed.min(once(&ben).await?);
    }
    row("one new entry, pulled", n, pulled.0, pulled.1, "best of 20");
    row("one new entry, pushed", n, pushed.0, pushed.1, "best of 20");

    // Carl has the history up to the entry that lets him in; then both go apart.
    let (other, _) = carl.instance.import(&mut &exported[..], Some(base::key())).await?;
    carl.track(id, false).await?;
    for turn in 0..100 {
        base::commit(&there, &workloads::puts(3, turn..turn + 1), Durability::Buffered).await?;
        base::commit(&other, &workloads::puts(4, turn..turn + 1), Durability::Buffered).await?;
    }
    let mut apart = once(&carl).await?;
    // The greeting and the introduction come with a first contact alone.
    apart.1[0] -= 2;
    row("100 new on each side (and 40 more), first contact", n, apart.0, apart.1, "without greeting and introduction");
    assert_eq!(other.get_tips().await?, there.get_tips().await?);
    for side in [anna, ben, carl] {
        side.close().await?;
    }
    Ok(())
}

/// From a commit on one side until it can be read on the other.
async fn live(way: Way, raw: Option<&RawIroh>, bases: &Bases, n: u64) -> Result<()> {
    let mut pair = Pair::live(way, bases, n).await?;
    for (from_here, how) in [(true, "ben calls anna: pushed"), (false, "anna cannot call ben: watched")] {
        let mut times = Vec::new();
        for _ in 0..500 {
            times.push(pair.until_readable(from_here).await?);
        }
        times.sort();
        let most = format!("99th percentile {}", human(times[times.len() * 99 / 100].as_secs_f64()));
        let median = times[times.len() / 2];
        row(&format!("commit to readable, {how}"), n, median, [0; 3], &most);
        if let Some(raw) = raw {
            // About what a pushed entry and its answer have.
            let (out, back) = (700, 100);
            let took = raw.median(out, back, 500).await?;
            raw_row("a round trip, median", n, took, [1, out as u64, back as u64], median);
        }
    }
    pair.close().await
}
