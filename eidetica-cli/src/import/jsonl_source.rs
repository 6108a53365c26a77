//! JSON Lines: one object on each line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use eidetica::Error;
use eidetica::crdt::{Doc, Value};

use super::source::{LONGEST, Row, unreadable, wrong};

pub struct JsonlSource {
    path: PathBuf,
    reader: BufReader<File>,
    key: String,
    buffer: Vec<u8>,
    line: u64,
    position: u64,
}

impl JsonlSource {
    pub fn new(path: &Path, file: File, key: &str) -> JsonlSource {
        let reader = BufReader::with_capacity(1 << 16, file);
        JsonlSource { path: path.to_owned(), reader, key: key.to_owned(), buffer: Vec::new(), line: 0, position: 0 }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn next(&mut self) -> Result<Option<Row>, Error> {
        loop {
            self.buffer.clear();
            let read = self.reader.by_ref().take(LONGEST + 1).read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|error| unreadable(&self.path, error))? as u64;
            self.line += 1;
            self.position += read;
            let wrong = |message| wrong(&self.path, self.line, message);
            match read {
                0 => return Ok(None),
                _ if read > LONGEST => return Err(wrong("the line has more than 16 MiB")),
                _ => {}
            }
            let text = std::str::from_utf8(&self.buffer)
                .map_err(|error| wrong("the line is not UTF-8; convert the file first").caused_by(error))?;
            // Some programs put a byte order mark before everything.
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() {
                continue;
            }
            let here = |error: Error| error.with("file", self.path.display()).with("line", self.line);
            let json = crate::json::parse(text, 1).map_err(here)?;
            if !json.is_object() {
                return Err(wrong("the line holds something else than an object; each line holds one object"));
            }
            let mut fields = Doc::from_json(&json).map_err(here)?;
            let key = match fields.remove(&self.key) {
                Some(Value::Text(key)) => key,
                Some(Value::Null) => String::new(),
                Some(key @ (Value::Int(_) | Value::Float(_) | Value::Bool(_))) => crate::typed::shown(&key),
                Some(_) => return Err(wrong("the key is a list or an object; it has to be text or a number")),
                None => {
                    return Err(wrong("the object lacks the field that the keys come from").with("field", &self.key));
                }
            };
            return Ok(Some(Row { line: self.line, key, fields }));
        }
    }
}
