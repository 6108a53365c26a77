//! Who may read what, and how to ask for it.
//!
//! * A **grant** ([`Grant`]) is what a user key signs once, so that a device may carry a database for it: sync then needs no
//!   unlocked key, and nobody logged in. [`Grants`] keeps those of this device; a [`Claim`] is one as it travels.
//! * [`may_read`] and [`may_list`] are the one place that decides whether a caller may read. They go by the settings of the
//!   database as they are now, and are cheap enough to be asked again whenever these may have changed.
//! * A **request** ([`Request`]) asks the admins of a database for a right. The side that is asked keeps it in its [`Book`],
//!   bounded and for a time, until an admin decides; the side that asks remembers it ([`AskedRequests`]), so that
//!   a later sync completes by itself.
//!
//! `docs/spec/wire.md`, chapters 10 and 11, has every byte.

mod answer;
mod asked;
mod book;
mod decide;
mod filing;
mod grant;
mod invitation;
mod kept;
mod limits;
mod reader;
mod request;
mod rows;

pub use answer::{Answer, MAX_REASON, RequestId};
pub use asked::{Asked, AskedRequests};
pub use book::{Book, BootstrapRequest, RequestState};
pub use filing::{Filed, Filing};
pub use grant::{Claim, Grant, MAX_CLAIMS, Scope};
pub use invitation::Invitation;
pub use kept::Grants;
pub use limits::BookLimits;
pub use reader::{Reader, Shown, may_list, may_read, was_removed};
pub use request::{MAX_METADATA, MAX_NAME, MAX_PAIR_NAME, MAX_PAIRS, Request, Wanted};
