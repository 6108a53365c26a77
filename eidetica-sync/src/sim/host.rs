//! A host: a name on the network, a clock, a disk, and an engine on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::Result;
use eidetica_core::{Engine, Memory, Options};

use super::conditions::Delay;
use super::crash::{Crashing, Survived};
use super::environment::SimEnvironment;
use super::network::Network;
use super::transport::SimTransport;
use super::world::World;

/// How long a flush takes at most.
const FLUSH: Duration = Duration::from_millis(20);

/// A host of a simulated world: an engine on a disk in memory, which may crash and be started again.
///
/// ```
/// use eidetica_core::{SecretKey, crdt::Doc};
/// use eidetica_sync::sim::{self, Host, check};
///
/// sim::run(7, async |world| {
///     let mut host = Host::start(&world, "anna").await.unwrap();
///     let key = SecretKey::generate(&*host.environment).unwrap();
///     let root = *host.engine.create_database(Doc::new(), &key).await.unwrap().root_id();
///     host.crash().await.unwrap();
///     let database = host.engine.open_database(&root, Some(key)).await.unwrap();
///     check::all(&database, &mut world.dice("check")).await.unwrap();
/// });
/// ```
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its clock and randomness, which it keeps.
    pub environment: Arc<SimEnvironment>,
    /// Its disk, as it is open now.
    pub disk: Crashing<Memory>,
    /// The engine that runs on it now.
    pub engine: Engine,
    options: Options,
    network: Network,
}

impl Host {
    /// Starts an engine on an empty disk, on which a flush takes up to 20 ms.
    ///
    /// Errors: those of [`Engine::open`].
    pub async fn start(world: &World, name: &str) -> Result<Host> {
        let environment = world.environment(name);
        let options = world.options(&environment);
        let seed = world.dice(&format!("disk of {name}")).number();
        let disk = Crashing::memory(seed).flush_takes(Delay::Between(Duration::ZERO, FLUSH));
        let engine = Engine::open(Box::new(disk.clone()), options.clone()).await?;
        Ok(Host { name: name.to_owned(), environment, disk, engine, options, network: world.network.clone() })
    }

    /// A transport of this host.
    pub fn transport(&self) -> SimTransport {
        self.network.transport(&self.name)
    }

    /// Crashes, on the network as well, and starts anew on what has survived. Handles from before answer
    /// [`Closed`](eidetica_contract::ErrorKind::Closed) to whatever needs the disk; those who hold them let go of them, and of their
    /// tasks.
    ///
    /// Errors: those of [`Engine::open`]. Cancellation: it has crashed, and does not run.
    pub async fn crash(&mut self) -> Result<Survived> {
        self.disk.crash();
        self.start_anew().await
    }

    /// Closes the engine, ends all else as a crash does, and starts anew.
    ///
    /// Errors: those of [`Engine::close`] and [`Engine::open`]. Cancellation: it may not run any more.
    pub async fn restart(&mut self) -> Result<()> {
        self.engine.close().await?;
        self.start_anew().await.map(drop)
    }

    async fn start_anew(&mut self) -> Result<Survived> {
        self.network.crash(&self.name);
        let before = self.disk.clone();
        self.disk = before.reopen().await?;
        self.engine = Engine::open(Box::new(self.disk.clone()), self.options.clone()).await?;
        Ok(before.survived().await.unwrap_or_default())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).field("disk", &self.disk).finish_non_exhaustive()
    }
}
