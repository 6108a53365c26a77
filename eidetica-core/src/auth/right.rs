//! Rights and their order.

use std::fmt;

/// What an application asks for: to read, to write, or to change settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// May read.
    Read,
    /// May read and write.
    Write,
    /// May read, write and change settings. How strong an admin is stands in the priority of its key.
    Admin,
}

/// A right: `removed < none < Read < Write < Admin(0) < Admin(1) < …`.
///
/// ```
/// use eidetica_core::auth::{Permission, Right};
///
/// assert!(Right::REMOVED < Right::NONE && Right::NONE < Right::READ && Right::WRITE < Right::admin(0));
/// assert!(Right::admin(1) < Right::admin(2));
/// assert_eq!(Right::admin(7).permission(), Some(Permission::Admin));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right(i64);

impl Right {
    /// Removed: nothing, not even what everybody may.
    pub const REMOVED: Right = Right(-1);
    /// Nothing of its own.
    pub const NONE: Right = Right(0);
    /// To read.
    pub const READ: Right = Right(1);
    /// To write.
    pub const WRITE: Right = Right(2);

    /// To change settings, with this priority; greater is stronger.
    pub const fn admin(priority: u32) -> Right {
        Right(3 + priority as i64)
    }

    /// The number that stands for it in a settings delta: 0 none, 1 read, 2 write, 3 and more: admin of priority 0 and more.
    pub(crate) fn number(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    pub(crate) fn from_number(number: u64) -> Option<Right> {
        (number <= 3 + u64::from(u32::MAX)).then_some(Right(number as i64))
    }

    /// The priority, if it is that of an admin.
    pub fn priority(self) -> Option<u32> {
        u32::try_from(self.0 - 3).ok()
    }

    /// What it allows, if anything.
    pub fn permission(self) -> Option<Permission> {
        match self {
            Right::REMOVED | Right::NONE => None,
            Right::READ => Some(Permission::Read),
            Right::WRITE => Some(Permission::Write),
            _ => Some(Permission::Admin),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.priority()) {
            (_, Some(priority)) => write!(f, "admin of priority {priority}"),
            (Right::REMOVED, _) => f.write_str("removed"),
            (Right::NONE, _) => f.write_str("none"),
            (Right::READ, _) => f.write_str("read"),
            _ => f.write_str("write"),
        }
    }
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
