//! Filtering, sorting, and writing what is left.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::store::table::RowConflict;

use super::PAGE;
use super::cells::{Shown, conflict_lines, field_of, headings, json, line};
use crate::arguments::RowsOf;
use crate::failure::Failure;
use crate::output::{Output, remark};
use crate::{text, typed};

/// Filters, sorts, and writes what is left: at once where it can.
pub struct Sink<'a> {
    wanted: &'a RowsOf,
    table: &'a Table<Doc>,
    held: Vec<Shown>,
    written: usize,
    /// The columns of the lines that have been written.
    headings: Option<Vec<String>>,
    /// What fields there are, to tell somebody who asks for another one.
    seen: BTreeSet<String>,
}

impl<'a> Sink<'a> {
    pub fn new(wanted: &'a RowsOf, table: &'a Table<Doc>) -> Sink<'a> {
        Sink { wanted, table, held: Vec::new(), written: 0, headings: None, seen: BTreeSet::new() }
    }

    /// True if more rows are wanted. Conflicts that are not known yet are looked up if they are wanted.
    pub async fn take(
        &mut self,
        key: String,
        row: Doc,
        conflicts: Option<Vec<RowConflict>>,
        output: &mut Output,
    ) -> Result<bool, Failure> {
        let limit = self.wanted.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(false);
        }
        for name in row.keys() {
            if !self.seen.contains(name) {
                self.seen.insert(name.to_owned());
            }
        }
        let prefix = self.wanted.prefix.as_deref().unwrap_or_default();
        if !key.starts_with(prefix) || !self.wanted.conditions.iter().all(|condition| condition.holds(&key, &row)) {
            return Ok(true);
        }
        let conflicts = match conflicts {
            Some(known) => known,
            None if self.wanted.conflicts => self.table.conflicts(&key).await?,
            None => Vec::new(),
        };
        if self.wanted.conflicts && conflicts.is_empty() {
            return Ok(true);
        }
        let shown = Shown { key, row, conflicts };
        if self.wanted.sort.is_none() && self.headings_are_known(output) {
            self.write(std::slice::from_ref(&shown), output)?;
            return Ok(self.written < limit);
        }
        self.held.push(shown);
        match self.wanted.sort {
            // Of rows in order only the first ones count, so no more than twice as many are held.
            Some(_) => {
                if self.held.len() > limit.saturating_mul(2).saturating_add(PAGE) {
                    self.sort(limit);
                }
                Ok(true)
            }
            None => Ok(self.held.len() < limit),
        }
    }

    /// Lines for a pipe can go out at once if the columns do not depend on later rows.
    fn headings_are_known(&self, output: &Output) -> bool {
        output.json || (!output.aligns() && (self.wanted.fields.is_some() || self.wanted.conflicts))
    }

    fn sort(&mut self, limit: usize) {
        let Some(field) = &self.wanted.sort else { return };
        let desc = self.wanted.desc;
        self.held.sort_by(|a, b| {
            let order = match (field_of(a, field), field_of(b, field)) {
                (Some(a), Some(b)) if desc => typed::order(&b, &a),
                (Some(a), Some(b)) => typed::order(&a, &b),
                // Rows without the field come last in either direction.
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            order.then_with(|| if desc { Ordering::Equal } else { a.key.cmp(&b.key) })
        });
        self.held.truncate(limit);
    }

    pub fn end(mut self, output: &mut Output) -> Result<(), Failure> {
        let limit = self.wanted.limit.unwrap_or(usize::MAX);
        if self.wanted.sort.is_some() {
            self.sort(limit);
        } else if self.wanted.desc {
            self.held.reverse();
        }
        let held = std::mem::take(&mut self.held);
        self.write(&held, output)?;
        let asked = self.wanted.conditions.iter().map(|condition| &condition.field);
        for field in asked.chain(&self.wanted.sort).chain(self.wanted.fields.iter().flatten()) {
            if !self.seen.is_empty() && field != "key" && !self.seen.contains(field) {
                let fields: Vec<&str> = self.seen.iter().map(String::as_str).collect();
                remark(&format!(
                    "note: no row that was looked at has a field {}; there are key, {}",
                    text::escaped(field),
                    text::escaped(&fields.join(", "))
                ));
            }
        }
        Ok(())
    }

    fn write(&mut self, rows: &[Shown], output: &mut Output) -> Result<(), Failure> {
        self.written += rows.len();
        if output.json {
            return rows.iter().try_for_each(|shown| output.document(&json(shown, self.wanted)));
        }
        let first = self.headings.is_none();
        let headings = self.headings.get_or_insert_with(|| headings(self.wanted, rows)).clone();
        let lines: Vec<Vec<String>> = match self.wanted.conflicts {
            true => rows.iter().flat_map(conflict_lines).collect(),
            false => rows.iter().map(|shown| line(shown, &headings)).collect(),
        };
        if first {
            return output.table(&headings, &lines);
        }
        lines.iter().try_for_each(|line| output.tabbed(line.iter().map(String::as_str)))
    }
}
