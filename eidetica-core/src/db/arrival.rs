//! Entries that arrive: proven on all cores (or in line, where that is asked for), and handed to the writer while the next ones are being proven.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock};

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::database::Database;
use super::ingest::{Outcome, Parked, Refused};
use super::page::Arrivals;
use crate::entry::{RawEntry, Rejected, VerifiedEntry, verify};
use crate::id::Id;

/// How many entries are proven without a thought of sharing the work.
const FEW: usize = 8;
/// How many entries are proven in one go: what the writer takes into one group.
const SHARE: usize = super::group::GROUP_ENTRIES;

type Proven = Result<VerifiedEntry, Rejected>;

impl Database {
    /// Hands in entries that came from elsewhere. This is the one door: each is proven, judged by what is below it, and
    /// applied, or it is answered why not. The outcomes come in the order of the entries.
    ///
    /// What lacks its parents waits, in a bounded area, and comes in by itself when they do; `source` tells for whom.
    ///
    /// Errors: those of the backend; entries that were accepted before stay. Cancellation: what is proven by then comes in all
    /// the same, each entry whole or not at all.
    #[tracing::instrument(level = "debug", skip_all, fields(entries = entries.len()))]
    pub async fn ingest(&self, entries: Vec<RawEntry>, source: &str) -> Result<Vec<Outcome>> {
        Box::pin(self.take_up(entries, source, false)).await
    }

    /// The same. `keeps_void`: void entries for which there is no room, and on which something may stand that comes later, are taken in for
    /// good.
    pub(super) async fn take_up(&self, entries: Vec<RawEntry>, source: &str, keeps_void: bool) -> Result<Vec<Outcome>> {
        let source: Arc<str> = source.into();
        // Where each entry stands: those whose parents come later in the page wait for them, and go together.
        let places: HashMap<Id, usize> = match entries.len() <= SHARE {
            true => HashMap::new(),
            false => entries.iter().enumerate().map(|(place, entry)| (Id::of(&entry.header), place)).collect(),
        };
        let mut proving = Proving::new(entries, self.core.storage.options.proves_in_line);
        let mut answers = Vec::new();
        let mut held: Vec<Proven> = Vec::new();
        let mut end = 0;
        while let Some(proven) = proving.next().await? {
            end += proven.len();
            held.extend(proven);
            let later = |parent: &Id| places.get(parent).is_some_and(|place| *place >= end);
            if held.len() >= SHARE && !held.iter().flatten().any(|entry| entry.header().parents.iter().any(later)) {
                answers.push(self.hand_over(std::mem::take(&mut held), &source, keeps_void).await?);
            }
        }
        if !held.is_empty() {
            answers.push(self.hand_over(held, &source, keeps_void).await?);
        }
        let mut outcomes = Vec::with_capacity(end);
        for answer in answers {
            match answer {
                Answer::Known(known) => outcomes.extend(known),
                Answer::Awaited(answer) => outcomes.extend(answer.await.map_err(|_| crate::error::closed())??),
            }
        }
        Ok(outcomes)
    }

    /// Hands entries to the writer, and does not wait for what becomes of them.
    async fn hand_over(&self, proven: Vec<Proven>, source: &Arc<str>, keeps_void: bool) -> Result<Answer> {
        let mut outcomes = vec![Outcome::Deferred; proven.len()];
        let mut entries = Vec::with_capacity(proven.len());
        for (place, result) in proven.into_iter().enumerate() {
            match result {
                Ok(entry) => entries.push((place, entry)),
                Err(Rejected::NewerVersion(version)) => {
                    outcomes[place] = Outcome::Parked(Parked::NewerVersion(version));
                }
                Err(rejected) => outcomes[place] = Outcome::Refused(Refused::Malformed(rejected)),
            }
        }
        if entries.is_empty() {
            return Ok(Answer::Known(outcomes));
        }
        let arrivals = Arrivals { source: source.clone(), entries, outcomes, keeps_void };
        Ok(Answer::Awaited(self.writer.ingest(arrivals).await?))
    }
}

enum Answer {
    Known(Vec<Outcome>),
    Awaited(oneshot::Receiver<Result<Vec<Outcome>>>),
}

/// Entries of which a few shares are being proven at once, one on each core; they come out in their order.
struct Proving {
    todo: std::vec::IntoIter<RawEntry>,
    share: usize,
    in_line: bool,
    under_way: VecDeque<JoinHandle<Vec<Proven>>>,
}

impl Proving {
    fn new(entries: Vec<RawEntry>, in_line: bool) -> Proving {
        // In line the shares, and so the groups of the writer, are the same on every machine.
        let share = if in_line { SHARE } else { entries.len().div_ceil(cores()).clamp(FEW, SHARE) };
        Proving { todo: entries.into_iter(), share, in_line, under_way: VecDeque::new() }
    }

    async fn next(&mut self) -> Result<Option<Vec<Proven>>> {
        if self.under_way.is_empty() && self.todo.len() <= FEW {
            let few: Vec<Proven> = self.todo.by_ref().map(verify).collect();
            return Ok((!few.is_empty()).then_some(few));
        }
        if self.in_line {
            tokio::task::yield_now().await;
            return Ok(Some(self.todo.by_ref().take(self.share).map(verify).collect()));
        }
        while self.under_way.len() < cores() && self.todo.len() > 0 {
            let share: Vec<RawEntry> = self.todo.by_ref().take(self.share).collect();
            self.under_way.push_back(tokio::task::spawn_blocking(move || share.into_iter().map(verify).collect()));
        }
        let Some(first) = self.under_way.pop_front() else { return Ok(None) };
        let failed = |error| Error::new(ErrorKind::Internal, "a verification thread has ended early").caused_by(error);
        first.await.map(Some).map_err(failed)
    }
}

/// How many threads may run at once. Looked up once: it takes several files to read, which is as long as proving an entry.
fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    *CORES
}
