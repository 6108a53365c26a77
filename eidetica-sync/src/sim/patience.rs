//! How long a world may run: by the work it does, so that a machine with much else to do does not make it fail.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often it is looked, at the longest.
const LOOK: Duration = Duration::from_secs(1);
/// The unit in which the system tells what a thread has done.
const TICKS_PER_SECOND: u64 = 100;

/// The thread of a world, as the system knows it; `None` where nothing can be read of it.
pub(super) type Thread = Option<PathBuf>;

/// This thread.
pub(super) fn this_thread() -> Thread {
    Some(PathBuf::from("/proc").join(std::fs::read_link("/proc/thread-self").ok()?))
}

/// What a thread has had of the processors so far.
fn worked(thread: &Path) -> Option<Duration> {
    let stat = std::fs::read_to_string(thread.join("stat")).ok()?;
    // The name in front may hold anything; behind it the times are the 12th and 13th.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: Option<Vec<u64>> =
        rest.split_ascii_whitespace().skip(11).take(2).map(|field| field.parse().ok()).collect();
    Some(Duration::from_millis(ticks?.into_iter().sum::<u64>() * 1000 / TICKS_PER_SECOND))
}

/// What is known of a world that runs.
#[derive(Default)]
struct Watch {
    /// What it had worked when it was looked last; `None` where nothing can be told.
    worked: Option<Duration>,
    /// When it was looked for the first time after it had done something.
    since: Duration,
}

impl Watch {
    /// Looks at what it has worked, so long after its beginning by the clock on the wall. Why there is no patience left, if so.
    fn look(&mut self, worked: Option<Duration>, wall: Duration, patience: Duration) -> Option<&'static str> {
        if worked != self.worked {
            *self = Watch { worked, since: wall };
        }
        match worked {
            Some(worked) if worked > patience => Some("has worked for"),
            _ if wall - self.since > patience => Some("has done nothing for"),
            _ => None,
        }
    }
}

/// Waits until a world, which first says by which thread it runs, has dropped its end; or says that it has worked for so long, or
/// has done nothing at all for so long. Where it cannot be told what a thread does, the clock on the wall decides.
pub(super) fn wait(end: &Receiver<Thread>, patience: Duration) -> Result<(), &'static str> {
    let (mut thread, mut watch, begun) = (Thread::None, Watch::default(), Instant::now());
    loop {
        match end.recv_timeout(LOOK.min(patience / 4)) {
            Ok(told) => thread = told,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                let worked = thread.as_deref().and_then(worked);
                if let Some(why) = watch.look(worked, begun.elapsed(), patience) {
                    return Err(why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// After how many seconds a world is given up that works for so many milliseconds of each.
    fn given_up(millis: Option<u64>) -> Option<u32> {
        let mut watch = Watch::default();
        let looks = |second: &u32| {
            let worked = millis.map(|millis| Duration::from_millis(millis * u64::from(*second)));
            watch.look(worked, *second * SECOND, 10 * SECOND).is_some()
        };
        (1..1_000).find(looks)
    }

    #[test]
    fn a_slow_machine_is_no_reason_and_work_and_silence_are() {
        assert_eq!(given_up(Some(1)), None, "a thousand seconds, and one of them of work");
        assert_eq!(given_up(Some(1_000)), Some(11));
        assert_eq!(given_up(Some(100)), Some(101));
        assert_eq!(given_up(Some(0)), Some(12), "it was seen to do nothing after one second");
        assert_eq!(given_up(None), Some(11), "by the clock on the wall");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_told_what_a_thread_has_worked() {
        let thread = this_thread().unwrap();
        let before = worked(&thread).unwrap();
        let mut hash = blake3::hash(b"");
        while worked(&thread).unwrap() < before + Duration::from_millis(30) {
            hash = blake3::hash(hash.as_bytes());
        }
        let asleep = worked(&thread).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(worked(&thread).unwrap() < asleep + Duration::from_millis(100));
    }
}
