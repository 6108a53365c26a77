//! Who may do what: rights, the settings that grant and limit them, and the door that every entry passes.
//!
//! The rules stand in `docs/spec/permissions.md`. The door looks at what is below an entry and at nothing else; whether what
//! has passed it counts follows from the set of all entries.

mod delta;
mod door;
mod judge;
#[cfg(test)]
mod judge_tests;
mod own;
#[cfg(test)]
mod own_tests;
mod right;
mod rights;
mod standing;

pub(crate) use delta::Settings;
pub use delta::{Setting, SettingsDelta, Subject};
pub use door::Denied;
pub(crate) use door::{Admission, admit};
pub(crate) use judge::{Case, Need};
pub use right::{Permission, Right};
pub(crate) use rights::{Rights, SettingsEntry, changed};

/// The name of the store that holds the settings of a database.
pub const STORE: &str = "_settings";
/// The name of its kind, which no other store has.
pub const KIND: &str = "settings";
