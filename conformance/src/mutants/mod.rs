//! Implementations with one defect each, to see that the cases notice.
//!
//! Around [`Lasting`], a backend in memory that lasts as a file does, around the transport in memory of `eidetica-sync`, and around whole
//! nodes on both stands a layer that does one thing wrong; [`DiskMutant`] is a file that processes open, and there are kinds of stores. [`kills`] runs on each the cases
//! that are named for it. What has to be so:
//!
//! 1. without a defect everything passes ([`references`]);
//! 2. each defect is caught by the cases that are named for it;
//! 3. each `must` case catches at least one defect.

mod backend;
mod kind;
mod lasting;
#[cfg(feature = "network")]
mod network;
mod on_disk;
mod transport;

pub use backend::{BackendDefect, BackendMutant};
pub use kind::KindDefect;
pub use lasting::Lasting;
#[cfg(feature = "network")]
pub use network::{NetworkDefect, NetworkMutant};
pub(crate) use on_disk::open_elsewhere;
pub use on_disk::{DiskDefect, DiskMutant};
pub use transport::{TransportDefect, TransportMutant};

use std::collections::BTreeSet;
use std::sync::Arc;

use eidetica_contract::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{Suite, run};

/// How many mutants are at work at once.
const AT_ONCE: usize = 16;

/// A defect and the cases that caught it.
#[derive(Clone, Debug)]
pub struct Kill {
    /// What is wrong.
    pub defect: String,
    /// The cases that must catch it.
    pub named: &'static [&'static str],
    /// The cases that did.
    pub caught: BTreeSet<&'static str>,
}

impl Kill {
    /// Cases that are named for the defect and have let it pass.
    pub fn escaped(&self) -> Vec<&'static str> {
        self.named.iter().copied().filter(|case| !self.caught.contains(case)).collect()
    }
}

/// The implementations without a defect, on which everything must pass. Files and networks run the cases that they are for.
pub fn references() -> Vec<Suite> {
    let files =
        [false, true].into_iter().fold(Suite::new(), |suite, shared| suite.backend_subject(DiskMutant::sound(shared)));
    let opening = Suite::new().backend_subject(DiskMutant::sound(false)).only("backend.opening");
    let mut suites = vec![files.backend("memory:").only("backend.process"), opening, kind::references()];
    #[cfg(feature = "network")]
    suites.push(NetworkMutant::sound().suite());
    let mut suite = Suite::new();
    for shared in [false, true] {
        for jobs in [false, true] {
            suite = suite.backend_subject(BackendMutant::sound(shared, jobs));
        }
    }
    for proves in [false, true] {
        suite = suite.transport_subject(TransportMutant::sound(proves));
    }
    suites.push(suite);
    suites
}

/// Runs on each mutant the cases that are named for it, or all of its area. Several mutants at once: most cases wait.
///
/// Errors: those of opening a mutant.
pub async fn kills(all: bool) -> Result<Vec<Kill>, Error> {
    let mut under_way = JoinSet::new();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    for (defect, named) in backend::ALL {
        let suite = move || Suite::new().backend_subject(BackendMutant::new(*defect));
        under_way.spawn(kill(format!("{defect:?}"), named, suite, all, permits.clone()));
    }
    for (defect, named) in transport::ALL {
        let suite = move || Suite::new().transport_subject(TransportMutant::new(*defect));
        under_way.spawn(kill(format!("{defect:?}"), named, suite, all, permits.clone()));
    }
    for (defect, named) in on_disk::ALL {
        let suite = move || Suite::new().backend_subject(DiskMutant::new(*defect));
        under_way.spawn(kill(format!("{defect:?}"), named, suite, all, permits.clone()));
    }
    for (defect, named) in kind::ALL {
        let suite = move || kind::suite(*defect);
        under_way.spawn(kill(format!("{defect:?}"), named, suite, all, permits.clone()));
    }
    #[cfg(feature = "network")]
    for (defect, named) in network::ALL {
        let suite = move || NetworkMutant::new(*defect).suite();
        under_way.spawn(kill(format!("{defect:?}"), named, suite, all, permits.clone()));
    }
    let mut kills = under_way.join_all().await.into_iter().collect::<Result<Vec<Kill>, Error>>()?;
    kills.sort_by(|one, other| one.defect.cmp(&other.defect));
    Ok(kills)
}

async fn kill(
    defect: String,
    named: &'static [&'static str],
    suite: impl Fn() -> Suite + Send + 'static,
    all: bool,
    permits: Arc<Semaphore>,
) -> Result<Kill, Error> {
    let _permit = permits.acquire_owned().await;
    let mut caught = BTreeSet::new();
    let parts: Vec<&str> = if all { vec![""] } else { named.to_vec() };
    for part in parts {
        let report = run(suite().only(part)).await?;
        caught.extend(report.executed.iter().filter(|one| !one.outcome.is_good()).map(|one| one.case));
    }
    Ok(Kill { defect, named, caught })
}
