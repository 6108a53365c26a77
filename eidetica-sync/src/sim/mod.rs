//! A simulated world, for tests of whatever speaks the contracts: hundreds of days of bad network and failing disks in a
//! second, and the same again from the same seed.
//!
//! * [`run`](run()) runs a world on a paused clock, and says the seed of one that has failed.
//! * [`Network`] makes [transports](SimTransport) whose messages are lost, held back, sent twice and changed, under
//!   [`Conditions`] that may change at any time, and keeps a [trace](Event).
//! * [`Crashing`] is a backend that loses what was not flushed; [`Host`] has an engine on one.
//! * [`Clock`] and [`SimEnvironment`] are the time and the randomness of hosts; [`World::options`] has what else an engine needs
//!   to repeat itself.
//! * [`check`] finds out whether a database is as it must be, whatever has happened.
//! * [`InPlace`] lets a backend with threads of its own, such as SQLite, take part.
//!
//! Behind the feature `sim`, which programs do not need.

pub mod check;
mod conditions;
mod courier;
mod crash;
mod dice;
mod environment;
mod host;
mod in_place;
mod link;
mod network;
mod patience;
mod serve;
mod trace;
mod transport;
mod world;

pub use conditions::{Conditions, Delay, Reach};
pub use crash::{Crashing, Survived, copy_rows};
pub use dice::Dice;
pub use environment::{Clock, SimEnvironment};
pub use host::Host;
pub use in_place::{InPlace, in_place};
pub use network::Network;
pub use trace::{Event, Fate, Kind, Traffic};
pub use transport::SimTransport;
pub use world::{World, run, run_within, seeds};
