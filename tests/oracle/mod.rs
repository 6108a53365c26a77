//! A naive oracle for what a database shows, and property tests against it.
//!
//! The oracle is given a set of entries and answers by the definitions of the rules: it walks all pairs of operations and
//! asks of each whether one saw the other. It shares with the core only the types of entries and deltas, and neither
//! remembers nor orders anything, so that a mistake in the core's bookkeeping cannot be in it too.
//!
//! * [`model`]: ancestors, the door; [`judge`]: rights, and what is effective; [`document`], [`rows`]: what the stores show.
//! * [`plan`], [`draft`], [`history`]: random histories of a few authors. [`deliver`]: random ways for them to arrive.
//! * [`check`]: a database against the oracle. [`witness`]: whether a history was worth it.
//! * [`property`], [`quarrels`], [`vectors`], [`switches`]: the tests.
//!
//! `EIDETICA_CASES` sets how many histories each property sees (256), `EIDETICA_SEED` which ones. Without it most are the same
//! at each run, and an eighth are new ones.

mod check;
mod deliver;
mod document;
mod draft;
mod history;
mod judge;
mod model;
mod plan;
mod property;
mod quarrels;
mod rows;
mod switches;
mod vectors;
mod witness;
