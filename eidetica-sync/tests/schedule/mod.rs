//! The schedule: single cases, and random events against what must always hold.

mod failures;
mod kit;
mod lanes;
mod rhythm;
mod watches;
