//! The side that asks: introduces itself, and talks with a peer about one database.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{Error, ErrorKind, Result, Retry};
use eidetica_core::auth::{Right, Subject};
use eidetica_core::{Database, Id};
use tokio::time::{Instant, timeout_at};

use super::links::{ANSWER, Link};
use super::shared::Shared;
use crate::access::{self, Answer, Claim, Scope, Shown, may_read};
use crate::message::{Introduction, MAX_DATABASES, Reply, Request};
use crate::reconcile::{self, Ask, Limits, Options, Outcome, Progress};
use crate::schedule::Lane;

/// A talk with a peer about one database.
struct Talk<'t> {
    shared: &'t Shared,
    link: &'t Link,
    database: Id,
    /// The database, and what the peer has shown for it, once something is here that it might be told.
    told: Option<(Database, Shown)>,
    /// Until when it may wait for rounds of the peer.
    patience: Instant,
}

/// How long one talk waits for rounds of the peer, all in all, while these go on. Each carries all that both lack, so one that takes longer
/// is rare, and what is then carried twice is the price for depending on nobody.
const PATIENCE: Duration = Duration::from_secs(300);

/// Brings this node and a peer to the same state of a database, as far as each may read it.
///
/// Errors: `PermissionDenied` if the peer does not serve it to this device, or has not shown that it may read it itself;
/// those of [`reconcile::exchange`] and of the link. What has come in stays.
pub(crate) async fn sync(
    shared: &Shared,
    link: &Link,
    id: Id,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Outcome> {
    if link.served(&id).is_none() {
        introduce(shared, link, &[id], Vec::new()).await?;
    }
    if link.served(&id).is_none() {
        if ask_again(shared, link, id).await? {
            introduce(shared, link, &[id], Vec::new()).await?;
        } else if was_removed(link, id).await? {
            return Err(removed(link, id));
        }
    }
    let Some(claims) = link.served(&id) else { return Err(not_served(link, id)) };
    let mut talk = Talk { shared, link, database: id, told: None, patience: Instant::now() + PATIENCE };
    let database = match shared.here(&id).await? {
        Some(database) => database,
        None => {
            let root = reconcile::fetch_root(&id, &talk).await?;
            shared.engine.adopt_database(root, None).await?
        }
    };
    let shown = Shown::new(link.peer, Scope::Database(id), claims);
    // Here as there nothing is told to a device that may not read it. Whoever has the root alone tells nothing.
    let begun = database.entry_count().await? > 1;
    let mut readable = may_read(&database, &shown).await?.is_some();
    if begun && !readable {
        talk.listen(&database, progress).await?;
        readable = may_read(&database, &shown).await?.is_some();
        if !readable {
            return Err(turned_away(link, id));
        }
    }
    if readable {
        talk.told = Some((database.clone(), shown));
    }
    let lane = talk.lane();
    let options = Options {
        push: readable,
        remembered: shared.frontiers.remembered(lane.peer, id).await?.map(|remembered| remembered.heads),
        standoff: shared.steps.standoff(&lane),
        source: link.peer.to_string(),
        ..Options::default()
    };
    let outcome = reconcile::exchange(&database, &talk, &options, progress).await?;
    note(shared, &database, lane, &outcome).await?;
    Ok(outcome)
}

/// How many bytes of databases and claims one introduction holds, about: few enough for a peer that takes this node for a
/// stranger.
const INTRODUCTION: usize = 48 << 10;

/// Remembers what both sides have.
async fn note(shared: &Shared, database: &Database, lane: Lane, outcome: &Outcome) -> Result<()> {
    shared.frontiers.note(lane.peer, lane.database, &outcome.frontier);
    shared.steps.note_standoff(lane, outcome.standoff);
    let digest = database.heads_digest().await?;
    if outcome.complete && reconcile::digest_of(&outcome.frontier) == digest {
        shared.steps.note(lane, digest);
    }
    if outcome.received > 0 {
        forget_what_was_given(shared, database).await?;
    }
    Ok(())
}

/// What was asked for is not asked for again once the settings give it: if it is taken away later, that was meant.
async fn forget_what_was_given(shared: &Shared, database: &Database) -> Result<()> {
    let id = database.root_id();
    for asked in shared.asked.of(id).await? {
        let wanted = asked.request.wanted();
        let has = database.now().right_of(wanted.key).await?;
        if has >= Right::READ && has.permission() >= wanted.permission {
            shared.asked.forget(id, &wanted.key).await?;
        }
    }
    Ok(())
}

/// Tells a peer where this node can be reached and by which right it asks for the databases that both share and for these,
/// and hears the same.
///
/// Only what concerns the two is named: a stranger is not told who uses this device.
pub(crate) async fn introduce(shared: &Shared, link: &Link, wanted: &[Id], listing: Vec<Claim>) -> Result<()> {
    let mut ids: Vec<Id> = wanted.to_vec();
    let related: Vec<Id> = shared.schedule().databases_of(&link.peer).collect();
    // Of what nobody here wishes synced any longer nothing is said.
    ids.extend(related.into_iter().filter(|id| !wanted.contains(id) && shared.served.is_served(id)));
    // At least one message, since it also tells addresses and listing.
    let mut listing = Some(listing);
    let mut rest = &ids[..];
    loop {
        let (all, mut databases, mut bytes) = (rest, Vec::new(), 0);
        while let Some((id, behind)) = rest.split_first() {
            let here = shared.here(id).await?;
            let relationship = shared.peers.relationship(&link.peer.into(), id).await?;
            let prefer = relationship.and_then(|relationship| relationship.auth).map(|auth| auth.key);
            let claims = shared.grants.to_show(id, here.as_ref(), prefer.as_ref()).await?;
            bytes += 17 + claims.len() * Claim::LEN;
            databases.push((link.tag(id), claims));
            rest = behind;
            if bytes >= INTRODUCTION || databases.len() == MAX_DATABASES {
                break;
            }
        }
        let named = &all[..databases.len()];
        let introduction = Introduction {
            addresses: shared.transports.own_addresses(),
            databases,
            listing: listing.take().unwrap_or_default(),
        };
        let reply = link.ask(&Request::Introduce(introduction), ANSWER).await?;
        let Reply::Introduced(theirs) = reply else { return Err(link.misspoken()) };
        let by_tag: BTreeMap<_, _> = named.iter().map(|id| (link.tag(id), *id)).collect();
        let served =
            theirs.databases.into_iter().filter_map(|(tag, claims)| Some((*by_tag.get(&tag)?, claims))).collect();
        link.note_served(named, served);
        shared.learn(link.peer, theirs.addresses).await?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Sends what was asked of this peer for a database once more, if it is still to be decided. True if access is there now.
///
/// What was given is not asked for anew if it was taken away since, unless somebody wishes so: that had a reason.
///
/// Errors: `Pending` while an admin has to decide, `PermissionDenied` if one has rejected it.
async fn ask_again(shared: &Shared, link: &Link, id: Id) -> Result<bool> {
    let mut refused = None;
    let here = shared.here(&id).await?;
    for asked in shared.asked.of(&id).await? {
        if *asked.request.to() != link.peer {
            continue;
        }
        if let Some(here) = &here
            && here.now().own_right_of(Subject::Key(asked.request.wanted().key)).await? == Right::REMOVED
        {
            continue;
        }
        match ask_access(shared, link, &asked.request).await?.into_result(asked.request.wanted()) {
            Ok(_) => return Ok(true),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(false), Err)
}

/// Asks a peer for access to a database, and remembers what it answers.
pub(crate) async fn ask_access(shared: &Shared, link: &Link, request: &access::Request) -> Result<Answer> {
    let Reply::Access(body) = link.ask(&Request::Access(request.to_bytes()), ANSWER).await? else {
        return Err(link.misspoken());
    };
    let answer = Answer::parse(&body).ok_or_else(|| link.misspoken())?;
    shared.asked.note(request, &answer).await?;
    // A round may have brought it while the answer was on its way.
    if let Some(database) = shared.here(&request.wanted().database).await? {
        forget_what_was_given(shared, &database).await?;
    }
    Ok(answer)
}

/// The databases that the users of this device may read at a peer, and their names.
pub(crate) async fn discover(shared: &Shared, link: &Link) -> Result<Vec<(Id, String)>> {
    introduce(shared, link, &[], shared.grants.listing_to_show(None).await?).await?;
    match link.ask(&Request::Discover, ANSWER).await? {
        Reply::Databases(databases) => Ok(databases),
        // Nobody here has anything to show.
        Reply::Introduce => Ok(Vec::new()),
        _ => Err(link.misspoken()),
    }
}

/// The peer may not read a database by what it has shown. It may have something else to show by the next time, such as the key that has
/// taken the place of another one, and is asked for it then.
fn turned_away(link: &Link, database: Id) -> Error {
    link.note_served(&[database], BTreeMap::new());
    let message = "the peer has not shown that it may read the database, as far as its settings are known here; it is told \
                   nothing of it";
    Error::new(ErrorKind::PermissionDenied, message).with("peer", link.peer).with("database", database)
}

fn not_served(link: &Link, database: Id) -> Error {
    let message = "the peer does not have this database, or does not give it to this device; ask for access with \
                   request_database_access, or wait until an admin has given it";
    let error = Error::new(ErrorKind::PermissionDenied, message).retry(Retry::Later);
    error.with("reason", "not_served").with("peer", link.peer).with("database", database)
}

fn removed(link: &Link, database: Id) -> Error {
    let message = "this device was removed from the database: the right of the key that it asks with was taken away; what is \
                   here stays, and an admin can give the right back";
    let error = Error::new(ErrorKind::PermissionDenied, message).retry(Retry::Later);
    error.with("reason", "removed").with("peer", link.peer).with("database", database)
}

/// Whether a peer that does not give a database to this device says that a right of it was taken away. It must have been shown
/// what there is to show.
pub(crate) async fn was_removed(link: &Link, database: Id) -> Result<bool> {
    let body = reconcile::Request::Root.to_bytes();
    let reply = link.ask(&Request::About { database: link.tag(&database), body }, ANSWER).await?;
    Ok(reply == Reply::Removed)
}

impl Talk<'_> {
    fn lane(&self) -> Lane {
        Lane { peer: self.link.peer, database: self.database }
    }

    /// Takes in what a peer has that may not read: it may hold what gives it the right, and be the only one to bring that. It learns nothing
    /// that is new to it. After listening in vain it is not listened to for a while.
    async fn listen(&self, database: &Database, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<()> {
        let (shared, lane) = (self.shared, self.lane());
        if !shared.steps.may_be_heard(&lane) {
            return Ok(());
        }
        let remembered = shared.frontiers.remembered(lane.peer, lane.database).await?;
        let mut known = remembered.map(|remembered| remembered.heads).unwrap_or_default();
        // A crash may have taken what both had. Of the root the peer knows, or it could not name the database.
        if known.is_empty() || !database.known(&known).await?.iter().all(|here| *here) {
            known = vec![self.database];
        }
        let options =
            Options { standoff: shared.steps.standoff(&lane), source: lane.peer.to_string(), ..Options::default() };
        // What came before an error counts, too: the peer may have made it.
        let (pages, received) = (AtomicUsize::new(0), AtomicU64::new(0));
        let count = |heard: Progress| {
            pages.fetch_add(1, Ordering::Relaxed);
            received.store(heard.received, Ordering::Relaxed);
            progress(heard);
        };
        let heard = reconcile::hear(database, self, known, &options, &count).await;
        let broken = heard.as_ref().is_err_and(|error| error.context("broken").is_some());
        if received.into_inner() == 0 && (pages.into_inner() > 0 || broken) {
            shared.steps.note_heard_in_vain(lane);
        }
        note(shared, database, lane, &heard?).await
    }

    /// Brings the peer the root of the database, which it wants and lacks. False if nothing of it is here, either.
    async fn offer(&self) -> Result<bool> {
        let Some(database) = self.shared.here(&self.database).await? else { return Ok(false) };
        let root = reconcile::answer(&database, reconcile::Request::Root, &Limits::default(), "").await?;
        let (database, root) = (self.link.tag(&self.database), root.to_bytes());
        match self.link.ask(&Request::Offer { database, root }, ANSWER).await? {
            Reply::Taken => Ok(true),
            Reply::NotServed => Ok(false),
            _ => Err(self.link.misspoken()),
        }
    }
}

#[async_trait]
impl Ask for Talk<'_> {
    async fn ask(&self, request: reconcile::Request) -> Result<reconcile::Reply> {
        // Its right may have ended by what it has sent itself. Questions tell what is here, too.
        if let Some((database, shown)) = self.told.as_ref().filter(|_| request != reconcile::Request::Root)
            && may_read(database, shown).await?.is_none()
        {
            return Err(turned_away(self.link, self.database));
        }
        if matches!(request, reconcile::Request::Compare { .. }) {
            self.shared.steps.note_comparing(&self.lane());
        }
        let request = Request::About { database: self.link.tag(&self.database), body: request.to_bytes() };
        let mut reply = self.link.ask(&request, ANSWER).await?;
        if reply == Reply::Introduce {
            // It has been started anew, or has forgotten this node among many.
            introduce(self.shared, self.link, &[self.database], Vec::new()).await?;
            reply = self.link.ask(&request, ANSWER).await?;
        }
        if reply == Reply::Lacking && self.told.is_some() && self.offer().await? {
            reply = self.link.ask(&request, ANSWER).await?;
        }
        match reply {
            Reply::About(body) => reconcile::Reply::parse(&body).ok_or_else(|| self.link.misspoken()),
            Reply::Removed => {
                self.link.note_served(&[self.database], BTreeMap::new());
                Err(removed(self.link, self.database))
            }
            Reply::NotServed | Reply::Introduce | Reply::Lacking => {
                self.link.note_served(&[self.database], BTreeMap::new());
                Err(not_served(self.link, self.database))
            }
            _ => Err(self.link.misspoken()),
        }
    }

    async fn give_way(&self) -> bool {
        let (lane, news) = (self.lane(), self.shared.served.news());
        let mut waited = false;
        loop {
            let seen = news.rings();
            let Some(until) = self.shared.steps.carry_or_wait(&lane, Instant::now() < self.patience) else {
                return waited;
            };
            waited = true;
            // Each answer to the peer rings; if none does, it is looked again when the round of the peer counts as given up.
            let _ = timeout_at(until.min(self.patience), news.after(seen)).await;
        }
    }

    fn max_request(&self) -> usize {
        self.link.max_request
    }

    fn max_reply(&self) -> usize {
        self.shared.limits.max_whole
    }
}
