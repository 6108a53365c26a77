//! CSV: a header line, then rows of as many cells.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
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
        let record = csv::StringRecord::new();
        Ok(CsvSource { path: path.to_owned(), reader, since, record, headers, key: position })
    }

    pub fn position(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The cells of the next row, and its line.
    pub fn read(&mut self) -> Result<Option<(u64, &csv::StringRecord)>, Error> {
        self.since.store(0, Ordering::Relaxed);
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {
                let line = self.record.position().map_or(0, csv::Position::line);
                Ok(Some((line, &self.record)))
            }
            Ok(false) => Ok(None),
            Err(error) => Err(translate(&self.path, error)),
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
