//! Foreign entries that arrived together, and how far they are judged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use eidetica_contract::Result;
use tokio::sync::oneshot;

use super::ingest::Outcome;
use crate::entry::VerifiedEntry;
use crate::id::Id;

/// Entries that arrived together.
pub(crate) struct Arrivals {
    pub source: Arc<str>,
    /// What could be proven, with its place among all that arrived.
    pub entries: Vec<(usize, VerifiedEntry)>,
    /// One for each entry that arrived, filled in as they are judged.
    pub outcomes: Vec<Outcome>,
    /// True if void entries for which there is no room come in for good: somebody here has asked for all of it.
    pub keeps_void: bool,
}

/// A page under way.
pub(crate) struct Page {
    /// Tells it from others.
    pub number: u64,
    pub arrivals: Arrivals,
    /// What is still to be judged, last first: its place, if it arrived with the page, and who brought it.
    pub todo: Vec<(Option<usize>, VerifiedEntry, Arc<str>)>,
    /// How often in a row another process was faster.
    pub attempts: usize,
    /// Groups with entries of it that are neither answered nor undone.
    pub open: usize,
    pub reply: oneshot::Sender<Result<Vec<Outcome>>>,
    /// Void entries that come in for good.
    pub kept: HashSet<Id>,
    /// The places of entries that were answered as void, of which something that comes later in the page may make more.
    pub void: HashMap<Id, usize>,
}

/// An entry of a page, and what became of it.
pub(crate) type Judged = (Option<usize>, VerifiedEntry, Arc<str>, Outcome);

impl Page {
    /// Makes undone what was judged. What it brought out of the parking comes along.
    pub fn put_back(&mut self, judged: Vec<Judged>) {
        self.todo.extend(judged.into_iter().rev().map(|(place, entry, source, _)| (place, entry, source)));
    }

    /// Orders what arrived so that each chain is taken up in one go where possible: entries that share what they have not
    /// seen are cheap to apply one after the other.
    pub fn new(number: u64, arrivals: Arrivals, reply: oneshot::Sender<Result<Vec<Outcome>>>) -> Page {
        let mut arrivals = arrivals;
        let entries = std::mem::take(&mut arrivals.entries);
        let place: HashMap<Id, usize> = entries.iter().enumerate().map(|(at, (_, entry))| (entry.id(), at)).collect();
        let mut missing = vec![0usize; entries.len()];
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, (_, entry)) in entries.iter().enumerate() {
            for parent in entry.header().parents.iter().filter_map(|parent| place.get(parent)) {
                missing[at] += 1;
                children.entry(*parent).or_default().push(at);
            }
        }
        let mut ready: Vec<usize> = (0..entries.len()).filter(|at| missing[*at] == 0).rev().collect();
        let mut order = Vec::with_capacity(entries.len());
        while let Some(at) = ready.pop() {
            order.push(at);
            for child in children.get(&at).into_iter().flatten().rev() {
                missing[*child] -= 1;
                if missing[*child] == 0 {
                    ready.push(*child);
                }
            }
        }
        let mut entries: Vec<Option<(usize, VerifiedEntry)>> = entries.into_iter().map(Some).collect();
        let source = arrivals.source.clone();
        let mut todo: Vec<_> = order
            .into_iter()
            .filter_map(|at| entries[at].take())
            .map(|(place, entry)| (Some(place), entry, source.clone()))
            .collect();
        // The same entry twice in one page: the copies come last, and are known by then.
        todo.extend(entries.into_iter().flatten().map(|(place, entry)| (Some(place), entry, source.clone())));
        todo.reverse();
        let (kept, void) = Default::default();
        Page { number, arrivals, todo, attempts: 0, open: 0, reply, kept, void }
    }
}
