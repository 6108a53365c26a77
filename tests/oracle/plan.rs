//! Plans of random histories: small numbers that `history` reads as authors, parents, times and deltas.
//!
//! Every plan is a history, whatever its numbers are, so that proptest can shrink it freely.

use bytes::Bytes;
use eidetica_core::crdt::Value;
use proptest::collection::vec;
use proptest::prelude::*;

/// The most entries above the root.
pub const MAX_ENTRIES: usize = 60;

/// A history to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// 2 to 5. The first one creates the database.
    pub authors: usize,
    /// What the root grants the others.
    pub rights: Vec<u8>,
    pub steps: Vec<StepPlan>,
}

/// An entry to be.
#[derive(Clone, Debug)]
pub struct StepPlan {
    pub author: usize,
    /// What the author hears of before writing, counted from the newest entry.
    pub learns: Vec<usize>,
    pub parents: ParentsPlan,
    /// How far the author's clock runs ahead.
    pub ahead: usize,
    pub changes: Vec<Change>,
    pub fault: Fault,
}

/// Which of the known entries become parents.
#[derive(Clone, Debug)]
pub enum ParentsPlan {
    /// All that are below no other.
    Tips,
    /// One of any age.
    Old(usize),
    /// Some, without those that are below others.
    Some(Vec<usize>),
    /// Some as they are, which is allowed, if clumsy.
    Redundant(Vec<usize>),
}

/// What is wrong with an entry, apart from what its author may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Height,
    Time,
    Database,
    /// It builds on a refused entry, if there is one.
    OnRefused,
}

/// A change to be.
#[derive(Clone, Debug)]
pub enum Change {
    Doc {
        store: usize,
        path: Vec<usize>,
        act: DocAct,
    },
    Row {
        key: usize,
        act: RowAct,
    },
    Cell {
        key: usize,
        value: Option<u8>,
    },
    Right {
        subject: usize,
        limit: bool,
        right: u8,
    },
    StepDown(u8),
    /// A value among the settings.
    Setting(usize, Option<usize>),
    /// A body that nobody can read, or that holds nothing.
    Odd {
        store: usize,
        nothing: bool,
    },
}

/// What happens at a path of a document.
#[derive(Clone, Debug)]
pub enum DocAct {
    Delete,
    Scalar(usize),
    Map,
    List,
    Create(usize),
    First(usize),
    Increment(usize, Named),
    Insert(usize, usize),
    Write(Named, Option<usize>, Option<usize>),
    Remove(Named),
}

/// What happens to a row.
#[derive(Clone, Debug)]
pub enum RowAct {
    Delete,
    Insert(Vec<(usize, usize)>),
    Write(Named, Vec<(usize, usize)>),
}

/// Which epoch, element or identity an operation names, counted from the newest.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// One that is below the entry, with its path.
    Seen(usize),
    /// Any of the history, with its path.
    Anywhere(usize),
    /// Any of the history, at the path that the plan says.
    Elsewhere(usize),
}

/// Keys that sort closely, one empty, one with a byte that must be escaped. The first ones are the common ones.
pub const KEYS: [&str; 6] = ["a", "b", "c", "ab", "", "a\0"];
pub const ROWS: [&str; 5] = ["k", "l", "kk", "", "k\0"];
pub const CELLS: [&[u8]; 4] = [b"p", b"p\0", b"", b"\xff"];
pub const FIELDS: [&str; 3] = ["f", "g", "ff"];
/// Positions end with 0x80.
pub const POSITIONS: [&[u8]; 5] = [&[0x80], &[0x7f, 0x80], &[0x81, 0x80], &[0x80, 0x7f, 0x80], &[0x80, 0x80]];
pub const NUMBERS: [i64; 7] = [1, 2, 5, -3, 0, i64::MAX, i64::MIN];

/// Scalars of documents.
pub fn scalar(at: usize) -> Value {
    let all =
        [Value::Int(1), Value::Int(2), "x".into(), Value::Null, Value::Float(-0.0), Value::Bytes(vec![0]), true.into()];
    all[at % all.len()].clone()
}

/// Values of list elements, which may be nested.
pub fn element(at: usize) -> Value {
    match at % 4 {
        0 => Value::Int(at as i64),
        1 => Value::List(vec![scalar(at), Value::Int(7)]),
        2 => Value::Map([("a", scalar(at))].into_iter().collect()),
        _ => scalar(at),
    }
}

/// Values of fields, with their encoding written out by hand.
pub fn fields() -> [(Value, &'static [u8]); 6] {
    [
        (Value::Int(1), &[0x01]),
        (Value::Int(-1), &[0x20]),
        ("x".into(), &[0x61, b'x']),
        (Value::Null, &[0xf6]),
        (Value::Float(0.5), &[0xfb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]),
        (Value::Int(256), &[0x19, 0x01, 0x00]),
    ]
}

/// The value that these bytes are.
pub fn field_value(bytes: &Bytes) -> Value {
    if let [number @ 0..0x18] = bytes[..] {
        return Value::Int(number.into());
    }
    let found = fields().into_iter().find(|(_, encoded)| bytes == encoded);
    found.expect("a value of a field that was planned").0
}

/// Small numbers more often than great ones, so that what is written meets.
fn small(end: usize) -> impl Strategy<Value = usize> + Clone {
    prop_oneof![3 => 0..2usize.min(end), 1 => 0..end]
}

fn named() -> impl Strategy<Value = Named> + Clone {
    prop_oneof![
        12 => small(8).prop_map(Named::Seen),
        2 => small(20).prop_map(Named::Anywhere),
        1 => small(20).prop_map(Named::Elsewhere),
    ]
}

fn doc_act() -> impl Strategy<Value = DocAct> {
    prop_oneof![
        4 => small(7).prop_map(DocAct::Scalar),
        3 => Just(DocAct::Delete),
        1 => Just(DocAct::Map),
        1 => Just(DocAct::List),
        2 => small(7).prop_map(DocAct::Create),
        1 => small(7).prop_map(DocAct::First),
        4 => (small(7), named()).prop_map(|(by, epoch)| DocAct::Increment(by, epoch)),
        3 => (small(5), small(8)).prop_map(|(position, value)| DocAct::Insert(position, value)),
        2 => (named(), proptest::option::of(small(5)), proptest::option::of(small(8)))
            .prop_map(|(name, position, value)| DocAct::Write(name, position, value)),
        1 => named().prop_map(DocAct::Remove),
    ]
}

fn row_act() -> impl Strategy<Value = RowAct> {
    let fields = || vec((small(3), small(6)), 1..3);
    prop_oneof![
        3 => vec((small(3), small(6)), 0..4).prop_map(RowAct::Insert),
        5 => (named(), fields()).prop_map(|(row, fields)| RowAct::Write(row, fields)),
        1 => Just(RowAct::Delete),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        20 => (small(3), vec(small(6), 1..4), doc_act()).prop_map(|(store, path, act)| Change::Doc { store, path, act }),
        10 => (small(5), row_act()).prop_map(|(key, act)| Change::Row { key, act }),
        4 => (small(4), proptest::option::weighted(0.8, any::<u8>())).prop_map(|(key, value)| Change::Cell { key, value }),
        2 => (0..6usize, any::<bool>(), 0..8u8).prop_map(|(subject, limit, right)| Change::Right { subject, limit, right }),
        1 => (0..2usize, proptest::option::of(0..7usize)).prop_map(|(key, value)| Change::Setting(key, value)),
        1 => (0..4usize, any::<bool>()).prop_map(|(store, nothing)| Change::Odd { store, nothing }),
    ]
}

fn step() -> impl Strategy<Value = StepPlan> {
    let parents = prop_oneof![
        12 => Just(ParentsPlan::Tips),
        3 => (0..MAX_ENTRIES).prop_map(ParentsPlan::Old),
        2 => vec(0..MAX_ENTRIES, 1..4).prop_map(ParentsPlan::Some),
        1 => vec(0..MAX_ENTRIES, 2..4).prop_map(ParentsPlan::Redundant),
    ];
    let changes = prop_oneof![60 => vec(change(), 0..4), 1 => (0..3u8).prop_map(|right| vec![Change::StepDown(right)])];
    let fault = prop_oneof![
        40 => Just(Fault::None),
        1 => prop_oneof![Just(Fault::Height), Just(Fault::Time), Just(Fault::Database), Just(Fault::OnRefused)],
    ];
    let learns = prop_oneof![1 => Just(Vec::new()), 1 => vec(small(10), 1..3)];
    (0..5usize, learns, parents, small(6), changes, fault).prop_map(
        |(author, learns, parents, ahead, changes, fault)| StepPlan { author, learns, parents, ahead, changes, fault },
    )
}

/// A step of people who take rights from each other, and write beside it.
fn quarrelling_step() -> impl Strategy<Value = StepPlan> {
    let parents = prop_oneof![
        6 => Just(ParentsPlan::Tips),
        3 => (0..QUARREL).prop_map(ParentsPlan::Old),
        2 => vec(0..QUARREL, 1..4).prop_map(ParentsPlan::Some),
        1 => vec(0..QUARREL, 2..4).prop_map(ParentsPlan::Redundant),
    ];
    let right = || {
        let limit = proptest::bool::weighted(0.6);
        let to = prop_oneof![3 => Just(5u8), 4 => 0..8u8];
        (0..6usize, limit, to).prop_map(|(subject, limit, right)| Change::Right { subject, limit, right })
    };
    let changes = prop_oneof![
        8 => vec(right(), 1..3),
        8 => vec(change(), 0..3),
        2 => (right(), change()).prop_map(|(right, other)| vec![right, other]),
        1 => (0..3u8).prop_map(|right| vec![Change::StepDown(right)]),
    ];
    let learns = prop_oneof![2 => Just(Vec::new()), 1 => vec(small(10), 1..3)];
    (0..5usize, learns, parents, small(6), changes).prop_map(|(author, learns, parents, ahead, changes)| StepPlan {
        author,
        learns,
        parents,
        ahead,
        changes,
        fault: Fault::None,
    })
}

/// The most entries above the root of a quarrel.
const QUARREL: usize = 40;

/// A plan in which most authors are admins, and rights are what it is about.
pub fn quarrel() -> impl Strategy<Value = Plan> {
    let right = prop_oneof![3 => Just(2u8), 2 => Just(7u8), 2 => Just(3u8), 1 => Just(6u8), 3 => 0..8u8];
    (2..=5usize, vec(right, 4), vec(quarrelling_step(), 5..=QUARREL)).prop_map(|(authors, rights, steps)| Plan {
        authors,
        rights,
        steps,
    })
}

/// Any plan of a history.
pub fn plan() -> impl Strategy<Value = Plan> {
    let right = prop_oneof![5 => 0..3u8, 1 => 0..8u8];
    (2..=5usize, vec(right, 4), vec(step(), 1..=MAX_ENTRIES)).prop_map(|(authors, rights, steps)| Plan {
        authors,
        rights,
        steps,
    })
}
