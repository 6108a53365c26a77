//! A network that does what its seed says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::conditions::{Conditions, Reach};
use super::courier::{Flight, deliver};
use super::link::Link;
use super::serve::Listener;
use super::trace::{Event, Fate, Kind, Trace, Traffic, hash};
use super::transport::SimTransport;
use crate::bell::Bell;

/// What simulated transports reach each other through. Cheap to clone; two networks know nothing of each other.
///
/// Hosts have names; between two of them there is one [link](Conditions) each way. What becomes of a message is drawn from a
/// stream of its link, so the same seed and the same messages give the same [trace](Network::trace), whatever goes on over
/// other links. Needs a current-thread runtime with a paused clock, as [`run`](super::run()) makes one; on another one it works, but
/// does not repeat.
///
/// ```
/// use eidetica_sync::sim::{self, Conditions};
///
/// sim::run(7, async |world| {
///     let network = &world.network;
///     network.everywhere(Conditions::poor());
///     let (anna, ben) = (network.transport("anna"), network.transport("ben"));
///     network.partition(&["anna"], &["ben"]);
///     # let _ = (anna, ben);
/// });
/// ```
#[derive(Clone)]
pub struct Network {
    pub(super) inner: Arc<Inner>,
    _courier: Arc<Courier>,
}

/// The task that carries messages; it ends with the last handle on the network.
struct Courier(JoinHandle<()>);

impl Drop for Courier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Inner {
    seed: u64,
    /// Held for a few steps, and never across an await.
    state: Mutex<State>,
    /// A message is on its way.
    pub sent: Notify,
}

pub(super) struct State {
    seed: u64,
    start: Instant,
    standard: Conditions,
    links: BTreeMap<(Arc<str>, Arc<str>), Link>,
    pub listeners: BTreeMap<Arc<str>, Listener>,
    /// Of each host, what closes its transports.
    pub transports: BTreeMap<Arc<str>, Vec<Weak<Bell>>>,
    /// By arrival, and then in the order in which they were sent.
    pub flying: BTreeMap<(Instant, u64), Flight>,
    trace: Trace,
    /// Numbers for messages, flights and listeners.
    next: u64,
}

impl Network {
    /// A network without hosts, on which every message takes 10 ms and nothing goes wrong.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, in which it starts the task that carries messages.
    pub fn new(seed: u64) -> Network {
        let start = Instant::now();
        let state = State {
            seed,
            start,
            standard: Conditions::default(),
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            transports: BTreeMap::new(),
            flying: BTreeMap::new(),
            trace: Trace::default(),
            next: 0,
        };
        let inner = Arc::new(Inner { seed, state: Mutex::new(state), sent: Notify::new() });
        let courier = Courier(tokio::spawn(deliver(inner.clone())));
        Network { inner, _courier: Arc::new(courier) }
    }

    /// The seed that it was made from.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// A transport of this host, which listens under the address `sim:host` and carries 1 MiB. A host may have several, of
    /// which one listens at a time.
    pub fn transport(&self, host: &str) -> SimTransport {
        let closed = Arc::<Bell>::default();
        let host: Arc<str> = host.into();
        let mut state = self.state();
        let of_host = state.transports.entry(host.clone()).or_default();
        of_host.retain(|closed| closed.strong_count() > 0);
        of_host.push(Arc::downgrade(&closed));
        drop(state);
        SimTransport::new(self.clone(), host, closed)
    }

    /// Sets the conditions of all links but those that have their own.
    pub fn everywhere(&self, conditions: Conditions) {
        self.state().standard = conditions;
    }

    /// Sets the conditions of one link, from the first host to the second.
    pub fn one_way(&self, from: &str, to: &str, conditions: Conditions) {
        self.state().link(from, to).conditions = Some(conditions);
    }

    /// Sets the conditions of both links between two hosts.
    pub fn both_ways(&self, one: &str, other: &str, conditions: Conditions) {
        self.one_way(one, other, conditions);
        self.one_way(other, one, conditions);
    }

    /// Sets whether messages from the first host come through to the second. Those that are on their way vanish, too, while it
    /// is a black hole when they would arrive.
    pub fn set_reach(&self, from: &str, to: &str, reach: Reach) {
        self.state().link(from, to).reach = reach;
    }

    /// Cuts the way from the first host to the second, silently, and leaves the way back open.
    pub fn cut(&self, from: &str, to: &str) {
        self.set_reach(from, to, Reach::BlackHole);
    }

    /// Cuts all ways between these two groups, silently.
    pub fn partition(&self, one: &[&str], other: &[&str]) {
        for (from, to) in one.iter().flat_map(|from| other.iter().map(move |to| (from, to))) {
            self.cut(from, to);
            self.cut(to, from);
        }
    }

    /// Opens all links.
    pub fn heal(&self) {
        self.state().links.values_mut().for_each(|link| link.reach = Reach::Open);
    }

    /// Ends what runs on a host, as the end of its process does: its transports close, what its services were at work on is
    /// dropped, and whoever waits for that learns it, if a way is open. The name can be used again at once.
    pub fn crash(&self, host: &str) {
        let mut state = self.state();
        let transports = state.transports.remove(host).unwrap_or_default();
        let listener = state.listeners.remove(host);
        drop(state);
        transports.iter().filter_map(Weak::upgrade).for_each(|closed| closed.ring());
        drop(listener);
    }

    /// What has gone from the first host to the second.
    pub fn traffic(&self, from: &str, to: &str) -> Traffic {
        self.state().link(from, to).traffic
    }

    /// What has gone over all links.
    pub fn total(&self) -> Traffic {
        self.state().links.values().map(|link| link.traffic).fold(Traffic::default(), Traffic::plus)
    }

    /// Begins to count anew.
    pub fn reset_traffic(&self) {
        self.state().links.values_mut().for_each(|link| link.traffic = Traffic::default());
    }

    /// The latest 16,384 events, oldest first.
    pub fn trace(&self) -> Vec<Event> {
        self.state().trace.latest()
    }

    /// A hash over all events since the beginning, and how many there were.
    pub fn trace_digest(&self) -> (u64, [u8; 32]) {
        let state = self.state();
        (state.trace.count(), state.trace.digest())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }
}

impl Inner {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn link(&mut self, from: &str, to: &str) -> &mut Link {
        let seed = self.seed;
        self.links.entry((from.into(), to.into())).or_insert_with(|| Link::new(seed, from, to))
    }

    /// The link that a message goes over, and the conditions of those that have none of their own.
    pub fn standard(&self) -> Conditions {
        self.standard
    }

    /// Notes what became of a message.
    pub fn note(&mut self, label: &Label, bytes: &bytes::Bytes, fate: Fate) {
        self.link(&label.from, &label.to).traffic.note(label.kind, bytes.len(), fate);
        self.trace.add(Event {
            at: Instant::now() - self.start,
            message: label.message,
            from: label.from.clone(),
            to: label.to.clone(),
            kind: label.kind,
            bytes: bytes.len(),
            hash: hash(bytes),
            fate,
        });
    }
}

/// Which message.
#[derive(Clone)]
pub(super) struct Label {
    pub message: u64,
    pub from: Arc<str>,
    pub to: Arc<str>,
    pub kind: Kind,
}

impl Label {
    /// The message that goes back.
    pub fn back(&self) -> Label {
        let kind = if self.kind == Kind::Dial { Kind::Answer } else { Kind::Reply };
        Label { message: self.message, from: self.to.clone(), to: self.from.clone(), kind }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let hosts: Vec<_> = state.listeners.keys().collect();
        f.debug_struct("Network").field("seed", &self.inner.seed).field("listening", &hosts).finish_non_exhaustive()
    }
}
