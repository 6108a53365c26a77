//! Certifies backends, transports and kinds of stores: whoever passes works with everything else.
//!
//! A backend, a transport or a kind of store is run through cases, each of which checks a sentence of its contract
//! ([`Backend`](eidetica_contract::Backend), [`Transport`](eidetica_contract::Transport),
//! [`StoreType`](eidetica_core::store::StoreType)). In a test of your own crate, with
//! `harness = false` in its `[[test]]` section, so that each case shows as a test:
//!
//! ```no_run
//! use my_backend as _; // linking it registers its scheme
//! # mod my_backend {}
//!
//! eidetica_conformance::main! {
//!     backend("mine:{tmp}/store"),
//! }
//! ```
//!
//! `{tmp}` stands for a new directory for each store and for each transport. A transport is named by scheme and the address to bind:
//! `transport("mine:127.0.0.1:0")`, `transport("mine:{tmp}/socket")`. What cannot be opened by URL is a [`BackendSubject`] or a [`TransportSubject`]; what has
//! a runner of its own calls [`run`] and reads the [`Report`]. For kinds of stores see [`kind`].
//!
//! # What is checked
//!
//! What a subject declares it can do is checked to work; a job that it does not declare, and an identity that it does not prove, is
//! checked to be refused. Cases of durability and of sharing run on those that declare them. A case that never came to see what it was made to look at has not passed ([`Outcome::Inconclusive`]).
//!
//! # Repeating
//!
//! What the cases of backends and transports choose at random derives from one seed, which every report names. `EIDETICA_SEED=… cargo test`, or
//! `eidetica-conformance replay CASE --subject URL --seed N`, repeats a run. Steps that once found a defect are kept, and
//! every backend goes through them ever after (`regressions/`).
//!
//! # Can it fail?
//!
//! The module `mutants` (feature `teeth`) holds implementations with one defect each. A test of this crate runs all of them: each must be caught by the cases
//! that are named for it, every `must` case must catch one, and the implementations without defect must pass.

pub mod backend;
mod case;
#[cfg(feature = "faults")]
pub mod faults;
pub mod kind;
mod known;
#[cfg(feature = "teeth")]
pub mod mutants;
#[cfg(feature = "network")]
mod network;
mod placed;
pub mod process;
pub mod proxy;
mod report;
mod run;
mod seed;
mod subject;
mod suite;
pub mod transport;

pub use case::{Area, Case, Level, Need, cases};
pub use kind::KindSubject;
pub use known::KnownFailures;
pub use report::{Executed, Outcome, Report};
pub use run::{main_of, run};
pub use seed::Dice;
pub use subject::{BackendSubject, Place, TransportSubject, UrlBackend, UrlTransport};
pub use suite::{Budget, Suite};

/// The whole of a test: certifies subjects by URL, each case as a test of its own.
///
/// See the [crate](crate) for an example. Each item is a method of [`Suite`] and its arguments: `known_failures("FILE")`, and with
/// the feature `network` `network(["mine:{tmp}/store"], ["mine:127.0.0.1:0"])`.
#[macro_export]
macro_rules! main {
    ($($kind:ident($($value:expr),+)),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            let suite = $crate::Suite::new()$(.$kind($($value),+))+;
            $crate::main_of(suite)
        }
    };
}

/// The example of the page for outsiders compiles.
#[cfg(all(doctest, feature = "network"))]
#[doc = include_str!("../../docs/certify.md")]
struct Page;
