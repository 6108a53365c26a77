//! CSV: a header line, then rows of as many cells.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eidetica::crdt::{Doc, Value};
use eidetica::{Error, ErrorKind};

use super::columns::Columns;
use super::source::{LONGEST, Row, unreadable, wrong};

pub struct CsvSource {
    path: PathBuf,
    reader: csv::Reader<Bounded>,
    since: Arc<AtomicU64>,
    record: csv::StringRecord,
    /// Where the latest record begins.
    begin: csv::Position,
    pub headers: Vec<String>,
    pub key: usize,
}

impl CsvSource {
    pub fn new(path: &Path, file: File, key: &str) -> Result<CsvSource, Error> {
        let since = Arc::new(AtomicU64::new(0));
        let bounded = Bounded { file, since: since.clone() };
        let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 16).from_reader(bounded);
        let headers = reader.headers().map_err(|error| translate(path, error))?;
        let headers: Vec<String> = headers.iter().map(str::to_owned).collect();
        refuse_unclosed(path, &csv::Position::new())?;
        let mut seen = HashSet::new();
        for name in &headers {
            if name.is_empty() {
                return Err(wrong(path, 1, "a column has no name; the first line of the file names all columns"));
            }
            if !seen.insert(name) {
                return Err(wrong(path, 1, "two columns have the same name; rename one of them").with("column", name));
            }
        }
        let position = headers.iter().position(|name| name == key).ok_or_else(|| {
            let message = "the file has no such column to take the keys from; see `columns` for those it has";
            let error = Error::new(ErrorKind::NotFound, message).with("column", key);
            error.with("columns", headers.join(", ")).with("file", path.display())
        })?;
        let (record, begin) = (csv::StringRecord::new(), csv::Position::new());
        Ok(CsvSource { path: path.to_owned(), reader, since, record, begin, headers, key: position })
    }

    pub fn position(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The cells of the next row, and its line.
    pub fn read(&mut self) -> Result<Option<(u64, &csv::StringRecord)>, Error> {
        self.since.store(0, Ordering::Relaxed);
        let begin = self.reader.position().clone();
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {
                self.begin = begin;
                let line = self.record.position().map_or(0, csv::Position::line);
                Ok(Some((line, &self.record)))
            }
            Ok(false) => {
                // The reader takes the end of the file for the end of a cell, whatever it was in.
                refuse_unclosed(&self.path, &self.begin)?;
                Ok(None)
            }
            Err(error) => {
                refuse_unclosed(&self.path, &begin)?;
                Err(translate(&self.path, error))
            }
        }
    }

    pub fn next(&mut self, columns: Option<&Columns>) -> Result<Option<Row>, Error> {
        let key = self.key;
        let path = self.path.clone();
        let headers = std::mem::take(&mut self.headers);
        let read = self.read();
        let row = read.and_then(|read| {
            let Some((line, record)) = read else { return Ok(None) };
            let mut fields = Doc::new();
            for (place, (name, cell)) in headers.iter().zip(record).enumerate().filter(|(place, _)| *place != key) {
                let value = match (cell, columns) {
                    ("", _) => Some(Value::Null),
                    (_, Some(columns)) => columns.value(place, cell),
                    (_, None) => Some(cell.into()),
                };
                let value = value.ok_or_else(|| {
                    wrong(&path, line, "the file was changed while it was read; import it again").with("column", name)
                })?;
                fields.set(name.as_str(), value);
            }
            Ok(Some(Row { line, key: record.get(key).unwrap_or_default().to_owned(), fields }))
        });
        self.headers = headers;
        row
    }
}

/// Refuses a file whose last record begins here and ends in a quote that is never closed: it has swallowed all that
/// follows it, up to the end of the file.
fn refuse_unclosed(path: &Path, begin: &csv::Position) -> Result<(), Error> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(begin.byte()))?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut quotes = Quotes::at(begin.line());
        if begin.byte() == 0 && file.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            file.consume(3);
        }
        loop {
            let bytes = file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(quotes.open.then_some(quotes.opened));
            }
            for byte in bytes {
                if !quotes.see(*byte) {
                    return Ok(None);
                }
            }
            let length = bytes.len();
            file.consume(length);
        }
    };
    match read().map_err(|error| unreadable(path, error))? {
        None => Ok(()),
        Some(line) => {
            let message = "a quote opens a cell on this line and is never closed, so that the rest of the file would \
                           belong to the cell; close it, or, if it is part of the text, quote the cell and double it";
            Err(wrong(path, line, message))
        }
    }
}

/// Follows the quotes of one record, as the reader of CSV does.
struct Quotes {
    line: u64,
    /// True within quotes.
    open: bool,
    /// The line on which they were opened.
    opened: u64,
    /// True directly behind a quote within quotes: it closes them, unless another one follows.
    after: bool,
    /// True where a cell begins.
    cell: bool,
    /// True where nothing of the record has come yet.
    blank: bool,
}

impl Quotes {
    fn at(line: u64) -> Quotes {
        Quotes { line, open: false, opened: line, after: false, cell: true, blank: true }
    }

    /// Takes a byte; false if the record ends with it.
    fn see(&mut self, byte: u8) -> bool {
        let line = self.line;
        self.line += u64::from(byte == b'\n');
        match byte {
            b'"' if self.open => (self.open, self.after) = (false, true),
            _ if self.open => {}
            b'"' if self.after => (self.open, self.after) = (true, false),
            b'"' if self.cell => (self.open, self.opened, self.cell) = (true, line, false),
            b'\n' | b'\r' if !self.blank => return false,
            b'\n' | b'\r' => return true,
            _ => (self.after, self.cell) = (false, byte == b','),
        }
        self.blank = false;
        true
    }
}

/// Lets a record have so many bytes and no more, lest a quote that is never closed swallows the file and the memory.
struct Bounded {
    file: File,
    since: Arc<AtomicU64>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if self.since.fetch_add(read as u64, Ordering::Relaxed) > LONGEST {
            let message = "a row has more than 16 MiB; perhaps a quote that opens a cell is never closed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

fn translate(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => unreadable(path, error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let message = "the row has more or fewer cells than the header line; a comma in a cell needs double quotes \
                           around the cell";
            let error = wrong(path, line.unwrap_or(0), message);
            error.with("cells", len).with("expected", expected_len)
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            let message = "the row is not UTF-8; convert the file to UTF-8 first";
            wrong(path, line.unwrap_or(0), message).caused_by(err)
        }
        other => {
            let error = wrong(path, line.unwrap_or(0), "the file cannot be read as CSV");
            error.with("reason", format!("{other:?}"))
        }
    }
}
