//! The first bytes of ids, where whole ones would cost more than they say.

use std::fmt;

use eidetica_core::Id;

use super::bytes::{Input, Output};

/// How many of an id's bytes are told. Two entries with the same first eight bytes are found by whoever may write and signs
/// some 2^32 entries; each of two peers may then take the one for the other. So what is still apart after a first
/// attempt is compared once more by whole ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Width {
    /// Eight bytes.
    #[default]
    Short,
    /// All of them.
    Whole,
}

/// The first bytes of an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Short {
    width: Width,
    bytes: [u8; 32],
}

impl Width {
    /// How many bytes that is.
    pub const fn bytes(self) -> usize {
        match self {
            Width::Short => 8,
            Width::Whole => 32,
        }
    }

    pub(super) fn write(self, out: &mut Output) {
        out.byte(self.bytes() as u8);
    }

    pub(super) fn read(input: &mut Input) -> Option<Width> {
        match input.byte()? {
            8 => Some(Width::Short),
            32 => Some(Width::Whole),
            _ => None,
        }
    }
}

impl Short {
    /// The first bytes of an id.
    pub fn of(id: &Id, width: Width) -> Short {
        let mut bytes = [0; 32];
        bytes[..width.bytes()].copy_from_slice(&id.as_bytes()[..width.bytes()]);
        Short { width, bytes }
    }

    /// How many of them are told.
    pub fn width(&self) -> Width {
        self.width
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.width.bytes()]
    }

    pub(super) fn read(input: &mut Input, width: Width) -> Option<Short> {
        let taken = input.take(width.bytes())?;
        let mut bytes = [0; 32];
        bytes[..taken.len()].copy_from_slice(&taken);
        Some(Short { width, bytes })
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first bytes of these ids.
pub(super) fn shortened(ids: &[Id], width: Width) -> Vec<Short> {
    ids.iter().map(|id| Short::of(id, width)).collect()
}

/// A list of them, which all have the width that stands before it.
pub(super) fn read_list(input: &mut Input, width: Width, most: usize) -> Option<Vec<Short>> {
    input.list(most, width.bytes(), |input| Short::read(input, width))
}

pub(super) fn write_list(out: &mut Output, list: &[Short]) {
    out.list(list, |out, short| {
        out.bytes(short.bytes());
    });
}
