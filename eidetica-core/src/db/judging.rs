//! The entries of a page, judged in groups: what comes in, what waits, and what is void and carries nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::Result;

use super::group::{GROUP_BYTES, GROUP_ENTRIES};
use super::held::Held;
use super::holding::Foreseen;
use super::ingest::{Outcome, Parked, Refused};
use super::page::Judged;
use super::work::{Ready, Verdict, Work};
use super::writer::Writer;
use crate::clock::Time;
use crate::entry::VerifiedEntry;
use crate::id::Id;

/// How many heads a database may have here before further branches wait.
const MAX_HEADS: usize = 16_384;
/// How soon what could not be stored is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What comes of an entry whose turn it is.
enum Step {
    Judged(Outcome),
    /// These go first, and then it has its turn again.
    After(Vec<(VerifiedEntry, Arc<str>)>),
}

impl Writer {
    /// Judges the next few entries of a page. What was judged before an error is in `judged`, too.
    pub(super) async fn judge_some(
        &mut self,
        work: Result<Work<'_>>,
        number: u64,
        judged: &mut Vec<Judged>,
        keep: bool,
    ) -> Result<Option<Ready>> {
        let Some(at) = self.pages.iter().position(|page| page.number == number) else { return Ok(None) };
        self.pages[at].open += 1;
        let mut work = work?;
        let (begin, first) = (work.save(), work.next());
        self.judge_on(&mut work, at, judged, &HashMap::new(), 0).await?;
        let mut unsupported: HashSet<Id> = work.unsupported().into_iter().collect();
        // What was struck in the group in which it came is to whoever keeps all no other thing than what was struck later.
        unsupported.retain(|id| !self.pages[at].arrivals.keeps_void && !self.parking.wants(id));
        if !unsupported.is_empty() {
            // Once more without what does not count and carries nothing that does: that is not kept. What has changed nothing is
            // not asked again, since it may have been judged by such.
            let mut settled: HashMap<Id, Outcome> = HashMap::new();
            for (_, entry, _, outcome) in judged.iter() {
                // What came of it last: one that waited at first may have come in then.
                match outcome {
                    _ if unsupported.contains(&entry.id()) => settled.insert(entry.id(), Outcome::Void),
                    // It waits already.
                    Outcome::Void if self.parking.holds(&[entry.id()]) == [true] => {
                        settled.insert(entry.id(), Outcome::Void)
                    }
                    Outcome::Accepted | Outcome::Known | Outcome::Completed | Outcome::Void => {
                        settled.remove(&entry.id())
                    }
                    other => settled.insert(entry.id(), other.clone()),
                };
            }
            work.restore(begin);
            self.parking.forget_grounds(first);
            // No further than before: of what would come behind nothing is settled.
            let left = self.pages[at].todo.len();
            self.pages[at].put_back(std::mem::take(judged));
            self.judge_on(&mut work, at, judged, &settled, left).await?;
        }
        if !work.strikes.is_empty() {
            // What was here may have been struck by what came after it in the group.
            for (_, entry, _, outcome) in judged.iter_mut().filter(|(.., outcome)| *outcome == Outcome::Known) {
                if !work.is_live(entry).await? {
                    *outcome = Outcome::Void;
                }
            }
        }
        for (_, entry, source, outcome) in judged.iter_mut().filter(|(.., outcome)| *outcome == Outcome::Void) {
            let id = entry.id();
            if unsupported.contains(&id) {
                // What stands on it could not be judged without: that there is no room is not passed over.
                *outcome = Box::pin(self.hold_back(&work, at, entry, source, None)).await?.unwrap_or(Outcome::Deferred);
            } else if self.parking.holds(&[id]) == [false] && work.is_live(entry).await? {
                // Something that came later in the group stands on it.
                *outcome = Outcome::Accepted;
            }
        }
        Ok(work.into_batch(keep))
    }

    /// Judges the next entries of a page, until so many are left. Of some it is settled what becomes of them.
    async fn judge_on(
        &mut self,
        work: &mut Work<'_>,
        at: usize,
        judged: &mut Vec<Judged>,
        settled: &HashMap<Id, Outcome>,
        left_over: usize,
    ) -> Result<()> {
        // What was held back for an entry goes with it into one group, however much it is.
        let mut until: Option<usize> = None;
        loop {
            until.take_if(|left| self.pages[at].todo.len() <= *left);
            let full = judged.len() >= GROUP_ENTRIES || work.rows.bytes() >= GROUP_BYTES;
            if (full && until.is_none()) || self.pages[at].todo.len() <= left_over {
                return Ok(());
            }
            let Some((place, entry, source)) = self.pages[at].todo.pop() else { return Ok(()) };
            if let Some(outcome) = settled.get(&entry.id()) {
                judged.push((place, entry, source, outcome.clone()));
                continue;
            }
            let carried = until.is_some_and(|left| self.pages[at].todo.len() > left);
            let (wanted, kept) = (self.parking.wants(&entry.id()), self.pages[at].kept.contains(&entry.id()));
            // What is ahead of the clock waits for it, whatever it stands on. Below what is wanted there is nothing left to take along.
            let future = entry.header().time > self.allowed_time();
            let on_held = !future && !wanted && self.parking.holds(&entry.header().parents).contains(&true);
            // What is rare is boxed, so that the future of the usual path stays small.
            let looked = match on_held {
                true => Box::pin(self.look(work, at, &entry, &source, carried || kept)).await,
                false => Ok(None),
            };
            let step = match looked {
                Ok(Some(step)) => Ok(step),
                Ok(None) => self.judge(work, at, &entry, &source, (carried, wanted || kept)).await,
                Err(error) => Err(error),
            };
            match step {
                Ok(Step::Judged(outcome)) => {
                    self.follow(at, &entry, &outcome);
                    judged.push((place, entry, source, outcome));
                }
                Ok(Step::After(held)) => {
                    let left = self.pages[at].todo.len();
                    until = Some(until.map_or(left, |until| until.min(left)));
                    let held: Vec<_> = held.into_iter().flat_map(|held| with_places(held, judged)).collect();
                    self.pages[at].todo.push((place, entry, source));
                    self.pages[at].todo.extend(held.into_iter().rev());
                }
                Err(error) => {
                    self.pages[at].todo.push((place, entry, source));
                    return Err(error);
                }
            }
        }
    }

    /// Says what comes of an entry on top of what is held back, or what has to be judged before it. `None`: it is to be judged itself.
    /// `carried`: it was held back, too, and goes in with what takes it along.
    async fn look(
        &mut self,
        work: &Work<'_>,
        at: usize,
        entry: &VerifiedEntry,
        source: &Arc<str>,
        carried: bool,
    ) -> Result<Option<Step>> {
        let mut proven = false;
        if !carried {
            match self.foresee(work, entry).await? {
                Foreseen::Void(held) => return self.hold_or_keep(work, at, entry, source, Some(held)).await.map(Some),
                Foreseen::Other(outcome) => {
                    if matches!(outcome, Outcome::Refused(_)) {
                        self.parking.refuse(entry.id());
                    }
                    return Ok(Some(Step::Judged(outcome)));
                }
                Foreseen::Counts => proven = true,
                Foreseen::Unknown => {}
            }
        }
        let held = self.parking.take_unsupported(&entry.header().parents, proven);
        Ok((!held.is_empty()).then_some(Step::After(held)))
    }

    /// Holds an entry back, or has it and what it stands on brought in for good.
    async fn hold_or_keep(
        &mut self,
        work: &Work<'_>,
        at: usize,
        entry: &VerifiedEntry,
        source: &Arc<str>,
        held: Option<Held>,
    ) -> Result<Step> {
        if let Some(outcome) = self.hold_back(work, at, entry, source, held).await? {
            return Ok(Step::Judged(outcome));
        }
        let below = self.parking.take_unsupported(&entry.header().parents, false);
        let kept = &mut self.pages[at].kept;
        kept.insert(entry.id());
        kept.extend(below.iter().map(|(entry, _)| entry.id()));
        Ok(Step::After(below))
    }

    /// What waited for an entry can be judged once it is known what becomes of it, and goes first: a branch is best taken up in one go.
    fn follow(&mut self, at: usize, entry: &VerifiedEntry, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Parked(_) | Outcome::Deferred) {
            let children = self.parking.take_children(&entry.id());
            self.pages[at].todo.extend(children.into_iter().map(|(entry, source)| (None, entry, source)));
        }
    }

    pub(super) fn now(&self) -> Time {
        self.core.storage.environment().now()
    }

    /// After an error: what had been waiting goes on waiting, for its parent if that is not in yet, else for a while.
    pub(super) fn park_again(&mut self, todo: Vec<(Option<usize>, VerifiedEntry, Arc<str>)>) {
        let now = self.now();
        let again = self.allowed_time().plus(RETRY);
        let outside: HashSet<Id> = todo.iter().map(|(_, entry, _)| entry.id()).collect();
        for (_, entry, source) in todo.into_iter().filter(|(place, ..)| place.is_none()) {
            match entry.header().parents.iter().find(|parent| outside.contains(parent)).copied() {
                Some(parent) => self.parking.keep_for(entry, &source, parent, now),
                None => self.parking.keep_until(entry, &source, again, now),
            };
        }
    }

    async fn judge(
        &mut self,
        work: &mut Work<'_>,
        at: usize,
        entry: &VerifiedEntry,
        source: &Arc<str>,
        (carried, for_good): (bool, bool),
    ) -> Result<Step> {
        let now = self.now();
        if let Some(refused) = entry.header().parents.iter().find(|parent| self.parking.is_refused(parent)) {
            self.parking.refuse(entry.id());
            return Ok(Step::Judged(Outcome::Refused(Refused::AboveRefused(*refused))));
        }
        let future = entry.header().time > self.allowed_time();
        if future && !work.knows(entry).await? {
            return Ok(Step::Judged(match self.parking.keep_until(entry.clone(), source, entry.header().time, now) {
                true => Outcome::Parked(Parked::Future),
                false => Outcome::Deferred,
            }));
        }
        let adds_a_head = entry.header().parents.iter().all(|id| work.state.meta.tip(id).is_none());
        if work.state.meta.tips.len() >= MAX_HEADS && adds_a_head && !work.knows(entry).await? {
            return Ok(Step::Judged(Outcome::Parked(Parked::Heads)));
        }
        Ok(Step::Judged(match work.admit_foreign(entry.clone(), carried || for_good).await? {
            Verdict::Admitted(_) => Outcome::Accepted,
            Verdict::Known => Outcome::Known,
            Verdict::WouldBeVoid { .. } => return Box::pin(self.hold_or_keep(work, at, entry, source, None)).await,
            Verdict::Carried if for_good => Outcome::Accepted,
            Verdict::Carried | Verdict::Void => Outcome::Void,
            Verdict::Completed => Outcome::Completed,
            Verdict::MissingParents(missing) => match self.parking.keep_for(entry.clone(), source, missing[0], now) {
                true => Outcome::Parked(Parked::Parents(missing)),
                false => Outcome::Deferred,
            },
            Verdict::MissingSettings => Outcome::Parked(Parked::Settings),
            Verdict::Refused(reason) => {
                self.parking.refuse(entry.id());
                Outcome::Refused(reason)
            }
        }))
    }
}

/// An entry that had been held back and goes into this group now, in the places in which it came with the page: what was
/// foreseen of it there is not asked again.
fn with_places(
    (entry, source): (VerifiedEntry, Arc<str>),
    judged: &mut Vec<Judged>,
) -> Vec<(Option<usize>, VerifiedEntry, Arc<str>)> {
    let foreseen =
        judged.extract_if(.., |(_, other, _, outcome)| *outcome == Outcome::Void && other.id() == entry.id());
    let mut again: Vec<_> = foreseen.map(|(place, entry, source, _)| (place, entry, source)).collect();
    if again.is_empty() {
        again.push((None, entry, source));
    }
    again
}
