//! What writes to a database: one at a time, in groups.
//!
//! A group lets each of its items happen on an overlay over a snapshot, and commits all of it as one batch, while the next
//! group is prepared. Whoever asked for durability then waits for a flush. Foreign entries go in short groups, so that a
//! local commit never waits for a whole page of them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::Result;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use tracing::Instrument;

use super::changes::Callbacks;
use super::core::Core;
use super::entries::places;
use super::group::{ATTEMPTS, GROUP_ENTRIES, UnderWay, Unit, faster};
use super::ingest::Outcome;
use super::page::{Arrivals, Page};
use super::parking::Parking;
use super::recent::Recent;
use super::transaction::{Committed, Intent};
use super::work::{Ready, Work};
use crate::clock::Time;
use crate::entry::VerifiedEntry;
use crate::error::closed;
use crate::id::Id;

/// How many orders may wait; more wait for a place.
const QUEUE: usize = 1024;
/// How many local commits go into one group.
const GROUP_COMMITS: usize = 512;
/// A group of local commits that is smaller is not cut in two.
const LEAST_HALF: usize = 12;
/// How many entries are judged where they are handed in.
const FEW: usize = 8;
/// How often it is looked whether another process has stored what entries wait for here.
const LOOK: Duration = Duration::from_secs(1);

/// Orders to the writer of a database.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    orders: Orders,
    writer: Arc<Mutex<Writer>>,
    core: Arc<Core>,
}

pub(super) type CommitReply = oneshot::Sender<Result<Committed>>;

/// The queue of a writer, with a count of what was ordered and is not served yet: what the writer has taken out of the queue is not in it
/// any longer, and whoever served himself then would be before those who came first.
#[derive(Clone)]
struct Orders {
    queue: mpsc::Sender<Ordered>,
    /// Each order holds one; nothing else does.
    count: Arc<()>,
}

struct Ordered {
    order: Order,
    counted: Weak<()>,
}

enum Order {
    Commit(Box<Intent>, CommitReply),
    Ingest(Arrivals, oneshot::Sender<Result<Vec<Outcome>>>),
    Task(Task, oneshot::Sender<Result<bool>>),
    Waiting(oneshot::Sender<(usize, usize)>),
    Holds(Vec<Id>, oneshot::Sender<Vec<bool>>),
    /// Something was left to do by who has served an order itself.
    GoOn,
    Close,
}

/// Other work on the rows of a database, done in steps. The answer to a step is true when nothing is left.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    CatchUp {
        name: String,
        kind: String,
    },
    Index {
        name: String,
        field: String,
    },
    Unindex {
        name: String,
        field: String,
    },
    /// Rebuild everything; with `resumes`, only if the last time was interrupted. `over`: the row of a lease whose holder is
    /// gone.
    Reindex {
        over: Option<Bytes>,
        resumes: bool,
    },
}

impl Orders {
    /// Waits for a place in the queue. False if the writer has ended.
    async fn send(&self, order: Order) -> bool {
        self.queue.send(self.counted(order)).await.is_ok()
    }

    /// Has the writer look at what was left to do. If the queue is full, it will not sleep.
    fn go_on(&self) {
        let _ = self.queue.try_send(self.counted(Order::GoOn));
    }

    fn counted(&self, order: Order) -> Ordered {
        Ordered { order, counted: Arc::downgrade(&self.count) }
    }

    /// True if everything that was ordered is served.
    fn are_served(&self) -> bool {
        Arc::weak_count(&self.count) == 0
    }
}

impl WriterHandle {
    /// Starts the writer. It ends when the last handle is gone.
    pub fn start(core: Arc<Core>) -> (WriterHandle, tokio::task::JoinHandle<()>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let orders = Orders { queue: sender, count: Arc::default() };
        let span = tracing::info_span!("database", id = %core.id);
        let (parking, pages, recent) = (Parking::new(core.storage.parked.clone()), VecDeque::new(), Recent::default());
        let writer = Writer {
            core: core.clone(),
            parking,
            pages,
            page_number: 0,
            recent,
            under_way: None,
            looked: 0,
            judged_by: 0,
        };
        let writer = Arc::new(Mutex::new(writer));
        let task = tokio::spawn(run(queue, writer.clone()).instrument(span));
        (WriterHandle { orders, writer, core }, task)
    }

    /// Commits. On return it is visible, not yet durable.
    ///
    /// While the writer has nothing else to do, the commit happens right here, since waking another task costs more than
    /// the work; else it joins the next group.
    pub async fn commit(&self, intent: Intent) -> Result<Committed> {
        self.callbacks().refuse_within()?;
        let (reply, answer) = oneshot::channel();
        let intent = Box::new(intent);
        // During a flush many may be committing, each of whom then waits for the next one: together they are cheaper.
        let writer = if self.core.storage.is_flushing() { None } else { self.idle_writer() };
        match writer {
            Some(mut writer) => {
                let orders = self.orders.clone();
                let work = async move {
                    writer.advance(Unit::Commits(vec![(intent, reply)]), false).await;
                    if writer.has_other_settings() {
                        orders.go_on();
                    }
                };
                work_here(work).await;
            }
            None => self.order(Order::Commit(intent, reply)).await?,
        }
        answer.await.map_err(|_| closed())?
    }

    /// Orders entries to be judged. The answer comes when all of them are. A few are judged right here, as a commit is made.
    pub async fn ingest(&self, arrivals: Arrivals) -> Result<oneshot::Receiver<Result<Vec<Outcome>>>> {
        self.callbacks().refuse_within()?;
        let (reply, answer) = oneshot::channel();
        let writer = if arrivals.entries.len() <= FEW { self.idle_writer() } else { None };
        match writer {
            Some(mut writer) => {
                let orders = self.orders.clone();
                let work = async move {
                    writer.serve(vec![Order::Ingest(arrivals, reply)], false).await;
                    if writer.is_busy() || writer.until_due().is_some() {
                        orders.go_on();
                    }
                };
                work_here(work).await;
            }
            None => self.order(Order::Ingest(arrivals, reply)).await?,
        }
        Ok(answer)
    }

    /// The writer, if it has nothing else to do.
    fn idle_writer(&self) -> Option<OwnedMutexGuard<Writer>> {
        let writer = self.writer.clone().try_lock_owned().ok()?;
        (self.orders.are_served() && !self.orders.queue.is_closed()).then_some(writer)
    }

    async fn order(&self, order: Order) -> Result<()> {
        if self.orders.send(order).await { Ok(()) } else { Err(closed()) }
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

    /// Which of some entries wait for support.
    pub async fn holds(&self, ids: &[Id]) -> Result<Vec<bool>> {
        self.ask(|reply| Order::Holds(ids.to_vec(), reply)).await
    }

    /// Ends the writer after what was ordered before.
    pub async fn close(&self) {
        // A writer that has ended is what is wanted.
        let _ = self.orders.send(Order::Close).await;
    }

    fn callbacks(&self) -> &Callbacks {
        &self.core.callbacks
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T> {
        self.callbacks().refuse_within()?;
        let (reply, answer) = oneshot::channel();
        self.order(order(reply)).await?;
        answer.await.map_err(|_| closed())
    }
}

/// Does work right here for as long as it need not wait. Others may depend on it, so from then on it belongs to a task of its
/// own: it goes on if this future is dropped.
async fn work_here(work: impl Future<Output = ()> + Send + 'static) {
    let mut work = Box::pin(work);
    if poll_once(work.as_mut()).await.is_pending() {
        tokio::spawn(work);
    }
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context))).await
}

pub(super) struct Writer {
    pub core: Arc<Core>,
    pub parking: Parking,
    /// Pages of foreign entries that are not answered yet.
    pub pages: VecDeque<Page>,
    page_number: u64,
    pub recent: Recent,
    /// The group that is being committed while the next one is prepared.
    pub under_way: Option<UnderWay>,
    /// The next arrival number when it was looked last for what entries wait for.
    looked: u64,
    /// How many settings entries there were when what waits for support was judged last.
    judged_by: usize,
}

/// Serves what cannot happen where it is ordered.
async fn run(mut queue: mpsc::Receiver<Ordered>, writer: Arc<Mutex<Writer>>) {
    let mut ordered = Vec::new();
    let mut closing = false;
    let mut busy = false;
    let mut due = None;
    while busy || !closing {
        if !busy {
            let received = queue.recv_many(&mut ordered, GROUP_COMMITS);
            let received = match due {
                None => received.await,
                Some(wait) => tokio::time::timeout(wait, received).await.unwrap_or(1),
            };
            if received == 0 {
                return;
            }
            // Whoever is about to order something, too, does so first: a group of many costs little more than one of few.
            tokio::task::yield_now().await;
        }
        let mut writer = writer.lock().await;
        while ordered.len() < GROUP_COMMITS
            && let Ok(order) = queue.try_recv()
        {
            ordered.push(order);
        }
        let (orders, counted): (Vec<Order>, Vec<Weak<()>>) =
            ordered.drain(..).map(|Ordered { order, counted }| (order, counted)).unzip();
        if writer.serve(orders, !queue.is_empty()).await {
            closing = true;
            queue.close();
        }
        drop(counted);
        busy = writer.is_busy();
        due = writer.until_due();
    }
}

impl Writer {
    /// Does what was ordered, and a part of what is under way; `waiting`: more was ordered already. True if the order was to
    /// end.
    async fn serve(&mut self, orders: Vec<Order>, waiting: bool) -> bool {
        let mut closing = false;
        let mut commits = Vec::new();
        for order in orders {
            match order {
                Order::Commit(intent, reply) => commits.push((intent, reply)),
                Order::Ingest(arrivals, reply) => self.push_page(arrivals, reply),
                Order::Task(task, reply) => {
                    self.settle().await;
                    let result = self.task(&task).await;
                    let _ = reply.send(result);
                }
                Order::Waiting(reply) => drop(reply.send(self.parking.size())),
                Order::Holds(ids, reply) => drop(reply.send(self.parking.holds(&ids))),
                Order::GoOn => {}
                Order::Close => closing = true,
            }
        }
        let idle = commits.is_empty();
        // In two halves, of which one is committed while the other is prepared.
        let half = commits.len().div_ceil(2).max(LEAST_HALF);
        while !commits.is_empty() {
            let rest = commits.split_off(half.min(commits.len()));
            let more = waiting || !rest.is_empty() || self.next_page().is_some();
            self.advance(Unit::Commits(commits), more).await;
            commits = rest;
        }
        self.take_up_waiting().await;
        if let Some(page) = self.next_page() {
            let more = waiting || page.todo.len() > GROUP_ENTRIES || self.pages.len() > 1;
            self.advance(Unit::Page, more).await;
        } else if idle {
            self.settle().await;
        }
        closing
    }

    /// True if something is begun and not ended.
    fn is_busy(&self) -> bool {
        !self.pages.is_empty() || self.under_way.is_some()
    }

    /// How long until what waits is to be looked at.
    fn until_due(&self) -> Option<Duration> {
        if self.core.storage.shared && self.parking.awaits_parents() {
            return Some(LOOK);
        }
        let allowed = self.allowed_time().millis();
        let due = self.parking.next_due();
        let due = due.map(|due| Duration::from_millis(due.millis().saturating_sub(allowed).clamp(10, 1_000)));
        // What waits takes room from other databases, too, and so goes at its time although nothing comes.
        let old = self.parking.until_old(self.core.storage.options.environment.now());
        due.into_iter().chain(old).min()
    }

    pub(super) fn allowed_time(&self) -> Time {
        let options = &self.core.storage.options;
        options.environment.now().plus(options.allowed_skew)
    }

    /// The first page that has entries left to judge.
    pub(super) fn next_page(&self) -> Option<&Page> {
        self.pages.iter().find(|page| !page.todo.is_empty())
    }

    fn push_page(&mut self, arrivals: Arrivals, reply: oneshot::Sender<Result<Vec<Outcome>>>) {
        self.page_number += 1;
        self.pages.push_back(Page::new(self.page_number, arrivals, reply));
    }

    async fn task(&mut self, task: &Task) -> Result<bool> {
        let core = self.core.clone();
        if let Task::Reindex { over, resumes } = task {
            self.recent = Recent::default();
            return super::reindex::rebuild(&core, over.as_ref(), *resumes).await.map(|()| true);
        }
        for attempt in 0..ATTEMPTS {
            let mut work = Work::begin(&core, attempt).await?;
            let done = match task {
                Task::CatchUp { name, kind } => work.catch_up(name, kind).await?,
                Task::Index { name, field } => work.add_index(name, field).await?,
                Task::Unindex { name, field } => work.drop_index(name, field).await?,
                Task::Reindex { .. } => true,
            };
            let Some(Ready { batch, bytes, after, previous, .. }) = work.into_batch(false) else { return Ok(done) };
            if self.core.commit(batch, bytes, after.state.clone()).await? {
                self.note(&after, previous);
                return Ok(done);
            }
        }
        Err(faster())
    }

    /// True if settings entries have come since what waits for support was judged last.
    fn has_other_settings(&self) -> bool {
        self.core.state().rights.count() != self.judged_by
    }

    /// Takes out what is void and waits for support, if the settings are others than when it was judged: it may count now.
    pub(super) fn take_judged_otherwise(&mut self) -> Vec<(VerifiedEntry, Arc<str>)> {
        let settings = self.core.state().rights.count();
        match std::mem::replace(&mut self.judged_by, settings) == settings {
            true => Vec::new(),
            false => self.parking.take_all_unsupported(),
        }
    }

    /// Takes up what need not wait any more: for the clock, for a parent that another process has stored, or for a removal to
    /// fall.
    async fn take_up_waiting(&mut self) {
        // In this order: what is due and old at once has come to its time.
        let mut ready = self.parking.take_due(self.allowed_time());
        ready.extend(self.take_judged_otherwise());
        self.parking.forget_old(self.core.storage.options.environment.now());
        if let Err(error) = self.take_found(&mut ready).await {
            tracing::debug!(%error, "what waits for its parents could not be looked at");
        }
        if !ready.is_empty() {
            let (reply, _) = oneshot::channel();
            let (entries, outcomes) = Default::default();
            let arrivals = Arrivals { source: Arc::from("waiting"), entries, outcomes, keeps_void: false };
            self.push_page(arrivals, reply);
            if let Some(page) = self.pages.back_mut() {
                page.todo = ready.into_iter().map(|(entry, source)| (None, entry, source)).rev().collect();
            }
        }
    }

    async fn take_found(&mut self, ready: &mut Vec<(VerifiedEntry, Arc<str>)>) -> Result<()> {
        if !self.core.storage.shared || !self.parking.awaits_parents() {
            return Ok(());
        }
        let rows = self.core.storage.snapshot().await?;
        let next = self.core.at(&*rows).await?.meta.next;
        if std::mem::replace(&mut self.looked, next) != next {
            let parents = self.parking.awaited();
            let found = places(&*rows, self.core.number, &parents).await?;
            for (parent, _) in parents.iter().zip(found).filter(|(_, place)| place.is_some()) {
                ready.extend(self.parking.take_children(parent));
            }
        }
        Ok(())
    }
}
