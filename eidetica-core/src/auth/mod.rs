//! Who may do what: rights, the settings that grant and limit them, and the door that every entry passes.
//!
//! The rules are those of sections 1 and 2 of the permission rules, restated in `ARCHITECTURE.md`: a right is computed from
//! the settings entries below an entry and from nothing else.

mod delta;
mod door;
mod right;
mod rights;

pub(crate) use delta::Settings;
pub use delta::{Setting, SettingsDelta, Subject};
pub use door::Denied;
pub(crate) use door::admit;
pub use right::{Permission, Right};
pub(crate) use rights::Rights;

/// The name of the store that holds the settings of a database.
pub const STORE: &str = "_settings";
/// The name of its kind, which no other store has.
pub const KIND: &str = "settings";
