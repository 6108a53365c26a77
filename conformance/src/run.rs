//! Running cases: the plan first, then all of it.

use std::any::Any;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eidetica_contract::{Error, ErrorKind};
use eidetica_core::SecretKey;
use eidetica_core::store::Semilattice;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::case::{Run, cases};
use crate::known::KnownFailures;
#[cfg(feature = "network")]
use crate::network;
use crate::report::{Executed, Outcome, Report, Subject};
use crate::subject::build;
use crate::{
    BackendSubject, Case, Dice, KindSubject, TransportSubject, UrlBackend, UrlTransport, backend, kind, process, seed,
    transport,
};

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// About a minute for a subject on two cores.
    Quick,
    /// Some minutes.
    Full,
    /// So long: the cases have equal parts of it, and each repeats the quick level with new seeds until its part is over, or it fails.
    Soak(Duration),
}

impl Budget {
    /// What the environment asks for: `full`, `soak` (ten minutes), `soak:SECONDS`.
    fn of_run() -> Result<Budget, Error> {
        let Ok(asked) = std::env::var("EIDETICA_BUDGET") else { return Ok(Budget::Quick) };
        let soak = asked.strip_prefix("soak:").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        match (asked.as_str(), soak) {
            ("" | "quick", _) => Ok(Budget::Quick),
            ("full", _) => Ok(Budget::Full),
            ("soak", _) => Ok(Budget::Soak(Duration::from_secs(600))),
            (_, Some(time)) => Ok(Budget::Soak(time)),
            _ => {
                let message = "EIDETICA_BUDGET is `quick`, `full`, `soak` or `soak:SECONDS`";
                Err(Error::new(ErrorKind::InvalidInput, message).with("budget", asked))
            }
        }
    }
}

/// What is certified, and how.
pub struct Suite {
    backends: Vec<Arc<dyn BackendSubject>>,
    transports: Vec<Arc<dyn TransportSubject>>,
    kinds: Vec<Arc<dyn kind::Kind>>,
    #[cfg(feature = "network")]
    networks: Vec<network::Parts>,
    known: KnownFailures,
    budget: Budget,
    /// How long whole nodes may take for one thing. A case may take twice as long.
    patience: Duration,
    seed: u64,
    only: Option<String>,
    on: Option<String>,
    problem: Option<Error>,
}

impl Default for Suite {
    fn default() -> Suite {
        Suite::new()
    }
}

impl Suite {
    /// Nothing yet. The seed is that of `EIDETICA_SEED`, else a new one. `EIDETICA_BUDGET=full` does more than the quick level, and
    /// `EIDETICA_BUDGET=soak:SECONDS` does that again and again; a budget of another name fails the run.
    pub fn new() -> Suite {
        let (budget, problem) = match Budget::of_run() {
            Ok(budget) => (budget, None),
            Err(problem) => (Budget::Quick, Some(problem)),
        };
        Suite {
            backends: Vec::new(),
            transports: Vec::new(),
            kinds: Vec::new(),
            #[cfg(feature = "network")]
            networks: Vec::new(),
            known: KnownFailures::default(),
            budget,
            patience: Duration::from_secs(60),
            seed: seed::of_run(),
            only: None,
            on: None,
            problem,
        }
    }

    /// Adds a backend that is opened by URL; `{tmp}` in it stands for a new directory.
    #[must_use]
    pub fn backend(self, url: impl Into<String>) -> Suite {
        self.backend_subject(UrlBackend::new(url))
    }

    /// Adds a backend.
    #[must_use]
    pub fn backend_subject(mut self, subject: impl BackendSubject) -> Suite {
        self.backends.push(Arc::new(subject));
        self
    }

    /// Adds a transport by scheme and address to bind, such as `http:127.0.0.1:0`.
    #[must_use]
    pub fn transport(self, url: impl Into<String>) -> Suite {
        self.transport_subject(UrlTransport::new(url))
    }

    /// Adds a transport.
    #[must_use]
    pub fn transport_subject(mut self, subject: impl TransportSubject) -> Suite {
        self.transports.push(Arc::new(subject));
        self
    }

    /// Adds a kind of store.
    #[must_use]
    pub fn kind(mut self, subject: impl KindSubject) -> Suite {
        self.kinds.push(kind::erased(subject));
        self
    }

    /// Adds the kind of store that a semilattice makes, by a function that makes states of it, as the dice fall.
    #[must_use]
    pub fn lattice<L: Semilattice + 'static>(
        mut self,
        any: impl Fn(&mut Dice) -> L + Clone + Send + Sync + 'static,
    ) -> Suite {
        self.kinds.push(kind::lattice(any));
        self
    }

    /// Adds whole nodes on every pair of these backends and transports, by URL, and on all of them mixed if there are several.
    #[cfg(feature = "network")]
    #[must_use]
    pub fn network<'a>(
        self,
        backends: impl IntoIterator<Item = &'a str>,
        transports: impl IntoIterator<Item = &'a str>,
    ) -> Suite {
        self.network_of(
            backends.into_iter().map(|url| Arc::new(UrlBackend::new(url)) as Arc<_>).collect(),
            transports.into_iter().map(|url| Arc::new(UrlTransport::new(url)) as Arc<_>).collect(),
        )
    }

    /// The same with subjects of any kind.
    #[cfg(feature = "network")]
    #[must_use]
    pub fn network_of(
        mut self,
        backends: Vec<Arc<dyn BackendSubject>>,
        transports: Vec<Arc<dyn TransportSubject>>,
    ) -> Suite {
        for backend in &backends {
            for transport in &transports {
                let (backends, transports) = (vec![backend.clone()], vec![transport.clone()]);
                self.networks.push(network::Parts { backends, transports, without: None });
            }
        }
        if backends.len() > 1 || transports.len() > 1 {
            self.networks.push(network::Parts { backends, transports, without: None });
        }
        self
    }

    /// Whole nodes that do not do something.
    #[cfg(all(feature = "network", feature = "teeth"))]
    pub(crate) fn network_without(mut self, parts: network::Parts) -> Suite {
        self.networks.push(parts);
        self
    }

    /// Gives up sooner on what does not come.
    #[cfg(feature = "teeth")]
    pub(crate) fn patience(mut self, patience: Duration) -> Suite {
        self.patience = patience;
        self
    }

    /// What would run: subject and case.
    ///
    /// Errors: those of opening a subject.
    pub async fn planned_cases(&self) -> Result<Vec<(String, &'static Case)>, Error> {
        Ok(self.plan().await?.into_iter().map(|one| (one.about.name, one.case)).collect())
    }

    /// Reads which cases are known to fail; see [`KnownFailures`]. A file that cannot be read fails the run.
    #[must_use]
    pub fn known_failures(mut self, path: impl AsRef<std::path::Path>) -> Suite {
        match KnownFailures::read(path.as_ref()) {
            Ok(known) => self.known = known,
            Err(error) => self.problem = Some(error),
        }
        self
    }

    /// Does more, or less.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Suite {
        self.budget = budget;
        self
    }

    /// Repeats the run that had this seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Suite {
        self.seed = seed;
        self
    }

    /// Runs the cases whose id begins so.
    #[must_use]
    pub fn only(mut self, beginning: impl Into<String>) -> Suite {
        self.only = Some(beginning.into());
        self
    }

    /// Runs on the subject of this name alone, as a report names it.
    #[must_use]
    pub fn subject(mut self, name: impl Into<String>) -> Suite {
        self.on = Some(name.into());
        self
    }

    /// What will run, on the subjects as they declare themselves.
    async fn plan(&self) -> Result<Vec<Planned>, Error> {
        if let Some(problem) = &self.problem {
            return Err(Error::new(problem.kind(), problem.message().to_owned()));
        }
        let mut plan = Vec::new();
        let wanted = |case: &Case| self.only.as_ref().is_none_or(|only| case.id.starts_with(only.as_str()));
        for subject in &self.backends {
            let place = subject.fresh().await?;
            let store = place.open().await?;
            let can = store.info().capabilities;
            store.close().await?;
            let elsewhere = process::can_be_started() && place.elsewhere().is_some();
            let declares = serde_json::json!({
                "durable": can.durable, "shared": can.shared, "compact": can.compact, "check": can.check,
            });
            let about = Subject { name: subject.name(), declares };
            let fitting = cases().filter(|case| case.fits_backend(&can, elsewhere) && wanted(case));
            plan.extend(fitting.map(|case| self.planned(case, &about, Made::Backend(subject.clone()))));
        }
        for subject in &self.transports {
            let transport = build(subject.dialling()?, &SecretKey::from_seed(&[1; 32])).await?;
            let info = transport.info();
            transport.close().await?;
            let one_place = subject.one_place()?.is_some();
            let declares = serde_json::json!({
                "scheme": info.scheme, "max_message": info.max_message, "proves_identity": info.proves_identity,
            });
            let about = Subject { name: subject.name(), declares };
            let fitting = cases().filter(|case| case.fits_transport(&info, one_place) && wanted(case));
            plan.extend(fitting.map(|case| self.planned(case, &about, Made::Transport(subject.clone()))));
        }
        for kind in &self.kinds {
            let (join, cells) = (kind.join().is_some(), kind.is_of_cells());
            let declares = serde_json::json!({ "join": join, "cells": cells });
            let about = Subject { name: kind.name().to_owned(), declares };
            let fitting = cases().filter(|case| case.fits_kind(join, cells) && wanted(case));
            plan.extend(fitting.map(|case| self.planned(case, &about, Made::Kind(kind.clone()))));
        }
        #[cfg(feature = "network")]
        for parts in &self.networks {
            let mut durable = true;
            for backend in &parts.backends {
                let place = backend.fresh().await?;
                let store = place.open().await?;
                durable &= store.info().capabilities.durable;
                store.close().await?;
            }
            let about = Subject { name: parts.name(), declares: serde_json::json!({ "durable": durable }) };
            let fitting = cases().filter(|case| case.fits_network(durable) && wanted(case));
            plan.extend(fitting.map(|case| self.planned(case, &about, Made::Network(parts.clone()))));
        }
        plan.retain(|one: &Planned| self.on.as_ref().is_none_or(|on| one.about.name == *on));
        let cases = u32::try_from(plan.len()).unwrap_or(u32::MAX).max(1);
        plan.iter_mut().for_each(|one| one.part /= cases);
        Ok(plan)
    }

    fn planned(&self, case: &'static Case, about: &Subject, made: Made) -> Planned {
        let (about, seed, patience) = (about.clone(), self.seed, self.patience);
        let (budget, part) = match self.budget {
            Budget::Soak(time) => (Budget::Quick, time),
            budget => (budget, Duration::ZERO),
        };
        Planned { case, about, made, seed, budget, part, patience }
    }
}

/// A case on a subject.
#[derive(Clone)]
struct Planned {
    case: &'static Case,
    about: Subject,
    made: Made,
    seed: u64,
    budget: Budget,
    /// For how long it repeats.
    part: Duration,
    patience: Duration,
}

#[derive(Clone)]
enum Made {
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
            let again = format!("again: EIDETICA_SEED={} {full}cargo test -- --exact '{name}'", executed.seed);
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
    if let Some(path) = std::env::var_os("EIDETICA_REPORT") {
        let executed = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
        let report = Report::new(suite.seed, planned, executed, &known);
        if let Err(error) = report.write(std::path::Path::new(&path)) {
            return harness_error(&error);
        }
    }
    // A subject that never answers must not keep the test from ending.
    conclusion.exit()
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
