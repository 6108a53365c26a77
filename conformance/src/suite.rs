//! What is certified, and what will run on it.

use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind};
use eidetica_core::SecretKey;
use eidetica_core::store::Semilattice;

use crate::case::cases;
use crate::known::KnownFailures;
#[cfg(feature = "network")]
use crate::network;
use crate::report::Subject;
use crate::run::{Made, Planned};
use crate::subject::{build, listens};
use crate::{BackendSubject, Case, Dice, KindSubject, TransportSubject, UrlBackend, UrlTransport, kind, process, seed};

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
    pub(crate) known: KnownFailures,
    budget: Budget,
    /// How long whole nodes may take for one thing. A case may take twice as long.
    patience: Duration,
    pub(crate) seed: u64,
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

    /// Adds a transport by scheme and address to bind, such as `http:127.0.0.1:0` or `mine:{tmp}/socket`; `{tmp}` stands for a new directory. Several listen at
    /// once, so each has to have another address.
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
    pub(crate) async fn plan(&self) -> Result<Vec<Planned>, Error> {
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
            let at_path = place.path().is_some_and(|path| path.exists());
            let declares = serde_json::json!({
                "durable": can.durable, "shared": can.shared, "compact": can.compact, "check": can.check,
            });
            let about = Subject { name: subject.name(), declares };
            let fitting = cases().filter(|case| case.fits_backend(&can, elsewhere, at_path) && wanted(case));
            plan.extend(fitting.map(|case| self.planned(case, &about, Made::Backend(subject.clone()))));
        }
        for subject in &self.transports {
            let transport = build(subject.dialling()?, &SecretKey::from_seed(&[1; 32])).await?;
            let info = transport.info();
            transport.close().await?;
            // What cannot listen would fail in every case, and in the same way.
            listens(subject.listening()?).await.map_err(|error| error.with("transport", subject.name()))?;
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
