//! The form of the files under `docs/spec/vectors`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `entries.json`: whole entries.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Entries {
    pub valid: Vec<Entry>,
    pub invalid: Vec<InvalidEntry>,
    /// Entries that stand although a body did not fit.
    pub incomplete: Vec<IncompleteEntry>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Entry {
    pub name: String,
    pub about: String,
    /// The seed of the author's key.
    pub seed: String,
    /// The header without its signature.
    pub unsigned: Value,
    /// The bodies, in the order of the header's stores.
    pub deltas: Vec<Value>,
    pub id: String,
    pub cid: String,
    pub header: String,
    pub bodies: Vec<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct InvalidEntry {
    pub name: String,
    pub refused: String,
    pub header: String,
    pub bodies: Vec<Option<String>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct IncompleteEntry {
    pub name: String,
    pub header: String,
    pub bodies: Vec<Option<String>>,
    /// Which bodies are taken to be here.
    pub here: Vec<bool>,
}

/// `deltas.json`: bodies by themselves.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Deltas {
    pub readable: Vec<Delta>,
    pub unreadable: Vec<UnreadableDelta>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Delta {
    pub name: String,
    pub kind: String,
    pub delta: Value,
    pub body: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct UnreadableDelta {
    pub name: String,
    pub kind: String,
    /// For settings, whose entry is then refused: the reason.
    pub refused: Option<String>,
    pub body: String,
}

/// `door.json`: what becomes of entries that are handed in one after the other.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Door {
    /// What the clock shows, in milliseconds since 1970.
    pub now: u64,
    /// How far ahead of it an entry may be, in milliseconds.
    pub skew: u64,
    pub root: Raw,
    pub cases: Vec<Case>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Raw {
    pub header: String,
    pub bodies: Vec<Option<String>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Case {
    pub name: String,
    pub entries: Vec<Raw>,
    pub outcomes: Vec<String>,
}

/// `export.json`: a whole stream.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub struct Export {
    pub entries: u64,
    pub stream: String,
}

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/spec/vectors").join(name)
}

pub fn read<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let text = std::fs::read_to_string(path(name)).expect("the vectors lie in the repository");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn text<T: Serialize>(vectors: &T) -> String {
    serde_json::to_string_pretty(vectors).unwrap() + "\n"
}
