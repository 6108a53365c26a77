//! The test vectors of the rules for permissions, and a few of the same form for stores.
//!
//! They check the oracle as much as the core: here the expected answers come from the text.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eidetica_core::auth::{self, Right, Setting, SettingsDelta, Subject};
use eidetica_core::crdt::Value;
use eidetica_core::entry::{Origin, VerifiedEntry};
use eidetica_core::store::doc::{Action, Path, Plain, Step};
use eidetica_core::store::table::{RowAction, TableDelta};
use eidetica_core::{Id, SecretKey, Time};
use proptest::prelude::*;
use proptest::test_runner::TestError;

use super::check::{self, Stores};
use super::deliver::{Batch, Disk, Peer, arrival, describe, fail};
use super::document::Document;
use super::draft::doc_delta;
use super::history::{self, TABLE};
use super::model::{Model, Set};
use super::property::{block_on, runner};
use super::rows::Rows;
use super::switches::Rule;

/// The vectors of the rules, with the root that all of them begin with.
const RULES: &str = include_str!("../../docs/spec/vectors/permissions.txt");

/// One for each sentence that a change of the core could break on its own.
pub const OWN: [&str; 18] = [
    "a write made in knowledge of another overtakes it | a:W(r) x=1; b:X(a) x=2; c:N(r) y=1 | heads={b,c} x=2 y=1",
    "a delete leaves what it did not see | a:W(r) m/x=1; b:X(a) ~m; c:N(a) m/y=2; d:W(r) m/z=3 | m=- m/x=- m/y=2 m/z=3",
    "a delete takes what it saw | a:W(r) m/x=1; b:X(a) ~m; c:N(b) y=1 | heads={c} m/x=- y=1",
    "a counter that ends takes increments along | a:W(r) n:=1; b:X(a) n+2@a; c:N(a) ~n; d:W(b) n+4@a | heads={c,d} n=-",
    "an increment from elsewhere counts nowhere | a:W(r) n:=1; b:X(r) n+2@a; c:N(a,b) y=1 | heads={c} n=1 y=1",
    "a field written in knowledge of another write overtakes it | a:W(r) t!1; b:X(a) t.2@a; c:N(b) t.3@a; d:W(r) y=1 | t=3",
    "a removed key is shut out | a:R(r) -W=0; w:W(a) x=1; b:X(w) y=1; c:W(r) z=1 | refused={b,w} void={c} heads={a} x=- z=-",
    "who has only what everybody has may step down to nothing, once | o:R(r) +*=W; s:S(o) -S=0; t:S(s) x=1; u:S(s) -S=0; v:S(o) y=1 \
     | refused={t,u} heads={s,v} S=removed N=W x=- y=1",
    "to step down from what everybody has takes a limit to none | o:R(r) +*=W; s:S(o) -S=R; t:S(r) -S=W; n:N(o) -N=R | refused={s,t} heads={n} S=W N=W",
    "stepping down holds nothing else | a:A(r) -A=W +Z=W; b:B(r) -B=W x=1; c:C(r) -C=W | refused={a,b} heads={c} A=A7 B=A7 C=W Z=0 x=-",
    "settings are for admins | s:W(r) +Z=R | refused={s} heads={r} Z=0",
    "a grant that raises nothing | a:A(r) +W=W; b:A(r) +W=R | refused={a,b} heads={r} W=W",
    "a limit that lowers nothing | a:A(r) -W=W; b:A(r) -Q=W | refused={a,b} heads={r} W=W Q=R",
    "two limits of equals | a:A(r) -M=W; b:B(r) -M=R | heads={a,b} M=R",
    "a limit of what was never given | p:C(r) +Q=A3; l:B(p) -Q=W; d:R(r) -C=0 | void={p} kept={p} heads={d,l} Q=R",
    "given back more, and limited again | a:R(r) -W=0; g:R(a) +W=A3; l:R(g) -W=W; w:W(r) x=1 | void={w} heads={l} W=W x=-",
    "each removal alone leaves enough, both together do not | o:R(r) +W=A2; g:M(o) +W=A3; a:A(o) -W=W; c:C(o) -W=0; w:W(g) x=1 \
     | void={w} heads={a,c,g} W=0 x=-",
    "who has nothing may step down as well | s:S(r) -S=0; o:R(s) +*=W; t:S(o) x=1 | refused={t} heads={o} S=removed x=-",
];

pub struct Vector {
    model: Model,
    names: BTreeMap<String, Id>,
    /// What is expected, by name.
    expected: Vec<(String, String)>,
    keys: BTreeMap<char, SecretKey>,
    rows: BTreeSet<String>,
}

/// What one entry does, operation by operation.
#[derive(Default)]
struct Operations {
    rights: BTreeMap<Subject, Setting>,
    doc: Vec<(Path, Action)>,
    rows: BTreeMap<String, RowAction>,
}

impl Vector {
    /// The vectors say nothing of time: `clocks` are eight numbers, by which the clocks of their entries run ahead.
    fn parse(text: &str, clocks: u32) -> Vector {
        Vector::without(None, text, clocks)
    }

    /// The same, by an oracle that does not keep one of the rules.
    pub fn without(rule: Option<Rule>, text: &str, clocks: u32) -> Vector {
        let mut parts = text.split('|').map(str::trim);
        let (_name, entries, expected) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
        let keys: BTreeMap<char, SecretKey> =
            "RABCMWXNQSZ".chars().map(|name| (name, SecretKey::from_seed(&[name as u8; 32]))).collect();
        let root = RULES.lines().find_map(|line| line.strip_prefix("root ")).unwrap();
        let rights = root.split(' ').map(|grant| {
            let (key, right) = grant.split_once('=').unwrap();
            (subject(&keys, key), parse_right(right))
        });
        let root = history::root(&keys[&'R'], &rights.collect());
        let names = BTreeMap::from([("r".to_owned(), root.id())]);
        let expected = expected.split(' ').map(|e| e.split_once('=').unwrap());
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let model = rule.map(Model::without).unwrap_or_default();
        let mut vector = Vector { model, names, expected, keys, rows: BTreeSet::new() };
        vector.model.add(root).unwrap();
        for (place, entry) in entries.split(';').enumerate() {
            vector.entry(entry.trim(), u64::from(clocks >> (4 * (place % 8)) & 3));
        }
        vector
    }

    fn entry(&mut self, text: &str, ahead: u64) {
        let (name, rest) = text.split_once(':').unwrap();
        let (author, rest) = rest.split_once('(').unwrap();
        let (parents, operations) = rest.split_once(')').unwrap();
        let parents: Vec<Id> = parents.split(',').map(|parent| self.names[parent]).collect();
        let mut done = Operations::default();
        operations.split_whitespace().for_each(|operation| self.operation(operation, &mut done));
        let headers = || parents.iter().map(|parent| self.model.entry(parent).header());
        let height = headers().map(|parent| parent.height).max().unwrap() + 1;
        let time = headers().map(|parent| parent.time.number()).max().unwrap() + 1 + ahead;
        let author = &self.keys[&author.chars().next().unwrap()];
        let origin = Origin::Database(self.model.root());
        let header = history::header(origin, parents.clone(), height, Time::from_number(time), author);
        let entry = VerifiedEntry::sign(header, done.deltas(), author).unwrap();
        self.names.insert(name.to_owned(), entry.id());
        let _ = self.model.add(entry);
    }

    fn operation(&mut self, text: &str, done: &mut Operations) {
        let field = |value: &str| BTreeMap::from([("f".to_owned(), Bytes::from(vec![value.parse::<u8>().unwrap()]))]);
        let number = |text: &str| text.parse::<i64>().unwrap();
        if let Some((key, right)) = text.strip_prefix('+').and_then(|grant| grant.split_once('=')) {
            done.rights.insert(subject(&self.keys, key), Setting::Grant(parse_right(right)));
        } else if let Some((key, right)) = text.strip_prefix('-').and_then(|limit| limit.split_once('=')) {
            done.rights.insert(subject(&self.keys, key), Setting::Limit(parse_right(right)));
        } else if let Some(path) = text.strip_prefix('~') {
            done.doc.push((parse_path(path), Action::Delete));
        } else if let Some((row, value)) = text.split_once('!') {
            self.rows.insert(row.to_owned());
            done.rows.insert(row.to_owned(), RowAction::Insert(field(value)));
        } else if let Some((row, _)) = text.split_once("~@") {
            done.rows.insert(row.to_owned(), RowAction::Delete);
        } else if let Some((row, (value, identity))) =
            text.split_once('.').map(|(row, w)| (row, w.split_once('@').unwrap()))
        {
            let action = RowAction::Write { identity: self.names[identity], fields: field(value) };
            done.rows.insert(row.to_owned(), action);
        } else if let Some((path, base)) = text.split_once(":=") {
            done.doc.push((parse_path(path), Action::Create(number(base))));
        } else if let Some((path, by)) = text.split_once('+') {
            let (by, epoch) = by.split_once('@').map_or((by, None), |(by, epoch)| (by, Some(self.names[epoch])));
            done.doc.push((parse_path(path), Action::Increment { by: number(by), epoch }));
        } else {
            let (path, value) = text.split_once('=').unwrap();
            done.doc.push((parse_path(path), Action::Set(Plain::Scalar(number(value).into()))));
        }
    }

    fn set(&self, names: &str) -> BTreeSet<Id> {
        let names = names.trim_matches(['{', '}']).split(',').filter(|name| !name.is_empty());
        names.map(|name| self.names[name]).collect()
    }

    /// The entries that are expected to be something; none, if the vector does not name them.
    fn expected_set(&self, what: &str) -> BTreeSet<Id> {
        let named = self.expected.iter().find(|(name, _)| name == what);
        self.set(named.map_or("", |(_, names)| names))
    }

    /// What the oracle answers, against what the vector says.
    pub fn check_oracle(&self) -> Result<(), String> {
        let all: Set = self.model.admitted().map(VerifiedEntry::id).collect();
        let (live, shown) = (self.model.live(&all), self.model.shown(all));
        let document = Document::new(&self.model, "notes", "doc");
        let rows = Rows::new(&self.model, TABLE);
        let refused = self.model.entries().iter().map(VerifiedEntry::id).filter(|id| self.model.refused(id).is_some());
        let void = || shown.closed.iter().filter(|id| !shown.effective.contains(*id)).copied();
        same("refused", refused.collect::<BTreeSet<_>>(), self.expected_set("refused"))?;
        same("void", void().collect::<BTreeSet<_>>(), self.expected_set("void"))?;
        let kept = void().filter(|id| live.contains(id)).collect::<BTreeSet<_>>();
        same("kept", kept, self.expected_set("kept"))?;
        for (name, value) in &self.expected {
            let keys: Vec<String> = name.split('/').map(str::to_owned).collect();
            let number = value.parse::<i64>().ok();
            match name.as_str() {
                "refused" | "void" | "kept" => {}
                "heads" => same(name, self.model.tips(&live).into_iter().collect(), self.set(value))?,
                row if self.rows.contains(row) => {
                    let shown = rows.all(&shown.effective).get(row).and_then(|row| row.get("f").cloned());
                    same(name, shown, number.map(Value::Int))?;
                }
                key if key.starts_with(|c: char| c.is_uppercase()) => {
                    let key = self.keys[&key.chars().next().unwrap()].public();
                    let has = self.model.right(key, &live);
                    if value != "0" || has > Right::NONE {
                        same(name, has, parse_right(value))?;
                    }
                }
                path => {
                    let view = document.within(&shown);
                    // What lies below a path is not at it.
                    let shown = view.get(&keys).filter(|value| value.as_map().is_none());
                    same(path, shown.and_then(|value| value.as_int()), number)?;
                    same(path, view.conflicts(&keys).len(), 0)?;
                }
            }
        }
        Ok(())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?} instead of {expected:?}")) }
}

impl Operations {
    fn deltas(self) -> Vec<(String, String, Bytes)> {
        let mut deltas = Vec::new();
        if !self.rights.is_empty() {
            let delta = SettingsDelta { rights: self.rights.into_iter().collect(), values: Default::default() };
            deltas.push((auth::STORE.to_owned(), auth::KIND.to_owned(), delta.to_bytes()));
        }
        if !self.doc.is_empty() {
            deltas.push(("notes".to_owned(), "doc".to_owned(), doc_delta(self.doc).to_bytes()));
        }
        if !self.rows.is_empty() {
            let delta = TableDelta(self.rows.into_iter().collect());
            deltas.push((TABLE.to_owned(), "table".to_owned(), delta.to_bytes()));
        }
        deltas
    }
}

fn subject(keys: &BTreeMap<char, SecretKey>, name: &str) -> Subject {
    let key = keys.get(&name.chars().next().unwrap());
    key.map_or(Subject::Everybody, |key| Subject::Key(key.public()))
}

fn parse_right(text: &str) -> Right {
    match text {
        "removed" => Right::REMOVED,
        "0" => Right::NONE,
        "R" => Right::READ,
        "W" => Right::WRITE,
        admin => Right::admin(admin.strip_prefix('A').unwrap().parse().unwrap()),
    }
}

fn parse_path(text: &str) -> Path {
    Path(text.split('/').map(|key| Step::Key(key.to_owned())).collect())
}

/// Every vector, with clocks that differ from case to case, arriving in any order.
fn hold(vectors: &[&str], cases: u32, disk: impl Fn() -> Disk) {
    for text in vectors {
        let strategy = (arrival(), any::<u32>());
        let outcome = runner(cases).run(&strategy, |(arrival, seed)| {
            let vector = Vector::parse(text, seed);
            vector.check_oracle().map_err(TestCaseError::fail)?;
            block_on(async {
                let mut peer = Peer::new(disk(), &vector.model).await.map_err(fail)?;
                peer.receive(&vector.model, &arrival).await?;
                let keys: Vec<_> = vector.keys.values().map(SecretKey::public).collect();
                check::now(&peer, &vector.model, &Stores::new(&vector.model), &keys).await
            })
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, (arrival, seed))) => {
                let arrived = describe(&Vector::parse(text, seed).model, &arrival);
                panic!("{text}\n{reason}\nwith clocks {seed}, arriving as\n{arrived}");
            }
            Err(abort) => panic!("{text}\n{abort}"),
        }
    }
}

pub fn of_the_rules() -> Vec<&'static str> {
    let vectors: Vec<&str> = RULES.lines().filter(|line| line.starts_with('V')).collect();
    assert_eq!(vectors.len(), 20);
    vectors
}

#[test]
fn the_vectors_of_the_rules_hold() {
    hold(&of_the_rules(), 32, Disk::memory);
}

#[test]
fn the_vectors_of_the_rules_hold_in_files() {
    hold(&of_the_rules(), 3, Disk::sqlite);
    hold(&of_the_rules(), 3, Disk::redb);
}

#[test]
fn the_sentences_behind_them_hold() {
    hold(&OWN, 32, Disk::memory);
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(less) = count.checked_sub(1) else { return vec![Vec::new()] };
    let insert = |order: Vec<usize>| {
        (0..=less).map(move |at| {
            let mut order = order.clone();
            order.insert(at, less);
            order
        })
    };
    orders(less).into_iter().flat_map(insert).collect()
}

#[test]
fn every_order_of_up_to_six_entries_ends_alike() {
    let mut seen = 0;
    for text in of_the_rules() {
        let vector = Vector::parse(text, 0);
        let count = vector.model.entries().len() - 1;
        let stores = Stores::new(&vector.model);
        let keys: Vec<_> = vector.keys.values().map(SecretKey::public).collect();
        for order in if count <= 6 { orders(count) } else { Vec::new() } {
            seen += 1;
            let outcome = block_on(async {
                let mut peer = Peer::new(Disk::memory(), &vector.model).await.map_err(fail)?;
                for at in &order {
                    let entry = &vector.model.entries()[at + 1];
                    let entries = vec![(entry.id(), entry.to_raw(), false)];
                    let batch = Batch { entries, source: "ann", causal: false, reopen: false };
                    peer.give(&vector.model, &batch).await?;
                }
                check::now(&peer, &vector.model, &stores, &keys).await
            });
            outcome.unwrap_or_else(|reason| panic!("{text}\n{reason}\nin the order {order:?}"));
        }
    }
    assert!(seen > 1_000, "only {seen} orders");
}
