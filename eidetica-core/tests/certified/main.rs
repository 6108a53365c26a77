//! The store in memory and the kinds of stores that everybody has, certified.

mod kinds;

use std::process::ExitCode;

use eidetica_conformance::{Suite, main_of};

fn main() -> ExitCode {
    let suite = Suite::new().backend("memory:");
    main_of(suite.kind(kinds::Documents).kind(kinds::Tables).kind(kinds::Settings))
}
