//! What the model test does to a store: random steps, chosen so that they meet.

use bytes::Bytes;
use eidetica_contract::{Keyspace, Scan, WriteBatch};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde::{Deserialize, Serialize};

use super::model::Model;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    Commit(Batch),
    /// A commit that must be refused whole, since it also does this.
    TooLarge(Batch, Excess),
    /// Takes a snapshot and keeps it.
    Keep,
    /// Lets go of a snapshot.
    Release(usize),
    /// Reads through a kept snapshot, or a fresh one.
    Get {
        view: usize,
        keyspace: u8,
        keys: Vec<Key>,
    },
    Scan {
        view: usize,
        range: Range,
    },
    /// Goes through a range page by page.
    Walk {
        view: usize,
        range: Range,
    },
    Flush,
    /// Closes and opens again, or only drops after a flush.
    Reopen {
        kill: bool,
    },
    /// Commits and snapshots at once.
    Concurrent {
        commits: u8,
        value: u8,
    },
    Maintain,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    pub expectations: Vec<(u8, Key, Expected)>,
    pub operations: Vec<Change>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Expected {
    /// What is there, whatever it is.
    Present,
    Absent,
    Value(Value),
    /// What is there, with one byte more, or without the last.
    Longer,
    Shorter,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Change {
    Put(u8, Key, Value),
    Delete(u8, Key),
    DeleteRange(u8, Key, Option<Key>),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Excess {
    PutKey,
    PutValue,
    DeleteKey,
    ExpectKey,
    ExpectValue,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Key {
    Short(Vec<u8>),
    /// A byte, repeated; then another one, so that long keys differ in their last byte only.
    Long(usize, u8, u8),
}

/// So many bytes that look random.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Value {
    pub length: usize,
    pub seed: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Range {
    pub keyspace: u8,
    pub start: Key,
    pub end: Option<Key>,
    pub backward: bool,
    pub rows: usize,
    pub bytes: Amount,
}

/// The bytes of a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Amount {
    Bytes(usize),
    /// Exactly what so many rows of the range take, or one byte less, or one more.
    Rows(usize, isize),
}

impl Key {
    pub fn bytes(&self) -> Bytes {
        match self {
            Key::Short(bytes) => bytes.clone().into(),
            Key::Long(length, byte, last) => {
                let mut bytes = vec![*byte; *length];
                if let Some(end) = bytes.last_mut() {
                    *end = *last;
                }
                bytes.into()
            }
        }
    }
}

impl Value {
    pub fn bytes(&self) -> Bytes {
        let mut state = u32::from(self.seed).wrapping_mul(2_654_435_761);
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Every fourth byte is NUL: whoever takes values for texts shall stumble.
            if state >> 30 == 0 { 0 } else { (state >> 16) as u8 }
        };
        (0..self.length).map(next).collect()
    }
}

impl Batch {
    /// The batch as it is committed. `model` knows what is there.
    pub fn build(&self, model: &Model) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for (keyspace, key, expected) in &self.expectations {
            let (keyspace, key) = (space(*keyspace), key.bytes());
            let present = model.get(keyspace, &key);
            let value = match (expected, present) {
                (Expected::Absent, _) | (Expected::Present, None) => None,
                (Expected::Value(value), _) => Some(value.bytes()),
                (Expected::Present, Some(present)) => Some(present),
                (Expected::Longer, present) => Some([&present.unwrap_or_default()[..], b"\0"].concat().into()),
                (Expected::Shorter, present) => present.map(|present| present.slice(..present.len().saturating_sub(1))),
            };
            match value {
                Some(value) => batch.expect_value(keyspace, key, value),
                None => batch.expect_absent(keyspace, key),
            }
        }
        for change in &self.operations {
            match change {
                Change::Put(keyspace, key, value) => batch.put(space(*keyspace), key.bytes(), value.bytes()),
                Change::Delete(keyspace, key) => batch.delete(space(*keyspace), key.bytes()),
                Change::DeleteRange(keyspace, start, end) => {
                    batch.delete_range(space(*keyspace), start.bytes(), end.as_ref().map(Key::bytes));
                }
            }
        }
        batch
    }
}

impl Range {
    /// The scan as it is made. `model` knows what is there.
    pub fn build(&self, model: &Model) -> Scan {
        let scan = Scan::range(space(self.keyspace), self.start.bytes(), self.end.as_ref().map(Key::bytes));
        let scan = if self.backward { scan.backward() } else { scan };
        let bytes = match self.bytes {
            Amount::Bytes(bytes) => bytes,
            Amount::Rows(rows, difference) => {
                let page = model.page(&scan.clone().rows(rows).bytes(usize::MAX));
                let exact: usize = page.rows.iter().map(|(key, value)| key.len() + value.len()).sum();
                exact.saturating_add_signed(difference)
            }
        };
        scan.rows(self.rows).bytes(bytes)
    }
}

pub fn space(number: u8) -> Keyspace {
    Keyspace::from_number(number).unwrap()
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Every history begins with some rows, or most of it would happen in empty ranges.
    (filling(), vec(step(), 1..40)).prop_map(|(filling, mut steps)| {
        steps.insert(0, Step::Commit(filling));
        steps
    })
}

fn step() -> impl Strategy<Value = Step> {
    let view = || 0..8usize;
    prop_oneof![
        12 => batch().prop_map(Step::Commit),
        1 => filling().prop_map(Step::Commit),
        1 => (batch(), excess()).prop_map(|(batch, excess)| Step::TooLarge(batch, excess)),
        3 => Just(Step::Keep),
        1 => view().prop_map(Step::Release),
        4 => (view(), keyspace(), vec(key(), 0..6)).prop_map(|(view, keyspace, keys)| Step::Get { view, keyspace, keys }),
        8 => (view(), range()).prop_map(|(view, range)| Step::Scan { view, range }),
        2 => (view(), range()).prop_map(|(view, range)| Step::Walk { view, range }),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|kill| Step::Reopen { kill }),
        1 => (1..8u8, any::<u8>()).prop_map(|(commits, value)| Step::Concurrent { commits, value }),
        1 => Just(Step::Maintain),
    ]
}

/// Many small rows in one keyspace, so that ranges have pages.
fn filling() -> impl Strategy<Value = Batch> {
    let rows = vec((short_key(), small_value()), 0..60);
    (keyspace(), rows).prop_map(|(keyspace, rows)| Batch {
        expectations: Vec::new(),
        operations: rows.into_iter().map(|(key, value)| Change::Put(keyspace, key, value)).collect(),
    })
}

fn batch() -> impl Strategy<Value = Batch> {
    let expected = prop_oneof![
        8 => Just(Expected::Present),
        1 => Just(Expected::Absent),
        1 => small_value().prop_map(Expected::Value),
        1 => Just(Expected::Longer),
        1 => Just(Expected::Shorter),
    ];
    let change = prop_oneof![
        6 => (keyspace(), key(), value()).prop_map(|(keyspace, key, value)| Change::Put(keyspace, key, value)),
        2 => (keyspace(), key()).prop_map(|(keyspace, key)| Change::Delete(keyspace, key)),
        1 => (keyspace(), key(), end()).prop_map(|(keyspace, start, end)| Change::DeleteRange(keyspace, start, end)),
    ];
    (vec((keyspace(), key(), expected), 0..4), vec(change, 0..8))
        .prop_map(|(expectations, operations)| Batch { expectations, operations })
}

/// All sixteen, but most often the same two.
fn keyspace() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(1), 2 => Just(15), 1 => 0..Keyspace::COUNT]
}

/// From few bytes, so that keys meet, and are beginnings of one another.
fn short_key() -> impl Strategy<Value = Key> {
    vec(select(vec![0, 1, b'a', 0xff]), 0..4).prop_map(Key::Short)
}

fn key() -> impl Strategy<Value = Key> {
    let last = select(vec![0, b'x', 0xff]);
    prop_oneof![
        9 => short_key(),
        1 => (select(vec![1023, 1024]), select(vec![0, b'x', 0xff]), last).prop_map(|(length, byte, last)| Key::Long(length, byte, last)),
    ]
}

fn end() -> impl Strategy<Value = Option<Key>> {
    prop_oneof![1 => Just(None), 4 => key().prop_map(Some)]
}

fn small_value() -> impl Strategy<Value = Value> {
    (0..20usize, any::<u8>()).prop_map(|(length, seed)| Value { length, seed })
}

fn value() -> impl Strategy<Value = Value> {
    let large = (0..300_000usize, any::<u8>()).prop_map(|(length, seed)| Value { length, seed });
    prop_oneof![20 => small_value(), 3 => (0..5000usize, any::<u8>()).prop_map(|(length, seed)| Value { length, seed }), 1 => large]
}

fn excess() -> impl Strategy<Value = Excess> {
    select(vec![Excess::PutKey, Excess::PutValue, Excess::DeleteKey, Excess::ExpectKey, Excess::ExpectValue])
}

fn range() -> impl Strategy<Value = Range> {
    let start = prop_oneof![1 => Just(Key::Short(Vec::new())), 2 => key()];
    let rows = prop_oneof![4 => 1..6usize, 2 => 6..40usize, 1 => Just(1024), 1 => Just(100_000)];
    let bytes = prop_oneof![
        4 => (1..8usize, -1..2isize).prop_map(|(rows, difference)| Amount::Rows(rows, difference)),
        2 => (0..2000usize).prop_map(Amount::Bytes),
        2 => select(vec![64 << 10, 4 << 20]).prop_map(Amount::Bytes),
    ];
    (keyspace(), start, end(), any::<bool>(), rows, bytes)
        .prop_map(|(keyspace, start, end, backward, rows, bytes)| Range { keyspace, start, end, backward, rows, bytes })
}
