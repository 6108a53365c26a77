//! Time that never goes back.

use std::time::Duration;

/// Adds up how far a clock has gone forward. A clock that goes back stands still here, and goes on from there.
#[derive(Default)]
pub(crate) struct Ticks {
    last: Option<Duration>,
    passed: Duration,
}

impl Ticks {
    pub(crate) fn advance(&mut self, now: Duration) -> Duration {
        let step = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        self.last = Some(now);
        self.passed = self.passed.saturating_add(step);
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_back_is_no_time_and_what_follows_counts() {
        let (mut ticks, second) = (Ticks::default(), Duration::from_secs(1));
        assert_eq!(ticks.advance(1000 * second), Duration::ZERO);
        assert_eq!(ticks.advance(1005 * second), 5 * second);
        assert_eq!(ticks.advance(3 * second), 5 * second);
        assert_eq!(ticks.advance(4 * second), 6 * second);
        assert_eq!(ticks.advance(Duration::MAX).checked_add(second), None);
        assert_eq!(ticks.advance(Duration::ZERO), ticks.advance(Duration::ZERO));
    }
}
