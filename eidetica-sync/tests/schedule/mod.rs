//! The schedule: single cases, and random events against what must always hold.

mod failures;
mod kit;
mod lanes;
mod random;
mod rhythm;
mod watches;
