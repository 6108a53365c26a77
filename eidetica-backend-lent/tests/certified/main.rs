//! What is borrowed is a backend as any other: a store of redb, lent, and certified through the loan.

mod lent;

use std::process::ExitCode;

use eidetica_conformance::{Suite, main_of};

fn main() -> ExitCode {
    main_of(Suite::new().backend_subject(lent::Lent))
}
