//! Slower and slower: what a wrong password costs.
//!
//! Each failure of a name doubles how long the next attempt on it waits. The failures lie in a row of the store, so a
//! restart does not forget them, and other processes wait, too. Names that no user has are treated alike.

use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{ErrorKind, Result};
use eidetica_core::Engine;
use minicbor::{Decode, Encode};
use tokio::sync::{Mutex, MutexGuard};

use super::rows::{self, FAILURES};

/// What follows the first failure.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// After so long without a failure a name starts afresh.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// How many names are kept. Beyond, those go that have failed least.
const NAMES: usize = 256;
/// How many passwords are tried at once, so that no crowd takes all memory.
const AT_ONCE: usize = 8;

/// Who may try a password now.
pub(crate) struct Attempts {
    /// Attempts on one name always meet at the same lock.
    turns: [Mutex<()>; AT_ONCE],
}

/// The failures of one name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Failures {
    #[cbor(n(0), with = "minicbor::bytes")]
    name: [u8; 16],
    #[n(1)]
    count: u32,
    /// When the last one was, in milliseconds since 1970.
    #[n(2)]
    last: u64,
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts { turns: std::array::from_fn(|_| Mutex::new(())) }
    }
}

/// The turn of one name: nobody else in this process tries a password on it meanwhile.
pub(super) struct Turn<'a> {
    name: [u8; 16],
    failed_before: bool,
    _lock: MutexGuard<'a, ()>,
}

impl Attempts {
    /// Waits until a password may be tried on this name.
    pub(super) async fn turn(&self, engine: &Engine, name: &str) -> Result<Turn<'_>> {
        let name = digest(name);
        let mut waited_for = None;
        loop {
            let lock = self.turns[usize::from(name[0]) % AT_ONCE].lock().await;
            let failures = Table::read(engine).await?.find(name);
            // Not compared with the clock again, which may stand still or go back: that wait is over.
            if failures == waited_for {
                return Ok(Turn { name, failed_before: failures.is_some(), _lock: lock });
            }
            let wait = failures.as_ref().map_or(Duration::ZERO, |failures| failures.wait(now(engine)));
            drop(lock);
            tokio::time::sleep(wait).await;
            waited_for = failures;
        }
    }
}

impl Turn<'_> {
    /// Counts the attempt. One that is dropped before, or has failed for another reason than the password, is not counted:
    /// whoever can bring that about can as well read the store.
    pub async fn end(self, engine: &Engine, failed: bool) -> Result<()> {
        match failed || self.failed_before {
            true => record(engine, self.name, failed).await,
            false => Ok(()),
        }
    }
}

/// Counts a failure of a name, or forgets all of them.
async fn record(engine: &Engine, name: [u8; 16], failed: bool) -> Result<()> {
    loop {
        let mut table = Table::read(engine).await?;
        let count = table.find(name).map_or(0, |failures| failures.count);
        table.failures.retain(|failures| failures.name != name);
        if failed {
            table.failures.push(Failures { name, count: count.saturating_add(1), last: now(engine) });
        }
        table.shrink(now(engine), name);
        match engine.set_local(FAILURES, table.row, rows::write(&table.failures)).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return done,
        }
    }
}

/// All failures, as they were read.
struct Table {
    row: Option<Bytes>,
    failures: Vec<Failures>,
}

impl Table {
    async fn read(engine: &Engine) -> Result<Table> {
        let row = engine.local(FAILURES).await?;
        let failures: Vec<Failures> = match &row {
            Some(row) => rows::read(row, "failed logins")?,
            None => Vec::new(),
        };
        let now = now(engine);
        Ok(Table { row, failures: failures.into_iter().filter(|failures| failures.counts(now)).collect() })
    }

    fn find(&self, name: [u8; 16]) -> Option<Failures> {
        self.failures.iter().find(|failures| failures.name == name).cloned()
    }

    /// Forgets what is too much: those with the fewest failures first, so that a crowd of names drives out none that was
    /// tried often; and never the one that has failed just now.
    fn shrink(&mut self, now: u64, newest: [u8; 16]) {
        while self.failures.len() > NAMES {
            let least = |failures: &(usize, &Failures)| (failures.1.count, failures.1.last.min(now));
            let others = self.failures.iter().enumerate().filter(|(_, failures)| failures.name != newest);
            let Some((place, _)) = others.min_by_key(least) else { return };
            self.failures.swap_remove(place);
        }
    }
}

impl Failures {
    fn counts(&self, now: u64) -> bool {
        now.saturating_sub(self.last) < FORGOTTEN.as_millis() as u64
    }

    /// How much of the wait is left. A clock that has gone back does not make it longer than it was.
    fn wait(&self, now: u64) -> Duration {
        let whole =
            FIRST.saturating_mul(1u32.checked_shl(self.count.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST);
        whole.saturating_sub(Duration::from_millis(now.saturating_sub(self.last)))
    }
}

fn digest(name: &str) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
    digest
}

fn now(engine: &Engine) -> u64 {
    engine.environment().now().millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(number: u16, count: u32, last: u64) -> Failures {
        Failures { name: digest(&number.to_string()), count, last }
    }

    #[test]
    fn the_wait_doubles_up_to_a_ceiling() {
        let wait = |count, now| failures(0, count, 1000).wait(now).as_millis();
        assert_eq!(
            [1, 2, 3, 7, 8, 33, u32::MAX].map(|count| wait(count, 1000)),
            [250, 500, 1000, 16_000, 30_000, 30_000, 30_000]
        );
        assert_eq!([900, 1100, 1250, 9999].map(|now| wait(1, now)), [250, 150, 0, 0]);
    }

    #[test]
    fn a_crowd_of_names_drives_out_none_that_was_tried_often() {
        let mut table = Table { row: None, failures: vec![failures(0, 5, 0), failures(1, 1, 1)] };
        for number in 2..1000 {
            table.failures.push(failures(number, 1, number.into()));
            table.shrink(1000, digest(&number.to_string()));
            assert!(table.find(digest(&number.to_string())).is_some());
        }
        assert_eq!(table.failures.len(), NAMES);
        assert_eq!(table.find(digest("0")).unwrap().count, 5);
        assert!(table.find(digest("1")).is_none());
    }
}
