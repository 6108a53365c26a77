//! Running a simulated world, and saying how to repeat one that has failed.

use std::future::Future;
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use eidetica_core::Options;

use super::dice::Dice;
use super::environment::{Clock, SimEnvironment};
use super::network::Network;
use super::patience::{Thread, this_thread, wait};

/// How long a world may work, and how long it may do nothing.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many events are shown of a world that has failed.
const SHOWN: usize = 60;

/// A simulated world: a seed, a network, and a clock.
#[derive(Debug)]
pub struct World {
    /// What everything in it follows from.
    pub seed: u64,
    /// Its network.
    pub network: Network,
    /// Its true time.
    pub clock: Clock,
}

impl World {
    /// A world of this seed, in the runtime that this is called in.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(seed: u64) -> World {
        World { seed, network: Network::new(seed), clock: Clock::new() }
    }

    /// Numbers for one purpose, such as what a scenario does next.
    pub fn dice(&self, purpose: &str) -> Dice {
        Dice::named(self.seed, purpose)
    }

    /// The environment of a host, to be made once and kept when the host is started anew.
    pub fn environment(&self, host: &str) -> Arc<SimEnvironment> {
        Arc::new(SimEnvironment::new(self.clock, self.seed, host))
    }

    /// What an engine is opened with so that it repeats: this environment, and no threads.
    pub fn options(&self, environment: &Arc<SimEnvironment>) -> Options {
        Options::default().environment(environment.clone()).proves_in_line()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let trace = self.network.trace();
            let shown = &trace[trace.len().saturating_sub(SHOWN)..];
            eprintln!("what the network has seen last, of {} events:", self.network.trace_digest().0);
            shown.iter().for_each(|event| eprintln!("{event}"));
        }
    }
}

/// Runs a world on a runtime of its own, in one thread of its own, whose clock goes on only when everybody waits; returns
/// what it comes to.
///
/// The same seed gives the same run, event by event, if the world does nothing but what follows from its seed: no threads of
/// its own speed, no clock but [`Clock`], no randomness but [`Dice`] and [`SimEnvironment`], no order of a `HashMap`, and
/// no `select!` without `biased`. For a backend with threads there is [`InPlace`](super::InPlace).
///
/// # Panics
///
/// If the world does, after saying with which seed; or if it has worked for two minutes without coming to its end, or done
/// nothing for as long, and then its thread is left alone. On Linux only the time counts in which its thread has a processor, so that
/// a world does not fail because a machine is slow; elsewhere it is that of the clock on the wall.
pub fn run<T, F>(seed: u64, world: impl FnOnce(World) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    run_within(PATIENCE, seed, world)
}

/// The same with another patience.
///
/// # Panics
///
/// As [`run`].
pub fn run_within<T, F>(patience: Duration, seed: u64, world: impl FnOnce(World) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (ended, end) = channel::<Thread>();
    let work = move || {
        // Dropped at the end of the thread, however it comes, and then nobody is left to wait for.
        let _ = ended.send(this_thread());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // One thread beside, so that what is given to it at least comes to its end in the order of asking.
        let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build();
        match runtime {
            Ok(runtime) => runtime.block_on(async { world(World::new(seed)).await }),
            Err(error) => panic!("no runtime for a simulated world: {error}"),
        }
    };
    let thread = match std::thread::Builder::new().name(format!("world {seed}")).spawn(work) {
        Ok(thread) => thread,
        Err(error) => panic!("no thread for a simulated world: {error}"),
    };
    if let Err(how) = wait(&end, patience) {
        panic!("the world {how} {patience:?} and has not come to its end; repeat it with {}", repeat(seed));
    }
    thread.join().unwrap_or_else(|panic| {
        eprintln!("the world has failed; repeat it with {}", repeat(seed));
        resume_unwind(panic)
    })
}

fn repeat(seed: u64) -> String {
    format!("EIDETICA_SEED={seed}")
}

/// The seeds that a test runs: those from 1 to `count`, times `EIDETICA_CASES` if that is set, or as many from
/// `EIDETICA_FIRST` on, so that a long proof can be run in parts; or the one in `EIDETICA_SEED`.
pub fn seeds(count: u64) -> RangeInclusive<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match number("EIDETICA_SEED") {
        Some(seed) => seed..=seed,
        None => {
            let first = number("EIDETICA_FIRST").unwrap_or(1).max(1);
            first..=(first - 1).saturating_add(count.saturating_mul(number("EIDETICA_CASES").unwrap_or(1).max(1)))
        }
    }
}
