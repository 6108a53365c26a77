//! Sync as an application uses it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result, TransportBuilder};
use eidetica_core::{Engine, Id, SecretKey};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::desk::StrangerLimits;
use super::events::SyncEvent;
use super::handle::{SyncHandle, SyncReport, SyncStatus, SyncedDatabase};
use super::links::Link;
use super::shared::{Host, Shared};
use super::state::TransportRow;
use super::{driver, talk};
use crate::access::{self, Answer, Book, BookLimits};
use crate::peers::{PeerLimits, PeerName, PeerRecord, SyncPeerInfo};
use crate::reconcile::Outcome;
use crate::schedule::{Lane, ScheduleOptions};
use crate::session::SessionLimits;

/// Limits and delays of sync.
///
/// ```
/// use eidetica_sync::{Rate, SyncOptions};
///
/// let mut options = SyncOptions::default();
/// options.strangers.requests = Rate { burst: 16, per_second: 1 };
/// options.sessions.unread_per_origin = 1 << 20;
/// options.schedule.rounds = 8;
///
/// // On a server behind a proxy, where all callers come from one address.
/// let options = options.behind_proxy();
/// assert_eq!(options.strangers.requests, options.strangers.all_requests);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SyncOptions {
    /// How long sessions live and how much they may hold.
    pub sessions: SessionLimits,
    /// When rounds begin, and how many at once.
    pub schedule: ScheduleOptions,
    /// What strangers get, and how often.
    pub strangers: StrangerLimits,
    /// How much is kept of peers.
    pub peers: PeerLimits,
    /// What requests of others for access may cost.
    pub requests: BookLimits,
}

impl SyncOptions {
    /// Gives one origin as much as all together get: behind a proxy all callers come from the address of the proxy, and what
    /// protects them from each other elsewhere would shut them all out together. Set other limits before.
    ///
    /// The proxy then has to see to it that no caller takes too much. Better than this, if the proxy says where each caller comes from:
    /// `HttpTransportBuilder::origin_header`. The transport has limits for each origin of its own: of HTTP
    /// `HttpLimits::connections_per_origin` is to be raised, too. Peers with a right have places of their own with or without this.
    #[must_use]
    pub fn behind_proxy(mut self) -> SyncOptions {
        self.sessions = self.sessions.one_origin();
        self.strangers = self.strangers.one_origin();
        self.requests.origin_pace = self.requests.whole_pace;
        self
    }
}

/// Keeps databases in step with those of peers. Cheap to clone; all clones are the same node. When the last one is dropped
/// it ends as with [`close`](Syncer::close), in the background.
///
/// # Errors and cancellation
///
/// Every `async` method answers `Closed` once the store was closed, and the errors of the store. Dropping a future stops the
/// waiting and not the work: what a round has begun goes on in the background.
///
/// ```
/// # use std::{collections::BTreeMap, sync::Arc};
/// # use eidetica_contract::Result;
/// # use eidetica_core::{Engine, Id, Memory, Options, SecretKey, SystemEnvironment};
/// # use eidetica_sync::{Host, SyncOptions, Syncer, schedule::Wish, transport::MemoryNetwork};
/// # use tokio::sync::watch;
/// # struct Wishes(watch::Sender<u64>);
/// # #[async_trait::async_trait]
/// # impl Host for Wishes {
/// #     async fn wishes(&self) -> Result<BTreeMap<Id, Wish>> {
/// #         Ok(BTreeMap::new())
/// #     }
/// #     fn changed(&self) -> watch::Receiver<u64> {
/// #         self.0.subscribe()
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let device = SecretKey::generate(&SystemEnvironment)?;
/// # let wishes = Arc::new(Wishes(watch::Sender::new(0)));
/// # let network = MemoryNetwork::new();
/// // An application gets one from `Instance::sync`.
/// let sync = Syncer::start(engine, device, wishes, SyncOptions::default()).await?;
/// sync.register_transport("memory", network.builder("anna")).await?;
/// sync.accept_connections().await?;
/// assert_eq!(sync.get_server_address_async().await?.address, "anna");
/// sync.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Syncer {
    shared: Arc<Shared>,
    tasks: Arc<Mutex<Option<Tasks>>>,
}

/// What runs for all clones.
struct Tasks {
    /// When it is used, or dropped with the last clone, the driver closes everything and ends.
    stop: oneshot::Sender<()>,
    driver: JoinHandle<()>,
}

/// How long it is waited until peers have heard where this node listens. Who has not by then hears it at the next contact.
const TELLING: Duration = Duration::from_secs(1);

impl Syncer {
    /// Starts sync over a store, as the device with this key. Must be called within a tokio runtime.
    ///
    /// Nothing listens yet, and nothing is dialled before a transport is registered.
    ///
    /// Errors: `Corrupted` for rows of peers that cannot be read; those of the store and of the host.
    pub async fn start(engine: Engine, device: SecretKey, host: Arc<dyn Host>, options: SyncOptions) -> Result<Syncer> {
        let (tell, heard) = mpsc::channel(1024);
        let shared = Arc::new(Shared::new(engine, device, host, options, tell).await?);
        let changed = shared.host.changed();
        shared.reload_wishes().await?;
        shared.remember_peers().await?;
        shared.look_around().await?;
        let (stop, stopped) = oneshot::channel();
        let driver = tokio::spawn(driver::run(shared.clone(), changed, heard, stopped));
        let tasks = Arc::new(Mutex::new(Some(Tasks { stop, driver })));
        Ok(Syncer { shared, tasks })
    }

    /// The key of this device, as peers know it.
    pub fn device_id(&self) -> PublicKey {
        self.shared.identity.device()
    }

    /// Builds a transport and adds it under a label. Peers can be reached over it at once; nothing listens on it before
    /// [`accept_connections`](Syncer::accept_connections). A transport that was registered under this label is closed and
    /// replaced.
    ///
    /// Errors: those of the builder; then nothing has changed.
    pub async fn register_transport(&self, name: impl Into<String>, builder: impl TransportBuilder) -> Result<()> {
        self.open()?;
        let label = name.into();
        let state = TransportRow::new(self.shared.engine.clone(), &label);
        self.shared.transports.register(label, Box::new(builder), &self.shared.identity, state).await?;
        self.shared.note_all_dialable().await
    }

    /// Lets all registered transports listen that are able to and do not yet, and tells the peers that were called before where this node
    /// is reached; for that it waits a second at most.
    ///
    /// Errors: `Unsupported` if none is registered; if none of those that should could listen, the error of the first, such as
    /// `Locked` for an address in use. Cancellation: what listens goes on to do so, and peers hear of it at the next contact.
    pub async fn accept_connections(&self) -> Result<()> {
        self.open()?;
        self.shared.transports.listen(|max_message| self.shared.desk.counter(max_message)).await?;
        // Whoever was called before is told where this node is reached from now on.
        let mut telling = JoinSet::new();
        for link in self.shared.links.open_links() {
            let shared = self.shared.clone();
            telling.spawn(async move { talk::introduce(&shared, &link, &[], Vec::new()).await });
        }
        // What has not come to its end by then is given up with the set.
        let _ = timeout(TELLING, async { while telling.join_next().await.is_some() {} }).await;
        Ok(())
    }

    /// Stops listening on all transports. Outgoing sync goes on. Does nothing if nothing listens.
    pub async fn stop_server(&self) -> Result<()> {
        self.shared.desk.end_waits();
        self.shared.transports.stop_listening().await
    }

    /// The address of the first registered transport that listens, to be shared with peers.
    ///
    /// Errors: `NotFound` if none does.
    pub async fn get_server_address_async(&self) -> Result<Address> {
        let first = self.get_all_server_addresses_async().await?.into_iter().next();
        let message = "nothing listens: call register_transport() and accept_connections() first";
        first.map(|(_, address)| address).ok_or_else(|| Error::new(ErrorKind::NotFound, message))
    }

    /// The label and address of each transport that listens.
    pub async fn get_all_server_addresses_async(&self) -> Result<Vec<(String, Address)>> {
        self.open()?;
        Ok(self.shared.transports.addresses())
    }

    /// Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the
    /// first time, what is new later, in both directions. The peer and its address are remembered.
    ///
    /// Errors: `Unsupported` without a transport for the address; `Unreachable`, `Timeout`; `PermissionDenied` if the peer
    /// does not have the database or does not give it to this device (it does not say which). With `None`, databases that
    /// fail are told in the report; to find out what both share, the public keys of the users of this device are shown to
    /// whoever answers at the address.
    pub async fn sync_with_peer(&self, address: &Address, database: Option<&Id>) -> Result<SyncReport> {
        self.open()?;
        let link = self.contact(address).await?;
        let databases = match database {
            Some(database) => vec![*database],
            None => {
                let all = self.shared.served.all();
                talk::introduce(&self.shared, &link, &all, Vec::new())
                    .await
                    .inspect_err(|error| self.shared.note_broken(&link, error))?;
                all.into_iter().filter(|id| link.served(id).is_some()).collect()
            }
        };
        let mut report = SyncReport { peer: link.peer, databases: Vec::new() };
        for id in databases {
            self.shared.join(link.peer, id).await?;
            let result = self.shared.ask_round(Lane { peer: link.peer, database: id }).await;
            match (result, database) {
                (Err(error), Some(_)) => return Err(error),
                (result, _) => report.databases.push(SyncedDatabase { database: id, result }),
            }
        }
        Ok(report)
    }

    /// Brings a database to the same state here and at a peer that is known.
    ///
    /// Errors: `NotFound` if no address of the peer is known that a registered transport can dial; as for
    /// [`sync_with_peer`](Syncer::sync_with_peer).
    pub async fn sync_tree_with_peer(&self, peer: &PublicKey, database: &Id) -> Result<Outcome> {
        self.open()?;
        // Whom this node knows already it has not chosen by this.
        if self.shared.schedule().lane(*peer, *database).is_none() {
            self.shared.join(*peer, *database).await?;
        }
        self.shared.ask_round(Lane { peer: *peer, database: *database }).await
    }

    /// Reaches whoever answers at an address, and says who it is.
    ///
    /// Errors: `Unsupported`, `Unreachable`, `Timeout`, `Unauthenticated`.
    pub async fn connect_to_peer(&self, address: &Address) -> Result<PublicKey> {
        self.open()?;
        Ok(self.contact(address).await?.peer)
    }

    /// Declares that a database is to be kept in step with a peer from now on, over restarts, and returns at once.
    ///
    /// A key that cannot be read is kept; the status of the handle says what is wrong with it. Errors: those of the store.
    pub async fn register_sync_peer(&self, info: SyncPeerInfo) -> Result<SyncHandle> {
        self.open()?;
        let name = self.shared.peers.declare(&info).await?;
        if let PeerName::Key(peer) = name {
            self.shared.related(peer, info.tree_id).await?;
        }
        Ok(SyncHandle::new(self.shared.clone(), name, info.tree_id))
    }

    /// The handle of a relationship, whether it was declared or has come about. It says so if there is none.
    pub fn handle(&self, peer: &PublicKey, database: &Id) -> SyncHandle {
        SyncHandle::new(self.shared.clone(), (*peer).into(), *database)
    }

    /// How a relationship stands; see [`SyncHandle::status`].
    pub fn get_sync_status(&self, peer: &PublicKey, database: &Id) -> Result<SyncStatus> {
        self.handle(peer, database).status()
    }

    /// All peers that are known.
    pub async fn list_peers(&self) -> Result<Vec<PeerRecord>> {
        self.shared.peers.list().await
    }

    /// What is known of a peer. Errors: `NotFound`.
    pub async fn get_peer_info(&self, peer: &PublicKey) -> Result<PeerRecord> {
        let found = self.shared.peers.get(&(*peer).into()).await?;
        found.ok_or_else(|| {
            let message = "no such peer is known; list_peers shows those that are";
            Error::new(ErrorKind::NotFound, message).with("peer", peer)
        })
    }

    /// Forgets a peer, its addresses and its relationships; what is under way with it ends. A peer whose key is none is
    /// named by its text: `PeerName::of(text)`. Errors: `NotFound`.
    pub async fn remove_peer(&self, peer: impl Into<PeerName>) -> Result<()> {
        let name = peer.into();
        self.shared.peers.remove(&name).await?;
        if let PeerName::Key(peer) = name {
            self.shared.forget_peer(peer);
        }
        Ok(())
    }

    /// Adds an address under which a peer can be reached. Errors: `NotFound` for a peer that is not known.
    pub async fn add_peer_address(&self, peer: &PublicKey, address: Address) -> Result<()> {
        self.get_peer_info(peer).await?;
        self.shared.peers.add_address(&(*peer).into(), &address).await?;
        self.shared.note_dialable(*peer).await?;
        self.shared.tell(|schedule, now| schedule.contact(now, *peer));
        Ok(())
    }

    /// The databases, with their names, that the users of this device may read at a peer.
    ///
    /// Errors: as for [`connect_to_peer`](Syncer::connect_to_peer).
    pub async fn discover_peer_trees(&self, address: &Address) -> Result<Vec<(Id, String)>> {
        self.open()?;
        let link = self.contact(address).await?;
        let result = talk::discover(&self.shared, &link).await;
        result.inspect_err(|error| self.shared.note_broken(&link, error))
    }

    /// Sends a request for access, which was signed for this device and for the peer at this address
    /// ([`connect_to_peer`](Syncer::connect_to_peer) tells its key), and gives the answer. While it is not decided it is sent
    /// again with each sync, so that a later one completes by itself.
    ///
    /// Errors: `Unauthenticated` if another device answers at the address than the request is for; as for
    /// [`connect_to_peer`](Syncer::connect_to_peer).
    pub async fn request_access(&self, address: &Address, request: &access::Request) -> Result<Answer> {
        self.open()?;
        let link = self.contact(address).await?;
        if *request.to() != link.peer {
            let message = "another device answers at this address than the request for access was signed for";
            let error = Error::new(ErrorKind::Unauthenticated, message);
            return Err(error.with("signed_for", request.to()).with("answers", link.peer));
        }
        self.shared.asked.remember(request).await?;
        let answer = talk::ask_access(&self.shared, &link, request).await;
        let answer = answer.inspect_err(|error| self.shared.note_broken(&link, error))?;
        self.shared.join(link.peer, request.wanted().database).await?;
        Ok(answer)
    }

    /// The requests of others for access to databases here.
    pub fn access_book(&self) -> &Book {
        &self.shared.book
    }

    /// Waits until everything that is here has reached the peers, or says what has not.
    ///
    /// Peers of which no address is known are not waited for: they come by themselves. Errors: that of the first peer that
    /// it did not reach; `databases` among the context pairs counts all that are left. `Conflict` if a peer has not taken
    /// everything, as when its clock is behind.
    pub async fn flush(&self) -> Result<()> {
        self.open()?;
        let mut rounds = tokio::task::JoinSet::new();
        for id in self.shared.served.all() {
            let Some(database) = self.shared.here(&id).await? else { continue };
            let digest = database.heads_digest().await?;
            let peers: Vec<PublicKey> = self.shared.schedule().peers_of(&id).collect();
            for peer in peers {
                let dialable = self.shared.schedule().peer(peer).is_some_and(|peer| peer.dialable);
                if dialable && !self.shared.steps.is_in_step(&peer, &id, &digest) {
                    let shared = self.shared.clone();
                    rounds.spawn(async move {
                        let outcome = shared.ask_round(Lane { peer, database: id }).await?;
                        let message = "the peer has not taken everything that is here; its status says more";
                        let left = Error::new(ErrorKind::Conflict, message).with("peer", peer).with("database", id);
                        if outcome.complete { Ok(()) } else { Err(left) }
                    });
                }
            }
        }
        let (mut failed, mut first) = (0, None);
        while let Some(result) = rounds.join_next().await {
            if let Ok(Err(error)) = result {
                failed += 1;
                first = first.or(Some(error));
            }
        }
        first.map_or(Ok(()), |error: Error| Err(error.with("databases", failed)))
    }

    /// Makes wishes that have just changed count: on return, nothing is under way of what nobody wishes any longer, and the
    /// peers that can be reached within a second or two have been told.
    pub async fn settle_wishes(&self) -> Result<()> {
        self.shared.reload_wishes().await?;
        self.shared.farewells.said().await;
        Ok(())
    }

    /// Makes what other processes have changed in the same store count at once: wishes, databases, peers and relationships.
    /// Where a store is shared this happens by itself, four times in a second.
    ///
    /// Errors: those of the store and of the host. Cancellation: a part of it may count; calling it again does the rest.
    pub async fn catch_up(&self) -> Result<()> {
        self.open()?;
        self.shared.catch_up().await
    }

    /// What happens, from now on.
    pub fn events(&self) -> broadcast::Receiver<SyncEvent> {
        self.shared.events.subscribe()
    }

    /// True once it was closed, or has come to its end with its store.
    pub fn is_closed(&self) -> bool {
        self.shared.is_over()
    }

    /// Stops servers, ends all tasks and closes all transports; every clone answers `Closed` from then on. Calling it again
    /// does nothing.
    pub async fn close(&self) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Tasks { stop, driver }) = tasks else { return };
        // It ends by itself if it has no receiver any longer.
        let _ = stop.send(());
        let _ = driver.await;
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reaches whoever answers at an address, and remembers it.
    async fn contact(&self, address: &Address) -> Result<Arc<Link>> {
        let link = self.shared.links.to_address(&self.shared.caller(), address).await?;
        self.shared.learn(link.peer, vec![address.clone()]).await?;
        Ok(link)
    }

    fn open(&self) -> Result<()> {
        let closed = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if closed { Err(super::shared::closed()) } else { Ok(()) }
    }
}

impl fmt::Debug for Syncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncer").field("device", &self.device_id()).finish_non_exhaustive()
    }
}
