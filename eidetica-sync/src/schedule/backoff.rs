//! How long to wait after failures.

use std::time::Duration;

use super::options::ScheduleOptions;

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures(pub u32);

impl Failures {
    /// Counts one more, and gives the delay after it: twice that of the one before, at most the longest, drawn between its
    /// half and its whole, so that those who failed together do not come back together.
    pub fn fail(&mut self, options: &ScheduleOptions, random: u64) -> Duration {
        self.0 = self.0.saturating_add(1);
        let doublings = (self.0 - 1).min(31);
        let whole = options.first_backoff.saturating_mul(1 << doublings).min(options.max_backoff);
        let half = whole / 2;
        // The upper 32 bits as a share of the other half.
        let share = (random >> 32) as u32;
        let more = (whole - half).as_nanos().saturating_mul(u128::from(share)) >> 32;
        half + Duration::from_nanos(u64::try_from(more).unwrap_or(u64::MAX))
    }

    pub fn clear(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_keep_between_half_and_whole() {
        let options = ScheduleOptions::default();
        let mut failures = Failures::default();
        let mut whole = options.first_backoff;
        for nth in 0..1000u64 {
            let random = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let delay = failures.fail(&options, random);
            assert!(whole / 2 <= delay && delay <= whole, "failure {nth}: {delay:?} of {whole:?}");
            whole = (whole * 2).min(options.max_backoff);
        }
        failures.clear();
        assert!(failures.fail(&options, u64::MAX) <= options.first_backoff);
    }

    #[test]
    fn the_draw_uses_its_whole_range() {
        let options = ScheduleOptions::default();
        let least = Failures::default().fail(&options, 0);
        let most = Failures::default().fail(&options, u64::MAX);
        assert_eq!(least, options.first_backoff / 2);
        assert!(most > options.first_backoff - Duration::from_nanos(2), "{most:?}");
    }

    #[test]
    fn no_option_overflows() {
        let options =
            ScheduleOptions { first_backoff: Duration::MAX, max_backoff: Duration::MAX, ..ScheduleOptions::default() };
        let mut failures = Failures(u32::MAX);
        assert!(failures.fail(&options, u64::MAX) >= Duration::MAX / 2);
    }
}
