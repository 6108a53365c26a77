//! A file of rows, whatever its format.

use std::fs::File;
use std::io;
use std::path::Path;

use eidetica::crdt::Doc;
use eidetica::{Error, ErrorKind};

use super::columns::Columns;
use super::csv_source::CsvSource;
use super::jsonl_source::JsonlSource;
use crate::arguments::Format;

/// The most bytes of one record. A longer one is no row, but a quote that was never closed, or no text at all.
pub const LONGEST: u64 = 16 << 20;

/// A row of the file.
pub struct Row {
    /// The line on which it begins, from 1.
    pub line: u64,
    pub key: String,
    pub fields: Doc,
}

/// Reads rows one by one.
pub enum Source {
    Csv(CsvSource),
    Jsonl(JsonlSource),
}

impl Source {
    /// Opens the file at its beginning.
    pub fn open(path: &Path, format: Format, key: &str) -> Result<Source, Error> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        Ok(match format {
            Format::Csv => Source::Csv(CsvSource::new(path, file, key)?),
            Format::Jsonl => Source::Jsonl(JsonlSource::new(path, file, key)),
        })
    }

    /// The next row, in the types of these columns; without columns, everything is text as far as the format allows.
    pub fn next(&mut self, columns: Option<&Columns>) -> Result<Option<Row>, Error> {
        match self {
            Source::Csv(source) => source.next(columns),
            Source::Jsonl(source) => source.next(),
        }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> u64 {
        match self {
            Source::Csv(source) => source.position(),
            Source::Jsonl(source) => source.position(),
        }
    }
}

/// The format of a file, and how many bytes it has.
pub fn examine(path: &Path, format: Option<Format>) -> Result<(Format, u64), Error> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if !metadata.is_file() {
        let message = "only a file on disk can be imported, since it is read twice; write it to one first";
        return Err(Error::new(ErrorKind::InvalidInput, message).with("file", path.display()));
    }
    if metadata.len() == 0 {
        return Err(Error::new(ErrorKind::InvalidInput, "the file is empty").with("file", path.display()));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let format = match (format, ending.as_str()) {
        (Some(format), _) => format,
        (None, "csv") => Format::Csv,
        (None, "jsonl" | "ndjson") => Format::Jsonl,
        _ => {
            let message = "the ending of the file does not tell its format; add --format csv or --format jsonl";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("file", path.display()));
        }
    };
    Ok((format, metadata.len()))
}

/// The error of a file that the system does not let us read.
pub fn unreadable(path: &Path, error: io::Error) -> Error {
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "there is no such file; check the path"),
        io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, "this user may not read the file"),
        io::ErrorKind::InvalidData => (ErrorKind::InvalidInput, "the file cannot be read as text; see the cause"),
        _ => (ErrorKind::Io, "the file cannot be read"),
    };
    Error::new(kind, message).with("file", path.display()).caused_by(error)
}

/// Something wrong with a line.
pub fn wrong(path: &Path, line: u64, message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, message).with("file", path.display()).with("line", line)
}
