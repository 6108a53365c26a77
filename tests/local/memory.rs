//! What a body costs in memory, whatever is in it: proven, by whoever sends it; applied, by who may write.
//!
//! Each case is a process of its own, since what is measured is the most that a process has ever used (`VmHWM`).

use bytes::Bytes;
use eidetica::backend::database::Sqlite;
use eidetica::entry::{VerifiedEntry, verify};
use eidetica::{Instance, Outcome};

use super::kit::{Forge, hand_in, key};
use crate::backend::children;

const CHILD: &str = "local::memory::child_takes_a_body";
const CASE: &str = "EIDETICA_TEST_CASE";
/// About how large a body is.
const SIZE: usize = 4 << 20;
/// What a process uses besides, in KiB: threads, pages of SQLite, the heads of entries.
const BESIDES: usize = 6 << 10;

/// A list of so many times the same value.
fn list(value: &[u8], count: usize) -> Vec<u8> {
    let mut list = vec![0x9a];
    list.extend((count as u32).to_be_bytes());
    list.extend(value.repeat(count));
    list
}

/// A list of `{"": null}`, three bytes each: what takes the most memory for each byte when it is built.
fn nested() -> Vec<u8> {
    list(&[0xa1, 0x60, 0xf6], SIZE / 3)
}

/// The delta of a document that inserts an element with this value.
fn inserting(value: &[u8]) -> Vec<u8> {
    [&[0x81, 0x84, 0x82, 0x61, b'l', 0x82, 0xf6, 0x00, 0x04, 0x41, 0x80], value].concat()
}

/// Many of something: each with a key of four letters.
fn many(count: usize, one: impl Fn([u8; 4]) -> Vec<u8>) -> Vec<u8> {
    let letter = |number: usize, place: u32| b'a' + (number / 26usize.pow(place) % 26) as u8;
    let mut all = vec![0x9a];
    all.extend((count as u32).to_be_bytes());
    (0..count).for_each(|n| all.extend(one([letter(n, 3), letter(n, 2), letter(n, 1), letter(n, 0)])));
    all
}

/// Name and kind of the store, and the body. Each is one that the kind reads, or nearly.
fn body(case: &str) -> (&'static str, &'static str, Vec<u8>) {
    let settings = |values: Vec<u8>| [&[0x82, 0x80], &values[..]].concat();
    let name = |key: [u8; 4]| [&[0x64], &key[..]].concat();
    let deletion = |key| [&[0x82, 0x81], &name(key)[..], &[0]].concat();
    match case {
        "settings, nested" => ("_settings", "settings", settings(inserting(&nested()))),
        "settings, many" => ("_settings", "settings", settings(many(SIZE / 10, deletion))),
        "document, nested" => ("d", "doc", inserting(&nested())),
        "document, nested where only scalars are" => {
            ("d", "doc", [&[0x81, 0x83, 0x81, 0x61, b'k', 0x01], &nested()[..]].concat())
        }
        "table, nested" => ("t", "table", [&[0x81, 0x83, 0x61, b'k', 0x01, 0xa1, 0x61, b'f'], &nested()[..]].concat()),
        "table, many" => ("t", "table", many(SIZE / 10, |key| [&[0x82], &name(key)[..], &[0]].concat())),
        "document, many" => ("d", "doc", many(SIZE / 10, deletion)),
        _ => panic!("no such case: {case}"),
    }
}

/// The most that this process has ever used, in KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("Linux counts it");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// By how many times the body the peak grows, in a process of its own.
fn cost(case: &str, applied: bool) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let mut command = children::command(CHILD, &directory.path().join("store.db"));
    let output = command.env(CASE, format!("{case}|{applied}")).output().unwrap();
    children::check(&output);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.split_once("grew by ")).expect("the child says what it measured").1;
    let numbers: Vec<usize> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let times = numbers[0].saturating_sub(BESIDES) as f64 / (numbers[1] as f64 / 1024.0);
    println!("{case}, applied: {applied}: {} KiB for {} bytes: {times:.1} times", numbers[0], numbers[1]);
    times
}

#[tokio::test]
#[ignore = "run by the tests of this module"]
async fn child_takes_a_body() {
    let Ok(case) = std::env::var(CASE) else { return };
    let path = children::store().unwrap();
    let (case, applied) = case.split_once('|').unwrap();
    let (name, kind, body) = body(case);
    let body = Bytes::from(body);
    let length = body.len();
    let forge = Forge::new(1);
    let instance = Instance::open(Box::new(Sqlite::open(&path).await.unwrap())).await.unwrap();
    let database = forge.adopt(&instance).await;
    let stranger = Forge { key: key(99), ..forge.clone() };
    let by = if applied == "true" { forge } else { stranger };
    let before = peak();
    let entry: VerifiedEntry = by.sign(by.header(&[&by.root]), vec![(name.into(), kind.into(), body)]);
    if applied == "true" {
        assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Accepted);
    } else {
        verify(entry.to_raw()).unwrap();
        assert!(matches!(hand_in(&database, entry.to_raw()).await, Outcome::Refused(_)));
    }
    println!("grew by {} {length}", peak() - before);
    instance.close().await.unwrap();
}

/// By a stranger, who has no right at all: proven, judged, refused.
#[test]
fn to_prove_and_refuse_a_body_costs_a_few_times_its_size() {
    for case in ["settings, nested", "settings, many", "document, nested", "table, nested", "document, many"] {
        let times = cost(case, false);
        assert!(times <= 4.0, "{case}: {times:.1} times");
    }
}

/// By who may write: what is kept of it is copied on its way to the disk, and not built. (What a group of changes costs
/// that are many and small is another matter: each becomes rows, and the rows of a group are in memory until it is written.)
#[test]
fn to_apply_a_body_costs_little_more_than_what_is_kept_of_it() {
    let cases = ["settings, nested", "document, nested", "document, nested where only scalars are", "table, nested"];
    for case in cases {
        let times = cost(case, true);
        assert!(times <= 16.0, "{case}: {times:.1} times");
    }
}
