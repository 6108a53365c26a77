//! Blocks of heights, and the fingerprints that are stored of them.
//!
//! A block of level k is 16^k heights in a row, from a multiple of that. Its fingerprint is stored once the block is
//! *closed*: once there is an entry k or more heights above its last one, since only late arrivals then still fall into it.
//! Each level waits one height longer than the one below, so no height closes two blocks, and one commit at the top writes
//! one row at most; and a block closes when the 16 of which it consists have.
//!
//! Which blocks are closed follows from the greatest height alone, so the same entries give the same rows.

use std::ops::Range;

use eidetica_contract::{Result, Scan, Snapshot};

use super::Fingerprint;
use crate::id::Id;
use crate::layout::{BLOCKS, DatabaseNumber, HEIGHTS};
use crate::overlay::Overlay;

/// How many blocks make one of the next level, as a power of two.
const FAN_OUT_BITS: u32 = 4;
/// How many blocks make one of the next level.
pub(crate) const FAN_OUT: u64 = 1 << FAN_OUT_BITS;
/// The greatest level of which a block can close: heights are below 2^53.
const LEVELS: u8 = 13;

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub level: u8,
    pub number: u64,
}

impl Block {
    /// The block of a level that contains a height.
    pub fn around(height: u64, level: u8) -> Block {
        Block { level, number: height >> (FAN_OUT_BITS * u32::from(level)) }
    }

    fn first_height(self) -> u64 {
        self.number << (FAN_OUT_BITS * u32::from(self.level))
    }

    /// The height after its last one.
    fn end(self) -> u64 {
        Block { number: self.number + 1, ..self }.first_height()
    }

    pub fn heights(self) -> Range<u64> {
        self.first_height()..self.end()
    }

    /// True if its fingerprint is stored where this is the greatest height.
    pub fn is_closed_by(self, top: u64) -> bool {
        top >= self.closing_height()
    }

    fn closing_height(self) -> u64 {
        self.end() - 1 + u64::from(self.level)
    }

    /// The blocks of the level below of which it consists.
    pub fn children(self) -> Range<u64> {
        self.number * FAN_OUT..(self.number + 1) * FAN_OUT
    }

    /// The block that closes when this becomes the greatest height.
    pub fn closing_at(top: u64) -> Option<Block> {
        (1..=LEVELS).find_map(|level| {
            let before = Block::around(top.checked_sub(u64::from(level))?, level);
            (before.closing_height() == top).then_some(before)
        })
    }

    /// The closed blocks that contain a height, the smallest first.
    pub fn closed_around(height: u64, top: u64) -> impl Iterator<Item = Block> {
        (1..=LEVELS).map(move |level| Block::around(height, level)).take_while(move |block| block.is_closed_by(top))
    }

    /// The greatest closed block that begins at a height and does not reach beyond another one.
    pub fn greatest_from(height: u64, end: u64, top: u64) -> Option<Block> {
        let fits = |block: &Block| block.first_height() == height && block.end() <= end;
        Block::closed_around(height, top).take_while(fits).last()
    }
}

/// Keeps the blocks right when an entry comes in. `top` is the greatest height before it came, and after it.
///
/// Where a row is missing that should be there, none is made of what is left: whoever needs it is told so.
pub(crate) async fn note(
    rows: &mut Overlay,
    database: DatabaseNumber,
    height: u64,
    id: &Id,
    top: (Option<u64>, u64),
) -> Result<()> {
    let (before, after) = top;
    if before != Some(after) {
        let Some(block) = Block::closing_at(after) else { return Ok(()) };
        let whole = match block.level {
            1 => Some(of_heights(rows, database, block.heights()).await?),
            level => of_blocks(rows, database, level - 1, block.children()).await?.map(|all| combined(&all)),
        };
        if let Some(whole) = whole {
            rows.put(BLOCKS, database.block_key(block.level, block.number), whole.to_bytes().to_vec());
        }
        return Ok(());
    }
    for block in Block::closed_around(height, after) {
        let key = database.block_key(block.level, block.number);
        let Some(row) = rows.get(BLOCKS, &key).await? else { continue };
        let Some(mut print) = Fingerprint::from_bytes(&row) else { continue };
        print.add(id);
        rows.put(BLOCKS, key, print.to_bytes().to_vec());
    }
    Ok(())
}

/// Keeps the blocks right when entries leave, each with its height. `top` is the greatest height before they left, and after it.
pub(crate) async fn leave(
    rows: &mut Overlay,
    database: DatabaseNumber,
    entries: &[(u64, Id)],
    top: (u64, u64),
) -> Result<()> {
    let (before, after) = top;
    for level in 1..=LEVELS {
        // From the last block that stays closed on, those that are not closed any longer.
        let mut block = Block::around(after.saturating_sub(u64::from(level)), level);
        while block.is_closed_by(before) {
            if !block.is_closed_by(after) {
                rows.delete(BLOCKS, database.block_key(block.level, block.number));
            }
            block.number += 1;
        }
    }
    for (height, id) in entries {
        for block in Block::closed_around(*height, after) {
            let key = database.block_key(block.level, block.number);
            let Some(row) = rows.get(BLOCKS, &key).await? else { continue };
            let Some(mut print) = Fingerprint::from_bytes(&row) else { continue };
            print.subtract(id);
            rows.put(BLOCKS, key, print.to_bytes().to_vec());
        }
    }
    Ok(())
}

fn combined(all: &[Fingerprint]) -> Fingerprint {
    all.iter().fold(Fingerprint::EMPTY, |all, print| all.combined(print))
}

/// The fingerprints of blocks of one level; `None` if one of them is missing or cannot be read.
pub(crate) async fn of_blocks(
    rows: &dyn Snapshot,
    database: DatabaseNumber,
    level: u8,
    numbers: Range<u64>,
) -> Result<Option<Vec<Fingerprint>>> {
    let (mut all, mut at) = (Vec::new(), numbers.start);
    while at < numbers.end {
        let end = Some(database.block_key(level, numbers.end));
        let page = rows.scan(Scan::range(BLOCKS, database.block_key(level, at), end)).await?;
        if page.rows.is_empty() {
            return Ok(None);
        }
        for (key, row) in &page.rows {
            let print = Fingerprint::from_bytes(row).filter(|_| *key == database.block_key(level, at));
            let Some(print) = print else { return Ok(None) };
            all.push(print);
            at += 1;
        }
    }
    Ok(Some(all))
}

/// The fingerprint of all entries at these heights, from the index by height.
async fn of_heights(rows: &dyn Snapshot, database: DatabaseNumber, heights: Range<u64>) -> Result<Fingerprint> {
    let (start, end) = (database.height_start(heights.start), database.height_start(heights.end));
    let mut print = Fingerprint::EMPTY;
    let mut next = Some(Scan::range(HEIGHTS, start, Some(end)));
    while let Some(scan) = next.take() {
        let page = rows.scan(scan.clone()).await?;
        for (key, _) in &page.rows {
            print.add(&crate::layout::height_parts(key)?.1);
        }
        if let (true, Some((last, _))) = (page.more, page.rows.last()) {
            next = Some(scan.after(last));
        }
    }
    Ok(print)
}

/// Sums all closed blocks anew, from entries in the order of their heights.
pub(crate) struct Closing {
    top: u64,
    /// One for each level: the block that the last entry lay in, if it is closed, and what was in it so far.
    open: Vec<Option<(Block, Fingerprint)>>,
}

impl Closing {
    pub fn new(top: u64) -> Closing {
        Closing { top, open: vec![None; usize::from(LEVELS)] }
    }

    /// Adds an entry, and gives the blocks that lie below it and are therefore whole.
    pub fn add(&mut self, height: u64, id: &Id) -> Vec<(Block, Fingerprint)> {
        let mut whole = Vec::new();
        let own = Fingerprint::of(id);
        for (level, open) in (1..=LEVELS).zip(&mut self.open) {
            let block = Block::around(height, level);
            whole.extend(open.take_if(|(before, _)| *before != block));
            match open {
                Some((_, print)) => *print = print.combined(&own),
                None => *open = block.is_closed_by(self.top).then_some((block, own)),
            }
        }
        whole
    }

    /// The blocks that nothing came after.
    pub fn finish(&mut self) -> impl Iterator<Item = (Block, Fingerprint)> {
        self.open.iter_mut().filter_map(Option::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_height_closes_two_blocks_and_each_closes_after_its_parts() {
        let mut closed = 0;
        for top in 0..70_000u64 {
            let closing: Vec<Block> = (1..=LEVELS)
                .flat_map(|level| {
                    (0..2).filter_map(move |back| {
                        Some(Block { level, number: Block::around(top, level).number.checked_sub(back)? })
                    })
                })
                .filter(|block| block.is_closed_by(top) && (top == 0 || !block.is_closed_by(top - 1)))
                .collect();
            assert!(closing.len() <= 1, "{closing:?} at {top}");
            assert_eq!(Block::closing_at(top), closing.first().copied(), "at {top}");
            for block in closing {
                closed += 1;
                assert!(block.end() <= top);
                let parts = block.children().map(|number| Block { level: block.level - 1, number });
                assert!(block.level == 1 || parts.into_iter().all(|part| part.is_closed_by(top - 1)));
            }
        }
        assert_eq!(closed, 4374 + 273 + 17 + 1);
    }

    #[test]
    fn the_greatest_heights_have_blocks() {
        let top = (1 << 53) - 1;
        assert_eq!(Block::closed_around(0, top).count(), 13);
        assert_eq!(Block::closed_around(top, top).count(), 0);
        assert!(Block::closing_at(top).is_none_or(|block| block.end() <= top));
        assert_eq!(Block::greatest_from(0, 300, 1000), Some(Block { level: 2, number: 0 }));
        assert_eq!(Block::greatest_from(0, 300, 256), Some(Block { level: 1, number: 0 }));
        assert_eq!(Block::greatest_from(16, 300, 1000), Some(Block { level: 1, number: 1 }));
        assert_eq!(Block::greatest_from(17, 300, 1000), None);
    }
}
