//! Measures Loro, yrs and automerge on the work that Eidetica's own benches do, and what a
//! signature and a hash cost. See README.md.

#![forbid(unsafe_code)]

mod libraries;
mod limits;
mod measure;
mod workloads;

use std::process::ExitCode;
use std::time::Duration;

use libraries::{Am, Loro, Replica, Yrs};
use measure::{Options, Row, measure, print_head, wanted};
use workloads::{BASE_KEY, FAR, NEAR, Put, WORKS, Work, base, history, puts, timed_commits};

const USAGE: &str = "usage: eidetica-compare [--json] [--only TEXT] [--seconds S]
  --json        one JSON object a line instead of a table
  --only TEXT   only works whose name contains TEXT, or only the crate TEXT
  --seconds S   go on repeating a measurement for S seconds (2 unless told), always at least 3 runs";

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    print_head(&options);
    limits::run(&options);
    for &(work, sizes) in WORKS {
        for &n in sizes {
            run::<Loro<false>>(&options, work, n);
            run::<Loro<true>>(&options, work, n);
            run::<Yrs>(&options, work, n);
            run::<Am>(&options, work, n);
        }
    }
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { json: false, only: None, budget: Duration::from_secs(2) };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = true,
            "--only" => options.only = Some(args.next().ok_or("--only needs a text")?),
            "--seconds" => {
                let text = args.next().ok_or("--seconds needs a number")?;
                let seconds = text.parse().map_err(|_| format!("not a number of seconds: {text}"))?;
                options.budget = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
            }
            other => return Err(format!("unknown argument: {other}")),
        }
    }
    Ok(options)
}

/// The largest `n` at which a library is measured at a work, where it has a limit.
fn cap<R: Replica>(work: Work) -> u64 {
    match (R::CRATE, work) {
        ("automerge", Work::ApplyOneByOne) => 10_000,
        _ => u64::MAX,
    }
}

fn run<R: Replica>(options: &Options, work: Work, n: u64) {
    let name = work.name();
    if !wanted(options, &name, R::CRATE) || n > cap::<R>(work) {
        return;
    }
    let genesis = R::new(0).commit(&base());
    let row = Row { work: &name, n, library: R::CRATE, variant: R::VARIANT, items: work.items(n), bytes: 0 };
    match work {
        Work::CommitOneKey => commit_one_key::<R>(options, row, work, &genesis),
        _ => apply::<R>(options, row, work, &genesis),
    }
}

fn commit_one_key<R: Replica>(options: &Options, row: Row<'_>, work: Work, genesis: &[u8]) {
    let n = row.n;
    let new = puts(NEAR, n..n + timed_commits(n));
    let commits = history(work, n, NEAR);
    let build = || replica::<R>(NEAR, genesis, &commits).0;
    let timed = |mut replica: R| {
        let sent: Vec<Vec<u8>> = new.iter().map(|put| replica.commit(std::slice::from_ref(put))).collect();
        (replica, sent)
    };
    // Once outside the times: what was sent is whole, so that another side can follow.
    let before = build();
    let (near, sent) = timed(build());
    if n <= 10_000 {
        let mut far = replica::<R>(FAR, genesis, &[]).0;
        far.apply(&before.since(&far.version()));
        sent.iter().for_each(|bytes| far.apply(bytes));
        same(&near, &far, &[&new]);
    }
    drop((before, near));

    let row = Row { bytes: sent.iter().map(|bytes| bytes.len() as u64).sum(), ..row };
    let keys = (1 + n + timed_commits(n)) as usize;
    measure(options, &row, build, timed, |(replica, _)| assert_eq!(replica.len(), keys));
}

fn apply<R: Replica>(options: &Options, row: Row<'_>, work: Work, genesis: &[u8]) {
    let near_commits = history(work, row.n, NEAR);
    let far_commits = history(work, row.n, FAR);
    let (mut far, sent) = replica::<R>(FAR, genesis, &far_commits);
    let messages = match work {
        Work::ApplyOneByOne => sent,
        _ => vec![far.since(&replica::<R>(FAR, genesis, &[]).0.version())],
    };
    let probe = &far_commits.last().expect("the far side did something")[0].0;
    let build = || replica::<R>(NEAR, genesis, &near_commits).0;
    let timed = |mut near: R| {
        for message in &messages {
            near.apply(message);
        }
        let read = near.get(probe);
        (near, read)
    };
    // Once outside the times: both sides end up with the same.
    let (near, _) = timed(build());
    let version = replica::<R>(NEAR, genesis, &[]).0.version();
    far.apply(&replica::<R>(NEAR, genesis, &near_commits).0.since(&version));
    let sets: Vec<&[Put]> = near_commits.iter().chain(&far_commits).map(Vec::as_slice).collect();
    same(&near, &far, &sets);

    let row = Row { bytes: messages.iter().map(|bytes| bytes.len() as u64).sum(), ..row };
    let keys = near.len();
    drop((near, far));
    measure(options, &row, build, timed, |(near, read)| {
        assert_eq!(near.len(), keys);
        assert!(read.is_some());
    });
}

/// A replica with the base and `commits`, and the bytes of each of these commits.
fn replica<R: Replica>(actor: u64, genesis: &[u8], commits: &[Vec<Put>]) -> (R, Vec<Vec<u8>>) {
    let mut replica = R::new(actor);
    replica.apply(genesis);
    let sent = commits.iter().map(|puts| replica.commit(puts)).collect();
    (replica, sent)
}

/// Asserts that two replicas agree on the base and on every key of `sets`, and that one of the
/// sides' values is what they hold.
fn same<R: Replica>(one: &R, other: &R, sets: &[&[Put]]) {
    assert_eq!(one.len(), other.len());
    assert!(one.get(BASE_KEY).is_some() && one.get(BASE_KEY) == other.get(BASE_KEY));
    for (key, _) in sets.iter().flat_map(|puts| puts.iter()) {
        let value = one.get(key);
        assert!(value.as_ref().is_some_and(|value| value.starts_with("side ")), "{key} is not set");
        assert_eq!(value, other.get(key), "the sides differ at {key}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn histories_are_what_the_works_say() {
        let shape = |work, n, side| {
            let commits = history(work, n, side);
            let keys: BTreeSet<_> = commits.iter().flatten().map(|(key, _)| key.clone()).collect();
            assert_eq!(keys.len(), commits.iter().map(Vec::len).sum::<usize>(), "a key is set twice");
            (commits.len(), keys)
        };
        let keys = |range| puts(NEAR, range).into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>();

        assert_eq!(shape(Work::CommitOneKey, 100, NEAR), (100, keys(0..100)));
        assert_eq!(shape(Work::ApplyOneByOne, 100, FAR), (100, keys(0..100)));
        assert_eq!(shape(Work::ApplyOneByOne, 100, NEAR).0, 0);
        for (changes, n) in [(1, 10_000), (100, 10_000), (100, 100)] {
            assert_eq!(shape(Work::MergeSides { changes }, n, NEAR), (changes as usize, keys(0..n)));
            assert_eq!(shape(Work::MergeSides { changes }, n, FAR), (changes as usize, keys(0..n)));
            let (near_commits, near) = shape(Work::MergeSidesApart { changes }, n, NEAR);
            let (far_commits, far) = shape(Work::MergeSidesApart { changes }, n, FAR);
            assert_eq!((near_commits, far_commits), (changes as usize, changes as usize));
            assert!(near.len() as u64 == n && far.len() as u64 == n && near.is_disjoint(&far));
        }
        let (near_commits, near) = shape(Work::MergeBranches, 10_000, NEAR);
        let (far_commits, far) = shape(Work::MergeBranches, 10_000, FAR);
        assert!(near_commits == 5_000 && far_commits == 5_000 && near.is_disjoint(&far));
    }

    /// Two branches of 50 commits on the base, each merged into the other.
    fn merged<R: Replica>() -> (R, R) {
        let genesis = R::new(0).commit(&base());
        let (mut near, _) = replica::<R>(NEAR, &genesis, &history(Work::MergeBranches, 100, NEAR));
        let (mut far, _) = replica::<R>(FAR, &genesis, &history(Work::MergeBranches, 100, FAR));
        let start = replica::<R>(NEAR, &genesis, &[]).0.version();
        let (to_far, to_near) = (near.since(&start), far.since(&start));
        near.apply(&to_near);
        far.apply(&to_far);
        assert_eq!(near.len(), 101);
        same(&near, &far, &[&puts(NEAR, 50..150)]);
        (near, far)
    }

    #[test]
    fn both_sides_agree() {
        merged::<Yrs>();
        merged::<Am>();
    }

    #[test]
    fn loro_joins_commits_or_keeps_them_apart_as_told() {
        let (near, far) = merged::<Loro<false>>();
        assert_eq!((near.changes(), far.changes()), (3, 3));
        let (near, far) = merged::<Loro<true>>();
        assert_eq!((near.changes(), far.changes()), (101, 101));
    }
}
