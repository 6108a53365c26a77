//! Cases: what is checked, and which sentence of a contract says so.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use eidetica_contract::{Capabilities, TransportInfo};
use serde::Serialize;

#[cfg(feature = "network")]
use crate::network;
use crate::{backend, kind, transport};

/// One thing that an implementation must, or should, do.
#[derive(Clone, Copy)]
pub struct Case {
    /// The name of the case, by which it is run, repeated and known: `backend.commit.is-atomic`.
    pub id: &'static str,
    /// How bad failing is.
    pub level: Level,
    /// Runs on subjects that declare all of this.
    pub needs: &'static [Need],
    /// Runs on subjects that do *not* declare this: checks that it is refused.
    pub unless: Option<Need>,
    /// The sentence that is checked, as it stands in the documentation of the contract. A test compares them.
    pub sentence: &'static str,
    /// What must have happened while the case ran, or it has shown nothing.
    pub witnesses: &'static [&'static str],
    pub(crate) run: Run,
}

/// How bad failing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Others rely on it.
    Must,
    /// It is what users expect.
    Should,
}

/// What a subject may declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// [`Capabilities::durable`].
    Durable,
    /// [`Capabilities::shared`].
    Shared,
    /// Lasts, and belongs to one process at a time.
    Exclusive,
    /// [`Capabilities::compact`].
    Compact,
    /// [`Capabilities::check`].
    Check,
    /// [`TransportInfo::proves_identity`].
    ProvesIdentity,
    /// Not declared, but found: [another process](crate::process) can be started, and
    /// [is told](crate::Place::elsewhere) where the store lies.
    Process,
    /// Not declared, but found: the store lies at a [path](crate::Place::path).
    Path,
    /// Not declared, but found: two transports can [listen at one place](crate::TransportSubject::one_place), one after the other.
    OnePlace,
    /// Not declared, but found: the kind is a [`Semilattice`](eidetica_core::store::Semilattice).
    Join,
    /// Not declared, but found: the kind is made of [`Cells`](eidetica_core::store::Cells), and not one of the engine's own.
    Cells,
}

/// Which contract a case belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// [`Backend`](eidetica_contract::Backend).
    Backend,
    /// [`Transport`](eidetica_contract::Transport).
    Transport,
    /// Kinds of stores: [`StoreType`](eidetica_core::store::StoreType) and [`Semilattice`](eidetica_core::store::Semilattice).
    Kind,
    /// Whole nodes on a backend and a transport, or on several.
    Network,
}

pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a case does. It fails by panicking.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    Backend(fn(backend::Ground) -> Running),
    Transport(fn(transport::Ground) -> Running),
    Kind(fn(kind::Ground) -> Running),
    #[cfg(feature = "network")]
    Network(fn(network::Ground) -> Running),
}

impl Case {
    /// Which contract the case belongs to.
    pub fn area(&self) -> Area {
        match self.run {
            Run::Backend(_) => Area::Backend,
            Run::Transport(_) => Area::Transport,
            Run::Kind(_) => Area::Kind,
            #[cfg(feature = "network")]
            Run::Network(_) => Area::Network,
        }
    }

    /// True if the case runs on a backend that declares this, whose stores another process can open or not, and lie at a path or do not.
    pub fn fits_backend(&self, can: &Capabilities, elsewhere: bool, at_path: bool) -> bool {
        let declares = |need| match need {
            Need::Durable => can.durable,
            Need::Shared => can.shared,
            Need::Exclusive => can.durable && !can.shared,
            Need::Compact => can.compact,
            Need::Check => can.check,
            Need::Process => elsewhere,
            Need::Path => at_path,
            Need::ProvesIdentity | Need::OnePlace | Need::Join | Need::Cells => false,
        };
        self.area() == Area::Backend && self.fits(declares)
    }

    /// True if the case runs on a network whose nodes all keep what was flushed, or do not.
    #[cfg(feature = "network")]
    pub fn fits_network(&self, durable: bool) -> bool {
        self.area() == Area::Network && self.fits(|need| need == Need::Durable && durable)
    }

    /// True if the case runs on a transport that says this of itself, and of which two can be at one place or not.
    pub fn fits_transport(&self, info: &TransportInfo, one_place: bool) -> bool {
        let declares = |need| match need {
            Need::ProvesIdentity => info.proves_identity,
            Need::OnePlace => one_place,
            _ => false,
        };
        self.area() == Area::Transport && self.fits(declares)
    }

    /// True if the case runs on a kind that is a semilattice, or made of cells.
    pub fn fits_kind(&self, join: bool, cells: bool) -> bool {
        let has = |need| (need == Need::Join && join) || (need == Need::Cells && cells);
        self.area() == Area::Kind && self.fits(has)
    }

    fn fits(&self, declares: impl Fn(Need) -> bool) -> bool {
        self.needs.iter().all(|need| declares(*need)) && !self.unless.is_some_and(declares)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// All cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    let cases = backend::CASES.iter().copied().chain(transport::CASES.iter().copied());
    let cases = cases.chain(kind::CASES.iter().copied());
    #[cfg(feature = "network")]
    let cases = cases.chain(network::CASES.iter().copied());
    cases.flatten()
}

/// Writes a case as data: `case!(Backend, must "backend.commit.is-atomic", "The sentence.", is_atomic)`, and behind it
/// `need Durable + Process`, `unless Check`, `sees ["conflict"]`, in this order.
macro_rules! case {
    ($area:ident, $level:ident $id:literal, $sentence:literal, $run:path
        $(, need $need:ident $(+ $more:ident)*)? $(, unless $unless:ident)? $(, sees [$($witness:literal),+])?) => {
        $crate::Case {
            id: $id,
            level: $crate::case::level::$level,
            needs: &[$($crate::Need::$need $(, $crate::Need::$more)*)?],
            unless: $crate::case::maybe!($($unless)?),
            sentence: $sentence,
            witnesses: &[$($($witness),+)?],
            run: $crate::case::Run::$area(|ground| Box::pin($run(ground))),
        }
    };
}
pub(crate) use case;

macro_rules! maybe {
    () => {
        None
    };
    ($need:ident) => {
        Some($crate::Need::$need)
    };
}
pub(crate) use maybe;

#[allow(non_upper_case_globals)]
pub(crate) mod level {
    use super::Level;

    pub(crate) const must: Level = Level::Must;
}
