//! What has left the live records of a store, or never entered them.
//!
//! A row of the past says that an entry has an operation at a cell, keyed by cell and arrival number. Together with the
//! live record, the rows of a cell name every operation that was ever applied there. Which of them lived at given heads
//! follows from what each entry has seen, so that nothing else need be stored: no list of what overtook what.

use crate::cbor::{Malformed, Read, Reader, Writer};

/// An operation of the past at a cell. Its value stays in the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// A value, overtaken since.
    Set,
    /// A counter created here, ended since.
    Create,
    /// A first increment, which started a counter that has ended since.
    First,
    /// An increment of the counter that this entry started.
    Increment { epoch: u64, by: i64 },
    /// A deletion. It never was live; it is kept because it says what was overtaken.
    Delete,
    /// An identity that has ended since.
    Insert,
    /// A write to fields of an identity, overtaken in some of them, ended with it, or too late for it.
    Write,
}

impl Past {
    /// True if the operation overtakes everything at and below its path.
    pub fn covers(self) -> bool {
        matches!(self, Past::Set | Past::Create | Past::Delete)
    }

    /// True if the operation started a counter.
    pub fn starts_counter(self) -> bool {
        matches!(self, Past::Create | Past::First)
    }

    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Past::Set => out.uint(0),
            Past::Create => out.uint(1),
            Past::First => out.uint(2),
            Past::Increment { epoch, by } => out.uint(3).uint(epoch).int(by),
            Past::Delete => out.uint(4),
            Past::Insert => out.uint(5),
            Past::Write => out.uint(6),
        };
        out.finish()
    }

    pub fn parse(bytes: &[u8]) -> Read<Past> {
        let mut input = Reader::new(bytes);
        let past = match input.uint()? {
            0 => Past::Set,
            1 => Past::Create,
            2 => Past::First,
            3 => Past::Increment { epoch: input.uint()?, by: input.int()? },
            4 => Past::Delete,
            5 => Past::Insert,
            6 => Past::Write,
            _ => return Err(Malformed),
        };
        input.end()?;
        Ok(past)
    }
}
