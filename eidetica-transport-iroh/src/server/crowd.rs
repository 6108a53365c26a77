//! Who is connected, and who goes when there are too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eidetica_contract::PublicKey;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::IrohLimits;

/// The connections of one listener.
pub(crate) struct Crowd {
    all: usize,
    each_origin: usize,
    each_peer: usize,
    members: Mutex<Members>,
    /// How many there are.
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Members {
    next: u64,
    by_number: HashMap<u64, Member>,
    owners: HashMap<Arc<str>, usize>,
    peers: HashMap<PublicKey, usize>,
}

struct Member {
    origin: Arc<str>,
    /// Whose share of places it has, and of requests: its origin's, or that of its own key if the service knows it.
    owner: Arc<str>,
    /// Known after the handshake.
    peer: Option<PublicKey>,
    /// How many requests are under way, and since when there is another number of them.
    requests: usize,
    since: Instant,
    /// There once its task runs.
    task: Option<AbortHandle>,
}

/// A place in the crowd, given back when it is dropped.
pub(crate) struct Admitted {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Crowd {
    pub(crate) fn new(limits: &IrohLimits) -> Arc<Crowd> {
        Arc::new(Crowd {
            all: limits.connections,
            each_origin: limits.connections_per_origin,
            each_peer: limits.connections_per_peer,
            members: Mutex::default(),
            count: watch::Sender::new(0),
        })
    }

    /// True if there are so many that whoever comes has to show first that he is where he says. Forged origins then take no
    /// places.
    pub(crate) fn is_wary(&self) -> bool {
        self.members().by_number.len() >= self.all / 4
    }

    /// A place for one more, which may be that of one who was silent for longest, peers that are known after all others; `None` if
    /// nobody is silent.
    pub(crate) fn admit(self: &Arc<Crowd>, origin: &Arc<str>) -> Option<Admitted> {
        let mut members = self.members();
        if members.owners.get(origin).is_some_and(|count| *count >= self.each_origin) {
            members.make_room(|member| member.owner == *origin)?;
        } else if members.by_number.len() >= self.all {
            members.make_room(|_| true)?;
        }
        let number = members.next;
        members.next += 1;
        *members.owners.entry(origin.clone()).or_default() += 1;
        let (origin, owner) = (origin.clone(), origin.clone());
        let member = Member { origin, owner, peer: None, requests: 0, since: Instant::now(), task: None };
        members.by_number.insert(number, member);
        self.count.send_replace(members.by_number.len());
        Some(Admitted { crowd: self.clone(), number })
    }

    /// Notes which task serves a place.
    pub(crate) fn serves(&self, number: u64, task: AbortHandle) {
        if let Some(member) = self.members().by_number.get_mut(&number) {
            member.task = Some(task);
        }
    }

    /// Waits until nobody is there.
    pub(crate) async fn empty(&self) {
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn make_room(&mut self, may_go: impl Fn(&Member) -> bool) -> Option<()> {
        let all = self.by_number.iter().filter(|(_, member)| member.task.is_some() && may_go(member));
        let silent = all.filter(|(_, member)| member.requests == 0);
        let known = |member: &Member| member.owner != member.origin;
        let (.., number) = silent.map(|(number, member)| (known(member), member.since, *number)).min()?;
        self.remove(number)?.task?.abort();
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Member> {
        let member = self.by_number.remove(&number)?;
        less(&mut self.owners, &member.owner);
        if let Some(peer) = &member.peer {
            less(&mut self.peers, peer);
        }
        Some(member)
    }
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Admitted {
    /// The number by which the crowd knows this place.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Notes whose connection it is. False if this device has too many, and none of them is silent.
    pub(crate) fn belongs_to(&self, peer: PublicKey) -> bool {
        let mut members = self.crowd.members();
        if members.peers.get(&peer).is_some_and(|count| *count >= self.crowd.each_peer)
            && members.make_room(|member| member.peer == Some(peer)).is_none()
        {
            return false;
        }
        let Some(member) = members.by_number.get_mut(&self.number) else { return false };
        member.peer = Some(peer);
        *members.peers.entry(peer).or_default() += 1;
        true
    }

    /// Notes whether the service knows the device.
    pub(crate) fn is_known(&self, known: bool) {
        let mut members = self.crowd.members();
        let Some(member) = members.by_number.get_mut(&self.number) else { return };
        let owner = match (known, &member.peer) {
            (true, Some(peer)) => peer.to_string().into(),
            _ => member.origin.clone(),
        };
        if owner != member.owner {
            let before = std::mem::replace(&mut member.owner, owner.clone());
            less(&mut members.owners, &before);
            *members.owners.entry(owner).or_default() += 1;
        }
    }

    /// Whose share of places and of requests it has.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        self.crowd.members().by_number.get(&self.number).map(|member| member.owner.clone())
    }

    /// Notes how many requests are under way.
    pub(crate) fn has(&self, requests: usize) {
        if let Some(member) = self.crowd.members().by_number.get_mut(&self.number) {
            (member.requests, member.since) = (requests, Instant::now());
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut members = self.crowd.members();
        members.remove(self.number);
        self.crowd.count.send_replace(members.by_number.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_was_silent_for_longest_goes() {
        let mut limits = IrohLimits::default();
        (limits.connections, limits.connections_per_origin, limits.connections_per_peer) = (3, 2, 1);
        let crowd = Crowd::new(&limits);
        let [one, two, three] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(Arc::<str>::from);
        let mut tasks = Vec::new();
        let mut come = |origin: &Arc<str>| {
            let admitted = crowd.admit(origin)?;
            let task = tokio::spawn(std::future::pending::<()>());
            crowd.serves(admitted.number(), task.abort_handle());
            tasks.push(task);
            Some(admitted)
        };
        let (first, second) = (come(&one).unwrap(), come(&one).unwrap());
        // The origin is full: its own longest goes, and nobody else.
        first.has(1);
        let third = come(&one).unwrap();
        let other = come(&two).unwrap();
        assert_eq!(crowd.members().by_number.len(), 3);
        assert!(!crowd.members().by_number.contains_key(&second.number));
        // All is full, and everybody works.
        third.has(1);
        other.has(2);
        assert!(come(&three).is_none());
        other.has(0);
        let last = come(&three).unwrap();
        // One device has one connection, as long as it works on it.
        let peer = PublicKey::from_bytes([1; 32]);
        assert!(first.belongs_to(peer) && !third.belongs_to(peer));
        first.has(0);
        assert!(third.belongs_to(peer));
        // Who is known takes no place of its origin.
        third.is_known(true);
        assert_eq!(third.owner().as_deref(), Some(&*peer.to_string()));
        assert!(!crowd.members().owners.contains_key(&one));
        third.is_known(false);
        assert_eq!(crowd.members().owners[&one], 1);
        drop((first, second, third, other, last));
        {
            let members = crowd.members();
            assert!(members.owners.is_empty() && members.by_number.is_empty() && members.peers.is_empty());
        }
        crowd.empty().await;
        for (number, cancelled) in [true, true, false, true, false].into_iter().enumerate() {
            if cancelled {
                assert!((&mut tasks[number]).await.unwrap_err().is_cancelled());
            } else {
                assert!(!tasks[number].is_finished());
            }
        }
    }
}
