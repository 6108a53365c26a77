//! Entries: a signed header, and the bodies that it commits to.
//!
//! `docs/spec/entry.md` states every byte. An entry comes into being in two ways only: [`VerifiedEntry::sign`] for what
//! is written here, [`verify`] for what arrives; everything behind the door of the database takes a [`VerifiedEntry`].

mod header;
mod verified;

pub use header::{Header, Origin, StoreDelta};
pub use verified::{Body, RawEntry, Rejected, VerifiedEntry, verify};
