//! Standard output: tables for people, lines with tabs for pipes, JSON for programs.

use std::io::{BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value as Json;

use crate::failure::Failure;
use crate::text;

/// The widest cell of a table on a terminal. A wider one is cut, and shows whole with `get`.
const WIDEST: usize = 40;

/// What a command says.
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
    pub json: bool,
    terminal: bool,
}

impl Output {
    pub fn new(json: bool) -> Output {
        let stdout = std::io::stdout();
        Output { terminal: stdout.is_terminal(), out: BufWriter::with_capacity(1 << 16, stdout.lock()), json }
    }

    /// True if lines are aligned, and so have to be collected before the first one is written.
    pub fn aligns(&self) -> bool {
        self.terminal && !self.json
    }

    /// A line for people, or a JSON document in its place.
    pub fn say(&mut self, line: &str, json: impl FnOnce() -> Json) -> Result<(), Failure> {
        if self.json { self.document(&json()) } else { self.line(line) }
    }

    /// A line as it is.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(Failure::writing)
    }

    /// A JSON document on one line.
    pub fn document(&mut self, json: &Json) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, json).map_err(|error| Failure::writing(error.into()))?;
        self.out.write_all(b"\n").map_err(Failure::writing)
    }

    /// Cells with tabs between.
    pub fn tabbed<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        let cells: Vec<_> = cells.into_iter().map(text::escaped).collect();
        self.line(&cells.join("\t"))
    }

    /// Rows under headings: aligned on a terminal, else with tabs.
    ///
    /// Written here rather than with a crate: what exists wraps, colours and frames, while this has to escape and cut.
    pub fn table(&mut self, headings: &[String], rows: &[Vec<String>]) -> Result<(), Failure> {
        if !self.aligns() {
            self.tabbed(headings.iter().map(String::as_str))?;
            return rows.iter().try_for_each(|row| self.tabbed(row.iter().map(String::as_str)));
        }
        let mut widths = vec![0; headings.len()];
        let lines: Vec<Vec<String>> = std::iter::once(headings)
            .chain(rows.iter().map(Vec::as_slice))
            .map(|row| row.iter().map(|cell| text::cut(&text::escaped(cell), WIDEST).into_owned()).collect())
            .collect();
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(text::width(cell));
            }
        }
        for line in &lines {
            let mut out = String::new();
            for (width, cell) in widths.iter().zip(line) {
                out.push_str(cell);
                out.extend(std::iter::repeat_n(' ', width - text::width(cell) + 2));
            }
            self.line(out.trim_end())?;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::writing)
    }
}

/// Says something beside the output, which people may want to know and programs do not.
pub fn remark(text: &str) {
    // With standard error gone there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
