//! Carries who is here: signs what this device says of itself, tells it to the peers that it calls, and asks them for what they know.
//!
//! It rides on the links that rounds and watches have made, and makes none itself.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::links::Link;
use super::presence::{Taken, take};
use super::shared::Shared;
use super::talk::introduce;
use crate::access::{Scope, Shown, may_read};
use crate::message::{MAX_DATABASES, Mark, Reply, Request, Said};
use crate::presence::{Due, GAP, News, Statement};

/// How long a peer is asked to wait for something new. A request or an answer that is lost must not cost much of the time that
/// statements last.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a peer may take to answer besides. That somebody does not answer in time others will find out, who lose more by it.
const ANSWER: Duration = Duration::from_secs(5);
/// A peer that answers with nothing is asked anew after ever longer pauses, up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The same for one that fails or does not serve what is asked for.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// What cannot be signed, since the store fails, or be told, since the peer has no time for it, is tried again after that.
const AGAIN: Duration = Duration::from_secs(1);

/// Carries everything, for as long as it is polled.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut heralds = JoinSet::new();
    let mut by_peer: BTreeMap<PublicKey, (Arc<Link>, AbortHandle)> = BTreeMap::new();
    loop {
        let (rings, links) = (shared.hall.rings(), shared.links.changed().rings());
        for due in shared.hall.due(Instant::now()) {
            let (database, user, ..) = due;
            if let Err(error) = say(&shared, due).await {
                tracing::debug!(%database, %error, "it cannot be said who is here");
                shared.hall.postpone(database, user, Instant::now() + AGAIN);
            }
        }
        let next = shared.hall.sweep(Instant::now());
        let concerned = !shared.hall.attended().is_empty() || !shared.hall.spoken_of().is_empty();
        let open: BTreeMap<PublicKey, Arc<Link>> = match concerned {
            true => shared
                .links
                .open_links()
                .into_iter()
                .filter(|link| link.has_presence())
                .map(|link| (link.peer, link))
                .collect(),
            false => BTreeMap::new(),
        };
        by_peer.retain(|peer, (link, task)| {
            let stays = open.get(peer).is_some_and(|open| Arc::ptr_eq(open, link));
            if !stays {
                task.abort();
                shared.hall.note_told(*peer, None);
            }
            stays
        });
        for (peer, link) in open {
            by_peer.entry(peer).or_insert_with(|| {
                shared.hall.note_told(peer, Some(0));
                let task = heralds.spawn(Herald { shared: shared.clone(), link: link.clone() }.run());
                (link, task)
            });
        }
        tokio::select! {
            biased;
            // A herald ends with its link, which is then no longer among those that are open.
            Some(_) = heralds.join_next() => {}
            () = shared.links.changed().after(links) => {}
            _ = maybe(next, shared.hall.changed(rings)) => {}
        }
    }
}

/// Waits for this, but not longer than until then.
async fn maybe(until: Option<Instant>, what: impl Future<Output = ()>) {
    match until {
        Some(until) => drop(timeout_at(until, what).await),
        None => what.await,
    }
}

/// Signs what this device says of itself.
async fn say(shared: &Shared, due: Due) -> Result<()> {
    let (database, user, says) = (due.0, due.1, due.2.clone());
    let grants = shared.grants.of(&database).await?;
    let claim = grants.iter().find(|grant| Some(grant.user()) == user.as_ref()).map(|grant| grant.claim().clone());
    // A user who has signed no grant for this database does not follow it here: then the device speaks for itself.
    let of = claim.as_ref().map(|claim| claim.user);
    let clock = shared.engine.environment().now();
    let statement = Statement {
        device: shared.identity.device(),
        claim,
        serial: shared.hall.serial(&database, of, clock),
        lifetime: u16::try_from(says.lifetime.as_secs()).unwrap_or(u16::MAX),
        reach: says.reach,
        payload: says.payload,
        signature: [0; 64],
    };
    let statement = statement.sign(shared.identity.device_secret(), &database);
    shared.hall.said(due, statement, clock, Instant::now());
    Ok(())
}

/// What goes on with one peer.
struct Herald {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

/// How far it has come with this peer.
#[derive(Default)]
struct Marks {
    /// Up to where the peer has told, of which databases.
    heard: Mark,
    heard_of: BTreeSet<Id>,
    /// Up to where the peer was told, of which databases.
    told: u64,
    told_of: BTreeSet<Id>,
}

/// Why a turn has ended: `Continue` to take another one.
type Turn = ControlFlow<()>;

impl Herald {
    async fn run(self) {
        let mut marks = Marks::default();
        let mut rest = GAP;
        loop {
            let rings = self.shared.hall.rings();
            let (attended, spoken_of) = self.shared_databases();
            if attended.is_empty() && spoken_of.is_empty() {
                self.note_told(self.shared.hall.last());
                self.shared.hall.changed(rings).await;
                continue;
            }
            let began = Instant::now();
            match self.turn(&mut marks, &attended, &spoken_of).await {
                Turn::Break(()) => return,
                Turn::Continue(()) if began.elapsed() > LONGEST_REST => rest = GAP,
                Turn::Continue(()) => {
                    // Another database, or another chance.
                    let _ = timeout(rest, self.changed(&attended, &spoken_of)).await;
                    rest = (rest * 2).min(LONGEST_REST);
                }
            }
            if self.shared_databases() != (attended, spoken_of) {
                rest = GAP;
            }
        }
    }

    /// The databases that both sync, of which this device wants to hear, and of which it may have something to tell.
    fn shared_databases(&self) -> (BTreeSet<Id>, BTreeSet<Id>) {
        let (hall, served) = (&self.shared.hall, &self.shared.served);
        let related: BTreeSet<Id> = self.shared.schedule().databases_of(&self.link.peer).collect();
        let both = |ids: BTreeSet<Id>| -> BTreeSet<Id> {
            ids.into_iter().filter(|id| related.contains(id) && served.is_served(id)).take(MAX_DATABASES).collect()
        };
        let spoken_of = both(hall.spoken_of());
        (both(hall.attended()), spoken_of.into_iter().filter(|id| !hall.hears(&self.link.peer, id)).collect())
    }

    /// Returns when these are others.
    async fn changed(&self, attended: &BTreeSet<Id>, spoken_of: &BTreeSet<Id>) {
        loop {
            let rings = self.shared.hall.rings();
            let (now_attended, now_spoken_of) = self.shared_databases();
            if (&now_attended, &now_spoken_of) != (attended, spoken_of) {
                return;
            }
            self.shared.hall.changed(rings).await;
        }
    }

    /// Tells and asks until something has to be arranged anew.
    async fn turn(&self, marks: &mut Marks, attended: &BTreeSet<Id>, spoken_of: &BTreeSet<Id>) -> Turn {
        let unknown: Vec<Id> = attended.union(spoken_of).filter(|id| self.link.served(id).is_none()).copied().collect();
        if !unknown.is_empty()
            && let Err(error) = introduce(&self.shared, &self.link, &unknown, Vec::new()).await
        {
            return self.failed(&error);
        }
        let (known, lacking): (BTreeSet<Id>, BTreeSet<Id>) =
            attended.union(spoken_of).partition(|id| self.link.served(id).is_some());
        let (to_hear, to_tell) = (&known & attended, &known & spoken_of);
        if marks.told_of != to_tell {
            (marks.told, marks.told_of) = (0, to_tell);
        }
        if !to_hear.is_subset(&marks.heard_of) {
            // Of a further database it is heard first who is there already.
            marks.heard = Mark::default();
        }
        marks.heard_of = to_hear;
        let Marks { heard, heard_of, told, told_of } = marks;
        tokio::select! {
            biased;
            () = self.link.broken() => Turn::Break(()),
            () = self.changed(attended, spoken_of) => Turn::Continue(()),
            () = self.given(&lacking) => Turn::Continue(()),
            turn = self.tell(told, told_of) => turn,
            turn = self.hear(heard, heard_of) => turn,
        }
    }

    /// Returns when the peer gives one of these to this device, or it is time to ask whether it does.
    async fn given(&self, lacking: &BTreeSet<Id>) {
        if lacking.is_empty() {
            std::future::pending::<()>().await;
        }
        let until = Instant::now() + LONGEST_REST;
        loop {
            let rings = self.shared.hall.bell().rings();
            let given = lacking.iter().any(|id| self.link.served(id).is_some());
            if given || timeout_at(until, self.shared.hall.bell().after(rings)).await.is_err() {
                return;
            }
        }
    }

    /// Tells the peer what is new, whenever something is.
    async fn tell(&self, told: &mut u64, databases: &BTreeSet<Id>) -> Turn {
        let hall = &self.shared.hall;
        loop {
            let rings = hall.bell().rings();
            let (news, upto) = hall.news(databases, *told, &self.link.peer, Instant::now());
            let (said, passes) = match self.may_be_told(news).await {
                Ok(may) => may,
                Err(error) => return self.failed(&error),
            };
            if !said.is_empty() {
                let request = Request::Tell(said);
                let answer = tokio::select! {
                    biased;
                    answer = self.link.ask(&request, ANSWER) => answer,
                    // Whoever ends the sync of a database waits for the passes.
                    () = self.ended(databases) => return Turn::Continue(()),
                };
                drop(passes);
                match answer {
                    Ok(Reply::Taken) => *told = upto,
                    Ok(_) => return self.misunderstood(databases),
                    // It is told once more.
                    Err(error) if error.kind() == ErrorKind::Timeout => {}
                    // Too much was said at once, which is no reason to hear nothing.
                    Err(error) if error.kind() == ErrorKind::Busy => sleep(AGAIN).await,
                    Err(error) => return self.failed(&error),
                }
                sleep(GAP).await;
                continue;
            }
            *told = upto;
            self.note_told(upto);
            hall.bell().after(rings).await;
        }
    }

    /// Returns when one of these is not synced any longer.
    async fn ended(&self, databases: &BTreeSet<Id>) {
        let served = &self.shared.served;
        loop {
            let rings = served.news().rings();
            if databases.iter().any(|id| !served.is_served(id)) {
                return;
            }
            served.news().after(rings).await;
        }
    }

    /// What of this the peer may know, by the settings as they are now, and passes to its databases.
    async fn may_be_told(&self, news: Vec<News>) -> Result<(Vec<Said>, Vec<super::served::Pass>)> {
        let (mut said, mut passes, mut may) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (id, hops, statement) in news {
            let reads = match may.entry(id) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let pass = self.shared.served.enter(&id);
                    let reads = pass.is_some() && self.may_read(&id).await?;
                    passes.extend(pass.filter(|_| reads));
                    *new.insert(reads)
                }
            };
            if reads {
                said.push(Said { database: self.link.tag(&id), hops, statement: (*statement).clone() });
            }
        }
        Ok((said, passes))
    }

    async fn may_read(&self, id: &Id) -> Result<bool> {
        let (Some(claims), Some(database)) = (self.link.served(id), self.shared.here(id).await?) else {
            return Ok(false);
        };
        let shown = Shown::new(self.link.peer, Scope::Database(*id), claims);
        Ok(may_read(&database, &shown).await?.is_some())
    }

    /// Asks the peer for what it knows, again and again.
    async fn hear(&self, heard: &mut Mark, databases: &BTreeSet<Id>) -> Turn {
        if databases.is_empty() {
            std::future::pending::<()>().await;
        }
        let by_tag: BTreeMap<_, _> = databases.iter().map(|id| (self.link.tag(id), *id)).collect();
        let mut pause = GAP;
        loop {
            let began = Instant::now();
            let request = Request::Listen {
                millis: LONGEST.as_millis() as u32,
                after: *heard,
                databases: by_tag.keys().copied().collect(),
            };
            let (upto, said) = match self.link.ask(&request, LONGEST + ANSWER).await {
                Ok(Reply::Heard { upto, said }) => (upto, said),
                Ok(_) => return self.misunderstood(databases),
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    sleep_until(began + GAP).await;
                    continue;
                }
                Err(error) => return self.failed(&error),
            };
            // A peer that only says something is not asked at once for more.
            pause = (pause * 2).min(LONGEST_PAUSE);
            for Said { database, hops, statement } in said {
                let taken = match by_tag.get(&database) {
                    Some(id) => self.take(id, hops, statement).await,
                    None => Err(self.link.misspoken()),
                };
                match taken {
                    Ok(Taken::New) => pause = GAP,
                    Ok(_) => {}
                    Err(error) => return self.failed(&error),
                }
            }
            *heard = upto;
            sleep_until(began + pause).await;
        }
    }

    async fn take(&self, id: &Id, hops: u8, statement: Statement) -> Result<Taken> {
        let Some(_pass) = self.shared.served.enter(id) else { return Ok(Taken::Nothing) };
        let Some(database) = self.shared.here(id).await? else { return Ok(Taken::Nothing) };
        let clock = self.shared.engine.environment().now();
        // Who is called is chosen here, and is nobody who came by himself.
        take(&self.shared.hall, &database, (&self.link.peer, true), hops, statement, clock).await
    }

    /// The peer does not know this device any longer, or does not serve these: they are introduced anew.
    fn misunderstood(&self, databases: &BTreeSet<Id>) -> Turn {
        let databases: Vec<Id> = databases.iter().copied().collect();
        self.link.note_served(&databases, BTreeMap::new());
        Turn::Continue(())
    }

    fn failed(&self, error: &Error) -> Turn {
        tracing::debug!(peer = %self.link.peer, %error, "who is here cannot be told or heard for now");
        self.shared.note_broken(&self.link, error);
        match error.kind() {
            ErrorKind::Closed => Turn::Break(()),
            _ => Turn::Continue(()),
        }
    }

    fn note_told(&self, upto: u64) {
        self.shared.hall.note_told(self.link.peer, Some(upto));
    }
}
