//! Our own first page of the file: what it is, and in which format.
//!
//! redb opens a file by writing to it. So what must be known before anything is touched stands in front of what redb sees.

use std::io;

use crate::disk::Medium;

const MAGIC: &[u8; 16] = b"Eidetica redb\r\n\0";
/// The format that this version reads and writes. It stands for the format of redb as well.
pub(crate) const FORMAT: u32 = 1;

/// How a file of redb itself begins.
const REDB: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// Where redb says that its file was not closed, and how.
const STATE: usize = 9;
const NOT_CLOSED: u8 = 2;

/// What the first page says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// The store was being made, and nobody has ever had it.
    Unfinished,
    Ours {
        closed: bool,
    },
    Newer(u32),
    Redb,
    Foreign,
    Damaged(&'static str),
}

/// Reads the first page.
pub(crate) fn look(medium: &dyn Medium) -> io::Result<Found> {
    let mut page = [0; 32];
    let read = medium.read(0, &mut page)?;
    if read == 0 {
        return Ok(Found::Nothing);
    }
    if &page[..16] != MAGIC {
        // A crash may have come while the first page was written: all that was there is its beginning.
        let begun = read < page.len() && page.starts_with(&MAGIC[..read.min(16)]);
        return Ok(match (begun, page.starts_with(REDB)) {
            (true, _) => Found::Unfinished,
            (_, true) => Found::Redb,
            _ if page == [0; 32] && medium.length()? <= crate::disk::OURS => Found::Unfinished,
            _ => Found::Foreign,
        });
    }
    let number = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
    let format = number(16);
    if read == page.len() && number(20) != !format {
        return Ok(Found::Damaged("the number of its format"));
    }
    if format > FORMAT {
        return Ok(Found::Newer(format));
    }
    match (format, page[24]) {
        (FORMAT, 0) => Ok(Found::Unfinished),
        (FORMAT, 1) => {
            let mut begin = [0; STATE + 1];
            let read = medium.read(crate::disk::OURS, &mut begin)?;
            if read < begin.len() || !begin.starts_with(REDB) {
                return Ok(Found::Damaged("its first page"));
            }
            Ok(Found::Ours { closed: begin[STATE] & NOT_CLOSED == 0 })
        }
        _ => Ok(Found::Damaged("the mark of its format")),
    }
}

/// The first page of a store that is being made, or has been.
pub(crate) fn page(finished: bool) -> Vec<u8> {
    let mut page = vec![0; crate::disk::OURS as usize];
    page[..16].copy_from_slice(MAGIC);
    page[16..20].copy_from_slice(&FORMAT.to_le_bytes());
    page[20..24].copy_from_slice(&(!FORMAT).to_le_bytes());
    page[24] = u8::from(finished);
    page
}
