//! From a plan to signed entries.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use eidetica_contract::PublicKey;
use eidetica_core::auth::{self, Right, Setting, SettingsDelta, Subject};
use eidetica_core::entry::{Header, Origin, VerifiedEntry};
use eidetica_core::store::cells::CellsDelta;
use eidetica_core::store::doc::DocDelta;
use eidetica_core::store::table::TableDelta;
use eidetica_core::{Id, SecretKey, Time};

use super::draft::{Draft, Names};
use super::model::{Model, Set};
use super::plan::{Fault, ParentsPlan, Plan, StepPlan};

/// The documents, the second of which has the name of the table.
pub const DOCS: [&str; 3] = ["notes", "rows", "more"];
pub const TABLE: &str = "rows";
pub const CELL_STORE: &str = "cells";
pub const CELL_KIND: &str = "oracle-cells";

/// Signed entries, and what the oracle knows of them.
pub struct History {
    pub model: Model,
    pub keys: Vec<SecretKey>,
    /// For each author what it has heard of.
    known: Vec<Set>,
    names: Names,
}

/// The key of an author.
pub fn key_of(number: usize) -> SecretKey {
    SecretKey::from_seed(&[number as u8 + 1; 32])
}

/// The rights that plans speak of.
pub fn right(number: u8) -> Right {
    let rights =
        [Right::WRITE, Right::WRITE, Right::admin(5), Right::admin(1), Right::READ, Right::NONE, Right::admin(0)];
    rights.get(usize::from(number)).copied().unwrap_or(Right::admin(7))
}

/// The root of a database in which these subjects have these rights.
pub fn root(creator: &SecretKey, rights: &BTreeMap<Subject, Right>) -> VerifiedEntry {
    let granted = rights.iter().filter(|(_, right)| **right > Right::NONE);
    let rights = granted.map(|(subject, right)| (*subject, Setting::Grant(*right))).collect();
    let delta = SettingsDelta { rights, values: DocDelta::default() };
    let header = header(Origin::Root { nonce: [7; 16] }, Vec::new(), 0, Time::from_millis(1_700_000_000_000), creator);
    let settings = (auth::STORE.to_owned(), auth::KIND.to_owned(), delta.to_bytes());
    VerifiedEntry::sign(header, vec![settings], creator).expect("a root")
}

/// A header to sign.
pub fn header(origin: Origin, parents: Vec<Id>, height: u64, time: Time, author: &SecretKey) -> Header {
    Header { origin, parents, height, time, author: author.public(), stores: Vec::new(), signature: [0; 64] }
}

impl History {
    pub fn new(plan: &Plan) -> History {
        let keys: Vec<SecretKey> = (0..plan.authors).map(key_of).collect();
        let subjects = keys.iter().map(|key| Subject::Key(key.public()));
        let others = plan.rights.iter().map(|number| right(*number));
        let root = root(&keys[0], &subjects.zip([Right::admin(9)].into_iter().chain(others)).collect());
        let known = vec![Set::from_iter([root.id()]); plan.authors];
        let mut model = Model::default();
        model.add(root).expect("the root passes always");
        let mut history = History { model, keys, known, names: Names::default() };
        plan.steps.iter().for_each(|step| history.step(step));
        history
    }

    /// The keys of all authors.
    pub fn public(&self) -> Vec<PublicKey> {
        self.keys.iter().map(SecretKey::public).collect()
    }

    fn step(&mut self, plan: &StepPlan) {
        let author = plan.author % self.keys.len();
        let admitted: Vec<Id> = self.model.admitted().map(VerifiedEntry::id).collect();
        for heard in plan.learns.iter().filter_map(|back| newest(&admitted, *back)) {
            self.known[author].extend(self.model.below(heard));
            self.known[author].insert(*heard);
        }
        let mut parents = self.parents(&self.known[author], &plan.parents);
        if plan.fault == Fault::OnRefused {
            let ids = self.model.entries().iter().map(VerifiedEntry::id);
            parents.extend(ids.filter(|id| self.model.refused(id).is_some()).last());
        }
        let below = self.model.closure(&parents);
        let headers = || parents.iter().map(|parent| self.model.entry(parent).header());
        let mut height = headers().map(|parent| parent.height + 1).max().unwrap_or_default();
        let latest = headers().map(|parent| parent.time.number()).max().unwrap_or_default();
        // Most clocks agree, so that the ids must often decide.
        let mut time = latest + 1 + [0, 0, 1, 3, 1 << 16, 9 << 16][plan.ahead];
        let mut origin = Origin::Database(self.model.root());
        match plan.fault {
            Fault::Height => height += 1,
            Fault::Time => time = latest,
            Fault::Database => origin = Origin::Database(Id::from_bytes([9; 32])),
            Fault::None | Fault::OnRefused => {}
        }
        let subjects: Vec<Subject> = self.public().into_iter().map(Subject::Key).collect();
        let mut draft = Draft::default();
        for change in &plan.changes {
            draft.add(change, &self.names, &subjects, author, &below);
        }
        let header = header(origin, parents, height, Time::from_number(time), &self.keys[author]);
        let entry =
            VerifiedEntry::sign(header, draft.deltas(), &self.keys[author]).expect("an entry within the format");
        let id = entry.id();
        // Two steps that do the same are one entry.
        let again = self.model.entries().iter().any(|other| other.id() == id);
        if !again && self.model.add(entry).is_ok() {
            self.known[author].insert(id);
            self.names.remember(id, &draft);
        }
    }

    fn parents(&self, known: &Set, plan: &ParentsPlan) -> Vec<Id> {
        let known: Vec<Id> = self.model.admitted().map(VerifiedEntry::id).filter(|id| known.contains(id)).collect();
        let pick = |some: &[usize]| -> Set { some.iter().filter_map(|back| newest(&known, *back)).copied().collect() };
        match plan {
            ParentsPlan::Tips => self.model.tips(&known.into_iter().collect()),
            ParentsPlan::Old(back) => pick(&[*back]).into_iter().collect(),
            ParentsPlan::Some(some) => self.model.tips(&pick(some)),
            ParentsPlan::Redundant(some) => pick(some).into_iter().collect(),
        }
    }
}

impl History {
    /// Short names of entries: their places in the order of writing.
    pub fn name_of(&self, ids: &[Id]) -> String {
        let place = |id: &Id| self.model.entries().iter().position(|entry| entry.id() == *id);
        let name = |id: &Id| place(id).map_or_else(|| id.to_string(), |place| format!("e{place}"));
        ids.iter().map(name).collect::<Vec<_>>().join(",")
    }

    /// One line for each entry.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for entry in self.model.entries() {
            let header = entry.header();
            let author = self.keys.iter().position(|key| key.public() == header.author).unwrap_or(usize::MAX);
            let time = header.time.number() - self.model.entries()[0].header().time.number();
            let (name, parents) = (self.name_of(&[entry.id()]), self.name_of(&header.parents));
            let _ = write!(text, "{name}: author {author} on ({parents}) height {} time +{time}", header.height);
            let _ = writeln!(text, " {}", self.model.refused(&entry.id()).unwrap_or(""));
            for (store, body) in entry.deltas() {
                let body = body.clone().unwrap_or_default();
                let delta = match store.kind.as_str() {
                    "doc" => format!("{:?}", DocDelta::parse(&body)),
                    "table" => format!("{:?}", TableDelta::parse(&body)),
                    auth::KIND => format!("{:?}", SettingsDelta::parse(&body)),
                    _ => format!("{:?}", CellsDelta::parse(&body)),
                };
                let _ = writeln!(text, "    {} ({}): {delta}", store.name, store.kind);
            }
        }
        for (place, entry) in self.model.entries().iter().enumerate() {
            text = text.replace(&entry.id().to_string(), &format!("e{place}"));
        }
        for (author, key) in self.keys.iter().enumerate() {
            text = text.replace(&key.public().to_string(), &format!("author {author}"));
        }
        text
    }
}

/// Counted from the last one, and around.
pub fn newest<T>(all: &[T], back: usize) -> Option<&T> {
    all.iter().rev().cycle().nth(back)
}
