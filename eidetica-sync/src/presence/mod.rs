//! Who is here: small signed statements of devices that peers hand on while they last, and that are stored nowhere.
//!
//! A [`statement`] says that a device is here in a database, for a user, and carries a few bytes of the application; it lasts for
//! seconds. The [`hall`] knows whose statements last, and what is new for whom. What carries them lies with the
//! [`node`](crate::node); how they travel stands in `docs/spec/wire.md`, chapter 13.

mod hall;
mod places;
mod statement;

use std::time::Duration;

pub use hall::Departed;
pub(crate) use hall::{Brought, Due, Hall, News, Says, Seat, Speaker};
pub(crate) use statement::Statement;

/// The bit of the capabilities that says that a side takes part in this.
pub(crate) const CAPABILITY: u64 = 1;
/// The most bytes of the application in one statement.
pub const MAX_PAYLOAD: usize = 512;
/// The longest time that a statement may last.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60);
/// The most devices that a statement may pass on its way, the last one included.
pub const MAX_REACH: u8 = 4;
/// The most statements in one message.
pub(crate) const MAX_SAID: usize = 64;
/// How far the clock of a device may be from the one here for its statements to be believed.
pub(crate) const SKEW: Duration = Duration::from_secs(300);
/// The shortest time between two statements of one device in one database, and between two messages to one peer.
pub(crate) const GAP: Duration = Duration::from_millis(100);
