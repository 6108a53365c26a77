//! Keys of cells: byte strings of which none is the beginning of another, in the order of what they stand for.
//!
//! A part (a key of a map, of a row, of a custom cell) is escaped (`00` becomes `00 FF`) and ended by `00 01`. A path ends
//! with `00 00`, so that a path sorts before everything below it. The element of a list is `F8`, a byte that begins no
//! UTF-8 text, followed by the id of the entry that made it and its index there.

use bytes::Bytes;

/// The key of a cell within its store.
pub(crate) type Cell = Bytes;

pub(crate) const END: [u8; 2] = [0, 0];
pub(crate) const ELEMENT: u8 = 0xf8;
/// What sorts behind the end of a path, and not behind anything below it.
pub(crate) const FIRST_BELOW: [u8; 2] = [0, 1];
const END_OF_PART: [u8; 2] = [0, 1];

/// Appends a part.
pub(crate) fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    push_open(out, part);
    out.extend_from_slice(&END_OF_PART);
}

/// Appends the beginning of a part: what it sorts directly before are the parts that begin with it.
pub(crate) fn push_open(out: &mut Vec<u8>, part: &[u8]) {
    for byte in part {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
}

/// Takes a part off the front; `None` if the bytes are not of that form.
pub(crate) fn take_part<'a>(input: &mut &'a [u8]) -> Option<std::borrow::Cow<'a, [u8]>> {
    let mut at = 0;
    let mut owned: Option<Vec<u8>> = None;
    loop {
        let zero = at + input[at..].iter().position(|byte| *byte == 0)?;
        match input.get(zero + 1)? {
            1 => {
                let part = match owned {
                    Some(mut owned) => {
                        owned.extend_from_slice(&input[at..zero]);
                        owned.into()
                    }
                    None => (&input[..zero]).into(),
                };
                *input = &input[zero + 2..];
                return Some(part);
            }
            0xff => {
                owned.get_or_insert_default().extend_from_slice(&input[at..=zero]);
                at = zero + 2;
            }
            _ => return None,
        }
    }
}

/// A cell whose key is one part: a row, or a custom cell.
pub(crate) fn single(part: &[u8]) -> Cell {
    let mut out = Vec::with_capacity(part.len() + 4);
    push_part(&mut out, part);
    out.extend_from_slice(&END);
    out.into()
}

/// The part of a cell made by [`single`].
pub(crate) fn single_part(cell: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    let mut input = cell;
    let part = take_part(&mut input)?;
    (input == END).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_order_and_come_back() {
        let parts: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"\0a", b"\x01", b"a", b"a\0b", b"ab"];
        for pair in parts.windows(2) {
            assert!(single(pair[0]) < single(pair[1]), "{pair:?}");
        }
        for part in parts {
            assert_eq!(single_part(&single(part)).as_deref(), Some(part));
        }
        assert_eq!(single_part(b"a\0\x02"), None);
        assert_eq!(single_part(b"a"), None);
    }
}
