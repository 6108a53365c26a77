//! The suite, tested: that it checks what the contracts say, and that the README says what it checks.

mod grid;
mod places;
mod sentences;
mod suite;
