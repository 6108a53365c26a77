//! Who is connected, and who goes when there are too many.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eidetica_contract::PublicKey;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::clock::Clock;
use super::files::affordable;
use crate::HttpLimits;

/// How long a request may be coming in before its connection may lose its place to a newcomer: longer than an honest one takes on a
/// line that is not bad, and shorter than whoever waits for a place tries.
const DAWDLES: Duration = Duration::from_secs(3);

/// The connections of one listener.
pub(crate) struct Crowd {
    all: usize,
    each: usize,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    next: u64,
    by_number: HashMap<u64, Member>,
    /// How many each owner has.
    owners: HashMap<Owner, usize>,
}

/// Whose share a place is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// All who come from one network, as long as nobody vouches for them. `None` if it is not said where they come from.
    Network(Option<IpAddr>),
    /// A peer that the service knows.
    Peer(PublicKey),
}

struct Member {
    network: IpAddr,
    owner: Owner,
    clock: Arc<Clock>,
    /// There once its task runs.
    task: Option<AbortHandle>,
}

/// A place in the crowd, given back when it is dropped.
pub(crate) struct Admitted {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Crowd {
    pub(crate) fn new(limits: &HttpLimits) -> Arc<Crowd> {
        let (all, each) = (affordable(limits.connections), limits.connections_per_origin);
        Arc::new(Crowd { all, each, members: Mutex::default() })
    }

    /// A place for one more, which may be that of one who can be done without; `None` if nobody can.
    pub(crate) fn admit(self: &Arc<Crowd>, from: IpAddr, clock: &Arc<Clock>) -> Option<Admitted> {
        let network = network(from);
        let owner = Owner::Network(Some(network));
        let mut members = self.members();
        if members.has(owner) >= self.each {
            members.make_room(|member| member.owner == owner)?;
        } else if members.by_number.len() >= self.all {
            members.make_room(|_| true)?;
        }
        let number = members.next;
        members.next += 1;
        *members.owners.entry(owner).or_default() += 1;
        members.by_number.insert(number, Member { network, owner, clock: clock.clone(), task: None });
        Some(Admitted { crowd: self.clone(), number })
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Whether it may go, and how readily: peers that are known after all others, and then who is silent before who dawdles, and who
    /// does so for longest. It may not while the service works for it.
    fn goes(&self, now: Instant) -> Option<(bool, bool, Instant)> {
        let known = matches!(self.owner, Owner::Peer(_));
        if let Some(since) = self.clock.silent_since() {
            return Some((known, false, since));
        }
        let dawdles = |since: &Instant| now.saturating_duration_since(*since) > DAWDLES;
        self.clock.reading_since().filter(dawdles).map(|since| (known, true, since))
    }
}

impl Members {
    fn has(&self, owner: Owner) -> usize {
        self.owners.get(&owner).copied().unwrap_or(0)
    }

    fn make_room(&mut self, may_go: impl Fn(&Member) -> bool) -> Option<()> {
        let now = Instant::now();
        let all = self.by_number.iter().filter(|(_, member)| member.task.is_some() && may_go(member));
        let (_, number) = all.filter_map(|(number, member)| Some((member.goes(now)?, *number))).min()?;
        let task = self.remove(number)?.task?;
        task.abort();
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Member> {
        let member = self.by_number.remove(&number)?;
        self.leaves(member.owner);
        Some(member)
    }

    fn leaves(&mut self, owner: Owner) {
        if let Some(count) = self.owners.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(&owner);
            }
        }
    }
}

impl Admitted {
    /// The handle by which the connection with this place is ended.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Notes whose connection it is, as far as somebody vouches for that. A peer with too many has the others as one of its network.
    pub(crate) fn belongs_to(&self, peer: Option<PublicKey>) {
        let mut members = self.crowd.members();
        let Some(&Member { network, owner: before, .. }) = members.by_number.get(&self.number) else { return };
        let owner = peer.map_or(Owner::Network(Some(network)), Owner::Peer);
        if owner == before || peer.is_some() && members.has(owner) >= self.crowd.each {
            return;
        }
        members.leaves(before);
        *members.owners.entry(owner).or_default() += 1;
        if let Some(member) = members.by_number.get_mut(&self.number) {
            member.owner = owner;
        }
    }

    /// The peer whose connection it is, if somebody has vouched for that.
    pub(crate) fn peer(&self) -> Option<PublicKey> {
        match self.crowd.members().by_number.get(&self.number)?.owner {
            Owner::Peer(peer) => Some(peer),
            Owner::Network(_) => None,
        }
    }

    /// The request that is under way is there as a whole.
    pub(crate) fn received(&self) {
        if let Some(member) = self.crowd.members().by_number.get(&self.number) {
            member.clock.received();
        }
    }
}

impl Crowd {
    /// Notes which task serves a place.
    pub(crate) fn serves(&self, number: u64, task: AbortHandle) {
        if let Some(member) = self.members().by_number.get_mut(&number) {
            member.task = Some(task);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.crowd.members().remove(self.number);
    }
}

/// What counts as one origin: an IPv4 address, or an IPv6 network of 64 bits, which one household has to itself.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_one_origin() {
        let network = |text: &str| super::network(text.parse().unwrap()).to_string();
        assert_eq!(network("10.1.2.3"), "10.1.2.3");
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[tokio::test]
    async fn the_one_that_was_silent_for_longest_goes() {
        let mut limits = HttpLimits::default();
        (limits.connections, limits.connections_per_origin) = (3, 2);
        let crowd = Crowd::new(&limits);
        let [one, two, three] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse::<IpAddr>().unwrap());
        let mut tasks = Vec::new();
        let mut come = |from: IpAddr| {
            let clock = Arc::new(Clock::new(limits.clone()));
            let admitted = crowd.admit(from, &clock)?;
            let task = tokio::spawn(std::future::pending::<()>());
            crowd.serves(admitted.number(), task.abort_handle());
            tasks.push(task);
            Some((admitted, clock))
        };
        let (first, second) = (come(one).unwrap(), come(one).unwrap());
        // The origin is full: its own longest goes, and nobody else.
        first.1.begins();
        let third = come(one).unwrap();
        let other = come(two).unwrap();
        assert_eq!(crowd.members().by_number.len(), 3);
        assert!(!crowd.members().by_number.contains_key(&second.0.number()));
        // All is full, and everybody works.
        third.1.begins();
        other.1.begins();
        assert!(come(three).is_none());
        other.1.answered();
        assert!(come(three).is_none(), "an answer is still on its way");
        drop(first.0);
        let last = come(three).unwrap();
        drop((second, third, other, last));
        assert!(crowd.members().owners.is_empty() && crowd.members().by_number.is_empty());
        assert!((&mut tasks[1]).await.unwrap_err().is_cancelled());
        assert!(!tasks[0].is_finished());
    }

    /// A connection that was let in, and its clock.
    type LetIn = (Admitted, Arc<Clock>);

    /// A crowd, and a way to come into it, with a task that ends with each place.
    fn crowd(limits: &HttpLimits) -> (Arc<Crowd>, impl Fn(&str) -> Option<LetIn> + use<>) {
        let (crowd, limits) = (Crowd::new(limits), limits.clone());
        let come = {
            let crowd = crowd.clone();
            move |from: &str| {
                let clock = Arc::new(Clock::new(limits.clone()));
                let admitted = crowd.admit(from.parse().unwrap(), &clock)?;
                crowd.serves(admitted.number(), tokio::spawn(std::future::pending::<()>()).abort_handle());
                Some((admitted, clock))
            }
        };
        (crowd, come)
    }

    #[tokio::test]
    async fn who_is_vouched_for_takes_no_place_of_its_network_and_keeps_its_own() {
        let mut limits = HttpLimits::default();
        (limits.connections, limits.connections_per_origin) = (4, 2);
        let (crowd, come) = crowd(&limits);
        let there = |admitted: &Admitted| crowd.members().by_number.contains_key(&admitted.number());
        let [ben, carl] = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
        let (first, second) = (come("10.0.0.1").unwrap(), come("10.0.0.1").unwrap());
        first.0.belongs_to(Some(ben));
        second.0.belongs_to(Some(carl));
        assert_eq!(second.0.peer(), Some(carl));
        // Strangers of the same network have its two places, and push each other out; all of them are silent.
        let strangers: Vec<_> = (0..5).map(|_| come("10.0.0.1").unwrap()).collect();
        assert!(there(&first.0) && there(&second.0) && there(&strangers[4].0) && !there(&strangers[2].0));
        // The whole is full: a stranger goes before a peer that was silent for longer.
        let other = come("10.0.0.2").unwrap();
        assert!(there(&first.0) && there(&second.0) && !there(&strangers[3].0));
        // Whom nobody vouches for any longer is one of his network again.
        first.0.belongs_to(None);
        assert_eq!((first.0.peer(), crowd.members().has(Owner::Network(Some("10.0.0.1".parse().unwrap())))), (None, 2));
        drop((first, second, strangers, other));
        assert!(crowd.members().owners.is_empty() && crowd.members().by_number.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_dawdles_over_a_request_gives_way_to_a_newcomer() {
        let mut limits = HttpLimits::default();
        (limits.connections, limits.connections_per_origin) = (4, 2);
        let (crowd, come) = crowd(&limits);
        let there = |admitted: &Admitted| crowd.members().by_number.contains_key(&admitted.number());
        let (works, dawdles) = (come("10.0.0.1").unwrap(), come("10.0.0.1").unwrap());
        works.1.begins();
        works.0.received();
        dawdles.1.begins();
        assert!(come("10.0.0.1").is_none(), "it has only just begun");
        tokio::time::advance(DAWDLES + Duration::from_millis(1)).await;
        let _newcomer = come("10.0.0.1").unwrap();
        assert!(there(&works.0) && !there(&dawdles.0));
    }
}
