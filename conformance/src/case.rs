//! Cases: what is checked, and which sentence of a contract says so.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use eidetica_contract::{Capabilities, TransportInfo};
use serde::Serialize;

#[cfg(feature = "network")]
use crate::network;
use crate::{backend, transport};

/// One thing that an implementation must, or should, do.
#[derive(Clone, Copy)]
pub struct Case {
    /// The name of the case, by which it is run, repeated and known: `backend.commit.is-atomic`.
    pub id: &'static str,
    /// How bad failing is.
    pub level: Level,
    /// Runs on subjects that declare this.
    pub need: Option<Need>,
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
}

/// Which contract a case belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// [`Backend`](eidetica_contract::Backend).
    Backend,
    /// [`Transport`](eidetica_contract::Transport).
    Transport,
    /// Whole nodes on a backend and a transport, or on several.
    Network,
}

pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a case does. It fails by panicking.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    Backend(fn(backend::Ground) -> Running),
    Transport(fn(transport::Ground) -> Running),
    #[cfg(feature = "network")]
    Network(fn(network::Ground) -> Running),
}

impl Case {
    /// Which contract the case belongs to.
    pub fn area(&self) -> Area {
        match self.run {
            Run::Backend(_) => Area::Backend,
            Run::Transport(_) => Area::Transport,
            #[cfg(feature = "network")]
            Run::Network(_) => Area::Network,
        }
    }

    /// True if the case runs on a backend that declares this.
    pub fn fits_backend(&self, can: &Capabilities) -> bool {
        let declares = |need| match need {
            Need::Durable => can.durable,
            Need::Shared => can.shared,
            Need::Exclusive => can.durable && !can.shared,
            Need::Compact => can.compact,
            Need::Check => can.check,
            Need::ProvesIdentity => false,
        };
        self.area() == Area::Backend && self.need.is_none_or(declares) && !self.unless.is_some_and(declares)
    }

    /// True if the case runs on a network whose nodes all keep what was flushed, or do not.
    #[cfg(feature = "network")]
    pub fn fits_network(&self, durable: bool) -> bool {
        self.area() == Area::Network && self.need.is_none_or(|need| need == Need::Durable && durable)
    }

    /// True if the case runs on a transport that says this of itself.
    pub fn fits_transport(&self, info: &TransportInfo) -> bool {
        let declares = |need| need == Need::ProvesIdentity && info.proves_identity;
        self.area() == Area::Transport && self.need.is_none_or(declares) && !self.unless.is_some_and(declares)
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
    #[cfg(feature = "network")]
    let cases = cases.chain(network::CASES.iter().copied());
    cases.flatten()
}

/// Writes a case as data: `case!(Backend, must "backend.commit.is-atomic", "The sentence.", is_atomic)`, and behind it
/// `need Durable`, `unless Check`, `sees ["conflict"]`, in this order.
macro_rules! case {
    ($area:ident, $level:ident $id:literal, $sentence:literal, $run:path
        $(, need $need:ident)? $(, unless $unless:ident)? $(, sees [$($witness:literal),+])?) => {
        $crate::Case {
            id: $id,
            level: $crate::case::level::$level,
            need: $crate::case::maybe!($($need)?),
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
