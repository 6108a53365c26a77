//! What requests of others may cost.

use std::collections::HashMap;
use std::time::Duration;

/// What requests for access may cost this device. These limits are local; nobody learns whether one was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookLimits {
    /// Requests kept in all, decided ones included. Default: 1,024.
    pub in_all: usize,
    /// Those for one database. Default: 128.
    pub per_database: usize,
    /// Undecided ones from one device. Default: 8.
    pub per_device: usize,
    /// How long an undecided request is kept after it was asked last. Default: 14 days.
    pub pending_age: Duration,
    /// How long a decided one is kept: so long a rejection holds. Default: 30 days.
    pub decided_age: Duration,
    /// A request that is asked again is noted anew no more often than so. Default: one hour.
    pub refresh: Duration,
    /// Rows written at once for requests from one origin, and in how long one more is earned. Default: 64, one second.
    pub origin_pace: (u32, Duration),
    /// The same for all origins together. Default: 512, 100 milliseconds.
    pub whole_pace: (u32, Duration),
}

impl Default for BookLimits {
    fn default() -> BookLimits {
        const DAY: u64 = 24 * 60 * 60;
        BookLimits {
            in_all: 1024,
            per_database: 128,
            per_device: 8,
            pending_age: Duration::from_secs(14 * DAY),
            decided_age: Duration::from_secs(30 * DAY),
            refresh: Duration::from_secs(60 * 60),
            origin_pace: (64, Duration::from_secs(1)),
            whole_pace: (512, Duration::from_millis(100)),
        }
    }
}

/// How many origins are counted one by one. Who comes beyond them shares the pace of those that name none.
const ORIGINS: usize = 1024;

/// How fast rows may be written.
#[derive(Debug, Default)]
pub(super) struct Pace {
    whole: Bucket,
    unknown: Bucket,
    origins: HashMap<String, Bucket>,
}

/// A leaky bucket, as the time when it will be empty again, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(u64);

impl Bucket {
    fn has_room(&mut self, (burst, each): (u32, Duration), now: u64) -> bool {
        let capacity = u64::from(burst).saturating_mul(millis(each));
        // A clock that went back must not keep it full for longer than it takes to empty it.
        self.0 = self.0.min(now.saturating_add(capacity));
        self.level(now).saturating_add(millis(each)) <= capacity
    }

    fn fill(&mut self, (_, each): (u32, Duration), now: u64) {
        self.0 = now.saturating_add(self.level(now)).saturating_add(millis(each));
    }

    fn level(self, now: u64) -> u64 {
        self.0.saturating_sub(now)
    }
}

impl Pace {
    /// Whether one more row may be written now for somebody from there; if so, it is counted.
    pub(super) fn allows(&mut self, limits: &BookLimits, origin: Option<&str>, now: u64) -> bool {
        let bucket = match origin {
            None => &mut self.unknown,
            Some(origin) => {
                if self.origins.len() >= ORIGINS && !self.origins.contains_key(origin) {
                    self.origins.retain(|_, bucket| bucket.level(now) > 0);
                }
                match self.origins.len() < ORIGINS || self.origins.contains_key(origin) {
                    true => self.origins.entry(origin.to_owned()).or_default(),
                    false => &mut self.unknown,
                }
            }
        };
        let (here, all) = (bucket.has_room(limits.origin_pace, now), self.whole.has_room(limits.whole_pace, now));
        if !here || !all {
            return false;
        }
        bucket.fill(limits.origin_pace, now);
        self.whole.fill(limits.whole_pace, now);
        true
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> BookLimits {
        let (origin_pace, whole_pace) = ((3, Duration::from_secs(1)), (5, Duration::from_millis(500)));
        BookLimits { origin_pace, whole_pace, ..BookLimits::default() }
    }

    #[test]
    fn an_origin_has_a_burst_and_then_a_pace_and_takes_that_of_no_other() {
        let (limits, mut pace) = (limits(), Pace::default());
        let mut allowed = |origin, now| pace.allows(&limits, Some(origin), now);
        assert_eq!((0..5).filter(|_| allowed("a", 10_000)).count(), 3);
        assert!(!allowed("a", 10_999) && allowed("a", 11_000) && !allowed("a", 11_000));
        assert_eq!((0..5).filter(|_| allowed("b", 11_000)).count(), 3);
        // All together have met the bound of all: 7 were allowed, and 2 had leaked away.
        assert!(!allowed("c", 11_000) && allowed("c", 11_500));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_shut_anybody_out_for_long() {
        let (limits, mut pace) = (limits(), Pace::default());
        while pace.allows(&limits, None, 1_000_000) {}
        assert!(!pace.allows(&limits, None, 10_000));
        assert!(pace.allows(&limits, None, 11_000));
    }

    #[test]
    fn many_origins_are_counted_in_bounded_space() {
        let mut limits = limits();
        limits.whole_pace = (u32::MAX, Duration::ZERO);
        let mut pace = Pace::default();
        for origin in 0..5_000 {
            pace.allows(&limits, Some(&format!("{origin}")), 10_000);
        }
        assert_eq!(pace.origins.len(), ORIGINS);
        pace.allows(&limits, Some("later"), 20_000);
        assert_eq!(pace.origins.len(), 1);
    }
}
