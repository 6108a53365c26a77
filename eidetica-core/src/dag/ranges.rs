//! Ranges of entries in the order of height and id: their fingerprints, and how they are cut.
//!
//! A range is covered by *pieces*: closed blocks of heights, which cost one row each, and stretches of the index by height
//! at its ragged ends and above the last closed block, which cost one row for each entry.

use std::ops::Range;

use bytes::Bytes;
use eidetica_contract::{Result, Scan, Snapshot};

use super::Fingerprint;
use super::blocks::{Block, FAN_OUT, of_blocks};
use crate::error::damaged;
use crate::id::Id;
use crate::layout::{DatabaseNumber, HEIGHTS, height_parts};

/// How many parts a range is cut into at most.
pub(crate) const MAX_PARTS: usize = 16;

/// A place in the order of entries: by height, and by id within a height. No entry needs to lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// The height.
    pub height: u64,
    /// The id.
    pub id: Id,
}

impl Point {
    /// Where all entries begin.
    pub const START: Point = Point::at_height(0);
    /// Behind every entry that there can be.
    pub const END: Point = Point::at_height(u64::MAX);

    /// Where the entries of a height begin.
    pub const fn at_height(height: u64) -> Point {
        Point { height, id: Id::from_bytes([0; 32]) }
    }

    fn key(&self, database: DatabaseNumber) -> Bytes {
        database.height_key(self.height, &self.id)
    }
}

/// Part of a range, and what is in it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: Point,
    end: Point,
    print: Fingerprint,
    /// The level of the block that it is; 0 if it is a stretch of the index by height, and `None` if it is not cut further.
    level: Option<u8>,
}

impl Piece {
    fn block(block: Block, print: Fingerprint) -> Piece {
        let heights = block.heights();
        let (start, end) = (Point::at_height(heights.start), Point::at_height(heights.end));
        Piece { start, end, print, level: Some(block.level) }
    }
}

/// The entries of a database as they are ordered in a snapshot.
pub(crate) struct Ordered<'a> {
    pub rows: &'a dyn Snapshot,
    pub database: DatabaseNumber,
    /// The greatest height of an entry in the snapshot.
    pub top: u64,
}

impl Ordered<'_> {
    /// The fingerprint of a range.
    pub async fn fingerprint(&self, range: Range<Point>) -> Result<Fingerprint> {
        let pieces = self.pieces(range).await?;
        Ok(pieces.iter().fold(Fingerprint::EMPTY, |all, piece| all.combined(&piece.print)))
    }

    /// The entries of a range in their order, at most `limit`.
    pub async fn entries(&self, range: Range<Point>, limit: usize) -> Result<Vec<(u64, Id)>> {
        let mut entries = Vec::new();
        let mut next = self.stretch(range.start, range.end);
        while let (Some(scan), true) = (next.take(), entries.len() < limit) {
            let scan = scan.rows((limit - entries.len()).min(1024));
            let page = self.rows.scan(scan.clone()).await?;
            for (key, _) in &page.rows {
                entries.push(height_parts(key)?);
            }
            next = page.rows.last().filter(|_| page.more).map(|(last, _)| scan.after(last));
        }
        Ok(entries)
    }

    /// Cuts a range into parts of about equal count. Each ends where the next one begins.
    pub async fn split(&self, range: Range<Point>, parts: usize) -> Result<Vec<(Point, Fingerprint)>> {
        let mut pieces = self.pieces(range.clone()).await?;
        let cuts = Cuts::new(&pieces, parts);
        // One pass for each level, down to single entries.
        loop {
            let mut finer = Vec::new();
            let (mut before, mut opened) = (0u128, false);
            for piece in &pieces {
                let count = u128::from(piece.print.count);
                match piece.level {
                    Some(level) if cuts.fall_within(before, count) => {
                        opened = true;
                        finer.extend(self.opened(piece, level, cuts.tolerance).await?);
                    }
                    _ => finer.push(*piece),
                }
                before += count;
            }
            pieces = finer;
            if !opened {
                return Ok(cuts.made(range.start, &pieces));
            }
        }
    }

    fn stretch(&self, start: Point, end: Point) -> Option<Scan> {
        (start < end).then(|| Scan::range(HEIGHTS, start.key(self.database), Some(end.key(self.database))))
    }

    /// The fewest pieces that cover the entries of a range.
    async fn pieces(&self, range: Range<Point>) -> Result<Vec<Piece>> {
        let end = range.end.min(Point::at_height(self.top.saturating_add(1)));
        let mut at = range.start;
        let mut pieces: Vec<Piece> = Vec::new();
        while at < end {
            if let Some(blocks) = self.blocks_from(at, end) {
                let read = self.read(&blocks).await?;
                at = read.last().map_or(end, |piece| piece.end);
                pieces.extend(read);
            } else {
                // Up to where the next block may begin. Above the last closed one that is the end.
                let stop = Point::at_height((at.height / FAN_OUT + 1) * FAN_OUT).min(end);
                pieces.extend(self.counted(at, stop, u64::MAX).await?);
                at = stop;
            }
        }
        Ok(pieces)
    }

    /// The greatest closed blocks of one level, in a row, that begin at a point and lie before another one.
    fn blocks_from(&self, at: Point, end: Point) -> Option<Vec<Block>> {
        let greatest = |height| Block::greatest_from(height, end.height, self.top);
        let first = greatest(at.height).filter(|_| at == Point::at_height(at.height))?;
        let mut blocks = vec![first];
        while let Some(next) = blocks.last().and_then(|last| greatest(last.heights().end))
            && next.level == first.level
        {
            blocks.push(next);
        }
        Some(blocks)
    }

    /// The pieces that are these blocks, which are of one level and in a row.
    async fn read(&self, blocks: &[Block]) -> Result<Vec<Piece>> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(Vec::new()) };
        let prints = of_blocks(self.rows, self.database, first.level, first.number..last.number + 1).await?;
        let prints = prints.ok_or_else(|| damaged("the fingerprints of heights"))?;
        Ok(blocks.iter().zip(prints).map(|(block, print)| Piece::block(*block, print)).collect())
    }

    /// A piece cut into those of which it consists: smaller blocks, or stretches of at most so many entries.
    async fn opened(&self, piece: &Piece, level: u8, most: u64) -> Result<Vec<Piece>> {
        if level < 2 {
            return self.counted(piece.start, piece.end, most).await;
        }
        let block = Block::around(piece.start.height, level);
        let children: Vec<Block> = block.children().map(|number| Block { level: level - 1, number }).collect();
        self.read(&children).await
    }

    /// A stretch of the index by height as pieces of at most so many entries. Reads all of its rows, and keeps none.
    async fn counted(&self, start: Point, end: Point, most: u64) -> Result<Vec<Piece>> {
        let level = (most == u64::MAX).then_some(0);
        let mut pieces = Vec::new();
        let mut piece = Piece { start, end, print: Fingerprint::EMPTY, level };
        let mut next = self.stretch(start, end);
        while let Some(scan) = next.take() {
            let page = self.rows.scan(scan.clone()).await?;
            for (key, _) in &page.rows {
                let (height, id) = height_parts(key)?;
                if piece.print.count == most {
                    let start = Point { height, id };
                    pieces.push(Piece { end: start, ..piece });
                    piece = Piece { start, print: Fingerprint::EMPTY, ..piece };
                }
                piece.print.add(&id);
            }
            next = page.rows.last().filter(|_| page.more).map(|(last, _)| scan.after(last));
        }
        pieces.push(piece);
        Ok(pieces)
    }
}

/// Where a range is to be cut: after so many entries, or nearly so many.
struct Cuts {
    total: u128,
    parts: u128,
    /// How far from its place a cut may be: a quarter of a part.
    tolerance: u64,
}

impl Cuts {
    fn new(pieces: &[Piece], parts: usize) -> Cuts {
        let total: u128 = pieces.iter().map(|piece| u128::from(piece.print.count)).sum();
        let parts = (parts as u128).min(total).max(1);
        Cuts { total, parts, tolerance: u64::try_from(total / (4 * parts)).unwrap_or(u64::MAX).max(1) }
    }

    /// After how many entries the cuts are to be, in ascending order; no two are the same.
    fn places(&self) -> impl Iterator<Item = u128> {
        (1..self.parts).map(|cut| cut * self.total / self.parts)
    }

    /// True if a cut would fall into a piece of so many entries, after so many, and is at neither end of it.
    fn fall_within(&self, before: u128, count: u128) -> bool {
        let far = self.total / (4 * self.parts);
        self.places().any(|cut| cut > before + far && cut + far < before + count)
    }

    /// The parts: each piece goes where its middle lies.
    fn made(&self, start: Point, pieces: &[Piece]) -> Vec<(Point, Fingerprint)> {
        let mut made: Vec<(Point, Fingerprint)> = vec![(start, Fingerprint::EMPTY)];
        let (mut before, mut part) = (0u128, 0);
        for piece in pieces {
            let count = u128::from(piece.print.count);
            let goes_to = self.places().take_while(|cut| 2 * cut <= 2 * before + count).count();
            match made.last_mut() {
                Some((_, print)) if goes_to == part || print.count == 0 || count == 0 => {
                    *print = print.combined(&piece.print)
                }
                _ => made.push((piece.start, piece.print)),
            }
            if count > 0 {
                part = goes_to;
            }
            before += count;
        }
        made
    }
}
