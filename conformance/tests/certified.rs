//! The backends and transports of this workspace, certified: each case is a test.

mod suite;

fn main() -> std::process::ExitCode {
    eidetica_conformance::main_of(suite::suite())
}
