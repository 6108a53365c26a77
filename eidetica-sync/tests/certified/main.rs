//! The transport in memory, certified.

mod memory;

use std::process::ExitCode;

use eidetica_conformance::{Suite, main_of};

fn main() -> ExitCode {
    main_of(Suite::new().transport_subject(memory::Memory::new()))
}
