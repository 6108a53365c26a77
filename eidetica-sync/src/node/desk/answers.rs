//! What is answered to each request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Caller, Error, ErrorKind, PublicKey, Result};
use eidetica_core::{Database, Id};
use tokio::time::{Instant, timeout_at};

use super::super::served::{Pass, Served};
use super::super::welcomes::Welcome;
use super::guests::Named;
use super::{Desk, Heard};
use crate::access::{self, Shown};
use crate::message::{Held, Introduction, MAX_DATABASES, MAX_NAME, Reply, Request, Tag, TagKey};
use crate::reconcile::{self, Course};
use crate::schedule::Lane;

/// The longest that news are waited for: shorter than the time after which middlemen take a connection for dead.
const LONGEST_WATCH: Duration = Duration::from_secs(25);
/// How long a peer that can be reached from here is given to get the news that way, before its wait is answered.
const PUSH_GRACE: Duration = Duration::from_secs(2);

/// How long a peer that begins a round is asked to wait for one that is under way from here.
const LET_PASS: Duration = Duration::from_secs(2);

/// An answer, and the passes to all databases that it tells something of: given back once it is on its way.
pub(super) struct Answer {
    pub reply: Reply,
    pub passes: Vec<Pass>,
}

/// Has all who wait look again when it is dropped.
struct TellAtEnd<'s>(&'s Served);

impl Drop for TellAtEnd<'_> {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer { reply, passes: Vec::new() }
    }
}

/// A database that a caller may read, for as long as the pass is held.
pub(super) struct Entered {
    pub database: Database,
    /// The key by whose right the caller may read it; `None` if everybody may.
    pub(super) vouched: Option<PublicKey>,
    pub pass: Pass,
}

impl Desk {
    pub(super) async fn answer(&self, peer: PublicKey, caller: &Caller, request: Request) -> Result<Answer> {
        match request {
            Request::Introduce(introduction) => self.introduced(peer, introduction).await,
            Request::About { database, body } => self.about(peer, database, &body).await,
            Request::Watch { millis, databases } => {
                let longest = Duration::from_millis(millis.into()).min(LONGEST_WATCH);
                self.watch(peer, Instant::now() + longest, databases).await
            }
            Request::Access(body) => self.access(peer, caller, &body).await,
            Request::Discover => self.discover(peer).await,
            Request::Offer { database, root } => self.offered(peer, database, root).await,
            Request::Ended(databases) => Ok(self.ended(peer, &databases).into()),
            Request::Tell(said) => self.told(peer, said).await,
            Request::Listen { millis, after, databases } => {
                let longest = Duration::from_millis(millis.into()).min(LONGEST_WATCH);
                self.listen(peer, Instant::now() + longest, after, databases).await
            }
        }
    }

    /// Takes down what a caller shows, and shows in turn by which right this device asks.
    async fn introduced(&self, peer: PublicKey, introduction: Introduction) -> Result<Answer> {
        let Introduction { addresses, databases, listing } = introduction;
        let tag_key = TagKey::new(&peer, &self.parts.identity.device());
        // Read before: what is served a moment later is introduced once more.
        let version = self.parts.served.version();
        let tags = self.parts.served.tags(&tag_key);
        let mut shown = BTreeMap::new();
        for (tag, claims) in databases {
            // Of what is not served nothing is kept, whoever claims what.
            if let Some(id) = tags.get(&tag) {
                shown.insert(*id, Arc::new(Shown::new(peer, access::Scope::Database(*id), claims)));
            }
        }
        let listing = (!listing.is_empty()).then(|| Arc::new(Shown::new(peer, access::Scope::Listing, listing)));
        self.state().guests.note(peer, version, tag_key, shown.clone(), listing);

        let (mut reply, mut passes, mut read) = (Introduction::default(), Vec::new(), Vec::new());
        for (id, shown) in &shown {
            let Some(entered) = self.enter(id, shown).await? else {
                if let Some(pass) = self.lacks(id, shown).await? {
                    reply.databases.push((tag_key.tag(id), self.parts.grants.to_show(id, None, None).await?));
                    passes.push(pass);
                }
                continue;
            };
            let claims = self.parts.grants.to_show(id, Some(&entered.database), None).await?;
            reply.databases.push((tag_key.tag(id), claims));
            passes.push(entered.pass);
            if let Some(key) = entered.vouched {
                read.push((*id, key));
            }
        }
        // Who reads what everybody may read stays a stranger: anybody can be that, with as many keys as he likes.
        if !read.is_empty() {
            reply.addresses =
                self.parts.transports.upgrade().map(|transports| transports.own_addresses()).unwrap_or_default();
            self.hear(Heard::Introduced(Welcome { peer, addresses, databases: read })).await;
        }
        Ok(Answer { reply: Reply::Introduced(reply), passes })
    }

    async fn about(&self, peer: PublicKey, tag: Tag, body: &Bytes) -> Result<Answer> {
        let Some(looked) = self.look(&peer, &[tag]) else { return Ok(Reply::Introduce.into()) };
        let Some((id, shown)) = looked.into_iter().next().flatten() else { return Ok(Reply::NotServed.into()) };
        let Some(entered) = self.enter(&id, &shown).await? else {
            return match self.lacks(&id, &shown).await? {
                Some(pass) => Ok(Answer { reply: Reply::Lacking, passes: vec![pass] }),
                None => self.refused(&id, &shown).await,
            };
        };
        let message = "a message about a database that is none of version 1; the other program may be newer";
        let mut request =
            reconcile::Request::parse(body).ok_or_else(|| Error::new(ErrorKind::InvalidInput, message))?;
        let lane = Lane { peer, database: id };
        let compared = match &request {
            reconcile::Request::Compare { digest, .. } => Some(*digest),
            _ => None,
        };
        if let reconcile::Request::Compare { pull, .. } = &mut request
            && self.let_pass(&lane).await
        {
            // The caller has more by now than it says, and would be sent that: it is not sent a page, and asks once more.
            *pull = false;
        }
        let _place = self.places.take(peer).await?;
        // Whoever waits on behalf of this peer may hold back meanwhile, and looks again then, however this ends.
        let _news = TellAtEnd(&self.parts.served);
        let course = Course::of(&request);
        let mut talking = self.parts.steps.talk(lane, course.carries());
        let reply = reconcile::answer(&entered.database, request, &self.limits, &peer.to_string()).await?;
        if let Some(bytes) = course.leads_on(&reply) {
            talking.goes_on(bytes);
        }
        // What the caller has said it has is what both have; more may have come in here since.
        if let (reconcile::Reply::Same { .. }, Some(digest)) = (&reply, compared) {
            self.parts.steps.note(lane, digest);
            // The next round from here then knows what is new, and sends it with its first request.
            let heads = entered.database.get_tips().await?;
            if reconcile::digest_of(&heads) == digest {
                self.parts.frontiers.note(peer, id, &heads);
            }
            self.hear(Heard::InStep { lane, digest }).await;
        }
        // The settings may have changed meanwhile, by what the caller itself has sent.
        if access::may_read(&entered.database, &shown).await?.is_none() {
            return self.refused(&id, &shown).await;
        }
        Ok(Answer { reply: Reply::About(reply.to_bytes()), passes: vec![entered.pass] })
    }

    /// Waits until a round of this node is over that goes before one of the peer, but not for long. If both went on at once, each
    /// would carry what the other does. A peer that is let go on gives way by itself before it carries anything. True if it has waited.
    async fn let_pass(&self, lane: &Lane) -> bool {
        let until = Instant::now() + LET_PASS;
        let (news, smaller_key) = (self.parts.served.news(), self.parts.identity.device() < lane.peer);
        let mut waited = false;
        loop {
            let seen = news.rings();
            if !self.parts.steps.goes_before(lane, smaller_key) {
                return waited;
            }
            waited = true;
            if timeout_at(until, news.after(seen)).await.is_err() {
                return waited;
            }
        }
    }

    /// Takes the root of a database that is wanted here, and of which nothing is here yet. Whose root it is, its id proves.
    async fn offered(&self, peer: PublicKey, tag: Tag, root: Bytes) -> Result<Answer> {
        let looked = self.look(&peer, &[tag]).unwrap_or_default().into_iter().next().flatten();
        let Some((id, shown)) = looked else { return Ok(Reply::NotServed.into()) };
        let Some(pass) = self.lacks(&id, &shown).await? else { return Ok(Reply::NotServed.into()) };
        let message = "an offer that holds no root entry";
        let reply = reconcile::Reply::parse(&root).ok_or_else(|| Error::new(ErrorKind::InvalidInput, message))?;
        self.parts.engine.adopt_database(reconcile::root_in(&id, reply)?, None).await?;
        self.hear(Heard::Begun).await;
        Ok(Answer { reply: Reply::Taken, passes: vec![pass] })
    }

    /// Takes note of what a caller does not want any longer.
    fn ended(&self, peer: PublicKey, databases: &[Tag]) -> Reply {
        let Some(looked) = self.look(&peer, databases) else { return Reply::Introduce };
        let ended: Vec<Id> = looked.into_iter().flatten().map(|(id, _)| id).collect();
        if let Some(links) = self.parts.links.upgrade() {
            links.ended(&peer, &ended);
        }
        Reply::Taken
    }

    /// A pass to a database that is wanted here and of which nothing is here, if it is to be synced with this caller, who acts
    /// for a user. Whether that user may read it cannot be judged, since there are no settings.
    async fn lacks(&self, id: &Id, shown: &Shown) -> Result<Option<Pass>> {
        let Some(pass) = self.parts.served.enter(id) else { return Ok(None) };
        let related = self.parts.peers.relationship(&(*shown.device()).into(), id).await?.is_some();
        let wanted = related && shown.users().next().is_some() && self.here(id).await?.is_none();
        Ok(wanted.then_some(pass))
    }

    /// Waits until one of these databases has other heads than the caller said, or the time is up.
    async fn watch(&self, peer: PublicKey, until: Instant, mut held: Vec<Held>) -> Result<Answer> {
        held.sort_unstable_by_key(|held| held.database);
        held.dedup_by_key(|held| held.database);
        let tags: Vec<Tag> = held.iter().map(|held| held.database).collect();
        if self.look(&peer, &tags).is_none() {
            return Ok(Reply::Introduce.into());
        }
        let Some(mut place) = self.waiting.enter(peer) else {
            return Err(Error::new(ErrorKind::Busy, "too many peers wait for news here"));
        };
        let news = self.parts.served.news();
        // Databases whose news this node sends by itself, and since when they are due.
        let mut pushed: BTreeMap<Tag, Instant> = BTreeMap::new();
        // With which heads it was looked last whether the caller may still read.
        let mut judged: BTreeMap<Tag, [u8; 32]> = BTreeMap::new();
        let mut told: Option<Vec<Id>> = None;
        loop {
            let seen = news.rings();
            let Some(looked) = self.look(&peer, &tags) else { return Ok(Reply::Introduce.into()) };
            let named: Vec<Id> = looked.iter().flatten().map(|(id, _)| *id).collect();
            if told.iter().flatten().any(|before| !named.contains(before)) {
                // One is not served any longer. The caller, which hears what is served when it introduces itself, must not go on
                // sending it.
                return Ok(Reply::Introduce.into());
            }
            if told.as_ref() != Some(&named) {
                self.hear(Heard::Waits { peer, databases: named.clone() }).await;
                told = Some(named);
            }
            let mut changed = Answer::from(Reply::NotServed);
            let mut found = Vec::new();
            let mut next = until;
            for (held, looked) in held.iter_mut().zip(looked) {
                let Some((id, shown)) = looked else { continue };
                let Some(digest) = self.parts.served.digest(&id).filter(|digest| *digest != held.digest) else {
                    continue;
                };
                if judged.insert(held.database, digest) != Some(digest) && self.has_lost(&id, &shown).await? {
                    // As if it had been forgotten: what it hears when it introduces itself is what it may still have.
                    return Ok(Reply::Introduce.into());
                }
                if self.parts.steps.is_in_step(&peer, &id, &digest) {
                    held.digest = digest;
                    pushed.remove(&held.database);
                    continue;
                }
                if self.parts.steps.is_talking(&peer, &id) {
                    continue;
                }
                if self.parts.steps.reaches(&peer) {
                    let due = *pushed.entry(held.database).or_insert_with(Instant::now) + PUSH_GRACE;
                    if Instant::now() < due {
                        next = next.min(due);
                        continue;
                    }
                }
                if let Some(entered) = self.enter(&id, &shown).await? {
                    found.push(Held { database: held.database, digest });
                    changed.passes.push(entered.pass);
                }
            }
            if !found.is_empty() || Instant::now() >= until {
                changed.reply = Reply::Changed(found);
                return Ok(changed);
            }
            tokio::select! {
                // In a fixed order, so that a run can be repeated.
                biased;
                _ = timeout_at(next, news.after(seen)) => {}
                _ = &mut place.ended => return Ok(Reply::Changed(Vec::new()).into()),
            }
        }
    }

    /// Answers a request for access. Whether there is such a database shows neither in the answer nor in its time.
    async fn access(&self, peer: PublicKey, caller: &Caller, body: &Bytes) -> Result<Answer> {
        let message = "a request for access that was not signed for these two devices";
        let request = access::Request::parse(body, &peer, &self.parts.identity.device())
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, message))?;
        let pass = self.parts.served.enter(&request.wanted().database);
        let served = match &pass {
            Some(_) => self.here(&request.wanted().database).await?,
            None => None,
        };
        let (answer, filing) = self.parts.book.ask(&request, caller.origin.as_deref(), served.as_ref()).await?;
        if let Some(filing) = filing {
            // Not waited for, or the time would tell that there is such a database. What finds no room is asked again.
            let _ = self.parts.heard.try_send(Heard::Asked(filing));
        }
        Ok(Answer { reply: Reply::Access(answer.to_bytes()), passes: pass.into_iter().collect() })
    }

    async fn discover(&self, peer: PublicKey) -> Result<Answer> {
        let Some(listing) = self.state().guests.listing(&peer) else { return Ok(Reply::Introduce.into()) };
        let (mut databases, mut passes) = (Vec::new(), Vec::new());
        for id in self.parts.served.all() {
            if databases.len() == MAX_DATABASES {
                break;
            }
            let Some(pass) = self.parts.served.enter(&id) else { continue };
            let Some(database) = self.here(&id).await? else { continue };
            if access::may_list(&database, &listing).await?.is_some() {
                let mut name = database.get_name().await.unwrap_or_default();
                name.truncate(name.floor_char_boundary(MAX_NAME));
                databases.push((id, name));
                passes.push(pass);
            }
        }
        Ok(Answer { reply: Reply::Databases(databases), passes })
    }

    /// The database, if it is served, here, and the caller may read it now.
    pub(super) async fn enter(&self, id: &Id, shown: &Shown) -> Result<Option<Entered>> {
        let Some(pass) = self.parts.served.enter(id) else { return Ok(None) };
        let Some(database) = self.here(id).await? else { return Ok(None) };
        let reader = access::may_read(&database, shown).await?;
        // That it may no longer is noted where it is told, or nobody would be.
        if reader.is_some() {
            shown.note(true);
        }
        Ok(reader.map(|reader| Entered { database, vouched: (!reader.everybody).then_some(reader.key), pass }))
    }

    /// Whether a caller could read a database when that was looked at last, and cannot any longer.
    async fn has_lost(&self, id: &Id, shown: &Shown) -> Result<bool> {
        let Some(_pass) = self.parts.served.enter(id) else { return Ok(false) };
        let Some(database) = self.here(id).await? else { return Ok(false) };
        Ok(shown.note(access::may_read(&database, shown).await?.is_some()))
    }

    /// What is said to a caller who may not read a database: that it was removed, if it proves that this speaks of itself; else not
    /// even whether there is such a database.
    async fn refused(&self, id: &Id, shown: &Shown) -> Result<Answer> {
        let Some(pass) = self.parts.served.enter(id) else { return Ok(Reply::NotServed.into()) };
        match self.here(id).await? {
            Some(database) if access::was_removed(&database, shown).await? => {
                Ok(Answer { reply: Reply::Removed, passes: vec![pass] })
            }
            _ => Ok(Reply::NotServed.into()),
        }
    }

    /// Whether a caller may read a database by what it has shown, and not only because everybody may.
    pub async fn may_read(&self, peer: &PublicKey, database: &Database) -> Result<bool> {
        let Some(shown) = self.state().guests.shown(peer, database.root_id()) else { return Ok(false) };
        Ok(access::may_read(database, &shown).await?.is_some_and(|reader| !reader.everybody))
    }

    async fn here(&self, id: &Id) -> Result<Option<Database>> {
        self.parts.engine.find_database(id).await
    }

    pub(super) fn look(&self, peer: &PublicKey, tags: &[Tag]) -> Option<Vec<Named>> {
        let version = self.parts.served.version();
        self.state().guests.look(peer, tags, version, |key| self.parts.served.tags(key))
    }
}
