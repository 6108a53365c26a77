//! Running cases: the plan first, then all of it.

use std::any::Any;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eidetica_contract::Error;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::case::Run;
#[cfg(feature = "network")]
use crate::network;
use crate::report::{Executed, Outcome, Report, Subject};
use crate::{BackendSubject, Budget, Case, Suite, TransportSubject, backend, kind, process, seed, transport};

/// A case on a subject.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) case: &'static Case,
    pub(crate) about: Subject,
    pub(crate) made: Made,
    pub(crate) seed: u64,
    pub(crate) budget: Budget,
    /// For how long it repeats.
    pub(crate) part: Duration,
    pub(crate) patience: Duration,
}

#[derive(Clone)]
pub(crate) enum Made {
    Backend(Arc<dyn BackendSubject>),
    Transport(Arc<dyn TransportSubject>),
    Kind(Arc<dyn kind::Kind>),
    #[cfg(feature = "network")]
    Network(network::Parts),
}

impl Planned {
    /// Runs the case, and again with other seeds until its part of the time is over or it fails. What is reported is the last time.
    async fn execute(mut self) -> Executed {
        let began = Instant::now();
        loop {
            let executed = self.clone().once().await;
            if !executed.outcome.is_good() || began.elapsed() >= self.part {
                return executed;
            }
            self.seed = self.seed.wrapping_add(1);
        }
    }

    /// Runs the case, in a task of its own: a panic there is how it fails.
    async fn once(self) -> Executed {
        let Planned { case, about, made, seed, budget, patience, .. } = self;
        let began = Instant::now();
        let seen = Seen::default();
        let own = seed::of_case(seed, case.id);
        let running = match (case.run, made) {
            (Run::Backend(run), Made::Backend(subject)) => {
                run(backend::Ground::new(subject, own, budget, seen.clone()))
            }
            (Run::Transport(run), Made::Transport(subject)) => run(transport::Ground::new(subject, own, seen.clone())),
            (Run::Kind(run), Made::Kind(kind)) => run(kind::Ground::new(kind, own, budget, seen.clone())),
            #[cfg(feature = "network")]
            (Run::Network(run), Made::Network(parts)) => {
                run(network::Ground::new(parts, own, budget, patience, seen.clone()))
            }
            _ => Box::pin(async { panic!("a case was planned for a subject of another kind") }),
        };
        let limit = match budget {
            Budget::Full => 20 * patience,
            _ => 2 * patience,
        };
        let task = tokio::spawn(running);
        let stop = task.abort_handle();
        let outcome = match tokio::time::timeout(limit, task).await {
            Err(_) => {
                stop.abort();
                Outcome::TimedOut { seconds: limit.as_secs() }
            }
            Ok(Err(error)) => Outcome::Failed { why: said(error.into_panic()) },
            Ok(Ok(())) => {
                let missing: Vec<&str> = case.witnesses.iter().copied().filter(|one| !seen.has(one)).collect();
                match (missing.is_empty(), case.unless) {
                    (true, None) => Outcome::Passed,
                    (true, Some(_)) => Outcome::Refused,
                    (false, _) => Outcome::Inconclusive { missing: missing.join(", ") },
                }
            }
        };
        let witnesses = seen.all();
        Executed { case: case.id, level: case.level, subject: about, seed, took: began.elapsed(), witnesses, outcome }
    }
}

/// What a panic has said.
fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// What has happened while a case ran.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<BTreeSet<&'static str>>>);

impl Seen {
    pub(crate) fn note(&self, witness: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(witness);
    }

    fn has(&self, witness: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(witness)
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// Runs everything, one case after the other. For those who have a runner of their own; call it on a runtime of several threads.
///
/// Errors: those of opening a subject, before any case has run.
pub async fn run(suite: Suite) -> Result<Report, Error> {
    let plan = suite.plan().await?;
    let planned = plan.len();
    let mut executed = Vec::with_capacity(planned);
    for one in plan {
        executed.push(one.execute().await);
    }
    Ok(Report::new(suite.seed, planned, executed, &suite.known))
}

/// The `main` of a test without harness: each case is a test, with the arguments that `cargo test` and nextest know.
///
/// Started as [another process](process), it is one, and does not return.
pub fn main_of(suite: Suite) -> ExitCode {
    process::serve();
    keep_own_panics_from_the_screen();
    let mut arguments = Arguments::from_args();
    // As the harness of Rust's own tests does.
    let threads = || std::env::var("RUST_TEST_THREADS").ok()?.parse().ok();
    arguments.test_threads = arguments.test_threads.or_else(threads);
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => return harness_error(&error),
    };
    let mut plan = match runtime.block_on(suite.plan()) {
        Ok(plan) => plan,
        Err(error) => return harness_error(&error),
    };
    if plan.is_empty() {
        eprintln!("nothing is certified: the suite names no subject, or none of its cases");
        return ExitCode::from(3);
    }
    let known = Arc::new(suite.known);
    let stale = known.stale(plan.iter().map(|one| (one.case.id, one.about.name.as_str())));
    if !stale.is_empty() {
        eprintln!("the file of known failures names what does not run, or what has expired: {}", stale.join("; "));
        return ExitCode::from(1);
    }
    // The time of a soak is that of the whole, and so many cases run at once.
    let threads = arguments.test_threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let threads = threads.and_then(|threads| u32::try_from(threads).ok()).unwrap_or(1);
    plan.iter_mut().for_each(|one| one.part *= threads);
    let planned = plan.len();
    let all: Arc<Mutex<Vec<Executed>>> = Arc::default();
    let trials = plan.into_iter().map(|one| {
        let name = format!("{}::{}", one.about.name, one.case.id);
        let (runtime, known, all) = (runtime.clone(), known.clone(), all.clone());
        Trial::test(name.clone(), move || {
            let full = if one.budget == Budget::Full { "EIDETICA_BUDGET=full " } else { "" };
            let executed = runtime.block_on(one.execute());
            let again =
                format!("again: EIDETICA_SEED={} {full}cargo test{} -- --exact '{name}'", executed.seed, this_test());
            let why = known.judge(&executed);
            let sentence = executed.sentence();
            all.lock().unwrap_or_else(PoisonError::into_inner).push(executed);
            match why {
                None => Ok(()),
                Some(why) => Err(Failed::from(format!("{why}\nthe contract says: {sentence}\n{again}"))),
            }
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(mut path) = std::env::var_os("EIDETICA_REPORT").map(PathBuf::from) {
        if path.is_dir() {
            path.push(std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "report".to_owned()) + ".json");
        }
        let executed = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
        let report = Report::new(suite.seed, planned, executed, &known);
        if let Err(error) = report.write(&path) {
            return harness_error(&error);
        }
    }
    // A subject that never answers must not keep the test from ending.
    conclusion.exit()
}

/// A case fails by a panic, which is told as its outcome, and a service panics because it is told to.
fn keep_own_panics_from_the_screen() {
    let own = file!().trim_end_matches("run.rs");
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().starts_with(own)) {
            others(panic);
        }
    }));
}

/// How cargo is told to run this test alone: ` -p CRATE --test NAME`, as far as that is known.
fn this_test() -> String {
    let package = std::env::var("CARGO_PKG_NAME").map(|name| format!(" -p {name}")).unwrap_or_default();
    let program = std::env::current_exe().ok();
    // `NAME-HASH`, as cargo calls it.
    let name = program.as_deref().and_then(|path| path.file_stem()?.to_str()?.rsplit_once('-'));
    package + &name.map(|(name, _)| format!(" --test {name}")).unwrap_or_default()
}

fn harness_error(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("the suite cannot begin: {error}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A soak goes on with new seeds for its time; anything else runs once, with the seed of the run.
    #[tokio::test]
    async fn a_soak_repeats_with_new_seeds() {
        let suite = || Suite::new().backend("memory:").only("backend.commit.empty").seed(7);
        let once = run(suite().budget(Budget::Quick)).await.unwrap();
        assert_eq!((once.executed.len(), once.executed[0].seed), (1, 7));
        let began = Instant::now();
        let soaked = run(suite().budget(Budget::Soak(Duration::from_millis(200)))).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200) && soaked.certifies());
        assert!(soaked.executed[0].seed > 7, "it ran once");
    }
}
