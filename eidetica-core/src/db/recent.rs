//! What the latest entries have touched, to tell a transaction whether something that it has used has changed.

use std::collections::VecDeque;

use super::transaction::Intent;
use super::work::{Admitted, Work};
use crate::layout::StoreNumber;
use crate::store::cell::Cell;

/// How many touched cells are remembered.
const RECENT_CELLS: usize = 65_536;

/// The latest entries, by number.
#[derive(Default)]
pub(crate) struct Recent {
    entries: VecDeque<(u64, Vec<(StoreNumber, Cell)>)>,
    cells: usize,
}

impl Recent {
    /// Remembers an entry that was committed.
    pub fn add(&mut self, entry: &Admitted) {
        self.cells += entry.touched.len() + 1;
        self.entries.push_back((entry.number, entry.touched.clone()));
        while self.cells > RECENT_CELLS
            && let Some((_, touched)) = self.entries.pop_front()
        {
            self.cells -= touched.len() + 1;
        }
    }

    /// True if nothing that a transaction has used was touched by what has come since its snapshot: entries that are
    /// remembered, `earlier` ones that are being committed, and those of the group itself. Not knowing counts as touched.
    pub fn leaves_alone(&self, intent: &Intent, earlier: &[Admitted], work: &Work<'_>) -> bool {
        // What is void and carries nothing is in no snapshot. What it had touched was touched by what struck it, too.
        let since = intent.seen.missing_before(work.state.meta.next).difference(&work.state.marks.dead);
        let used = intent.used.by_number(&work.state.catalog);
        since.iter().all(|number| {
            let known = self.entries.binary_search_by_key(&number, |(number, _)| *number);
            let among = |entries: &[Admitted]| entries.binary_search_by_key(&number, |entry| entry.number);
            let touched = match known {
                Ok(at) => Some(&self.entries[at].1),
                Err(_) => match (among(earlier), among(&work.admitted)) {
                    (Ok(at), _) => Some(&earlier[at].touched),
                    (_, Ok(at)) => Some(&work.admitted[at].touched),
                    _ => None,
                },
            };
            touched.is_some_and(|touched| used.is_left_alone_by(touched))
        })
    }
}
