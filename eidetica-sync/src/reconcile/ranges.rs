//! Ranges of entries in the order of height and id, and what the two sides say about them.

use std::ops::Range;

use eidetica_core::{Fingerprint, Id, Point};

use super::bytes::{Input, Output};
use super::short::{Short, Width, read_list, write_list};

/// The most ranges of one request.
pub const MAX_CLAIMS: usize = 256;
/// The most parts that a range is cut into in an answer.
pub const MAX_PARTS: usize = 16;
/// The most ids that are told of one range.
pub const MAX_LISTED: usize = 4096;

/// What is compared of two sets of entries: the first half of the digest of their fingerprint.
///
/// Whoever makes two sets with one such half takes some 2^64 steps, more than the sums below it withstand
/// ([`Fingerprint`]). What it gains is that two peers take ranges for equal until they cut them elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(pub [u8; 16]);

impl Print {
    /// What is compared of a fingerprint.
    pub fn of(print: &Fingerprint) -> Print {
        let digest = print.digest();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Print(half)
    }

    fn read(input: &mut Input) -> Option<Print> {
        input.array().map(Print)
    }
}

/// What the asking side says of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where it begins and ends.
    pub range: Range<Point>,
    /// What is in it.
    pub content: Content,
}

/// What the asking side has in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A set with this fingerprint.
    Print(Print),
    /// These entries and no others, by height and id.
    List(Vec<Short>),
}

/// What the answering side says of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It has the same.
    Same,
    /// It has something else: its parts, where each begins and what is compared of it. The first begins where the range
    /// does, each ends where the next begins, the last where the range ends.
    Parts(Vec<(Point, Print)>),
    /// It has these entries and no others, by height and id.
    List(Vec<Short>),
    /// Of the entries that were listed it has those whose bit is set, and besides it has these.
    Compared {
        /// One bit for each that was listed.
        here: Vec<bool>,
        /// What was not listed, by height and id.
        more: Vec<Short>,
    },
}

/// A point: its height (`u64`), and the id without the zeros at its end, led by its length (`u8`).
fn write_point(out: &mut Output, point: &Point) {
    let id = point.id.as_bytes();
    let length = id.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    out.u64(point.height).byte(length as u8).bytes(&id[..length]);
}

fn read_point(input: &mut Input) -> Option<Point> {
    let height = input.u64()?;
    let length = usize::from(input.byte()?);
    let front = input.take(length)?;
    if length > 32 || front.last() == Some(&0) {
        return None;
    }
    let mut id = [0; 32];
    id[..length].copy_from_slice(&front);
    Some(Point { height, id: Id::from_bytes(id) })
}

/// Ranges in ascending order, none overlapping. One that begins where the one before ends does not say so again.
pub(super) fn write_claims(out: &mut Output, claims: &[Claim]) {
    let mut before = Point::START;
    out.list(claims, |out, claim| {
        let begins = (claim.range.start != before).then_some(&claim.range.start);
        out.option(begins, write_point);
        write_point(out, &claim.range.end);
        before = claim.range.end;
        match &claim.content {
            Content::Print(print) => out.byte(0).bytes(&print.0),
            Content::List(list) => {
                write_list(out.byte(1), list);
                out
            }
        };
    });
}

pub(super) fn read_claims(input: &mut Input, width: Width) -> Option<Vec<Claim>> {
    let mut before = Point::START;
    let mut listed = 0;
    input.list(MAX_CLAIMS, 12, |input| {
        let start = match input.option(read_point)? {
            // There is one form only.
            Some(start) if start <= before => return None,
            Some(start) => start,
            None => before,
        };
        let end = read_point(input)?;
        if end <= start {
            return None;
        }
        before = end;
        let content = match input.byte()? {
            0 => Content::Print(Print::read(input)?),
            1 => Content::List(read_list(input, width, MAX_LISTED)?),
            _ => return None,
        };
        if let Content::List(list) = &content {
            listed += list.len();
        }
        (listed <= MAX_LISTED).then_some(Claim { range: start..end, content })
    })
}

pub(super) fn write_findings(out: &mut Output, findings: &[Finding]) {
    out.list(findings, |out, finding| match finding {
        Finding::Same => {
            out.byte(0);
        }
        Finding::Parts(parts) => {
            out.byte(1).list(parts, |out, (start, print)| {
                write_point(out, start);
                out.bytes(&print.0);
            });
        }
        Finding::List(list) => write_list(out.byte(2), list),
        Finding::Compared { here, more } => write_list(out.byte(3).bits(here), more),
    });
}

pub(super) fn read_findings(input: &mut Input, width: Width) -> Option<Vec<Finding>> {
    input.list(MAX_CLAIMS, 1, |input| {
        Some(match input.byte()? {
            0 => Finding::Same,
            1 => Finding::Parts(input.list(MAX_PARTS, 25, |input| Some((read_point(input)?, Print::read(input)?)))?),
            2 => Finding::List(read_list(input, width, MAX_LISTED)?),
            3 => Finding::Compared { here: input.bits()?, more: read_list(input, width, MAX_LISTED)? },
            _ => return None,
        })
    })
}
