//! Rules of the house that a compiler does not check: who imports whom, and what no file may contain.

mod book;
mod examples;
mod features;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use eidetica::backend::Registry;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn architecture() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md stands in the root")
}

/// The packages of the workspace, by name.
fn packages() -> BTreeMap<String, Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (text(&package["name"]), package.clone())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a package depends on: name, and whether for its tests alone.
fn dependencies(package: &Value) -> BTreeSet<(String, bool)> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev")).collect()
}

/// The words between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The table of ARCHITECTURE.md: crate, what it may import, what its tests may import besides.
fn allowed() -> BTreeMap<String, BTreeSet<(String, bool)>> {
    let document = architecture();
    let (_, section) = document.split_once("## Who may import whom").expect("ARCHITECTURE.md has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut allowed = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, imports, tests, ..] = cells[..] else { panic!("a row of another form: {row}") };
        let name = quoted(name).next().expect("the first cell names a crate");
        let edges = quoted(imports).map(|name| (name, false)).chain(quoted(tests).map(|name| (name, true))).collect();
        assert!(allowed.insert(name, edges).is_none(), "a crate stands in the table twice: {row}");
    }
    allowed
}

#[test]
fn imports_are_those_of_the_table() {
    let packages = packages();
    let allowed = allowed();
    let names: Vec<&String> = packages.keys().collect();
    assert_eq!(allowed.keys().collect::<Vec<_>>(), names, "the crates of the table and those of the workspace");
    for (name, package) in &packages {
        let inside: BTreeSet<_> =
            dependencies(package).into_iter().filter(|(name, _)| packages.contains_key(name)).collect();
        assert_eq!(inside, allowed[name], "what {name} imports, and what the table in ARCHITECTURE.md allows");
    }
}

#[test]
fn the_contract_depends_on_four_crates() {
    let found = dependencies(&packages()["eidetica-contract"]);
    let wanted = ["async-trait", "bytes", "inventory", "thiserror"].map(|name| (name.to_owned(), false));
    assert_eq!(found, BTreeSet::from(wanted));
}

#[test]
fn every_crate_is_on_the_map() {
    let document = architecture();
    for name in packages().keys() {
        assert!(document.contains(&format!("`{name}`")), "ARCHITECTURE.md does not name {name}");
    }
}

/// The files of the repository, and those that are about to become some.
fn files() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    // A checkout may belong to another user than the one who tests it.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.current_dir(root()).output().expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.split('\0').filter(|name| !name.is_empty()).map(|name| root().join(name)).collect()
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // Taken apart, or this file would name them.
    let places = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Use", "rs/"]].map(|parts| parts.concat());
    let files = files();
    assert!(files.len() > 100, "the list of files is not the one of this repository");
    for file in files {
        // A file that was removed and not committed yet.
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for place in &places {
            let found = bytes.windows(place.len()).position(|part| part == place.as_bytes());
            if let Some(at) = found {
                let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
                panic!("{}:{line} names {place}", shown(&file));
            }
        }
    }
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

#[test]
fn schemes_that_are_linked() {
    let registry = Registry::linked().unwrap();
    let backends: Vec<&str> = registry.backends().map(|entry| entry.scheme()).collect();
    assert_eq!(backends, ["memory", "redb", "sqlite"], "the schemes of all backends, which the tests link");
    let transports: Vec<&str> = registry.transports().map(|entry| entry.scheme()).collect();
    assert_eq!(transports, ["http", "iroh"], "the schemes of the default features");
}

/// The tests link every backend by themselves, so that they alone would not notice a feature that links none.
#[test]
fn the_facade_names_the_crate_of_each_feature() {
    let package = &packages()["eidetica"];
    let source = std::fs::read_to_string(root().join("src/instance.rs")).unwrap();
    let mut features = Vec::new();
    for (feature, parts) in package["features"].as_object().unwrap() {
        for part in parts.as_array().unwrap().iter().map(text) {
            // Only backends register themselves; other crates are linked by being used.
            let Some(name) = part.strip_prefix("dep:").filter(|name| name.starts_with("eidetica-backend-")) else {
                continue;
            };
            let named = format!("#[cfg(feature = \"{feature}\")]\nuse {} as _;", name.replace('-', "_"));
            assert!(source.contains(&named), "src/instance.rs does not link {name}");
            features.push(feature.clone());
        }
    }
    assert_eq!(features, ["redb", "sqlite"], "the features that link a backend");
}
