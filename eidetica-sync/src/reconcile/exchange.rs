//! The asking side: which rung of the ladder, and when it is done.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
#[cfg(doc)]
use eidetica_contract::ErrorKind;
use eidetica_contract::Result;
use eidetica_core::entry::RawEntry;
use eidetica_core::{Beyond, Database, Id, Stand};

use super::digest_of;
use super::message::{Given, MAX_IDS, MAX_SHORTS, Reply, Request};
use super::outcome::{Options, Outcome, Progress, Standoff, broken};
use super::page::Page;
use super::short::Width;
use super::transfer::Supply;

/// Up to how many heads go with the first question even if nothing is known to be new: it stays below 150 bytes.
const FEW_HEADS: usize = 3;
/// The most entries, and bytes of them, that are sent before it is known whether they are lacking.
const NEWS: usize = 64;
const NEWS_BYTES: usize = 16 << 10;
/// How often the heads are compared. Where somebody writes all the time they may never be the same.
const ROUNDS: usize = 8;
/// How often in a row that may lead to nothing.
const IDLE: usize = 2;
/// How often a difference that is too large to be found at once is looked for again.
const INSTALMENTS: usize = 1 << 16;
/// How many pages in a row may bring nothing but what does not count: about as much as is held or kept in mind here for something to
/// stand on it.
const PAGES_IN_VAIN: usize = 128;

/// Carries one request to the other side, and its reply back.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Asks, and waits for the reply.
    ///
    /// Errors: whatever keeps the reply from coming; an exchange ends with it. Cancellation: the other side may have acted.
    async fn ask(&self, request: Request) -> Result<Reply>;

    /// Called before more than a page of entries is asked for, or any are sent. Where the other side may be doing the same, it waits
    /// until that has ended, and returns true if it has waited; then what both sides have is compared anew.
    async fn give_way(&self) -> bool {
        false
    }

    /// The most bytes that a reply may have; at least 16 KiB.
    fn max_reply(&self) -> usize;

    /// The most bytes that a request may have; at least 16 KiB.
    fn max_request(&self) -> usize;
}

/// Brings two peers to the same entries, or one of them to those of the other, as the options say.
///
/// What has come in by the time of an error, or when the future is dropped, stays, and the next exchange goes on from there.
/// While entries are taken in, the next page is under way.
///
/// Errors: those of [`Ask::ask`] and of the database; [`ErrorKind::InvalidInput`] with the pair `broken` if the other side does not keep
/// to the protocol, or sends without end what leads to nothing; [`ErrorKind::TooLarge`] if an entry does not fit into the largest
/// message. Cost with a hostile other side: some pages of memory, and a bounded number of round trips for each entry that comes in.
pub async fn exchange(
    db: &Database,
    remote: &dyn Ask,
    options: &Options,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Outcome> {
    let mut run = Run::new(db, remote, options, progress);
    let (mut rounds, mut idle, mut instalments) = (0, 0, 0);
    let mut useless = 0;
    while rounds < ROUNDS && instalments < INSTALMENTS {
        let before = run.outcome.moved();
        let end = run.round(rounds == 0 && instalments == 0).await?;
        // What was asked for and has come another way is no fault of the other side, and a step forward.
        let crossed = std::mem::take(&mut run.crossed);
        let moved = run.outcome.moved() > before || crossed;
        match end {
            End::Done(frontier) => {
                run.outcome.complete = true;
                run.common = frontier;
                break;
            }
            End::Stuck => break,
            End::Apart(standoff) => {
                run.outcome.standoff = Some(standoff);
                break;
            }
            End::More if moved => instalments += 1,
            End::Again if crossed => instalments += 1,
            End::More | End::Again => rounds += 1,
        }
        if moved {
            (idle, useless) = (0, run.outcome.useless());
            continue;
        }
        idle += 1;
        // What looks the same by its first bytes is compared by all of them.
        run.width = Width::Whole;
        if idle >= IDLE {
            if run.outcome.useless() > useless {
                return Err(broken("what it sends leads to nothing"));
            }
            break;
        }
    }
    run.finish().await
}

/// The root entry of a database that is not here yet: whose id it is, is proven; the rest is for
/// [`Engine::adopt_database`](eidetica_core::Engine::adopt_database) to look at.
///
/// Errors: those of [`Ask::ask`]; [`ErrorKind::InvalidInput`] with the pair `broken` if something else comes.
pub async fn fetch_root(database: &Id, remote: &dyn Ask) -> Result<RawEntry> {
    root_in(database, remote.ask(Request::Root).await?)
}

/// The root entry of a database out of a reply that holds it.
///
/// Errors: [`ErrorKind::InvalidInput`] with the pair `broken` if it holds something else.
pub fn root_in(database: &Id, reply: Reply) -> Result<RawEntry> {
    let Reply::Root(page) = reply else {
        return Err(broken("the answer is to something else"));
    };
    let mut entries = page.unpack().unwrap_or_default();
    match (entries.pop(), entries.is_empty()) {
        (Some(root), true) if Id::of(&root.header) == *database => Ok(root),
        _ => Err(broken("the root is that of another database")),
    }
}

/// How a round has ended.
pub(super) enum End {
    /// All that was asked for is done; both sides have these heads.
    Done(Vec<Id>),
    /// Something came in between: the heads are to be compared once more.
    Again,
    /// A part of a large difference is done.
    More,
    /// What is still apart cannot be brought over now.
    Stuck,
    /// What is still apart does not count on one side, and was offered there before.
    Apart(Standoff),
}

/// An exchange under way.
pub(super) struct Run<'a> {
    pub(super) db: &'a Database,
    remote: &'a dyn Ask,
    pub(super) options: &'a Options,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
    pub(super) outcome: Outcome,
    asked: AtomicU64,
    /// Entries that both sides are known to have.
    pub(super) common: Vec<Id>,
    pub(super) width: Width,
    /// How many entries are still to come.
    pub(super) left: u64,
    /// How many entries are still to be sent.
    pub(super) unsent: u64,
    /// How many entries were here when the heads were compared, and those that have come in by this exchange since.
    pub(super) here: u64,
    /// True if what was asked for has come another way meanwhile.
    pub(super) crossed: bool,
    /// How many pages in a row may bring nothing but what does not count.
    pub(super) pages_in_vain: usize,
    /// True if the heads were compared once more instead of carrying anything.
    renewed: bool,
    /// Where both sides stood when all that they could give each other had last changed nothing.
    standoff: Option<Standoff>,
    /// Where both sides stood when this round began.
    begun: Option<Standoff>,
}

/// What a comparison has shown.
pub(super) struct Compared {
    pub(super) digest: [u8; 32],
    pub(super) heads: Option<Vec<Id>>,
    pub(super) first: Option<super::message::Piece>,
    /// Of the own heads those that the other side has.
    pub(super) known: Vec<Id>,
    pub(super) knows_all: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        db: &'a Database,
        remote: &'a dyn Ask,
        options: &'a Options,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Run<'a> {
        let (outcome, asked, common, begun) = Default::default();
        let (width, standoff) = (Width::Short, options.standoff);
        Run {
            db,
            remote,
            options,
            progress,
            outcome,
            asked,
            common,
            width,
            left: 0,
            unsent: 0,
            here: 0,
            crossed: false,
            pages_in_vain: PAGES_IN_VAIN,
            renewed: false,
            standoff,
            begun,
        }
    }

    /// Asks, and counts.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply> {
        let reply = self.remote.ask(request).await?;
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(reply)
    }

    /// The most bytes of a reply, as requests say it.
    pub(super) fn most(&self) -> u32 {
        u32::try_from(self.remote.max_reply()).unwrap_or(u32::MAX)
    }

    pub(super) fn max_request(&self) -> usize {
        self.remote.max_request()
    }

    pub(super) fn page(&self) -> usize {
        self.options.page.clamp(1, 1 << 20)
    }

    pub(super) fn list(&self) -> usize {
        self.options.list.min(MAX_SHORTS)
    }

    pub(super) fn tell(&self) {
        // What was sent and not taken is no progress: nobody is to send it again at once on account of it.
        let Outcome { received, .. } = self.outcome;
        let sent = self.outcome.moved() - received;
        (self.progress)(Progress { received, sent, left: self.left, unsent: self.unsent });
    }

    /// Notes what became of entries that came.
    pub(super) fn received(&mut self, given: &Given, refusals: Vec<(Id, String)>) {
        self.here += u64::from(given.accepted);
        let outcome = &mut self.outcome;
        outcome.received += u64::from(given.accepted);
        outcome.repeated += u64::from(given.known);
        outcome.parked += u64::from(given.waiting);
        outcome.loose += u64::from(given.loose);
        outcome.refused += u64::from(given.refused);
        outcome.void += u64::from(given.void);
        let room = super::outcome::NAMED.saturating_sub(outcome.refusals.len());
        outcome.refusals.extend(refusals.into_iter().take(room));
        self.tell();
    }

    /// Notes what became of entries that were sent.
    ///
    /// Errors: `InvalidInput` if the other side speaks of more or fewer.
    pub(super) fn sent(&mut self, count: usize, given: Option<&Given>) -> Result<()> {
        let total = given.map_or(0, Given::total);
        if total != count as u64 || (count == 0 && given.is_some()) {
            return Err(broken("it answers for other entries than it was given"));
        }
        let Some(given) = given else { return Ok(()) };
        self.outcome.sent += total;
        self.unsent = self.unsent.saturating_sub(total);
        self.outcome.sent_again += u64::from(given.known);
        self.outcome.parked_there += u64::from(given.waiting) + u64::from(given.loose);
        self.outcome.refused_there += u64::from(given.refused);
        self.outcome.void_there += u64::from(given.void);
        self.tell();
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Outcome> {
        self.outcome.round_trips = self.asked.load(Ordering::Relaxed);
        self.outcome.frontier = self.db.highest_of(&self.common).await?;
        self.outcome.frontier.sort_unstable();
        Ok(self.outcome)
    }

    async fn round(&mut self, first: bool) -> Result<End> {
        let stand = self.db.stand().await?;
        self.here = stand.entries;
        let news = if first { self.news(&stand).await? } else { None };
        let few = stand.heads.len() <= FEW_HEADS || news.is_some() || !first;
        let compared = match self.compare(&stand, (few, true), news).await? {
            Ok(compared) => compared,
            Err(end) => return Ok(end),
        };
        let theirs = compared.heads.clone().unwrap_or_default();
        let here = self.db.known(&theirs).await?;
        let of_theirs: Vec<Id> = theirs.iter().zip(&here).filter(|(_, here)| **here).map(|(id, _)| *id).collect();
        let has_all = !theirs.is_empty() && of_theirs.len() == theirs.len();
        let mut compared = compared;
        if !has_all && !compared.knows_all && !few && stand.heads.len() <= self.most_heads() {
            // Too many heads to be sent on the chance that something is new. Now they are worth it.
            compared = match self.compare(&stand, (true, false), None).await? {
                Ok(compared) => compared,
                Err(end) => return Ok(end),
            };
        }
        if compared.knows_all && has_all {
            return Ok(End::Again);
        }
        // A first page that is the last one has come already.
        let little = compared.knows_all && compared.first.as_ref().is_some_and(|first| first.next == 0);
        if !little && self.is_outdated(&stand).await? {
            // What the other side has brought, or taken, is a step forward.
            self.crossed = true;
            return Ok(End::Again);
        }
        self.common = compared.known.iter().chain(&of_theirs).copied().collect();
        let standoff = self.standing(&stand.heads, compared.digest);
        if self.standoff == Some(standoff) {
            return Ok(End::Apart(standoff));
        }
        self.begun = Some(standoff);
        if compared.knows_all {
            self.behind(&stand, compared.first).await
        } else if has_all {
            self.ahead(&stand, theirs).await
        } else {
            self.apart(&stand, theirs).await
        }
    }

    /// Whether both sides are to be compared anew before anything is carried: the other side was let go first, or something has come in
    /// since this side said what it has. Where somebody writes all the time, the latter counts once.
    async fn is_outdated(&mut self, stand: &Stand) -> Result<bool> {
        let waited = self.remote.give_way().await;
        let grown = !self.renewed && self.db.stand().await?.entries > stand.entries;
        self.renewed = waited || grown;
        Ok(self.renewed)
    }

    fn most_heads(&self) -> usize {
        MAX_IDS.min(self.max_request() / 64)
    }

    /// Compares heads. `Err` has the end of the round, if that is all.
    pub(super) async fn compare(
        &mut self,
        stand: &Stand,
        (heads, tell): (bool, bool),
        give: Option<(Page, usize)>,
    ) -> Result<Result<Compared, End>> {
        let heads = (heads && stand.heads.len() <= self.most_heads()).then(|| stand.heads.clone());
        let named = heads.as_ref().map_or(0, Vec::len);
        let (give, count) = give.map_or((None, 0), |(page, count)| (Some(page), count));
        let (digest, pull) = (digest_of(&stand.heads), self.options.pull);
        match self.ask(Request::Compare { digest, heads, give, pull, tell, most: self.most() }).await? {
            Reply::Same { given } => {
                self.sent(count, given.as_ref())?;
                Ok(Err(End::Done(stand.heads.clone())))
            }
            Reply::Differ { given, digest: theirs, entries: _, heads, known, first } => {
                self.sent(count, given.as_ref())?;
                let listed = heads.as_ref().is_none_or(|heads| digest_of(heads) == theirs && !heads.is_empty());
                if known.len() != named || !listed || theirs == digest {
                    return Err(broken("its answer about heads contradicts itself"));
                }
                let knows_all = named > 0 && known.iter().all(|known| *known);
                if first.is_some() && !(knows_all && pull) {
                    return Err(broken("it sends a page that nobody has asked for"));
                }
                let known = stand.heads.iter().zip(known).filter(|(_, known)| *known).map(|(id, _)| *id).collect();
                Ok(Ok(Compared { digest: theirs, heads, first, known, knows_all }))
            }
            _ => Err(broken("the answer is to something else")),
        }
    }

    /// What was committed here since both sides had the same heads, if it is little. What came from others is not sent unasked,
    /// since the other side may have it from them.
    async fn news(&self, stand: &Stand) -> Result<Option<(Page, usize)>> {
        let Some(remembered) = self.options.remembered.as_ref().filter(|known| self.options.push && !known.is_empty())
        else {
            return Ok(None);
        };
        if self.standoff.is_some_and(|standoff| standoff.own == digest_of(&stand.heads)) {
            return Ok(None);
        }
        if remembered.len() > MAX_IDS || !self.db.known(remembered).await?.iter().all(|known| *known) {
            return Ok(None);
        }
        let beyond = Beyond { known: remembered, from: 0, until: stand.entries };
        if !(1..=NEWS as u64).contains(&self.db.count_beyond(&beyond).await?) {
            return Ok(None);
        }
        let stretch = self.db.page_beyond(&beyond, NEWS_BYTES, NEWS).await?;
        if stretch.next.is_some() || !stretch.entries.iter().all(|arrived| arrived.local) {
            return Ok(None);
        }
        let room = NEWS_BYTES.min(self.max_request() / 2);
        // One that is too long for that is asked for.
        let Ok((page, count)) = Page::pack(stretch.entries.iter().map(|arrived| &arrived.entry), room) else {
            return Ok(None);
        };
        Ok((count == stretch.entries.len()).then_some((page, count)))
    }

    /// The other side has all that is here.
    async fn behind(&mut self, stand: &Stand, first: Option<super::message::Piece>) -> Result<End> {
        if !self.options.pull {
            return Ok(End::Done(stand.heads.clone()));
        }
        let (_, digest) = self.pull(&stand.heads, &[], first).await?;
        self.settled(digest).await
    }

    /// The other side lacks something, and has nothing that is not here.
    async fn ahead(&mut self, stand: &Stand, theirs: Vec<Id>) -> Result<End> {
        if !self.options.push {
            return Ok(End::Done(theirs));
        }
        let supply = Supply::beyond(theirs, stand.entries, Vec::new(), 0);
        let digest = self.trade(supply, Vec::new()).await?;
        self.pushed(stand, digest).await
    }

    /// The end of a round after which both sides should have the same heads: those with this hash, as the other side said last.
    pub(super) async fn settled(&mut self, digest: Option<[u8; 32]>) -> Result<End> {
        let heads = self.db.stand().await?.heads;
        if digest == Some(digest_of(&heads)) {
            return Ok(End::Done(heads));
        }
        let Outcome { parked, parked_there, refused, refused_there, .. } = self.outcome;
        if parked + parked_there + refused + refused_there > 0 {
            return Ok(End::Stuck);
        }
        Ok(self.apart_or_again(&heads, digest))
    }

    /// If entries have turned out not to count on one side, and both sides stand where they stood before these were carried, nothing is
    /// to be gained by carrying them again. Where either has moved meanwhile, it may have got what this round knew nothing of.
    fn apart_or_again(&self, heads: &[Id], theirs: Option<[u8; 32]>) -> End {
        let end = theirs.map(|theirs| self.standing(heads, theirs));
        match end.filter(|_| self.outcome.void + self.outcome.void_there > 0) {
            Some(standoff) if self.begun == end => End::Apart(standoff),
            _ => End::Again,
        }
    }

    fn standing(&self, heads: &[Id], theirs: [u8; 32]) -> Standoff {
        let Options { pull, push, .. } = *self.options;
        Standoff { own: digest_of(heads), theirs, pull, push }
    }

    /// The end of a round in which entries were sent.
    pub(super) async fn pushed(&mut self, stand: &Stand, digest: Option<[u8; 32]>) -> Result<End> {
        let Outcome { parked_there, refused_there, .. } = self.outcome;
        if parked_there + refused_there > 0 {
            return Ok(End::Stuck);
        }
        if !self.options.pull && self.outcome.void_there > 0 {
            return Ok(self.apart_or_again(&stand.heads, digest));
        }
        if !self.options.pull {
            return Ok(End::Done(stand.heads.clone()));
        }
        self.settled(digest).await
    }
}
