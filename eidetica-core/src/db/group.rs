//! Groups: prepared on an overlay, committed as one batch, answered when that has happened.
//!
//! While one group is being committed, the next one is prepared on top of what the first will have made of the rows. Its batch
//! expects the row of the database as the first leaves it. So it can only be committed if the first was, and if nobody
//! else has written in between; otherwise it is undone and happens again on what is there.

use std::collections::HashSet;
use std::sync::Arc;

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;

use super::changes::WriteEvent;
use super::ingest::Outcome;
use super::page::Judged;
use super::transaction::{Commitment, Committed, Intent};
use super::work::{Admitted, Basis, Ready, Work};
use super::writer::{CommitReply, Writer};
use crate::id::Id;
use crate::overlay::Changes;

/// How many foreign entries go into one group.
pub(crate) const GROUP_ENTRIES: usize = 256;
/// How many bytes go into one group.
pub(crate) const GROUP_BYTES: usize = 8 << 20;
/// How often a group is tried again when another process was faster.
pub(crate) const ATTEMPTS: usize = 64;

/// What a group is made of.
pub(super) enum Unit {
    /// Local commits.
    Commits(Vec<(Box<Intent>, CommitReply)>),
    /// The next entries of the first page that has some left.
    Page,
}

/// What a group has done, to be answered or undone.
pub(super) enum Part {
    Commits(Vec<(Box<Intent>, CommitReply)>, Vec<Result<Committed>>),
    Page(u64, Vec<Judged>),
}

/// A group that is being committed.
pub(super) struct UnderWay {
    task: JoinHandle<(Result<bool>, Option<Part>)>,
    after: Arc<Basis>,
    changes: Arc<Changes>,
    previous: Vec<Id>,
}

impl Writer {
    /// Lets a group happen. With `more` to do, it need not be committed when this returns.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn advance(&mut self, unit: Unit, more: bool) {
        let Some(before) = self.under_way.take() else { return self.alone(unit, 0, more).await };
        let (part, ready) = self.prepare(unit, Some((&before.after, before.changes)), 0, true).await;
        let (result, answered) = ended(before.task).await;
        let holds = matches!(result, Ok(true));
        // A verdict that leads to no batch is not proven by one, and rests on a state that may never have been.
        let undone = match ready {
            Ok(Some(ready)) if holds => self.launch(part, ready),
            _ => self.undo(part),
        };
        self.conclude(answered, &before.after, before.previous, result).await;
        if let Some(unit) = undone {
            self.alone(unit, 0, more).await;
        }
    }

    /// Waits for the group that is being committed, if there is one.
    pub(super) async fn settle(&mut self) {
        if let Some(before) = self.under_way.take() {
            let (result, part) = ended(before.task).await;
            self.conclude(part, &before.after, before.previous, result).await;
        }
    }

    /// Lets a group happen on what is committed.
    async fn alone(&mut self, mut unit: Unit, first: usize, more: bool) {
        for attempt in first..ATTEMPTS {
            let launches = more && attempt == 0;
            let (part, ready) = self.prepare(unit, None, attempt, launches).await;
            let ready = match ready {
                Ok(Some(ready)) => ready,
                Ok(None) => return self.answer(part),
                Err(error) => return self.fail(part, &error),
            };
            if launches {
                match self.launch(part, ready) {
                    None => return,
                    Some(again) => unit = again,
                }
                continue;
            }
            let Ready { batch, bytes, after, previous, .. } = ready;
            match self.core.commit(batch, bytes, after.state.clone()).await {
                Ok(true) => {
                    self.note(&after, previous);
                    return self.answer(part);
                }
                Ok(false) => match self.undo(part) {
                    Some(again) => unit = again,
                    None => return,
                },
                Err(error) => return self.fail(part, &error),
            }
        }
        if let Unit::Commits(commits) = unit {
            self.fail(Part::Commits(commits, Vec::new()), &faster());
        } else if let Some(number) = self.next_page().map(|page| page.number) {
            self.fail(Part::Page(number, Vec::new()), &faster());
        }
    }

    /// Commits a group beside whatever comes next. Local commits are answered from there, so that they need not wait for what
    /// is prepared meanwhile. Gives the group back if it cannot be built on.
    fn launch(&mut self, part: Part, ready: Ready) -> Option<Unit> {
        let Ready { batch, bytes, after, changes: Some(changes), previous } = ready else { return self.undo(part) };
        let (core, state) = (self.core.clone(), after.state.clone());
        let task = tokio::spawn(async move {
            let result = core.commit(batch, bytes, state).await;
            match part {
                Part::Commits(commits, results) if matches!(result, Ok(true)) => {
                    answer_each(commits, results);
                    (result, None)
                }
                part => (result, Some(part)),
            }
        });
        self.under_way = Some(UnderWay { task, after, changes, previous });
        None
    }

    /// What follows from the end of a commit that was launched.
    async fn conclude(&mut self, part: Option<Part>, after: &Basis, previous: Vec<Id>, result: Result<bool>) {
        if matches!(result, Ok(true)) {
            self.note(after, previous);
        }
        let Some(part) = part else {
            if let Err(error) = &result {
                // The task has lost what it was given; who waits for one of the pages must not wait for ever.
                let open: Vec<u64> = self.pages.iter().filter(|page| page.open > 0).map(|page| page.number).collect();
                open.into_iter().for_each(|number| self.fail(Part::Page(number, Vec::new()), error));
            }
            return;
        };
        match result {
            Ok(true) => self.answer(part),
            Ok(false) => {
                if let Some(unit) = self.undo(part) {
                    self.alone(unit, 1, false).await;
                }
            }
            Err(error) => self.fail(part, &error),
        }
    }

    /// Remembers what was committed, and tells of it.
    pub(super) fn note(&mut self, after: &Basis, previous: Vec<Id>) {
        self.core.graph.remember_all(&after.fresh);
        for entry in &after.admitted {
            self.recent.add(entry);
        }
        for local in [true, false] {
            let of_kind = after.admitted.iter().filter(|entry| entry.local == local);
            let entries: Vec<Id> = of_kind.map(|entry| entry.id).collect();
            if !entries.is_empty() {
                let (previous, tips) = (previous.clone(), after.state.meta.tip_ids());
                let numbers: HashSet<u64> =
                    after.admitted.iter().filter(|e| e.local == local).map(|e| e.number).collect();
                let strikes = || after.strikes.iter().filter(|strike| numbers.contains(&strike.by));
                let struck = strikes().flat_map(|strike| strike.struck.iter().copied()).collect();
                let lifted = strikes().flat_map(|strike| strike.lifted.iter().copied()).collect();
                self.core.callbacks.call(&WriteEvent { local, entries, previous, tips, struck, lifted });
            }
        }
    }

    /// Says what became of a group.
    fn answer(&mut self, part: Part) {
        match part {
            Part::Commits(commits, results) => answer_each(commits, results),
            Part::Page(number, judged) => {
                let Some(page) = self.pages.iter_mut().find(|page| page.number == number) else { return };
                page.open -= 1;
                page.attempts = 0;
                for (place, entry, _, outcome) in judged {
                    let Some(place) = place else { continue };
                    match outcome {
                        Outcome::Void => page.void.insert(entry.id(), place),
                        _ => page.void.remove(&entry.id()),
                    };
                    page.arrivals.outcomes[place] = outcome;
                }
                if page.todo.is_empty() && page.open == 0 {
                    self.end_page_judged(number);
                }
            }
        }
    }

    /// Takes back what a group has done. Returns it if it is to happen again at once.
    fn undo(&mut self, part: Part) -> Option<Unit> {
        match part {
            Part::Commits(commits, _) => Some(Unit::Commits(commits)),
            Part::Page(number, judged) => {
                self.forget_numbers();
                let Some(page) = self.pages.iter_mut().find(|page| page.number == number) else {
                    // The page has failed meanwhile.
                    let todo = judged.into_iter().map(|(place, entry, source, _)| (place, entry, source)).collect();
                    self.park_again(todo);
                    return None;
                };
                page.open -= 1;
                page.put_back(judged);
                page.attempts += 1;
                if page.attempts > ATTEMPTS {
                    self.fail(Part::Page(number, Vec::new()), &faster());
                    return None;
                }
                Some(Unit::Page)
            }
        }
    }

    /// What is not committed by now gives its numbers to others.
    fn forget_numbers(&mut self) {
        let committed = if self.core.storage.shared { 0 } else { self.core.state().meta.next };
        self.parking.forget_grounds(committed);
    }

    fn fail(&mut self, part: Part, error: &Error) {
        match part {
            Part::Commits(commits, _) => {
                commits.into_iter().for_each(|(_, reply)| drop(reply.send(Err(crate::storage::again(error)))));
            }
            Part::Page(number, judged) => {
                self.forget_numbers();
                if let Some(page) = self.pages.iter_mut().find(|page| page.number == number) {
                    page.put_back(judged);
                    let todo = std::mem::take(&mut page.todo);
                    self.park_again(todo);
                    self.end_page(number, |_| Err(crate::storage::again(error)));
                }
            }
        }
    }

    /// Answers a page, once what has waited for a removal to fall is judged by the settings that came with the page.
    fn end_page_judged(&mut self, number: u64) {
        let again = self.take_judged_otherwise();
        match self.pages.iter_mut().find(|page| page.number == number).filter(|_| !again.is_empty()) {
            Some(page) => {
                // What it has brought itself is answered by what comes of it in the end.
                let mut todo: Vec<_> =
                    again.into_iter().map(|(entry, source)| (page.void.remove(&entry.id()), entry, source)).collect();
                todo.reverse();
                page.todo = todo;
            }
            None => self.end_page(number, Ok),
        }
    }

    fn end_page(&mut self, number: u64, answer: impl FnOnce(Vec<Outcome>) -> Result<Vec<Outcome>>) {
        if let Some(at) = self.pages.iter().position(|page| page.number == number)
            && let Some(page) = self.pages.remove(at)
        {
            let _ = page.reply.send(answer(page.arrivals.outcomes));
        }
    }

    /// Lets what a group is made of happen on an overlay.
    async fn prepare(
        &mut self,
        unit: Unit,
        on: Option<(&Basis, Arc<Changes>)>,
        attempt: usize,
        keep: bool,
    ) -> (Part, Result<Option<Ready>>) {
        let core = self.core.clone();
        let earlier = on.as_ref().map_or(&[][..], |(basis, _)| &basis.admitted[..]);
        let work = match &on {
            Some((basis, changes)) => Work::after(&core, basis, changes.clone()).await,
            None => Work::begin(&core, attempt).await,
        };
        match unit {
            Unit::Commits(commits) => match self.happen(work, &commits, earlier, keep).await {
                Ok((results, ready)) => (Part::Commits(commits, results), Ok(ready)),
                Err(error) => (Part::Commits(commits, Vec::new()), Err(error)),
            },
            Unit::Page => {
                let Some(number) = self.next_page().map(|page| page.number) else {
                    return (Part::Commits(Vec::new(), Vec::new()), Ok(None));
                };
                let mut judged = Vec::new();
                let ready = self.judge_some(work, number, &mut judged, keep).await;
                (Part::Page(number, judged), ready)
            }
        }
    }

    async fn happen(
        &mut self,
        work: Result<Work<'_>>,
        commits: &[(Box<Intent>, CommitReply)],
        earlier: &[Admitted],
        keep: bool,
    ) -> Result<(Vec<Result<Committed>>, Option<Ready>)> {
        let mut work = work?;
        let mut results = Vec::with_capacity(commits.len());
        for (intent, _) in commits {
            let untouched = self.recent.leaves_alone(intent, earlier, &work);
            results.push(match intent.happen(&mut work, untouched).await? {
                Commitment::Done(committed) => Ok(committed),
                Commitment::Refused(error) => Err(error),
            });
        }
        Ok((results, work.into_batch(keep)))
    }
}

/// Says what became of local commits. Who has dropped the future does not want the answer.
fn answer_each(commits: Vec<(Box<Intent>, CommitReply)>, results: Vec<Result<Committed>>) {
    commits.into_iter().zip(results).for_each(|((_, reply), result)| drop(reply.send(result)));
}

async fn ended(task: JoinHandle<(Result<bool>, Option<Part>)>) -> (Result<bool>, Option<Part>) {
    task.await.unwrap_or_else(|error| {
        let message = "a commit has ended early; its outcome is unknown";
        (Err(Error::new(ErrorKind::Internal, message).caused_by(error)), None)
    })
}

pub(super) fn faster() -> Error {
    Error::new(ErrorKind::Conflict, "other processes keep writing to the store; try again")
}
