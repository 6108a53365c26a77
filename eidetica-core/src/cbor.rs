//! Canonical CBOR: one byte sequence for each value, as DAG-CBOR has it.
//!
//! Lengths are definite and shortest, floats are 64 bits wide, keys of maps are text, sorted by length and then bytes.
//! Readers need not check all that while they read: a text is canonical exactly if writing what was read gives the same
//! bytes again. For small structures that comparison is made once, at the end; for bodies, which strangers send and which may
//! be large, [`Reader::canonical`] proves it without building anything.

use std::convert::Infallible;

use bytes::Bytes;
use minicbor::data::Type;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};

/// Writes CBOR into memory, where nothing can fail.
pub(crate) struct Writer(Encoder<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Writer {
        Writer::with_capacity(128)
    }

    pub(crate) fn with_capacity(bytes: usize) -> Writer {
        Writer(Encoder::new(Vec::with_capacity(bytes)))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_writer()
    }

    pub(crate) fn list(&mut self, len: usize) -> &mut Writer {
        self.with(|e| e.array(len as u64).map(drop))
    }

    pub(crate) fn map(&mut self, len: usize) -> &mut Writer {
        self.with(|e| e.map(len as u64).map(drop))
    }

    pub(crate) fn uint(&mut self, value: u64) -> &mut Writer {
        self.with(|e| e.u64(value).map(drop))
    }

    pub(crate) fn int(&mut self, value: i64) -> &mut Writer {
        self.with(|e| e.i64(value).map(drop))
    }

    pub(crate) fn float(&mut self, value: f64) -> &mut Writer {
        self.with(|e| e.f64(value).map(drop))
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Writer {
        self.with(|e| e.bool(value).map(drop))
    }

    pub(crate) fn null(&mut self) -> &mut Writer {
        self.with(|e| e.null().map(drop))
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Writer {
        self.with(|e| e.bytes(value).map(drop))
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Writer {
        self.with(|e| e.str(value).map(drop))
    }

    /// Appends a value that is encoded already.
    pub(crate) fn raw(&mut self, encoded: &[u8]) -> &mut Writer {
        match self.0.writer_mut().write_all(encoded) {
            Ok(()) => self,
            Err(never) => match never {},
        }
    }

    fn with(
        &mut self,
        write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<Infallible>>,
    ) -> &mut Writer {
        // The only error of an encoder is that of its writer, and a vector has none.
        let _ = write(&mut self.0);
        self
    }
}

/// Bytes that do not have the form that was expected of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Malformed {
        Malformed
    }
}

pub(crate) type Read<T> = Result<T, Malformed>;

/// Reads CBOR.
pub(crate) struct Reader<'b>(Decoder<'b>);

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader(Decoder::new(bytes))
    }

    /// The number of elements of a list that begins here, at most `max`.
    pub(crate) fn list(&mut self, max: usize) -> Read<usize> {
        let len = self.0.array()?.ok_or(Malformed)?;
        usize::try_from(len).ok().filter(|len| *len <= max).ok_or(Malformed)
    }

    /// A list of exactly this length begins here.
    pub(crate) fn list_of(&mut self, len: usize) -> Read<()> {
        if self.list(len)? == len { Ok(()) } else { Err(Malformed) }
    }

    pub(crate) fn map(&mut self) -> Read<usize> {
        let len = self.0.map()?.ok_or(Malformed)?;
        usize::try_from(len).map_err(|_| Malformed)
    }

    /// The number of entries of a map, or `None` if only a break ends it. For input that need not be canonical.
    pub(crate) fn map_or_open(&mut self) -> Read<Option<usize>> {
        self.0.map()?.map(|len| usize::try_from(len).map_err(|_| Malformed)).transpose()
    }

    /// True at the break that ends a map of unknown length, or at the end of the input.
    pub(crate) fn at_break(&self) -> bool {
        self.kind().is_ok_and(|kind| kind == Type::Break) || self.end().is_ok()
    }

    pub(crate) fn uint(&mut self) -> Read<u64> {
        Ok(self.0.u64()?)
    }

    pub(crate) fn int(&mut self) -> Read<i64> {
        Ok(self.0.i64()?)
    }

    pub(crate) fn float(&mut self) -> Read<f64> {
        Ok(self.0.f64()?)
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        Ok(self.0.bool()?)
    }

    pub(crate) fn null(&mut self) -> Read<()> {
        Ok(self.0.null()?)
    }

    pub(crate) fn bytes(&mut self) -> Read<&'b [u8]> {
        Ok(self.0.bytes()?)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.bytes()?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn text(&mut self) -> Read<&'b str> {
        Ok(self.0.str()?)
    }

    pub(crate) fn kind(&self) -> Read<Type> {
        Ok(self.0.datatype()?)
    }

    /// True if `null` is next; it is then consumed.
    pub(crate) fn is_null(&mut self) -> Read<bool> {
        let null = self.kind()? == Type::Null;
        if null {
            self.null()?;
        }
        Ok(null)
    }

    pub(crate) fn position(&self) -> usize {
        self.0.position()
    }

    /// Skips one value and returns its bytes.
    pub(crate) fn skip(&mut self) -> Read<&'b [u8]> {
        let start = self.position();
        self.0.skip()?;
        Ok(&self.0.input()[start..self.position()])
    }

    /// Reads one value and proves that it is the canonical form of one, nested no deeper than that. Builds nothing, so it
    /// costs no memory, whatever the bytes.
    pub(crate) fn canonical(&mut self, depth: usize) -> Read<&'b [u8]> {
        let (whole, start) = (self.0.input(), self.position());
        let mut rest = &whole[start..];
        canonical(&mut rest, depth)?;
        let end = whole.len() - rest.len();
        self.0.set_position(end);
        Ok(&whole[start..end])
    }

    /// Everything has been read.
    pub(crate) fn end(&self) -> Read<()> {
        if self.position() == self.0.input().len() { Ok(()) } else { Err(Malformed) }
    }
}

fn canonical(rest: &mut &[u8], depth: usize) -> Read<()> {
    let (major, argument) = head(rest)?;
    match major {
        0 | 1 => {
            if argument > i64::MAX as u64 {
                return Err(Malformed);
            }
        }
        2 => drop(take(rest, argument)?),
        3 => drop(text(rest, argument)?),
        4 => {
            for _ in 0..argument {
                canonical(rest, depth.checked_sub(1).ok_or(Malformed)?)?;
            }
        }
        5 => {
            let mut last: Option<&str> = None;
            for _ in 0..argument {
                let (3, length) = head(rest)? else { return Err(Malformed) };
                let key = text(rest, length)?;
                if last.is_some_and(|last| (last.len(), last) >= (key.len(), key)) {
                    return Err(Malformed);
                }
                last = Some(key);
                canonical(rest, depth.checked_sub(1).ok_or(Malformed)?)?;
            }
        }
        SIMPLE => {}
        _ if f64::from_bits(argument).is_finite() => {}
        _ => return Err(Malformed),
    }
    Ok(())
}

/// Stands for `false`, `true` and `null` among the kinds; floats keep the number 7.
const SIMPLE: u8 = 8;

/// The kind of what comes next, and its number or length, which must be written in the fewest bytes.
fn head(rest: &mut &[u8]) -> Read<(u8, u64)> {
    let first = *take(rest, 1)?.first().ok_or(Malformed)?;
    let (major, short) = (first >> 5, first & 31);
    let wide = match short {
        0..24 => 0,
        24..28 => 1 << (short - 24),
        _ => return Err(Malformed),
    };
    let behind = take(rest, wide)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let argument = if wide == 0 { short.into() } else { behind };
    let least = match short {
        24 => 24,
        25 => 1 << 8,
        26 => 1 << 16,
        27 => 1 << 32,
        _ => 0,
    };
    match (major, short) {
        (7, 20..=22) => Ok((SIMPLE, 0)),
        (7, 27) => Ok((7, argument)),
        (0..=5, _) if argument >= least => Ok((major, argument)),
        _ => Err(Malformed),
    }
}

fn take<'b>(rest: &mut &'b [u8], length: u64) -> Read<&'b [u8]> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, left) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = left;
    Ok(taken)
}

fn text<'b>(rest: &mut &'b [u8], length: u64) -> Read<&'b str> {
    std::str::from_utf8(take(rest, length)?).map_err(|_| Malformed)
}

/// A slice of `whole` as `Bytes` that share its memory.
pub(crate) fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    whole.slice_ref(part)
}
