//! Taking times and printing them.

use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What the command line asked for.
pub struct Options {
    /// One JSON object a line instead of a table.
    pub json: bool,
    /// Measure only works whose name contains this text, or the crate of this name.
    pub only: Option<String>,
    /// How long one measurement goes on repeating, its setup counted, once it ran three times.
    pub budget: Duration,
}

/// Which row a measurement fills.
pub struct Row<'a> {
    /// The name of the work.
    pub work: &'a str,
    /// Its size.
    pub n: u64,
    /// The crate measured, as in `Cargo.lock`.
    pub library: &'a str,
    /// How it was used, where that is not its default.
    pub variant: &'a str,
    /// Items done in one timed run.
    pub items: u64,
    /// Bytes of the message that was made or applied, over all items of a run; 0 where there is none.
    pub bytes: u64,
}

/// Whether the command line asked for this row.
pub fn wanted(options: &Options, work: &str, library: &str) -> bool {
    options.only.as_ref().is_none_or(|text| work.contains(text) || library == text)
}

const RUNS_AT_LEAST: usize = 3;
const RUNS_AT_MOST: usize = 31;

/// Runs `timed` on what `setup` makes, once unrecorded and then several times, passes every result
/// to `check`, and prints the median. Only `timed` is on the clock; what it returns is dropped
/// after the clock stops.
pub fn measure<S, R>(
    options: &Options,
    row: &Row<'_>,
    mut setup: impl FnMut() -> S,
    mut timed: impl FnMut(S) -> R,
    mut check: impl FnMut(R),
) {
    let started = Instant::now();
    let mut times = Vec::new();
    let mut warm = false;
    while times.len() < RUNS_AT_LEAST || times.len() < RUNS_AT_MOST && started.elapsed() < options.budget {
        let state = black_box(setup());
        let start = Instant::now();
        let result = black_box(timed(state));
        let time = start.elapsed();
        check(result);
        // A run of seconds needs no warming up.
        if warm || time > Duration::from_secs(2) {
            times.push(time);
        }
        warm = true;
    }
    times.sort_unstable();
    print(options, row, &times);
}

/// Prints the head of the table.
pub fn print_head(options: &Options) {
    if !options.json {
        say("| work | n | library and version | median | per item |");
        say("| --- | --- | --- | --- | --- |");
    }
}

fn print(options: &Options, row: &Row<'_>, times: &[Duration]) {
    let version = version(row.library);
    let median = times[times.len() / 2];
    let per_item = median.as_nanos() as f64 / row.items as f64;
    if options.json {
        let line = serde_json::json!({
            "work": row.work,
            "n": row.n,
            "library": row.library,
            "version": version,
            "variant": row.variant,
            "median_ns": median.as_nanos() as u64,
            "fastest_ns": times[0].as_nanos() as u64,
            "slowest_ns": times[times.len() - 1].as_nanos() as u64,
            "runs": times.len(),
            "items": row.items,
            "per_item_ns": per_item,
            "bytes": row.bytes,
        });
        say(&line.to_string());
    } else {
        let comma = if row.variant.is_empty() { "" } else { ", " };
        say(&format!(
            "| {} | {} | {} {version}{comma}{} | {} | {} |",
            row.work,
            thousands(row.n),
            row.library,
            row.variant,
            human(median.as_nanos() as f64),
            human(per_item),
        ));
    }
}

/// Prints a line, and ends the program where nobody reads on.
fn say(line: &str) {
    if writeln!(io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// The version of a crate that this program was built with.
fn version(name: &str) -> &'static str {
    let mut lines = include_str!("../Cargo.lock").lines();
    let wanted = format!("name = \"{name}\"");
    lines.find(|line| *line == wanted).expect("the crate is in Cargo.lock");
    let line = lines.next().expect("a version follows the name");
    line.trim_start_matches("version = ").trim_matches('"')
}

/// A time with three digits that count.
fn human(nanos: f64) -> String {
    let (value, unit) = match nanos {
        t if t < 1e3 => (t, "ns"),
        t if t < 1e6 => (t / 1e3, "µs"),
        t if t < 1e9 => (t / 1e6, "ms"),
        t => (t / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
