//! What strangers get: how much, how often, and how many of them at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::rate::Rate;

/// What this device does for strangers: devices that were neither declared nor joined, and that have shown no right of a user of
/// their own. Whoever reads what everybody may read stays one, and whoever asks for access is one.
///
/// An origin is what the transport tells of where a caller comes from: over HTTP the address, over iroh the address or relay. Behind a
/// proxy all callers come from one; see [`SyncOptions::behind_proxy`](crate::SyncOptions::behind_proxy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StrangerLimits {
    /// Handshakes of one origin, known peers included, since nobody has proven a key yet. Default: 32, then 8 a second.
    pub handshakes: Rate,
    /// Handshakes of all origins. Default: 512, then 256 a second.
    pub all_handshakes: Rate,
    /// Requests of one origin. Default: 64, then 16 a second.
    pub requests: Rate,
    /// Requests of all origins. Default: 1,024, then 512 a second.
    pub all_requests: Rate,
    /// Requests that are worked on at once. Default: 8.
    pub at_once: usize,
    /// Those of them that come from one origin. Default: 4.
    pub at_once_per_origin: usize,
    /// Strangers that wait for news at once, as for access that is to be given. Default: 128.
    pub waiting: usize,
    /// Those of them that come from one origin. Default: 16.
    pub waiting_per_origin: usize,
}

impl Default for StrangerLimits {
    fn default() -> StrangerLimits {
        StrangerLimits {
            handshakes: Rate { burst: 32, per_second: 8 },
            all_handshakes: Rate { burst: 512, per_second: 256 },
            requests: Rate { burst: 64, per_second: 16 },
            all_requests: Rate { burst: 1024, per_second: 512 },
            at_once: 8,
            at_once_per_origin: 4,
            waiting: 128,
            waiting_per_origin: 16,
        }
    }
}

impl StrangerLimits {
    /// One origin gets as much as all together.
    pub(crate) fn one_origin(mut self) -> StrangerLimits {
        (self.handshakes, self.requests) = (self.all_handshakes, self.all_requests);
        (self.at_once_per_origin, self.waiting_per_origin) = (self.at_once, self.waiting);
        self
    }
}

/// Places, of which one origin gets a share. Who names no origin is of the same one as all who name none.
pub(super) struct Shares {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Origins that have a place.
    origins: BTreeMap<String, usize>,
}

/// One place, given back when it is dropped.
pub(super) struct Share<'s> {
    shares: &'s Shares,
    origin: String,
}

impl Shares {
    pub fn new(all: usize, each: usize) -> Shares {
        Shares { all, each, taken: Mutex::default() }
    }

    /// A place, if there is one for this origin.
    pub fn take(&self, origin: Option<&str>) -> Option<Share<'_>> {
        let origin = origin.unwrap_or_default();
        let mut taken = self.taken();
        let of_origin = taken.origins.get(origin).copied().unwrap_or(0);
        if taken.all >= self.all || of_origin >= self.each {
            return None;
        }
        taken.all += 1;
        *taken.origins.entry(origin.to_owned()).or_default() += 1;
        Some(Share { shares: self, origin: origin.to_owned() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= 1;
        if let Some(of_origin) = taken.origins.get_mut(&self.origin) {
            *of_origin -= 1;
            if *of_origin == 0 {
                taken.origins.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_leaves_places_for_others_and_all_are_bounded() {
        let shares = Shares::new(5, 2);
        let mut places: Vec<_> = (0..10).filter_map(|_| shares.take(Some("flood"))).collect();
        assert_eq!(places.len(), 2);
        places.extend((0..10).filter_map(|_| shares.take(None)));
        assert_eq!(places.len(), 4, "who names none shares with all who name none");
        places.extend((0..10).filter_map(|number| shares.take(Some(&number.to_string()))));
        assert_eq!(places.len(), 5);
        places.remove(0);
        assert!(shares.take(Some("other")).is_some());
        drop(places);
        assert!(shares.taken().origins.is_empty() && shares.taken().all == 0);
    }
}
