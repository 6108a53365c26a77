//! Reading and writing of messages: numbers are unsigned, their greatest byte first.

use bytes::Bytes;
use eidetica_core::Id;

/// Reads from the front of a message. Every method answers `None` where bytes are missing or make no sense.
pub(super) struct Input(Bytes);

impl Input {
    pub(super) fn new(bytes: Bytes) -> Input {
        Input(bytes)
    }

    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// So many bytes, shared and not copied.
    pub(super) fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let front = *self.0.first_chunk::<N>()?;
        let _ = self.0.split_to(N);
        Some(front)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn id(&mut self) -> Option<Id> {
        self.array().map(Id::from_bytes)
    }

    /// A list: its length (`u16`), at most `most`, and so many items of at least `least` bytes.
    pub(super) fn list<T>(
        &mut self,
        most: usize,
        least: usize,
        mut item: impl FnMut(&mut Input) -> Option<T>,
    ) -> Option<Vec<T>> {
        let len = usize::from(self.u16()?);
        // What is announced is taken room for only if the bytes for it are here.
        if len > most || len.checked_mul(least)? > self.left() {
            return None;
        }
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(item(self)?);
        }
        Some(items)
    }

    pub(super) fn ids(&mut self, most: usize) -> Option<Vec<Id>> {
        self.list(most, 32, Input::id)
    }

    /// Something that may be absent.
    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Input) -> Option<T>) -> Option<Option<T>> {
        match self.flag()? {
            false => Some(None),
            true => read(self).map(Some),
        }
    }

    /// Yes or no for each of a number of things, eight in a byte, the first in its greatest bit; the rest of the last byte is 0.
    pub(super) fn bits(&mut self) -> Option<Vec<bool>> {
        let len = usize::from(self.u16()?);
        let bytes = self.take(len.div_ceil(8))?;
        let bit = |at: usize| bytes[at / 8] & (0x80 >> (at % 8)) != 0;
        (len..bytes.len() * 8).all(|at| !bit(at)).then(|| (0..len).map(bit).collect())
    }

    /// `value`, if nothing is left.
    pub(super) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// Writes a message.
#[derive(Default)]
pub(super) struct Output(Vec<u8>);

impl Output {
    pub(super) fn byte(&mut self, byte: u8) -> &mut Output {
        self.bytes(&[byte])
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Output {
        self.byte(u8::from(flag))
    }

    pub(super) fn u16(&mut self, number: usize) -> &mut Output {
        // Every list is bounded far below; one that is not would be written as one that is refused.
        self.bytes(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes())
    }

    pub(super) fn u32(&mut self, number: u32) -> &mut Output {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u64(&mut self, number: u64) -> &mut Output {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Output {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Output, &T)) -> &mut Output {
        self.u16(items.len());
        items.iter().for_each(|each| item(self, each));
        self
    }

    pub(super) fn ids(&mut self, ids: &[Id]) -> &mut Output {
        self.list(ids, |out, id| {
            out.bytes(id.as_bytes());
        })
    }

    pub(super) fn option<T>(&mut self, item: Option<&T>, write: impl FnOnce(&mut Output, &T)) -> &mut Output {
        self.flag(item.is_some());
        if let Some(item) = item {
            write(self, item);
        }
        self
    }

    pub(super) fn bits(&mut self, bits: &[bool]) -> &mut Output {
        self.u16(bits.len());
        for eight in bits.chunks(8) {
            let byte = eight.iter().enumerate().fold(0, |byte, (at, bit)| byte | (u8::from(*bit) << (7 - at)));
            self.byte(byte);
        }
        self
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_come_back(bits in proptest::collection::vec(any::<bool>(), 0..40)) {
            let mut out = Output::default();
            out.bits(&bits);
            let bytes = out.finish();
            prop_assert_eq!(bytes.len(), 2 + bits.len().div_ceil(8));
            let mut input = Input::new(bytes);
            let read = input.bits();
            prop_assert_eq!(read.and_then(|read| input.end(read)), Some(bits));
        }
    }

    #[test]
    fn bits_have_one_form_and_lists_no_more_than_is_there() {
        assert_eq!(Input::new(Bytes::from_static(&[0, 1, 0x80])).bits(), Some(vec![true]));
        assert_eq!(Input::new(Bytes::from_static(&[0, 1, 0x81])).bits(), None);
        assert_eq!(Input::new(Bytes::from_static(&[0xff, 0xff, 0, 0])).ids(65_535), None);
    }
}
