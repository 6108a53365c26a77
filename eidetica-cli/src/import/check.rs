//! The first pass over a file: what its columns are, and that its keys are sound.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eidetica::{Error, ErrorKind};
use serde_json::Value as Json;

use super::columns::{Columns, Guess, Type};
use super::duplicates::Duplicates;
use super::progress::Progress;
use super::size;
use super::source::{Source, examine, wrong};
use crate::arguments::{Format, Import};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// After how many rows progress is shown and Ctrl-C is heard.
const STEP: u64 = 1024;

/// What the first pass has found out.
#[derive(Clone)]
pub struct Plan {
    pub path: PathBuf,
    pub format: Format,
    pub key: String,
    pub bytes: u64,
    pub rows: u64,
    /// Only CSV has columns.
    pub columns: Option<Arc<Columns>>,
}

impl Plan {
    /// Reads the file, off the threads that serve everything else.
    pub async fn make(arguments: &Import, progress: &Progress, interrupt: &Interrupt) -> Result<Plan, Failure> {
        let (path, key, text) = (arguments.file.clone(), arguments.key.clone(), arguments.text);
        let (format, bytes) = examine(&path, arguments.format)?;
        progress.begin("checking", bytes);
        let (progress, interrupt) = (progress.clone(), interrupt.clone());
        let pass = tokio::task::spawn_blocking(move || {
            let mut plan = Plan { path, format, key, bytes, rows: 0, columns: None };
            plan.read(text, &progress, &interrupt)?;
            Ok(plan)
        });
        pass.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "the thread that reads the file has ended").caused_by(error).into())
        })
    }

    pub fn open(&self) -> Result<Source, Error> {
        Source::open(&self.path, self.format, &self.key)
    }

    fn read(&mut self, text: bool, progress: &Progress, interrupt: &Interrupt) -> Result<(), Failure> {
        let mut source = self.open()?;
        let mut duplicates = Duplicates::default();
        let mut guesses = match &source {
            Source::Csv(csv) => vec![Guess::NEW; csv.headers.len()],
            Source::Jsonl(_) => Vec::new(),
        };
        // What the names of the columns, and what frames them and the cells, takes in each row.
        let headings = match &source {
            Source::Csv(csv) => csv.headers.iter().map(|name| name.len() + 2 * size::FRAME).sum::<usize>(),
            Source::Jsonl(_) => 0,
        };
        loop {
            let position = source.position();
            let (line, key, size) = match &mut source {
                Source::Csv(csv) => {
                    let key = csv.key;
                    let Some((line, record)) = csv.read()? else { break };
                    if !text {
                        guesses.iter_mut().zip(record).for_each(|(guess, cell)| guess.see(cell));
                    }
                    let size = headings + record.as_slice().len();
                    (line, record.get(key).unwrap_or_default().to_owned(), size)
                }
                Source::Jsonl(jsonl) => match jsonl.next()? {
                    Some(row) => {
                        let size = size::of_row(&row.key, &row.fields);
                        (row.line, row.key, size)
                    }
                    None => break,
                },
            };
            if key.is_empty() {
                let message = "the key of the row is empty; give it one, or name another column with --key";
                return Err(wrong(&self.path, line, message).with("column", &self.key).into());
            }
            self.check_row(line, &key, size)?;
            duplicates.see(&key, line).map_err(temporary)?;
            self.rows += 1;
            if self.rows.is_multiple_of(STEP) {
                progress.at(position);
                if interrupt.is_raised() {
                    return Err(Failure::Interrupted);
                }
            }
        }
        if let Some((line, first)) = duplicates.find().map_err(temporary)? {
            return Err(self.duplicate(line, first).into());
        }
        if let Source::Csv(csv) = source {
            let types = guesses.iter().map(|guess| if text { Type::Text } else { guess.decide() });
            self.columns = Some(Arc::new(Columns(csv.headers.into_iter().zip(types).collect())));
        }
        Ok(())
    }

    /// Refuses a row that no table takes.
    fn check_row(&self, line: u64, key: &str, size: usize) -> Result<(), Error> {
        let mut shown: String = key.chars().take(60).collect();
        if shown.len() < key.len() {
            shown.push('…');
        }
        if !size::key_fits(key) {
            let message = "the key of the row is too long; it has at most 764 bytes; shorten it, or name another column \
                           with --key";
            let error = wrong(&self.path, line, message).with("key", shown).with("bytes", key.len());
            return Err(error.with("column", &self.key));
        }
        if size > size::LARGEST {
            let message = "the row is larger than a table takes; shorten or split it, or keep large contents in files \
                           and their names in the table";
            let error = wrong(&self.path, line, message).with("key", shown).with("bytes", size);
            return Err(error.with("limit", size::LARGEST));
        }
        Ok(())
    }

    /// The error about a key that stands on two lines. Only hashes were kept, so it is looked up.
    fn duplicate(&self, line: u64, first: u64) -> Error {
        let message = "two rows have the same key; remove one of them, or name another column with --key";
        let error = wrong(&self.path, line, message).with("first_line", first).with("column", &self.key);
        let find = || {
            let mut source = self.open().ok()?;
            while let Some(row) = source.next(None).ok()? {
                if row.line == line {
                    return Some(row.key);
                }
            }
            None
        };
        match find() {
            Some(key) => error.with("key", key),
            None => error,
        }
    }

    pub fn columns_as_json(&self) -> Json {
        let Some(columns) = &self.columns else { return Json::Null };
        columns.0.iter().filter(|(name, _)| *name != self.key).map(|(name, kind)| (name.clone(), kind.name())).collect()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn temporary(error: std::io::Error) -> Error {
    let message = "the keys do not fit into memory, and no temporary file can be written; make room, or set TMPDIR";
    Error::new(ErrorKind::Io, message).caused_by(error)
}
