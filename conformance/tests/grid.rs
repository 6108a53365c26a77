//! The table of the README, against what `tests/certified` of the crates run, all of which has to pass.

use std::collections::BTreeMap;
use std::path::Path;

use crate::suite::{ALONE, suite};

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

/// What stands in the table as certified is what the crates certify.
#[test]
fn each_crate_certifies_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |krate: &str| {
        let tests = root.join(krate).join("tests");
        let of = |name: &str| std::fs::read_to_string(tests.join(name));
        of("certified.rs").or_else(|_| of("certified/main.rs")).unwrap_or_else(|error| panic!("{krate}: {error}"))
    };
    for (krate, urls) in ALONE {
        let certified = read(krate);
        for url in urls {
            let kind = if krate.contains("transport") { "transport" } else { "backend" };
            assert!(certified.contains(&format!("{kind}({url:?})")), "{krate} does not certify {url}");
        }
        assert_eq!(certified.matches("backend(").count() + certified.matches("transport(").count(), urls.len());
    }
    assert!(read("eidetica-backend-lent").contains("backend_subject(lent::Lent)"));
    let kinds = read("eidetica-core");
    for kind in ["Documents", "Tables", "Settings"] {
        assert!(kinds.contains(&format!("kind(kinds::{kind})")), "{kind} is not certified");
    }
}
