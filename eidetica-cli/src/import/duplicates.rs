//! Finds a key that comes twice, in memory that does not grow with the file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

/// How many keys are held in memory: 16 MiB.
const HELD: usize = 1 << 19;
const HASH: usize = 24;
const RECORD: usize = HASH + 8;

/// The hash of a key and its line, both big-endian, so that the order of records is the order of bytes. With 192 bits,
/// different keys have different hashes, and the keys themselves need not be kept.
type Record = [u8; RECORD];

/// The keys that were seen: sorted runs in temporary files, and the latest ones in memory.
#[derive(Default)]
pub struct Duplicates {
    held: Vec<Record>,
    runs: Vec<File>,
}

impl Duplicates {
    pub fn see(&mut self, key: &str, line: u64) -> io::Result<()> {
        if self.held.len() == HELD {
            self.spill()?;
        }
        let mut record = [0; RECORD];
        record[..HASH].copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..HASH]);
        record[HASH..].copy_from_slice(&line.to_be_bytes());
        self.held.push(record);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let mut out = BufWriter::with_capacity(1 << 16, tempfile::tempfile()?);
        self.held.iter().try_for_each(|record| out.write_all(record))?;
        self.held.clear();
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }

    /// The first line whose key stands on an earlier line, and that line.
    pub fn find(mut self) -> io::Result<Option<(u64, u64)>> {
        self.held.sort_unstable();
        let mut runs: Vec<Box<dyn Iterator<Item = io::Result<Record>>>> = vec![Box::new(self.held.into_iter().map(Ok))];
        for file in self.runs {
            runs.push(Box::new(Records(BufReader::with_capacity(1 << 16, file))));
        }
        let mut heap = BinaryHeap::new();
        for (run, records) in runs.iter_mut().enumerate() {
            if let Some(record) = records.next() {
                heap.push(Reverse((record?, run)));
            }
        }
        let mut found: Option<(u64, u64)> = None;
        let mut before: Option<Record> = None;
        while let Some(Reverse((record, run))) = heap.pop() {
            if let Some(before) = before.filter(|before| before[..HASH] == record[..HASH]) {
                let pair = (line(&record), line(&before));
                found = Some(found.map_or(pair, |found| found.min(pair)));
            }
            before = Some(record);
            if let Some(record) = runs[run].next() {
                heap.push(Reverse((record?, run)));
            }
        }
        Ok(found)
    }
}

fn line(record: &Record) -> u64 {
    record[HASH..].iter().fold(0, |line, byte| line << 8 | u64::from(*byte))
}

struct Records(BufReader<File>);

impl Iterator for Records {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<io::Result<Record>> {
        let mut record = [0; RECORD];
        match self.0.read_exact(&mut record) {
            Ok(()) => Some(Ok(record)),
            // Runs hold whole records, so this is the end of one.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_duplicate_is_found_within_and_across_runs() {
        let find = |keys: &[&str], spill_after: usize| {
            let mut duplicates = Duplicates::default();
            for (place, key) in keys.iter().enumerate() {
                duplicates.see(key, place as u64 + 2).unwrap();
                if place + 1 == spill_after {
                    duplicates.spill().unwrap();
                }
            }
            duplicates.find().unwrap()
        };
        for spill_after in 0..6 {
            assert_eq!(find(&["a", "b", "c", "b", "a", "a"], spill_after), Some((5, 3)));
            assert_eq!(find(&["a", "b", "c"], spill_after), None);
        }
        assert_eq!(find(&[], 0), None);
    }
}
