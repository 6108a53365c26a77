//! Entries as they travel: packed, compressed, and unpacked within bounds.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::entry::{RawEntry, VerifiedEntry};
use eidetica_core::limits::{MAX_BODIES, MAX_HEADER, MAX_STORES};

use super::bytes::{Input, Output};

/// The most entries of one page.
pub const MAX_ENTRIES: usize = 16_384;
/// The most bytes of a page, unpacked, unless it holds one entry alone.
pub const MAX_UNPACKED: usize = 2 << 20;
/// The most bytes of a page with one entry, unpacked.
pub const MAX_UNPACKED_ONE: usize = MAX_HEADER + MAX_BODIES + 1024;
/// What stands for the length of a body that is not here.
const ABSENT: u32 = u32::MAX;
/// How hard it is tried to compress. More than that costs much and gains little.
const LEVEL: i32 = 3;

/// Entries in an order in which each comes after those below it, packed.
///
/// What a page says of itself is not believed: unpacking it takes no more memory than the limits allow, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many bytes it has when it is unpacked.
    unpacked: u32,
    /// As they are, or compressed.
    compressed: bool,
    data: Bytes,
}

impl Page {
    /// The bytes in front of the data.
    pub(super) const HEAD: usize = 9;

    /// Packs entries: as many of them as fit into `most` bytes. The number says how many.
    ///
    /// Errors: [`ErrorKind::TooLarge`] if not even the first fits.
    pub fn pack<'e>(entries: impl ExactSizeIterator<Item = &'e VerifiedEntry>, most: usize) -> Result<(Page, usize)> {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for entry in entries.take(MAX_ENTRIES) {
            append(&mut bytes, entry);
            if bytes.len() > MAX_UNPACKED && !ends.is_empty() {
                break;
            }
            ends.push(bytes.len());
        }
        let mut count = ends.len();
        loop {
            let Some(&end) = count.checked_sub(1).and_then(|last| ends.get(last)) else {
                return Ok((Page { unpacked: 0, compressed: false, data: Bytes::new() }, 0));
            };
            let page = Page::of(&bytes[..end])?;
            if page.len() <= most {
                return Ok((page, count));
            }
            if count == 1 {
                let message = "an entry is larger than a message of the session can be; allow larger messages";
                return Err(Error::new(ErrorKind::TooLarge, message).with("bytes", page.len()).with("most", most));
            }
            // About as many as fit, and fewer each time.
            count = (count * most / page.len()).clamp(1, count - 1);
        }
    }

    fn of(bytes: &[u8]) -> Result<Page> {
        let failed = |error| Error::new(ErrorKind::Internal, "a page cannot be compressed").caused_by(error);
        let packed = zstd::bulk::compress(bytes, LEVEL).map_err(failed)?;
        let compressed = packed.len() < bytes.len();
        let data = if compressed { packed.into() } else { Bytes::copy_from_slice(bytes) };
        let unpacked = u32::try_from(bytes.len()).map_err(|_| Error::new(ErrorKind::TooLarge, "a page is too long"))?;
        Ok(Page { unpacked, compressed, data })
    }

    /// How many bytes it takes in a message.
    pub fn len(&self) -> usize {
        Page::HEAD + self.data.len()
    }

    /// How many bytes it has when it is unpacked, as it says itself.
    pub(super) fn unpacked(&self) -> usize {
        self.unpacked as usize
    }

    /// True if it holds no entries.
    pub fn is_empty(&self) -> bool {
        self.unpacked == 0
    }

    /// The entries. `None` if the page is malformed or breaks a limit; of the entries themselves nothing is known yet.
    pub fn unpack(&self) -> Option<Vec<RawEntry>> {
        let unpacked = self.unpacked as usize;
        if unpacked > MAX_UNPACKED_ONE {
            return None;
        }
        let bytes = match self.compressed {
            false => self.data.clone(),
            // Writes into so many bytes, and stops where they end.
            true => zstd::bulk::decompress(&self.data, unpacked).ok()?.into(),
        };
        if bytes.len() != unpacked {
            return None;
        }
        let mut input = Input::new(bytes);
        let mut entries = Vec::new();
        while input.left() > 0 {
            entries.push(read_entry(&mut input)?);
            if entries.len() > MAX_ENTRIES || (unpacked > MAX_UNPACKED && input.left() > 0) {
                return None;
            }
        }
        Some(entries)
    }

    pub(super) fn write(&self, out: &mut Output) {
        out.flag(self.compressed).u32(self.unpacked).u32(self.data.len() as u32).bytes(&self.data);
    }

    pub(super) fn read(input: &mut Input) -> Option<Page> {
        let (compressed, unpacked) = (input.flag()?, input.u32()?);
        let len = input.u32()? as usize;
        Some(Page { unpacked, compressed, data: input.take(len)? })
    }
}

fn append(out: &mut Vec<u8>, entry: &VerifiedEntry) {
    let header = entry.header_bytes();
    out.extend_from_slice(&(header.len() as u32).to_be_bytes());
    out.extend_from_slice(header);
    out.push(entry.bodies().len() as u8);
    for body in entry.bodies() {
        let length = body.as_ref().map_or(ABSENT, |body| body.len() as u32);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(body.as_deref().unwrap_or_default());
    }
}

fn read_entry(input: &mut Input) -> Option<RawEntry> {
    let length = input.u32()? as usize;
    // A longer one would be hashed, more than once, only to be refused.
    let header = input.take(length).filter(|header| (1..=MAX_HEADER).contains(&header.len()))?;
    let count = usize::from(input.byte()?);
    if count > MAX_STORES {
        return None;
    }
    let mut bodies = Vec::with_capacity(count);
    for _ in 0..count {
        bodies.push(match input.u32()? {
            ABSENT => None,
            length => Some(input.take(length as usize)?),
        });
    }
    Some(RawEntry { header, bodies })
}
