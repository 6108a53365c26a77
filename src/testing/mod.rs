//! Testing applications: whole devices in one process, connected with each other, on a clock that the test holds.
//!
//! What an application is built on is the real thing: stores, signatures, access, sessions, sync. In place of the rest stands what makes
//! tests quick and hard: a network in memory that can be cut, disks in memory that can crash, and a clock that goes on only when
//! everybody waits. So nothing takes time but work, and an hour of silence is over at once.
//!
//! ```
//! use eidetica::auth::Permission;
//! use eidetica::store::DocStore;
//! use eidetica::testing::{self, Testbed};
//!
//! # fn main() -> eidetica::Result<()> {
//! testing::run(async |testbed| {
//!     // Two devices, each with a user, who can reach each other.
//!     let (mut anna, ben) = testbed.pair().await?;
//!     let hers = anna.create_database("notes").await?;
//!     let his = anna.share(&hers, &ben, Permission::Write).await?;
//!
//!     // Both write while neither hears of the other.
//!     testbed.network().partition(&["anna"], &["ben"]);
//!     for (database, greeting) in [(&hers, "hello"), (&his, "good morning")] {
//!         let transaction = database.new_transaction().await?;
//!         transaction.get_store::<DocStore>("notes").await?.set("greeting", greeting).await?;
//!         transaction.commit().await?;
//!     }
//!
//!     testbed.network().heal();
//!     testing::in_step([&hers, &his]).await?;
//!     let shown = hers.get_store_viewer::<DocStore>("notes").await?.get("greeting").await?;
//!     assert_eq!(his.get_store_viewer::<DocStore>("notes").await?.get("greeting").await?, shown);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! [`run`] makes the runtime. Under `#[tokio::test(start_paused = true)]`, which is a feature of tokio (`test-util`), begin with
//! [`Testbed::new`] instead. On a clock that goes, all of this works as well, and takes its time.
//!
//! Behind the feature `testing`, which programs do not need: name it among the `dev-dependencies`.

mod peer;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::Result;
use eidetica_core::Time;
use eidetica_sync::sim::{self, World};

pub use eidetica_sync::sim::{Conditions, Delay, Network, Reach};
pub use peer::Peer;
pub use wait::{in_step, until};

/// What the randomness follows from where nobody says otherwise.
const SEED: u64 = 1;

/// Where devices of a test live: a network and a clock. Cheap to clone; all clones are the same.
///
/// ```
/// use eidetica::testing::Testbed;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> eidetica::Result<()> {
/// let (anna, ben) = Testbed::new().pair().await?;
/// assert_eq!(anna.sync.connect_to_peer(&ben.address()).await?, ben.instance.device_id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Testbed {
    world: Arc<World>,
}

impl Testbed {
    /// An empty one, on the clock of the runtime.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new() -> Testbed {
        Testbed::seeded(SEED)
    }

    /// One with other random numbers: keys, ids and what becomes of messages on a bad network follow from the seed.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn seeded(seed: u64) -> Testbed {
        Testbed { world: Arc::new(World::new(seed)) }
    }

    /// Two devices, `anna` and `ben`, that can reach each other. They share nothing yet; see [`Peer::share`].
    ///
    /// Errors: as for [`peer`](Testbed::peer).
    pub async fn pair(&self) -> Result<(Peer, Peer)> {
        Ok((self.peer("anna").await?, self.peer("ben").await?))
    }

    /// A device with an empty store and one user, both of this name, who has no password and is logged in. It can be reached, and reaches
    /// all others.
    ///
    /// Errors: `Locked` if there is a device of this name; `InvalidInput` for a name that a user cannot have: an empty one, one of more
    /// than 256 bytes, or with control characters.
    pub async fn peer(&self, name: &str) -> Result<Peer> {
        Peer::begin(self.clone(), name).await
    }

    /// The network, on which every message takes 10 ms until something else is said. Devices have there the names that they were made
    /// with.
    pub fn network(&self) -> &Network {
        &self.world.network
    }

    /// The true time, which the clocks of all devices show unless they are [set wrong](Peer::set_clock_ahead).
    pub fn now(&self) -> Time {
        self.world.clock.now()
    }

    /// Lets time pass. What is due meanwhile happens in its order; on a held clock it takes no longer than that.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }
}

impl Default for Testbed {
    fn default() -> Testbed {
        Testbed::new()
    }
}

/// Runs a test on a runtime of its own whose clock is held, and returns what it comes to.
///
/// # Panics
///
/// If the test does; and if it has worked for two minutes without coming to its end, or waits for what cannot come.
pub fn run<T, F>(test: impl FnOnce(Testbed) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    run_seeded(SEED, test)
}

/// The same with other random numbers; see [`Testbed::seeded`]. A test that fails says with which.
///
/// # Panics
///
/// As [`run`].
pub fn run_seeded<T, F>(seed: u64, test: impl FnOnce(Testbed) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    sim::run(seed, |world| test(Testbed { world: Arc::new(world) }))
}
