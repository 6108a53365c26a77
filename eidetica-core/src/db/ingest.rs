//! What becomes of entries that arrive.

use std::fmt;

use crate::auth::Denied;
use crate::entry::Rejected;
use crate::id::Id;

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is in, and applied; or it is void, and in for something that counts, stands on it, and is about to follow.
    Accepted,
    /// It was in already.
    Known,
    /// It was in already, and brought bodies that were missing.
    Completed,
    /// It waits. Nothing is wrong with it as far as can be told.
    Parked(Parked),
    /// It waits no longer: the area for waiting entries is full. It may be offered again at any time.
    Deferred,
    /// Its author could have written it, and yet it does not count: a removal or a lowering of its author, or of who gave its
    /// author the right, has overtaken it, and nothing that counts stands on it. It is not in, and may be offered again at
    /// any time: what has overtaken it may fall.
    Void,
    /// It will never be in, here or anywhere.
    Refused(Refused),
}

/// What an entry waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parked {
    /// These entries, which are below it.
    Parents(Vec<Id>),
    /// The clock here: its time is further ahead than is allowed.
    Future,
    /// The body of its settings delta. It is not kept; offer it again with the body.
    Settings,
    /// A program that knows its format version. It is not kept; update and ask for it again.
    NewerVersion(u64),
    /// Fewer heads: more concurrent branches are open than this node carries. It is not kept; offer it again later.
    Heads,
}

/// Why an entry is refused, everywhere and for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The bytes are no entry.
    Malformed(Rejected),
    /// It belongs to another database, or is a second root.
    ForeignDatabase,
    /// Its height is not one more than the greatest of its parents.
    WrongHeight,
    /// Its time is not greater than that of every parent.
    NotAfterParents,
    /// Its author had no right to write it.
    Denied(Denied),
    /// An entry below it was refused.
    AboveRefused(Id),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Malformed(reason) => reason.fmt(f),
            Refused::ForeignDatabase => f.write_str("it belongs to another database"),
            Refused::WrongHeight => f.write_str("its height is not one more than that of its highest parent"),
            Refused::NotAfterParents => f.write_str("its time is not greater than that of every parent"),
            Refused::Denied(reason) => reason.fmt(f),
            Refused::AboveRefused(id) => write!(f, "the entry {id} below it was refused"),
        }
    }
}
