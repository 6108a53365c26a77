//! The peers that this node has called: one session for each, opened when it is needed and shared by all who need it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eidetica_contract::{Address, CallOptions, Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::transports::Transports;
use crate::access::Claim;
use crate::bell::Bell;
use crate::message::{MAX_DATABASES, Reply, Request, Tag, TagKey};
use crate::presence;
use crate::session::{CloseReason, Identity, Offer, SessionChannel, SessionLimits};

/// The version of the messages that this program speaks.
const VERSION: u16 = 1;
/// How long a peer may take to be reached and to prove its key.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it is tried to reach a peer, however many addresses it has.
const REACH: Duration = Duration::from_secs(30);
/// How long a peer may take to answer one request.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// What this program speaks.
pub(crate) fn offer() -> Offer {
    Offer::versions(VERSION, VERSION).capabilities(presence::CAPABILITY)
}

/// A peer that was reached and has proven its key.
pub(crate) struct Link {
    pub peer: PublicKey,
    pub address: Address,
    channel: SessionChannel,
    tags: TagKey,
    /// The largest message that the peer takes.
    pub max_request: usize,
    /// What both sides can do besides.
    capabilities: u64,
    /// The databases that it serves to this device, with the claims that it has shown for each.
    served: Mutex<BTreeMap<Id, Vec<Claim>>>,
    /// Rings when it was forgotten because it is broken.
    broken: Bell,
}

/// All links.
#[derive(Default)]
pub(crate) struct Links {
    /// A cell that is being filled is waited for, not filled twice.
    by_peer: Mutex<BTreeMap<PublicKey, Arc<OnceCell<Arc<Link>>>>>,
    /// Rings when there is another link, or one less.
    changed: Bell,
}

/// What a link is made with.
pub(crate) struct Caller<'a> {
    pub transports: &'a Transports,
    pub identity: &'a Identity,
    pub limits: SessionLimits,
}

impl Links {
    /// The link to a peer; reaches it under one of these addresses, the first first, if there is none. Also tells which
    /// addresses were tried, and whether the peer answered there.
    ///
    /// Errors: `NotFound` without an address; that of the last address tried. `Unauthenticated` if another device
    /// answers.
    pub async fn to_peer(
        &self,
        caller: &Caller<'_>,
        peer: PublicKey,
        addresses: &[Address],
    ) -> (Result<Arc<Link>>, Vec<(Address, bool)>) {
        let cell = self.by_peer().entry(peer).or_default().clone();
        let mut tried = Vec::new();
        let link = cell.get_or_try_init(|| async {
            let message = "no address of this peer is known; add one, or wait until it calls";
            let mut failed = Error::new(ErrorKind::NotFound, message).with("peer", peer);
            let until = Instant::now() + REACH;
            for address in addresses {
                let reached = timeout_at(until, caller.reach(address, Some(peer))).await;
                let Ok(reached) = reached else {
                    return Err(failed);
                };
                tried.push((address.clone(), reached.is_ok()));
                match reached {
                    Ok(link) => {
                        self.changed.ring();
                        return Ok(Arc::new(link));
                    }
                    Err(error) => {
                        tracing::debug!(%peer, %address, %error, "not reached");
                        // Most errors of transports name it already.
                        failed = match error.context("address") {
                            Some(_) => error,
                            None => error.with("address", address),
                        };
                    }
                }
            }
            Err(failed)
        });
        (link.await.cloned(), tried)
    }

    /// The link to whoever answers at an address.
    ///
    /// Errors: `Unreachable`, `Timeout`, `Unauthenticated`, and those of the transport.
    pub async fn to_address(&self, caller: &Caller<'_>, address: &Address) -> Result<Arc<Link>> {
        let known = self.open_links().into_iter().find(|link| link.address == *address);
        if let Some(link) = known {
            return Ok(link);
        }
        let link = Arc::new(caller.reach(address, None).await?);
        let cell = self.by_peer().entry(link.peer).or_default().clone();
        // If there is one by now, over another address, that one is as good.
        let _ = cell.set(link.clone());
        self.changed.ring();
        Ok(link)
    }

    /// Forgets a link that is broken, and tells those who wait for something on it.
    pub fn forget(&self, link: &Arc<Link>) {
        link.broken.ring();
        let mut links = self.by_peer();
        let is_it = |cell: &Arc<OnceCell<Arc<Link>>>| cell.get().is_some_and(|other| Arc::ptr_eq(other, link));
        if links.get(&link.peer).is_some_and(is_it) {
            links.remove(&link.peer);
        }
        drop(links);
        self.changed.ring();
    }

    /// Forgets the link to a peer.
    pub fn forget_peer(&self, peer: &PublicKey) {
        self.by_peer().remove(peer);
        self.changed.ring();
    }

    /// Ends all links, and tells the peers so as far as that can be done within this time.
    pub async fn close(&self, within: Duration) {
        let links = self.open_links();
        self.by_peer().clear();
        let mut closing = tokio::task::JoinSet::new();
        for link in links {
            closing.spawn(async move { link.channel.close(CloseReason::Done, CallOptions::timeout(within)).await });
        }
        while closing.join_next().await.is_some() {}
    }

    /// Tells the peers that have been given these databases that nobody here wants them any longer, as far as that can be
    /// done within this time.
    pub async fn end(&self, ended: &[Id], within: Duration) {
        let mut telling = tokio::task::JoinSet::new();
        for link in self.open_links() {
            let shared: Vec<Tag> = {
                let served = link.served_map();
                ended.iter().filter(|id| served.contains_key(id)).map(|id| link.tag(id)).collect()
            };
            link.note_served(ended, BTreeMap::new());
            for databases in shared.chunks(MAX_DATABASES) {
                let (link, request) = (link.clone(), Request::Ended(databases.to_vec()));
                telling.spawn(async move { link.ask(&request, within).await });
            }
        }
        while telling.join_next().await.is_some() {}
    }

    /// A peer wants these no longer: before the next round it is asked anew.
    pub fn ended(&self, peer: &PublicKey, databases: &[Id]) {
        let link = self.by_peer().get(peer).and_then(|cell| cell.get().cloned());
        if let Some(link) = link {
            link.note_served(databases, BTreeMap::new());
        }
    }

    /// Rings when there is another link, or one less.
    pub fn changed(&self) -> &Bell {
        &self.changed
    }

    /// The links that there are.
    pub fn open_links(&self) -> Vec<Arc<Link>> {
        self.by_peer().values().filter_map(|cell| cell.get().cloned()).collect()
    }

    fn by_peer(&self) -> MutexGuard<'_, BTreeMap<PublicKey, Arc<OnceCell<Arc<Link>>>>> {
        self.by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller<'_> {
    async fn reach(&self, address: &Address, pin: Option<PublicKey>) -> Result<Link> {
        let (channel, max_message) = self.transports.dial(address, CONNECT).await?;
        let offer = offer();
        let channel = SessionChannel::new(channel, max_message, self.identity.clone(), offer, self.limits, pin)?;
        let (peer, agreed) = channel.connect(CallOptions::timeout(CONNECT)).await?;
        let tags = TagKey::new(&self.identity.device(), &peer);
        Ok(Link {
            peer,
            address: address.clone(),
            channel,
            tags,
            max_request: agreed.max_whole,
            capabilities: agreed.capabilities,
            served: Mutex::default(),
            broken: Bell::default(),
        })
    }
}

impl Link {
    /// Whether the peer takes part in presence.
    pub fn has_presence(&self) -> bool {
        self.capabilities & presence::CAPABILITY != 0
    }

    pub fn tag(&self, database: &Id) -> Tag {
        self.tags.tag(database)
    }

    /// Sends a request and waits for its answer.
    ///
    /// Errors: those of [`SessionChannel::request`]; `InvalidInput` if the answer is none.
    pub async fn ask(&self, request: &Request, timeout: Duration) -> Result<Reply> {
        let answer = self.channel.request(request.to_bytes(), CallOptions::timeout(timeout)).await?;
        Reply::parse(&answer).ok_or_else(|| self.misspoken())
    }

    /// Returns when it was found to be broken, by whomever.
    pub async fn broken(&self) {
        self.broken.after(0).await;
    }

    /// What an answer is that has nothing to do with the question.
    pub fn misspoken(&self) -> Error {
        let message = "the peer answered with something else than what was asked for; it may run a broken program";
        Error::new(ErrorKind::InvalidInput, message).with("peer", self.peer)
    }

    /// Whether the peer serves a database to this device, as it said last, and the claims it has shown.
    pub fn served(&self, database: &Id) -> Option<Vec<Claim>> {
        self.served_map().get(database).cloned()
    }

    /// Notes what the peer serves of these.
    pub fn note_served(&self, asked: &[Id], served: BTreeMap<Id, Vec<Claim>>) {
        let mut map = self.served_map();
        asked.iter().for_each(|id| drop(map.remove(id)));
        map.extend(served);
    }

    fn served_map(&self) -> MutexGuard<'_, BTreeMap<Id, Vec<Claim>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
