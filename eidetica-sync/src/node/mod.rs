//! A node: everything that syncs the databases of one store.
//!
//! [`Syncer`] is what an application holds. Behind it, the [`desk`] answers what peers ask, and the [`driver`] does what
//! the [`Schedule`](crate::schedule::Schedule) says: begins rounds ([`talk`]) over [`links`], and watches peers for
//! [`news`]. What both have in common lies in [`shared`]. What other processes change in the same store comes in by
//! [`others`].

mod desk;
mod driver;
mod events;
mod farewells;
mod handle;
mod heralds;
mod links;
mod news;
mod others;
mod presence;
mod pulse;
mod reach;
mod round;
mod served;
mod shared;
mod state;
mod steps;
mod syncer;
mod talk;
mod transports;
mod welcomes;

pub(crate) use desk::Strangers as Pace;
pub use desk::{Rate, StrangerLimits};
pub use events::SyncEvent;
pub use handle::{SyncHandle, SyncReport, SyncState, SyncStatus, SyncedDatabase};
pub use presence::{Presence, PresenceEvent, Present};
pub use shared::Host;
pub use syncer::{SyncOptions, Syncer};
