//! What all parts of a node have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use eidetica_core::{Database, Engine, Id};
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;

use super::desk::Desk;
use super::events::SyncEvent;
use super::links::{Caller, Link, Links};
use super::served::Served;
use super::steps::Steps;
use super::transports::Transports;
use crate::access::Grants;
use crate::message::MAX_ADDRESSES;
use crate::peers::{Contact, Frontiers, Peers};
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
    pub links: Links,
    pub desk: Arc<Desk>,
    pub peers: Peers,
    pub frontiers: Frontiers,
    pub grants: Grants,
    pub events: broadcast::Sender<SyncEvent>,
    /// Wakes the driver: it has to look at the schedule.
    pub poke: Notify,
    schedule: Mutex<Schedule>,
    waiting: Mutex<BTreeMap<Lane, Vec<Waiter>>>,
    start: Instant,
    /// One at a time, so that an older reading of the wishes does not replace a newer one.
    reloading: tokio::sync::Mutex<()>,
}

/// Somebody who waits for the end of a round with this number or a later one.
type Waiter = (RoundId, oneshot::Sender<Result<Outcome>>);

impl Shared {
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

    pub async fn here(&self, id: &Id) -> Result<Option<Database>> {
        match self.engine.open_database(id, None).await {
            Ok(database) => Ok(Some(database)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn own_addresses(&self) -> Vec<Address> {
        let addresses = self.transports.addresses().into_iter().map(|(_, address)| address);
        addresses.take(MAX_ADDRESSES).collect()
    }

    pub fn caller(&self) -> Caller<'_> {
        Caller { transports: &self.transports, identity: &self.identity, limits: self.limits }
    }

    /// The link to a peer, over one of its addresses.
    pub async fn link(&self, peer: PublicKey) -> Result<Arc<Link>> {
        let addresses = self.peers.addresses(&peer).await?;
        let (link, tried) = self.links.to_peer(&self.caller(), peer, &addresses).await;
        for (address, reached) in tried {
            match reached {
                true => self.peers.address_worked(&peer, &address).await?,
                false => self.peers.address_failed(&peer, &address).await?,
            }
        }
        link
    }

    /// Forgets a link after an error that concerns it, so that the next use makes another.
    pub fn note_broken(&self, link: &Arc<Link>, error: &Error) {
        use ErrorKind::{Closed, Timeout, Unauthenticated, Unreachable};
        if matches!(error.kind(), Unreachable | Timeout | Unauthenticated | Closed) {
            self.links.forget(link);
        }
    }

    /// Notes where a peer can be reached, and whether any transport here can do so.
    pub async fn learn_addresses(&self, peer: PublicKey, addresses: Vec<Address>) -> Result<()> {
        if !addresses.is_empty() {
            self.peers.learn(peer, Contact { addresses, ..Contact::default() }).await?;
        }
        self.note_dialable(peer).await
    }

    pub async fn note_dialable(&self, peer: PublicKey) -> Result<()> {
        let schemes: BTreeSet<String> =
            self.transports.all().iter().map(|registered| registered.transport.info().scheme).collect();
        let addresses = self.peers.addresses(&peer).await?;
        let dialable = addresses.iter().any(|address| schemes.contains(&address.transport_type));
        self.tell(|schedule, now| schedule.set_dialable(now, peer, dialable));
        Ok(())
    }

    /// Reads what is wished, and goes by it. When it returns, nothing is under way of what nobody wishes any longer.
    pub async fn reload_wishes(&self) -> Result<()> {
        let _turn = self.reloading.lock().await;
        let wishes = self.host.wishes().await?;
        let before = self.served.all();
        self.tell(|schedule, now| {
            for id in before.iter().filter(|id| !wishes.contains_key(id)) {
                schedule.set_wish(now, *id, None);
            }
            for (id, wish) in &wishes {
                schedule.set_wish(now, *id, Some(*wish));
            }
        });
        self.served.set(&wishes).await;
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
            asked.map(|round| {
                let (sender, receiver) = oneshot::channel();
                self.waiting().entry(lane).or_default().push((round, sender));
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

    /// Tells those who wait how a round has ended.
    pub fn round_ended(&self, lane: Lane, round: RoundId, outcome: &Result<Outcome>) {
        let mut waiting = self.waiting();
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

    /// Ends all waits.
    pub fn end_waits(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Lane, Vec<Waiter>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same error for one more who waits for it.
fn again(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message().to_owned()).retry(error.retry_hint());
    for (name, value) in error.contexts() {
        copy = copy.with(name, value);
    }
    copy
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "sync has been stopped, since the store is closed")
}
