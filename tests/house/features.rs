//! What each feature of the facade brings, and what stays away without it.

use std::collections::BTreeSet;
use std::process::Command;

/// Names of the crates that `eidetica` is built of with these features and no others, on this machine.
fn built_with(features: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--offline",
        "--locked",
        "--package",
        "eidetica",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ]);
    cargo.args(["--format", "{p}", "--no-default-features", "--features", features]).current_dir(super::root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Each of these is heavy, and must stay away from whoever does not ask for it.
#[test]
fn a_feature_brings_what_it_needs_and_nothing_else() {
    let heavy = ["rusqlite", "redb", "eidetica-sync", "hyper", "axum", "reqwest", "rustls", "ring", "iroh"];
    let mdns = "iroh-mdns-address-lookup";
    for (features, wanted) in [
        ("", &[][..]),
        ("sqlite", &["rusqlite"]),
        ("redb", &["redb"]),
        ("sync", &["eidetica-sync"]),
        ("http", &["eidetica-sync", "hyper", "axum"]),
        ("tls", &["eidetica-sync", "hyper", "axum", "rustls", "ring"]),
        // iroh speaks HTTP itself, with relays and the discovery service.
        ("iroh", &["eidetica-sync", "hyper", "reqwest", "rustls", "ring", "iroh"]),
        ("testing", &["eidetica-sync"]),
        ("mdns", &["eidetica-sync", "hyper", "reqwest", "rustls", "ring", "iroh", mdns]),
    ] {
        let built = built_with(features);
        assert!(built.contains("eidetica-core"), "this is no tree of the facade: {built:?}");
        let found: BTreeSet<&str> = heavy.into_iter().chain([mdns]).filter(|name| built.contains(*name)).collect();
        assert_eq!(found, wanted.iter().copied().collect(), "what comes with the features {features:?}");
    }
}
