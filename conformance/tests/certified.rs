//! Whole nodes on all backends and transports of this workspace and of the template, certified: each case is a test. What a crate
//! provides alone it certifies in its own `tests/certified`.

mod suite;

fn main() -> std::process::ExitCode {
    eidetica_conformance::main_of(suite::together())
}
