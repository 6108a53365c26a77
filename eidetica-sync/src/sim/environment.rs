//! Clocks and randomness of hosts.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use eidetica_contract::Result;
use eidetica_core::{Environment, Time};
use tokio::time::Instant;

/// When simulated worlds begin, in milliseconds since 1970: in the autumn of 2023.
const BEGIN: u64 = 1_700_000_000_000;

/// The true time of a simulated world: a beginning, and tokio's clock from then on, which stands still while anybody has
/// something to do.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begin: u64,
    start: Instant,
}

impl Clock {
    /// A clock that begins now, in the autumn of 2023.
    pub fn new() -> Clock {
        Clock::starting_at(BEGIN)
    }

    /// A clock that begins now, so many milliseconds after the beginning of 1970.
    pub fn starting_at(millis: u64) -> Clock {
        Clock { begin: millis, start: Instant::now() }
    }

    /// How long it has gone.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The true time.
    pub fn now(&self) -> Time {
        self.with_skew(0)
    }

    fn with_skew(&self, millis: i64) -> Time {
        let elapsed = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        Time::from_millis(self.begin.saturating_add(elapsed).saturating_add_signed(millis).min((1 << 48) - 1))
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

/// What a host takes for the time, and the randomness of this host.
///
/// A host that is started anew keeps its environment: one that was made anew would draw the same numbers a second time, and
/// what must be unique would not be.
pub struct SimEnvironment {
    clock: Clock,
    /// In milliseconds.
    skew: AtomicI64,
    random: Mutex<blake3::OutputReader>,
    drawn: AtomicU64,
}

impl SimEnvironment {
    /// The environment of a host in the world of a seed.
    pub fn new(clock: Clock, seed: u64, host: &str) -> SimEnvironment {
        let mut hasher = blake3::Hasher::new_derive_key("eidetica-sync simulation, randomness of a host");
        let random = hasher.update(&seed.to_be_bytes()).update(host.as_bytes()).finalize_xof();
        SimEnvironment { clock, skew: AtomicI64::new(0), random: Mutex::new(random), drawn: AtomicU64::new(0) }
    }

    /// Puts the clock of this host ahead of the true time by so many milliseconds, or behind it.
    pub fn set_skew(&self, millis: i64) {
        self.skew.store(millis, Ordering::Relaxed);
    }

    /// How many random bytes this host has drawn.
    pub fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }
}

impl Environment for SimEnvironment {
    fn now(&self) -> Time {
        self.clock.with_skew(self.skew.load(Ordering::Relaxed))
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        self.random.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill(buffer);
        self.drawn.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for SimEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimEnvironment").field("now", &self.now()).field("skew", &self.skew).finish_non_exhaustive()
    }
}
