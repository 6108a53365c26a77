//! What writes to a database: one at a time, in groups.
//!
//! A group lets each of its items happen on an overlay over a snapshot, and commits all of it as one batch. Whoever asked
//! for durability then waits for a flush, while the next group is prepared. Foreign entries go in short groups,
//! so that a local commit never waits for a whole page of them.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::Instrument;

use super::changes::WriteEvent;
use super::core::Core;
use super::ingest::{Outcome, Parked, Refused};
use super::parking::Parking;
use super::transaction::{Commitment, Committed, Intent};
use super::work::{Admitted, Verdict, Work};
use crate::clock::Time;
use crate::entry::VerifiedEntry;
use crate::error::closed;
use crate::id::Id;
use crate::layout::StoreNumber;
use crate::store::cell::Cell;

/// How many orders may wait; more wait for a place.
const QUEUE: usize = 1024;
/// How many local commits go into one group.
const GROUP_COMMITS: usize = 512;
/// How many foreign entries go into one group.
const GROUP_ENTRIES: usize = 256;
/// How many bytes go into one group.
const GROUP_BYTES: usize = 8 << 20;
/// How often a group is tried again when another process was faster.
const ATTEMPTS: usize = 64;
/// How many heads a database may have here before further branches wait.
const MAX_HEADS: usize = 16_384;
/// How soon what could not be stored is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many touched cells are remembered, to tell transactions whether something they used has changed.
const RECENT_CELLS: usize = 65_536;

/// Orders to the writer of a database.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    orders: mpsc::Sender<Order>,
    writer: Arc<Mutex<Writer>>,
}

type CommitReply = oneshot::Sender<Result<Committed>>;

enum Order {
    Commit(Box<Intent>, CommitReply),
    Ingest(Arrivals, oneshot::Sender<Result<Vec<Outcome>>>),
    Task(Task, oneshot::Sender<Result<bool>>),
    Waiting(oneshot::Sender<(usize, usize)>),
    Close,
}

/// Entries that arrived together.
pub(crate) struct Arrivals {
    pub source: Arc<str>,
    /// What could be proven, with its place among all that arrived.
    pub entries: Vec<(usize, VerifiedEntry)>,
    /// One for each entry that arrived, filled in as they are judged.
    pub outcomes: Vec<Outcome>,
}

/// Other work on the rows of a database, done in steps. The answer to a step is true when nothing is left.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    CatchUp { name: String, kind: String },
    Index { name: String, field: String },
    Unindex { name: String, field: String },
    Reindex,
}

impl WriterHandle {
    /// Starts the writer. It ends when the last handle is gone.
    pub fn start(core: Arc<Core>) -> (WriterHandle, tokio::task::JoinHandle<()>) {
        let (orders, queue) = mpsc::channel(QUEUE);
        let span = tracing::info_span!("database", id = %core.id);
        let writer = Writer { core, parking: Parking::default(), pages: VecDeque::new(), recent: Recent::default() };
        let writer = Arc::new(Mutex::new(writer));
        let task = tokio::spawn(run(queue, writer.clone()).instrument(span));
        (WriterHandle { orders, writer }, task)
    }

    /// Commits. On return it is visible, not yet durable.
    ///
    /// While the writer has nothing else to do, the commit happens right here, since waking another task costs more than
    /// the work; else it joins the next group.
    pub async fn commit(&self, intent: Intent) -> Result<Committed> {
        let (reply, answer) = oneshot::channel();
        let intent = Box::new(intent);
        let idle = self.orders.capacity() == self.orders.max_capacity() && !self.orders.is_closed();
        match self.writer.clone().try_lock_owned() {
            Ok(mut writer) if idle => {
                let mut work = Box::pin(async move { writer.commit_group(vec![(intent, reply)]).await });
                // Others may depend on it, so from the moment at which it has to wait it belongs to a task of its own: it
                // goes on if this future is dropped.
                if poll_once(work.as_mut()).await.is_pending() {
                    tokio::spawn(work);
                }
            }
            _ => self.orders.send(Order::Commit(intent, reply)).await.map_err(|_| closed())?,
        }
        answer.await.map_err(|_| closed())?
    }

    pub async fn ingest(&self, arrivals: Arrivals) -> Result<Vec<Outcome>> {
        self.ask(|reply| Order::Ingest(arrivals, reply)).await?
    }

    /// Does a task to its end, in steps between which others are served.
    pub async fn work(&self, task: Task) -> Result<()> {
        while !self.ask(|reply| Order::Task(task.clone(), reply)).await?? {}
        Ok(())
    }

    /// Applies what a store has missed while its kind was unknown here.
    pub async fn catch_up(&self, name: &str, kind: &str) -> Result<()> {
        self.work(Task::CatchUp { name: name.to_owned(), kind: kind.to_owned() }).await
    }

    /// How many entries wait for something, and their bytes.
    pub async fn waiting(&self) -> Result<(usize, usize)> {
        self.ask(Order::Waiting).await
    }

    /// Ends the writer after what was ordered before.
    pub async fn close(&self) {
        // A writer that has ended is what is wanted.
        let _ = self.orders.send(Order::Close).await;
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context))).await
}

struct Writer {
    core: Arc<Core>,
    parking: Parking,
    /// Pages of foreign entries under way.
    pages: VecDeque<Page>,
    recent: Recent,
}

struct Page {
    arrivals: Arrivals,
    /// What is still to be judged, last first.
    todo: Vec<(Option<usize>, VerifiedEntry, Arc<str>)>,
    reply: oneshot::Sender<Result<Vec<Outcome>>>,
}

/// An entry of a page, and what became of it.
type Judged = (Option<usize>, VerifiedEntry, Arc<str>, Outcome);

/// What the latest entries have touched.
#[derive(Default)]
struct Recent {
    entries: VecDeque<(u64, Vec<(StoreNumber, Cell)>)>,
    cells: usize,
}

/// Serves what cannot happen where it is ordered.
async fn run(mut queue: mpsc::Receiver<Order>, writer: Arc<Mutex<Writer>>) {
    let mut orders = Vec::new();
    let mut closing = false;
    let mut busy = false;
    let mut due = None;
    while busy || !closing {
        if busy {
            while orders.len() < GROUP_COMMITS {
                match queue.try_recv() {
                    Ok(order) => orders.push(order),
                    Err(_) => break,
                }
            }
        } else {
            let received = queue.recv_many(&mut orders, GROUP_COMMITS);
            let received = match due {
                None => received.await,
                Some(wait) => tokio::time::timeout(wait, received).await.unwrap_or(1),
            };
            if received == 0 {
                return;
            }
        }
        let mut writer = writer.lock().await;
        if writer.serve(&mut orders).await {
            closing = true;
            queue.close();
        }
        busy = !writer.pages.is_empty();
        due = writer.until_due();
    }
}

impl Writer {
    /// Does what was ordered, and a part of what is under way. True if the order was to end.
    async fn serve(&mut self, orders: &mut Vec<Order>) -> bool {
        let mut closing = false;
        let mut commits = Vec::new();
        for order in orders.drain(..) {
            match order {
                Order::Commit(intent, reply) => commits.push((intent, reply)),
                Order::Ingest(arrivals, reply) => self.pages.push_back(Page::new(arrivals, reply)),
                Order::Task(task, reply) => {
                    let result = self.task(&task).await;
                    let _ = reply.send(result);
                }
                Order::Waiting(reply) => drop(reply.send(self.parking.size())),
                Order::Close => closing = true,
            }
        }
        if !commits.is_empty() {
            self.commit_group(commits).await;
        }
        self.ingest_due().await;
        self.ingest_group().await;
        closing
    }

    /// How long until an entry that waits for the clock is due.
    fn until_due(&self) -> Option<Duration> {
        let due = self.parking.next_due()?.millis();
        let allowed = self.allowed_time().millis();
        Some(Duration::from_millis(due.saturating_sub(allowed).clamp(10, 1_000)))
    }

    fn allowed_time(&self) -> Time {
        let options = &self.core.storage.options;
        options.environment.now().plus(options.allowed_skew)
    }

    /// Commits what a group has done. `Ok(None)`: another process was faster, do it again.
    async fn finish(&mut self, work: Work<'_>) -> Result<Option<Vec<Admitted>>> {
        let previous = self.core.state().meta.tip_ids();
        let core = self.core.clone();
        let Some((batch, bytes, state, admitted, fresh)) = work.into_batch() else { return Ok(Some(Vec::new())) };
        let tips = state.meta.tip_ids();
        let committed = core.commit(batch, bytes, state).await;
        if !matches!(committed, Ok(true)) {
            return committed.map(|_| None);
        }
        core.graph.remember_all(fresh);
        for entry in &admitted {
            self.recent.add(entry);
        }
        for local in [true, false] {
            let entries: Vec<Id> = admitted.iter().filter(|entry| entry.local == local).map(|entry| entry.id).collect();
            if !entries.is_empty() {
                core.callbacks.call(&WriteEvent { local, entries, previous: previous.clone(), tips: tips.clone() });
            }
        }
        Ok(Some(admitted))
    }

    #[tracing::instrument(level = "debug", skip_all, fields(commits = commits.len()))]
    async fn commit_group(&mut self, commits: Vec<(Box<Intent>, CommitReply)>) {
        let mut results = Err(faster());
        for attempt in 0..ATTEMPTS {
            match self.try_commits(&commits, attempt).await {
                Ok(None) => {}
                Ok(Some(done)) => {
                    results = Ok(done);
                    break;
                }
                Err(error) => {
                    results = Err(error);
                    break;
                }
            }
        }
        // Who has dropped the future does not want the answer.
        match results {
            Ok(results) => {
                commits.into_iter().zip(results).for_each(|((_, reply), result)| drop(reply.send(result)));
            }
            Err(error) => {
                commits.into_iter().for_each(|(_, reply)| drop(reply.send(Err(crate::storage::again(&error)))));
            }
        }
    }

    async fn try_commits(
        &mut self,
        commits: &[(Box<Intent>, CommitReply)],
        attempt: usize,
    ) -> Result<Option<Vec<Result<Committed>>>> {
        let core = self.core.clone();
        let mut work = Work::begin(&core, attempt).await?;
        let mut results = Vec::with_capacity(commits.len());
        for (intent, _) in commits {
            let untouched = self.recent.leaves_alone(intent, &work);
            let result = match intent.happen(&mut work, untouched).await {
                Ok(Commitment::Done(committed)) => Ok(committed),
                Ok(Commitment::Refused(error)) => Err(error),
                Err(error) => return Err(error),
            };
            results.push(result);
        }
        Ok(self.finish(work).await?.map(|_| results))
    }

    async fn task(&mut self, task: &Task) -> Result<bool> {
        let core = self.core.clone();
        if matches!(task, Task::Reindex) {
            self.recent = Recent::default();
            return super::reindex::rebuild(&core).await.map(|()| true);
        }
        for attempt in 0..ATTEMPTS {
            let mut work = Work::begin(&core, attempt).await?;
            let done = match task {
                Task::CatchUp { name, kind } => work.catch_up(name, kind, GROUP_ENTRIES).await?,
                Task::Index { name, field } => work.add_index(name, field).await?,
                Task::Unindex { name, field } => work.drop_index(name, field).await?,
                Task::Reindex => true,
            };
            if self.finish(work).await?.is_some() {
                return Ok(done);
            }
        }
        Err(faster())
    }

    async fn ingest_due(&mut self) {
        let due = self.parking.take_due(self.allowed_time());
        if !due.is_empty() {
            let (reply, _) = oneshot::channel();
            let arrivals = Arrivals { source: Arc::from("clock"), entries: Vec::new(), outcomes: Vec::new() };
            let mut page = Page::new(arrivals, reply);
            page.todo = due.into_iter().map(|(entry, source)| (None, entry, source)).rev().collect();
            self.pages.push_back(page);
        }
    }

    /// Judges the next few foreign entries.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn ingest_group(&mut self) {
        let Some(mut page) = self.pages.pop_front() else { return };
        match self.try_page(&mut page).await {
            Ok(()) if page.todo.is_empty() => drop(page.reply.send(Ok(page.arrivals.outcomes))),
            Ok(()) => self.pages.push_front(page),
            Err(error) => {
                self.park_again(page.todo);
                drop(page.reply.send(Err(error)));
            }
        }
    }

    /// After an error: what had been waiting goes on waiting, for its parent if that is not in yet, else for a while.
    fn park_again(&mut self, todo: Vec<(Option<usize>, VerifiedEntry, Arc<str>)>) {
        let now = self.core.storage.environment().now();
        let again = self.allowed_time().plus(RETRY);
        let outside: HashSet<Id> = todo.iter().map(|(_, entry, _)| entry.id()).collect();
        for (_, entry, source) in todo.into_iter().filter(|(place, ..)| place.is_none()) {
            match entry.header().parents.iter().find(|parent| outside.contains(parent)).copied() {
                Some(parent) => self.parking.keep_for(entry, &source, parent, now),
                None => self.parking.keep_until(entry, &source, again, now),
            };
        }
    }

    async fn try_page(&mut self, page: &mut Page) -> Result<()> {
        let core = self.core.clone();
        for attempt in 0..ATTEMPTS {
            let mut work = Work::begin(&core, attempt).await?;
            let mut judged = Vec::new();
            while judged.len() < GROUP_ENTRIES && work.rows.bytes() < GROUP_BYTES {
                let Some((place, entry, source)) = page.todo.pop() else { break };
                let outcome = match self.judge(&mut work, &entry, &source).await {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        page.todo.push((place, entry, source));
                        page.put_back(judged);
                        return Err(error);
                    }
                };
                match &outcome {
                    Outcome::Accepted | Outcome::Refused(_) => {
                        // What waited for it can be judged now, and goes first: a branch is best taken up in one go.
                        let children = self.parking.take_children(&entry.id());
                        page.todo.extend(children.into_iter().map(|(entry, source)| (None, entry, source)));
                    }
                    _ => {}
                }
                judged.push((place, entry, source, outcome));
            }
            match self.finish(work).await {
                Ok(Some(_)) => {
                    for (place, _, _, outcome) in judged {
                        if let Some(place) = place {
                            page.arrivals.outcomes[place] = outcome;
                        }
                    }
                    return Ok(());
                }
                // Another process was faster: judge the same ones again.
                Ok(None) => page.put_back(judged),
                Err(error) => {
                    page.put_back(judged);
                    return Err(error);
                }
            }
        }
        Err(faster())
    }

    async fn judge(&mut self, work: &mut Work<'_>, entry: &VerifiedEntry, source: &Arc<str>) -> Result<Outcome> {
        let now = self.core.storage.environment().now();
        if let Some(refused) = entry.header().parents.iter().find(|parent| self.parking.is_refused(parent)) {
            self.parking.refuse(entry.id());
            return Ok(Outcome::Refused(Refused::AboveRefused(*refused)));
        }
        let future = entry.header().time > self.allowed_time();
        if future && !work.knows(&entry.id()).await? {
            return Ok(match self.parking.keep_until(entry.clone(), source, entry.header().time, now) {
                true => Outcome::Parked(Parked::Future),
                false => Outcome::Deferred,
            });
        }
        let adds_a_head =
            entry.header().parents.iter().all(|id| work.state.meta.tips.binary_search_by_key(id, |t| t.id).is_err());
        if work.state.meta.tips.len() >= MAX_HEADS && adds_a_head {
            return Ok(Outcome::Parked(Parked::Heads));
        }
        Ok(match work.admit(entry.clone(), false).await? {
            Verdict::Admitted(_) => Outcome::Accepted,
            Verdict::Known => Outcome::Known,
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
        })
    }
}

impl Page {
    /// Makes undone what was judged. What it brought out of the parking comes along.
    fn put_back(&mut self, judged: Vec<Judged>) {
        self.todo.extend(judged.into_iter().rev().map(|(place, entry, source, _)| (place, entry, source)));
    }

    /// Orders what arrived so that each chain is taken up in one go where possible: entries that share what they have not
    /// seen are cheap to apply one after the other.
    fn new(arrivals: Arrivals, reply: oneshot::Sender<Result<Vec<Outcome>>>) -> Page {
        use std::collections::HashMap;

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
        Page { arrivals, todo, reply }
    }
}

impl Recent {
    fn add(&mut self, entry: &Admitted) {
        self.cells += entry.touched.len() + 1;
        self.entries.push_back((entry.number, entry.touched.clone()));
        while self.cells > RECENT_CELLS
            && let Some((_, touched)) = self.entries.pop_front()
        {
            self.cells -= touched.len() + 1;
        }
    }

    /// True if nothing that a transaction has used was touched by what has come since its snapshot. Not knowing counts as
    /// touched.
    fn leaves_alone(&self, intent: &Intent, work: &Work<'_>) -> bool {
        let since = intent.seen.missing_before(work.state.meta.next);
        let used = intent.used.by_number(&work.state.catalog);
        since.iter().all(|number| {
            let known = self.entries.binary_search_by_key(&number, |(number, _)| *number);
            let touched = match known {
                Ok(at) => Some(&self.entries[at].1),
                Err(_) => work.admitted.iter().find(|entry| entry.number == number).map(|entry| &entry.touched),
            };
            touched.is_some_and(|touched| used.is_left_alone_by(touched))
        })
    }
}

fn faster() -> Error {
    Error::new(ErrorKind::Conflict, "other processes keep writing to the store; try again")
}
