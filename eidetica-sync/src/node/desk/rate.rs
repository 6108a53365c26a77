//! How much of our time strangers get.

use std::collections::BTreeMap;
use std::time::Duration;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many at once.
    pub burst: u32,
    /// So many a second in the long run.
    pub per_second: u32,
}

/// Counts what strangers cause, for each origin and in all.
pub(crate) struct Strangers {
    each: Rate,
    all: Rate,
    /// Origins whose bucket is not full; who is not among them has a full one.
    origins: BTreeMap<String, Bucket>,
    total: Bucket,
}

/// The most origins that are told apart. All others share one bucket.
const MOST_ORIGINS: usize = 1024;

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Bucket {
        Bucket { left: rate.burst.into(), at: now }
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * f64::from(rate.per_second)).min(rate.burst.into());
        self.at = self.at.max(now);
    }
}

impl Strangers {
    pub fn new(each: Rate, all: Rate, now: Duration) -> Strangers {
        Strangers { each, all, origins: BTreeMap::new(), total: Bucket::full(all, now) }
    }

    /// Whether one more may happen for this origin now; if so, it counts.
    pub fn admit(&mut self, origin: Option<&str>, now: Duration) -> bool {
        self.total.refill(self.all, now);
        if self.total.left < 1.0 {
            return false;
        }
        let mut origin = origin.unwrap_or_default();
        if !self.origins.contains_key(origin) && self.origins.len() >= MOST_ORIGINS {
            let each = self.each;
            self.origins.retain(|_, bucket| {
                bucket.refill(each, now);
                bucket.left < each.burst.into()
            });
            if self.origins.len() >= MOST_ORIGINS {
                origin = "";
            }
        }
        let bucket = match self.origins.get_mut(origin) {
            Some(bucket) => bucket,
            None => self.origins.entry(origin.to_owned()).or_insert(Bucket::full(self.each, now)),
        };
        bucket.refill(self.each, now);
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        self.total.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Rate = Rate { burst: 3, per_second: 1 };
    const ALL: Rate = Rate { burst: 5, per_second: 2 };

    fn admitted(strangers: &mut Strangers, origin: &str, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| strangers.admit(Some(origin), Duration::from_secs(now))).count()
    }

    #[test]
    fn one_origin_gets_its_burst_and_then_its_rate() {
        let mut strangers = Strangers::new(EACH, ALL, Duration::ZERO);
        assert_eq!(admitted(&mut strangers, "a", 0, 10), 3);
        assert_eq!(admitted(&mut strangers, "b", 0, 10), 2, "all together have five");
        assert_eq!(admitted(&mut strangers, "a", 1, 10), 1);
        assert_eq!(admitted(&mut strangers, "a", 1000, 10), 3, "never more than the burst");
    }

    #[test]
    fn many_origins_do_not_take_more_memory() {
        let wide = Rate { burst: 1_000_000_000, per_second: 1_000_000_000 };
        let mut strangers = Strangers::new(EACH, wide, Duration::ZERO);
        for number in 0..5_000 {
            strangers.admit(Some(&number.to_string()), Duration::ZERO);
        }
        assert!(strangers.origins.len() <= MOST_ORIGINS + 1);
        // Those who have waited are forgotten, and there is room again.
        assert!(strangers.admit(Some("late"), Duration::from_secs(10)));
        assert!(strangers.origins.len() < 5);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut strangers = Strangers::new(EACH, ALL, Duration::from_secs(100));
        assert_eq!(admitted(&mut strangers, "a", 100, 10), 3);
        assert_eq!(admitted(&mut strangers, "a", 50, 10), 0);
        assert_eq!(admitted(&mut strangers, "a", 100, 10), 0);
    }
}
