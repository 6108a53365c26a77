//! Writes that are held back, to be carried out later.

use std::collections::BTreeMap;

/// In blocks of this many bytes, which is the smallest that redb writes, apart from its header.
pub(crate) const BLOCK: u64 = 4096;

/// What a stretch of the file is to become.
#[derive(Debug, Default)]
pub(crate) struct Overlay(BTreeMap<u64, Box<[u8]>>);

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are held.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len() * BLOCK as usize
    }

    /// Holds a write. `base` fills in what the block has been so far, where the write covers only a part of it.
    pub(crate) fn put<E>(
        &mut self,
        offset: u64,
        data: &[u8],
        mut base: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (block, within) = (at / BLOCK, (at % BLOCK) as usize);
            let (now, later) = rest.split_at(rest.len().min(BLOCK as usize - within));
            let held = match self.0.entry(block) {
                std::collections::btree_map::Entry::Occupied(held) => held.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    let mut bytes = vec![0; BLOCK as usize].into_boxed_slice();
                    if now.len() < BLOCK as usize {
                        base(block * BLOCK, &mut bytes)?;
                    }
                    free.insert(bytes)
                }
            };
            held[within..within + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Lays what is held over what was read from `offset`.
    pub(crate) fn cover(&self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        for (block, bytes) in self.0.range(offset / BLOCK..end.div_ceil(BLOCK)) {
            let start = block * BLOCK;
            let (from, to) = (start.max(offset), (start + BLOCK).min(end));
            if from < to {
                let part = &bytes[(from - start) as usize..(to - start) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
            }
        }
    }

    /// Forgets what lies behind the end of the file. A block that crosses it is kept whole, and cut when it is written.
    pub(crate) fn truncate(&mut self, length: u64) {
        self.0.split_off(&length.div_ceil(BLOCK));
    }

    /// What is held, by place, none of it behind `length`.
    pub(crate) fn writes(&self, length: u64) -> impl Iterator<Item = (u64, &[u8])> {
        self.0.iter().filter(move |(block, _)| **block * BLOCK < length).map(move |(block, bytes)| {
            let start = block * BLOCK;
            (start, &bytes[..(length - start).min(BLOCK) as usize])
        })
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_covers_what_was_there() {
        let file: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
        let mut expected = file.clone();
        let mut overlay = Overlay::default();
        for (offset, length, byte) in [(0, 320, 1), (4096, 4096, 2), (8000, 5000, 3), (100, 10, 4), (15_000, 1, 5)] {
            expected[offset..offset + length].fill(byte);
            let base = |at: u64, out: &mut [u8]| {
                let part = &file[at as usize..(at as usize + out.len()).min(file.len())];
                out[..part.len()].copy_from_slice(part);
                Ok::<(), ()>(())
            };
            overlay.put(offset as u64, &vec![byte; length], base).unwrap();
        }
        for (from, to) in [(0, 20_000), (50, 150), (4095, 4097), (7999, 13_001), (14_999, 15_002), (20_000, 20_000)] {
            let mut found = file[from..to].to_vec();
            overlay.cover(from as u64, &mut found);
            assert!(found == expected[from..to], "{from}..{to}");
        }
        overlay.truncate(12_500);
        let written: u64 = overlay.writes(12_500).map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(written, 12_500, "to the end and no further");
    }
}
