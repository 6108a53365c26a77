//! When to sync which database with which peer.
//!
//! A [`Schedule`] does no I/O, reads no clock and draws no random numbers: it is told what happens and when, and says what to do.
//! It knows *lanes*: a database and a peer that it is synced with. On a lane there is one round at a time, in
//! which both sides come to the same state. What to send is computed in the round, never kept in a queue, so nothing is
//! lost that was not sent, and nothing is dropped after any number of failures.
//!
//! A round begins because the lane is new, something was written here or came from elsewhere, the peer has news, an
//! interval has passed, or somebody asks. What happens during a round makes one more follow. After a failure to reach a peer
//! all of its lanes wait; after a failure that concerns a database, its lane alone. Peers that do not answer have places
//! of their own, and take none from those that do.
//!
//! ```
//! use std::time::Duration;
//! use eidetica_contract::PublicKey;
//! use eidetica_core::Id;
//! use eidetica_sync::schedule::{Done, Effect, End, Schedule, ScheduleOptions, Wish};
//!
//! let (peer, database) = (PublicKey::from_bytes([1; 32]), Id::from_bytes([2; 32]));
//! let mut now = Duration::ZERO;
//! let mut schedule = Schedule::new(ScheduleOptions::default());
//! schedule.set_wish(now, database, Some(Wish::every(Duration::from_secs(60))));
//! schedule.set_dialable(now, peer, true);
//! schedule.relate(now, peer, database);
//!
//! // A new lane is synced at once, and then at its interval.
//! let effects = schedule.poll(now);
//! let [Effect::Start { round, .. }] = effects[..] else { panic!("{effects:?}") };
//! schedule.ended(now, round, End::Done(Done { complete: true, ..Done::default() }), &mut || 0);
//! assert!(schedule.poll(now).is_empty());
//! now = schedule.next_wake().expect("an interval");
//! assert_eq!(now, Duration::from_secs(60));
//! assert!(matches!(schedule.poll(now)[..], [Effect::Start { .. }]));
//! ```

mod backoff;
mod data;
mod effect;
mod events;
mod look;
mod machine;
mod options;
mod places;
mod rounds;
mod status;
mod timers;
mod watches;
mod wish;

pub use effect::{Done, Effect, End, Failure, Lane, Mark, Progress, Reason, Reasons, RoundId, Scope};
pub use machine::Schedule;
pub use options::ScheduleOptions;
pub use status::{Busy, LaneState, LaneStatus, PeerStatus, Stop};
pub use wish::Wish;
