//! What all parts of a node have in common.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use eidetica_core::auth::{Right, Subject};
use eidetica_core::{Database, Engine, Id, SecretKey};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::desk::{Desk, Heard, Parts, Rate, Strangers as Pace};
use super::events::SyncEvent;
use super::farewells::Farewells;
use super::links::{Caller, Link, Links};
use super::others::{Seen, Written};
use super::presence;
use super::served::Served;
use super::steps::Steps;
use super::syncer::SyncOptions;
use super::transports::Transports;
use super::welcomes::Welcome;
use crate::access::{AskedRequests, Book, Grants};
use crate::peers::{Contact, Forgotten, Frontiers, PeerName, Peers};
use crate::presence::Hall;
use crate::reconcile::Outcome;
use crate::schedule::{Lane, RoundId, Schedule, Wish};
use crate::session::{Identity, SessionLimits};

/// What sync asks of whoever embeds it: what is wished for databases.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// What is wished for each database. A database that is not named is not synced.
    async fn wishes(&self) -> Result<BTreeMap<Id, Wish>>;

    /// Changes whenever wishes may have changed.
    fn changed(&self) -> watch::Receiver<u64>;
}

pub(crate) struct Shared {
    pub engine: Engine,
    pub identity: Identity,
    pub limits: SessionLimits,
    pub host: Arc<dyn Host>,
    pub transports: Arc<Transports>,
    pub served: Arc<Served>,
    pub steps: Arc<Steps>,
    pub links: Arc<Links>,
    pub farewells: Farewells,
    /// Who is here.
    pub hall: Arc<Hall>,
    pub desk: Arc<Desk>,
    pub peers: Peers,
    pub frontiers: Frontiers,
    pub grants: Grants,
    /// Requests for access to databases here.
    pub book: Book,
    /// Requests for access to databases of others.
    pub asked: AskedRequests,
    pub events: broadcast::Sender<SyncEvent>,
    /// Wakes the driver: it has to look at the schedule.
    pub poke: Notify,
    schedule: Mutex<Schedule>,
    /// `None` once nothing runs any longer that could answer.
    waiting: Mutex<Option<BTreeMap<Lane, Vec<Waiter>>>>,
    /// Counts rounds that have ended.
    rounds: watch::Sender<u64>,
    start: Instant,
    /// One at a time, so that an older reading of the wishes does not replace a newer one.
    reloading: tokio::sync::Mutex<()>,
    /// What was last seen of what other processes may change.
    pub seen: tokio::sync::Mutex<Seen>,
    /// Not in `seen`: that is locked while a look waits for others.
    written: Mutex<Written>,
}

/// How many statements of who is here one peer may bring, and all together.
const EACH_SAYS: Rate = Rate { burst: 256, per_second: 64 };
const ALL_SAY: Rate = Rate { burst: 4096, per_second: 1024 };
/// The same for those together who may read because everybody may. They are counted apart, or whoever makes many keys would have it
/// quiet everywhere.
const ANYBODY_SAYS: Rate = Rate { burst: 1024, per_second: 256 };

/// Somebody who waits for the end of a round with this number or a later one.
type Waiter = (RoundId, oneshot::Sender<Result<Outcome>>);

impl Shared {
    pub async fn new(
        engine: Engine,
        device: SecretKey,
        host: Arc<dyn Host>,
        options: SyncOptions,
        tell: mpsc::Sender<Heard>,
    ) -> Result<Shared> {
        let SyncOptions { sessions: limits, schedule, strangers, peers, requests } = options;
        let environment = engine.shared_environment();
        let identity = Identity::new(device, environment)?;
        let (transports, served, steps) =
            (Arc::<Transports>::default(), Arc::<Served>::default(), Arc::<Steps>::default());
        let grants = Grants::new(engine.clone(), identity.device());
        let book = Book::open(engine.clone(), identity.device(), requests).await?;
        let frontiers = Frontiers::new(engine.clone());
        let links = Arc::<Links>::default();
        let peers = Peers::new(engine.clone(), peers);
        let mut run = [0; 8];
        engine.environment().random(&mut run)?;
        let [members, anybody] = [ALL_SAY, ANYBODY_SAYS].map(|all| Pace::new(EACH_SAYS, all, Duration::ZERO));
        let hall = Arc::new(Hall::new(identity.device(), u64::from_be_bytes(run), members, anybody));
        let parts = Parts {
            book: book.clone(),
            peers: peers.clone(),
            frontiers: frontiers.clone(),
            engine: engine.clone(),
            identity: identity.clone(),
            served: served.clone(),
            transports: Arc::downgrade(&transports),
            steps: steps.clone(),
            links: Arc::downgrade(&links),
            hall: hall.clone(),
            grants: grants.clone(),
            heard: tell,
        };
        Ok(Shared {
            desk: Arc::new(Desk::new(parts, limits, strangers)),
            book,
            asked: AskedRequests::new(engine.clone(), identity.device()),
            peers,
            frontiers,
            engine,
            identity,
            limits,
            host,
            transports,
            served,
            steps,
            links,
            farewells: Farewells::default(),
            hall,
            grants,
            events: broadcast::Sender::new(1024),
            poke: Notify::new(),
            schedule: Mutex::new(Schedule::new(schedule)),
            waiting: Mutex::new(Some(BTreeMap::new())),
            rounds: watch::Sender::new(0),
            start: Instant::now(),
            reloading: tokio::sync::Mutex::default(),
            seen: tokio::sync::Mutex::default(),
            written: Mutex::default(),
        })
    }

    /// The time that the schedule goes by.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the schedule something, and has it looked at.
    pub fn tell<T>(&self, what: impl FnOnce(&mut Schedule, Duration) -> T) -> T {
        let told = what(&mut self.schedule(), self.now());
        self.poke.notify_one();
        told
    }

    /// A database, if it is here.
    pub async fn here(&self, id: &Id) -> Result<Option<Database>> {
        self.engine.find_database(id).await
    }

    pub fn caller(&self) -> Caller<'_> {
        Caller { transports: &self.transports, identity: &self.identity, limits: self.limits }
    }

    /// The link to a peer, over one of its addresses.
    pub async fn link(&self, peer: PublicKey) -> Result<Arc<Link>> {
        let addresses = self.addresses(peer).await?;
        let (link, tried) = self.links.to_peer(&self.caller(), peer, &addresses).await;
        for (address, reached) in tried {
            self.peers.tried(peer, &address, reached).await?;
        }
        link
    }

    /// The addresses of a peer that a transport here can dial, the most likely first.
    async fn addresses(&self, peer: PublicKey) -> Result<Vec<Address>> {
        let record = self.peers.get(&peer.into()).await?;
        let known = record.into_iter().flat_map(|record| record.addresses).map(|known| known.address);
        Ok(known.filter(|address| self.transports.dials(address)).collect())
    }

    /// Forgets a link after an error that concerns it, so that the next use makes another.
    pub fn note_broken(&self, link: &Arc<Link>, error: &Error) {
        use ErrorKind::{Closed, Timeout, Unauthenticated, Unreachable};
        if matches!(error.kind(), Unreachable | Timeout | Unauthenticated | Closed) {
            self.links.forget(link);
        }
    }

    /// Notes where a peer that has proven its key can be reached.
    pub async fn learn(&self, peer: PublicKey, addresses: Vec<Address>) -> Result<()> {
        let learnt = self.peers.learn(peer, &Contact { addresses, display_name: None }).await?;
        self.written().peers.insert(peer);
        self.forget(learnt.forgotten);
        self.note_dialable(peer).await?;
        if learnt.is_new {
            self.tell(|schedule, now| schedule.contact(now, peer));
        }
        Ok(())
    }

    /// What this process has written of peers, for the look at what others have changed.
    pub fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a peer whose rows are gone, and ends what is under way with it.
    pub fn forget_peer(&self, peer: PublicKey) {
        let databases: Vec<Id> = self.schedule().databases_of(&peer).collect();
        databases.into_iter().for_each(|id| self.frontiers.forget(peer, id));
        self.tell(|schedule, now| schedule.forget_peer(now, peer));
        self.fail_waits(|lane| lane.peer == peer);
        self.desk.forget(&peer);
        self.links.forget_peer(&peer);
        self.hall.forget_peer(&peer);
    }

    /// Forgets a relationship whose row is gone, and ends what is under way on it.
    pub fn forget_lane(&self, lane: Lane) {
        self.frontiers.forget(lane.peer, lane.database);
        self.tell(|schedule, now| schedule.unrelate(now, lane.peer, lane.database));
        self.fail_waits(|other| *other == lane);
    }

    fn forget(&self, forgotten: Forgotten) {
        for (peer, database) in forgotten.relationships {
            self.forget_lane(Lane { peer, database });
        }
        forgotten.peers.into_iter().for_each(|peer| self.forget_peer(peer));
    }

    /// Notes that somebody here has joined a database at a peer.
    pub async fn join(&self, peer: PublicKey, database: Id) -> Result<()> {
        self.peers.join(peer, &database).await?;
        self.related(peer, database).await
    }

    /// Notes that a peer has shown its right to a database, and which key has vouched for it.
    async fn relate(&self, peer: PublicKey, database: Id, vouched: PublicKey) -> Result<()> {
        let learnt = self.peers.relate(peer, &database, vouched).await?;
        self.forget(learnt.forgotten);
        self.related(peer, database).await
    }

    /// Goes by a relationship that is in the store. The peer is no stranger from now on.
    pub async fn related(&self, peer: PublicKey, database: Id) -> Result<()> {
        {
            let mut written = self.written();
            written.peers.insert(peer);
            written.relationships.insert((peer, database));
        }
        self.desk.set_known(peer, true);
        self.note_dialable(peer).await?;
        // The peer may have compared both sides before this was put down.
        let here = self.served.digest(&database);
        let in_step = here.is_some_and(|digest| self.steps.is_in_step(&peer, &database, &digest));
        self.tell(|schedule, now| {
            let known = schedule.lane(peer, database).is_some();
            schedule.relate(now, peer, database);
            if in_step && !known {
                let mark = schedule.mark(&database);
                schedule.served(now, peer, database, mark);
                schedule.compared(now, peer, database);
            }
        });
        self.hall.bell().ring();
        Ok(())
    }

    /// A peer has called that may read these databases, each by the right of a key that vouches for it. If there is no room for any
    /// more, it stays a stranger, and is served as one.
    pub async fn welcome(&self, welcome: Welcome) -> Result<()> {
        let Welcome { peer, addresses, databases } = welcome;
        let mut kept = false;
        for (database, vouched) in databases {
            match self.relate(peer, database, vouched).await {
                Err(error) if error.kind() == ErrorKind::Full => tracing::debug!(%error, "a peer is not remembered"),
                done => {
                    done?;
                    kept = true;
                }
            }
        }
        if kept {
            self.learn(peer, addresses).await?;
            self.tell(|schedule, now| schedule.contact(now, peer));
        }
        Ok(())
    }

    /// Ends a relationship. A peer that is related to nothing any more, and that nobody has declared, is a stranger from now on.
    pub async fn unrelate(&self, name: &PeerName, database: &Id) -> Result<()> {
        self.peers.unrelate(name, database).await?;
        let PeerName::Key(peer) = *name else { return Ok(()) };
        self.forget_lane(Lane { peer, database: *database });
        let declared = self.peers.get(name).await?.is_some_and(|record| record.declared);
        let related = declared || !self.peers.relationships_of(name).await?.is_empty();
        self.desk.set_known(peer, related);
        Ok(())
    }

    /// Forgets what was learnt of peers that have no right to a database any longer: neither that which was vouched for, nor
    /// another that they have shown since. Who has no right to anything here is a stranger again.
    pub async fn review(&self, id: Id) -> Result<()> {
        let Some(database) = self.here(&id).await? else { return Ok(()) };
        presence::review(&self.hall, &database, Instant::now()).await?;
        let now = database.now();
        let mut reads = BTreeMap::new();
        let peers: Vec<PublicKey> = self.schedule().peers_of(&id).collect();
        for peer in peers {
            let relationship = self.peers.relationship(&peer.into(), &id).await?;
            let Some(key) = relationship.and_then(|relationship| relationship.vouched) else { continue };
            let reads = match reads.get(&key) {
                Some(reads) => *reads,
                None => {
                    let right = now.own_right_of(Subject::Key(key)).await?;
                    *reads.entry(key).or_insert(right >= Right::READ)
                }
            };
            let removed = now.own_right_of(Subject::Key(peer)).await? == Right::REMOVED;
            if reads && !removed || self.desk.may_read(&peer, &database).await? {
                continue;
            }
            tracing::debug!(%peer, database = %id, "the right of a peer has ended");
            self.unrelate(&peer.into(), &id).await?;
            let (record, left) =
                (self.peers.get(&peer.into()).await?, self.peers.relationships_of(&peer.into()).await?);
            if left.is_empty() && record.is_some_and(|record| !record.declared) {
                self.peers.remove(&peer.into()).await?;
                self.forget_peer(peer);
            }
        }
        Ok(())
    }

    /// Tells the schedule whether a peer can be dialled.
    pub async fn note_dialable(&self, peer: PublicKey) -> Result<()> {
        let dialable = !self.addresses(peer).await?.is_empty();
        self.tell(|schedule, now| schedule.set_dialable(now, peer, dialable));
        Ok(())
    }

    /// The same for all peers, as when a transport was added.
    pub async fn note_all_dialable(&self) -> Result<()> {
        let (peers, _, _) = self.peers.readable().await?;
        for record in peers {
            if let Ok(peer) = record.name.key() {
                self.note_dialable(peer).await?;
            }
        }
        Ok(())
    }

    /// Tells the schedule of the peers and relationships in the store.
    pub async fn remember_peers(&self) -> Result<()> {
        let (peers, relationships, errors) = self.peers.readable().await?;
        for error in errors {
            tracing::warn!(%error, "what is stored of a peer cannot be read, and is passed over");
        }
        for record in peers {
            if let Ok(peer) = record.name.key() {
                self.desk.set_known(peer, record.declared);
                self.note_dialable(peer).await?;
            }
        }
        for peer in relationships.iter().filter_map(|relationship| relationship.peer.key().ok()) {
            self.desk.set_known(peer, true);
        }
        self.tell(|schedule, now| {
            for relationship in relationships {
                if let Ok(peer) = relationship.peer.key() {
                    schedule.relate(now, peer, relationship.database);
                }
            }
        });
        Ok(())
    }

    /// Reads what is wished, and goes by it. When it returns, nothing is under way of what nobody wishes any longer, and peers
    /// are about to be told.
    pub async fn reload_wishes(&self) -> Result<()> {
        let _turn = self.reloading.lock().await;
        let wishes = self.host.wishes().await?;
        let before = self.served.all();
        let ended: Vec<Id> =
            before.iter().filter(|id| wishes.get(id).is_none_or(|wish| !wish.enabled)).copied().collect();
        // What is new is let in first and what has ended shut last: rounds begin in between.
        self.served.add(&wishes);
        self.tell(|schedule, now| {
            for id in before.iter().filter(|id| !wishes.contains_key(id)) {
                schedule.set_wish(now, *id, None);
            }
            for (id, wish) in &wishes {
                schedule.set_wish(now, *id, Some(*wish));
            }
        });
        self.fail_waits(|lane| ended.contains(&lane.database));
        self.served.set(&wishes).await;
        self.hall.shut(&ended);
        self.hall.bell().ring();
        self.farewells.add(ended);
        self.poke.notify_one();
        Ok(())
    }

    /// A round on a lane that begins after this call: its outcome. Errors: `NotFound` if the peer cannot be dialled; those
    /// of the round.
    pub async fn ask_round(&self, lane: Lane) -> Result<Outcome> {
        let answer = {
            // Under the lock of the schedule, so that the round cannot end before somebody waits for it.
            let mut schedule = self.schedule();
            let asked = schedule.ask(self.now(), lane.peer, lane.database);
            let mut waiting = self.waiting();
            let Some(waiting) = waiting.as_mut() else { return Err(closed()) };
            asked.map(|round| {
                let (sender, receiver) = oneshot::channel();
                waiting.entry(lane).or_default().push((round, sender));
                receiver
            })
        };
        self.poke.notify_one();
        let Some(answer) = answer else {
            let message = "no address of this peer is known that a registered transport can dial";
            return Err(Error::new(ErrorKind::NotFound, message).with("peer", lane.peer));
        };
        answer.await.map_err(|_| closed())?
    }

    /// A number that nobody can predict; without randomness, always the same, which makes delays less even.
    pub fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        match self.engine.environment().random(&mut bytes) {
            Ok(()) => u64::from_be_bytes(bytes),
            Err(_) => u64::MAX / 2,
        }
    }

    /// Tells an event to those who listen, if any do.
    pub fn tell_event(&self, event: SyncEvent) {
        let _ = self.events.send(event);
    }

    /// Changes whenever a round has ended.
    pub fn rounds_ended(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }

    /// Tells those who wait how a round has ended.
    pub fn round_ended(&self, lane: Lane, round: RoundId, outcome: &Result<Outcome>) {
        self.rounds.send_modify(|count| *count = count.wrapping_add(1));
        // The peer may have said that it gives a database to this device, or takes it.
        self.hall.bell().ring();
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else { return };
        let Some(waiters) = waiting.get_mut(&lane) else { return };
        let (done, still): (Vec<Waiter>, Vec<Waiter>) =
            std::mem::take(waiters).into_iter().partition(|(least, _)| *least <= round);
        match still.is_empty() {
            true => drop(waiting.remove(&lane)),
            false => *waiters = still,
        }
        for (_, waiter) in done {
            // Whoever no longer waits has dropped the other end.
            let _ = waiter.send(match outcome {
                Ok(outcome) => Ok(outcome.clone()),
                Err(error) => Err(again(error)),
            });
        }
    }

    /// Ends the waits for rounds that will not begin any more.
    pub fn fail_waits(&self, ended: impl Fn(&Lane) -> bool) {
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else { return };
        waiting.retain(|lane, waiters| {
            if !ended(lane) {
                return true;
            }
            for (_, waiter) in waiters.drain(..) {
                let message = "the database is no longer synced with this peer";
                let _ = waiter.send(Err(Error::new(ErrorKind::Conflict, message).with("database", lane.database)));
            }
            false
        });
    }

    /// Ends all waits. From now on nobody waits.
    pub fn end_waits(&self) {
        *self.waiting() = None;
        self.hall.close();
        self.rounds.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether nothing runs any longer.
    pub fn is_over(&self) -> bool {
        self.waiting().is_none()
    }

    fn waiting(&self) -> MutexGuard<'_, Option<BTreeMap<Lane, Vec<Waiter>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same error for one more who waits for it.
fn again(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message().to_owned()).retry(error.retry_hint());
    for (name, value) in error.context_pairs() {
        copy = copy.with(name.to_owned(), value);
    }
    copy
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "sync has been stopped, since the store is closed")
}
