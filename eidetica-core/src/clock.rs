//! Time and randomness, which come from outside so that tests can hold them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eidetica_contract::{Error, ErrorKind, Result};

/// A hybrid logical time: 48 bits of milliseconds since 1970 and 16 bits of count in one number.
///
/// An entry's time is greater than that of every parent; among concurrent values the greatest `(time, id)` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The time with this number.
    pub const fn from_number(number: u64) -> Time {
        Time(number)
    }

    /// Both parts in one number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The first moment of this millisecond since 1970.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis << 16)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The count within the millisecond.
    pub const fn count(self) -> u16 {
        self.0 as u16
    }

    /// The next time after this one; `None` at the end of the range.
    pub(crate) fn next(self) -> Option<Time> {
        self.0.checked_add(1).map(Time)
    }

    pub(crate) fn plus(self, duration: Duration) -> Time {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(millis.saturating_mul(1 << 16)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:05}", self.millis(), self.count())
    }
}

/// Where the time and the randomness of a database come from.
pub trait Environment: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Time;

    /// Fills the buffer with bytes that nobody can predict.
    ///
    /// Errors: [`ErrorKind::Io`] if the system has none to give.
    fn random(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The clock and the randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now(&self) -> Time {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(0) & ((1 << 48) - 1))
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        let failed = |error: getrandom::Error| {
            Error::new(ErrorKind::Io, "the operating system gives no random numbers").with("cause", error)
        };
        getrandom::fill(buffer).map_err(failed)
    }
}
