//! The table of the README, against what `tests/certified` of the crates run, all of which has to pass.

use std::collections::BTreeMap;
use std::path::Path;

use eidetica_conformance::Suite;

use crate::suite::{memory, together};

#[path = "../../eidetica-core/tests/certified/kinds.rs"]
mod kinds;
#[path = "../../eidetica-backend-lent/tests/certified/lent.rs"]
mod lent;

/// What the crates certify themselves by URL, each in its `tests/certified`.
const BACKENDS: [(&str, &[&str]); 3] = [
    ("eidetica-core", &["memory:"]),
    ("eidetica-backend-sqlite", &["sqlite:{tmp}/store.db", "sqlite::memory:"]),
    ("eidetica-backend-redb", &["redb:{tmp}/store.redb"]),
];
const TRANSPORTS: [(&str, &[&str]); 2] = [
    ("eidetica-transport-http", &["http:127.0.0.1:0"]),
    ("eidetica-transport-iroh", &["iroh:127.0.0.1:0?relay=disabled"]),
];
/// And what cannot be named by a URL.
const OTHERS: [(&str, &[&str]); 3] = [
    ("eidetica-core", &["kind(kinds::Documents)", "kind(kinds::Tables)", "kind(kinds::Settings)"]),
    ("eidetica-backend-lent", &["backend_subject(lent::Lent)"]),
    ("eidetica-sync", &["transport_subject(memory::Memory::new())"]),
];

/// All of it.
fn suite() -> Suite {
    let urls = |crates: &[(&str, &'static [&'static str])]| -> Vec<&'static str> {
        crates.iter().flat_map(|(_, urls)| urls.iter().copied()).collect()
    };
    let suite = urls(&BACKENDS).into_iter().fold(together(), Suite::backend);
    let suite = urls(&TRANSPORTS).into_iter().fold(suite, Suite::transport);
    let suite = suite.kind(kinds::Documents).kind(kinds::Tables).kind(kinds::Settings);
    suite.backend_subject(lent::Lent).transport_subject(memory::Memory::new())
}

/// How the README calls them: by what stands before the first colon.
fn short(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// A row for each backend and a column for each transport: how many cases whole nodes go through on both; and in the first column and row
/// how many each goes through alone.
async fn grid() -> String {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    // As the program of the certified ones is.
    eidetica_conformance::process::reached_by([""; 0]);
    for (subject, case) in suite().planned_cases().await.unwrap() {
        let place = match subject.split_once(" over ") {
            Some((backends, _)) if backends.contains(" + ") => ("mixed".to_owned(), "mixed".to_owned()),
            Some((backend, transport)) => (short(backend).to_owned(), short(transport).to_owned()),
            None if case.id.starts_with("backend.") => (subject.replace("{tmp}/", ""), String::new()),
            None if case.id.starts_with("kind.") => (subject, "kind".to_owned()),
            None => (String::new(), short(&subject).to_owned()),
        };
        *counts.entry(place).or_default() += 1;
    }
    let count = |backend: &str, transport: &str| counts.get(&(backend.to_owned(), transport.to_owned()));
    let alone = |name: &str| {
        let all = counts.iter().filter(|((backend, transport), _)| transport.is_empty() && short(backend) == name);
        all.map(|((backend, _), count)| format!("{count} `{backend}`")).collect::<Vec<_>>().join(", ")
    };
    let transports = ["memory", "http", "iroh", "tcp"];
    let mut grid = String::from(
        "| | alone | memory | HTTP | iroh | template |\n| --- | --- | --- | --- | --- | --- |\n| alone | |",
    );
    for transport in transports {
        grid += &format!(" {} |", count("", transport).unwrap());
    }
    grid.push('\n');
    for (backend, called) in
        [("memory", "memory"), ("sqlite", "sqlite"), ("redb", "redb"), ("journal", "template"), ("lent", "lent")]
    {
        grid += &format!("| {called} | {} |", alone(backend));
        for transport in transports {
            grid += &count(backend, transport).map_or_else(|| " |".to_owned(), |count| format!(" {count} |"));
        }
        grid.push('\n');
    }
    let mixed = count("mixed", "mixed").unwrap();
    let kinds = counts.iter().filter(|((_, transport), _)| transport == "kind");
    let kinds: Vec<String> = kinds.map(|((kind, _), count)| format!("{count} `{kind}`")).collect();
    grid + &format!("\nAll of them mixed in one network: {mixed}. Kinds of stores: {}.\n", kinds.join(", "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readme_says_what_is_certified() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let grid = grid().await;
    assert!(readme.contains(&grid), "README.md has to say:\n\n{grid}");
    // And what `cargo xtask certify` has noted is of the same cases.
    let noted = readme.lines().find_map(|line| line.strip_prefix("The full level certified all of this at commit `"));
    let (commit, rest) = noted.and_then(|rest| rest.split_once("`, with the seed ")).expect("README.md notes a run");
    let (seed, cases) = rest.strip_suffix(" cases.").and_then(|rest| rest.split_once(": ")).expect("it notes a seed");
    assert!(commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit} is no commit");
    seed.parse::<u64>().expect("the seed is a number");
    let planned = suite().planned_cases().await.unwrap().len();
    assert_eq!(cases, planned.to_string(), "`cargo xtask certify` has to run again, and to note that it has");
}

/// What stands in the table is what the crates certify, and nothing else.
#[test]
fn each_crate_certifies_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |krate: &str| {
        let tests = root.join(krate).join("tests");
        let of = |name: &str| std::fs::read_to_string(tests.join(name));
        of("certified.rs").or_else(|_| of("certified/main.rs")).unwrap_or_else(|error| panic!("{krate}: {error}"))
    };
    let mut promised: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (what, crates) in [("backend", &BACKENDS[..]), ("transport", &TRANSPORTS[..])] {
        for (krate, urls) in crates {
            promised.entry(krate).or_default().extend(urls.iter().map(|url| format!("{what}({url:?})")));
        }
    }
    for (krate, subjects) in OTHERS {
        promised.entry(krate).or_default().extend(subjects.iter().map(|subject| subject.to_string()));
    }
    let calls = ["backend(", "transport(", "kind(", "backend_subject(", "transport_subject("];
    for (krate, subjects) in promised {
        let certified = read(krate);
        for subject in &subjects {
            assert!(certified.contains(subject), "{krate} does not certify {subject}");
        }
        let all: usize = calls.iter().map(|call| certified.matches(call).count()).sum();
        assert_eq!(all, subjects.len(), "{krate} certifies more than the table says");
    }
}
