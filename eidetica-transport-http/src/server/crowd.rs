//! Who is connected, and who goes when there are too many.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::clock::Clock;
use super::files::affordable;
use crate::HttpLimits;

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
    /// How many each network has.
    networks: HashMap<IpAddr, usize>,
}

struct Member {
    network: IpAddr,
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

    /// A place for one more, which may be that of one who was silent for longest; `None` if nobody is silent.
    pub(crate) fn admit(self: &Arc<Crowd>, from: IpAddr, clock: &Arc<Clock>) -> Option<Admitted> {
        let network = network(from);
        let mut members = self.members();
        if members.networks.get(&network).is_some_and(|count| *count >= self.each) {
            members.make_room(|member| member.network == network)?;
        } else if members.by_number.len() >= self.all {
            members.make_room(|_| true)?;
        }
        let number = members.next;
        members.next += 1;
        *members.networks.entry(network).or_default() += 1;
        members.by_number.insert(number, Member { network, clock: clock.clone(), task: None });
        Some(Admitted { crowd: self.clone(), number })
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn make_room(&mut self, may_go: impl Fn(&Member) -> bool) -> Option<()> {
        let all = self.by_number.iter().filter(|(_, member)| member.task.is_some() && may_go(member));
        let silent = all.filter_map(|(number, member)| Some((member.clock.silent_since()?, *number)));
        let (_, number) = silent.min()?;
        let task = self.remove(number)?.task?;
        task.abort();
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Member> {
        let member = self.by_number.remove(&number)?;
        if let Some(count) = self.networks.get_mut(&member.network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&member.network);
            }
        }
        Some(member)
    }
}

impl Admitted {
    /// The handle by which the connection with this place is ended.
    pub(crate) fn number(&self) -> u64 {
        self.number
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
        assert!(crowd.members().networks.is_empty() && crowd.members().by_number.is_empty());
        assert!((&mut tasks[1]).await.unwrap_err().is_cancelled());
        assert!(!tasks[0].is_finished());
    }
}
