//! A device of a test.

use std::fmt;
use std::sync::Arc;

use eidetica_contract::{Address, Result};
use eidetica_core::auth::Permission;
use eidetica_core::crdt::Doc;
use eidetica_core::{Database, Memory};
use eidetica_sync::Syncer;
use eidetica_sync::sim::{Crashing, SimEnvironment};

use super::Testbed;
use crate::user::{KeyId, Terms};
use crate::{Instance, User};

/// A device of a test: a store in memory with one user, who is logged in, and sync that lets others in. [`Testbed::peer`] makes one.
///
/// Its fields are what an application holds, so that the code under test gets the same as it would elsewhere.
///
/// ```
/// use eidetica::testing;
///
/// # fn main() -> eidetica::Result<()> {
/// testing::run(async |testbed| {
///     let mut anna = testbed.peer("anna").await?;
///     let id = *anna.create_database("notes").await?.root_id();
///     let anna = anna.restart().await?;
///     assert_eq!(anna.user.open_database(&id).await?.get_name().await?, "notes");
///     Ok(())
/// })
/// # }
/// ```
pub struct Peer {
    /// The store.
    pub instance: Instance,
    /// Its user, who has the name of the device and no password.
    pub user: User,
    /// The default key of the user.
    pub key: KeyId,
    /// Sync, which listens.
    pub sync: Syncer,
    name: String,
    disk: Crashing<Memory>,
    environment: Arc<SimEnvironment>,
    testbed: Testbed,
}

impl Peer {
    pub(super) async fn begin(testbed: Testbed, name: &str) -> Result<Peer> {
        let environment = testbed.world().environment(name);
        let disk = Crashing::memory(testbed.world().dice(name).number());
        Peer::start(testbed, name.to_owned(), disk, environment).await
    }

    /// A device on this disk, which may hold its store already.
    async fn start(
        testbed: Testbed,
        name: String,
        disk: Crashing<Memory>,
        environment: Arc<SimEnvironment>,
    ) -> Result<Peer> {
        let options = testbed.world().options(&environment);
        let instance = Instance::open_with(Box::new(disk.clone()), options).await?;
        if !instance.list_users().await?.contains(&name) {
            instance.create_user(&name, None).await?;
        }
        let user = instance.login_user(&name, None).await?;
        let key = user.get_default_key()?;
        instance.enable_sync().await?;
        let sync = instance.sync().ok_or_else(no_sync)?;
        sync.register_transport("testing", testbed.network().transport(&name)).await?;
        sync.accept_connections().await?;
        Ok(Peer { instance, user, key, sync, name, disk, environment, testbed })
    }

    /// Its name, which is that of its user and that on the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where others reach it.
    pub fn address(&self) -> Address {
        Address::new("sim", self.name.clone())
    }

    /// Creates a database with this name, whose strongest admin is the user.
    ///
    /// Errors: as for [`User::create_database`].
    pub async fn create_database(&mut self, name: &str) -> Result<Database> {
        let settings: Doc = [("name", name)].into_iter().collect();
        self.user.create_database(settings, &self.key).await
    }

    /// Shares a database of this device with another one, and returns it as it is there. From then on the two keep in step by
    /// themselves.
    ///
    /// It happens as between people: the user here makes a ticket with an invitation, and the user there joins with it.
    ///
    /// Errors: as for [`User::invite`] and [`User::join`], such as `Unreachable` while the network between them is cut.
    pub async fn share(&self, database: &Database, with: &Peer, permission: Permission) -> Result<Database> {
        let terms = Terms { permission, ..Terms::default() };
        let ticket = self.user.invite(database.root_id(), terms).await?;
        with.user.join(&ticket).await
    }

    /// Puts the clock of this device ahead of the true time by so many milliseconds, or behind it.
    pub fn set_clock_ahead(&self, millis: i64) {
        self.environment.set_skew(millis);
    }

    /// Closes the store, as a program does that ends, and starts the device again. Databases are then to be opened anew: handles from
    /// before answer `Closed` to whatever reads or writes.
    ///
    /// Errors: as for [`Instance::close`] and [`Instance::open`].
    pub async fn restart(self) -> Result<Peer> {
        let Peer { instance, user, sync, name, disk, environment, testbed, .. } = self;
        instance.close().await?;
        drop((user, sync));
        Peer::start_again(testbed, name, disk, environment).await
    }

    /// Ends the device as a power cut does, and starts it again. What was committed as
    /// [`Buffered`](crate::Durability::Buffered), and not flushed yet, may be lost.
    ///
    /// Errors: as for [`Instance::open`].
    pub async fn crash(self) -> Result<Peer> {
        let Peer { instance, user, sync, name, disk, environment, testbed, .. } = self;
        disk.crash();
        drop((instance, user, sync));
        Peer::start_again(testbed, name, disk, environment).await
    }

    async fn start_again(
        testbed: Testbed,
        name: String,
        disk: Crashing<Memory>,
        environment: Arc<SimEnvironment>,
    ) -> Result<Peer> {
        testbed.network().crash(&name);
        let disk = disk.reopen().await?;
        Peer::start(testbed, name, disk, environment).await
    }
}

fn no_sync() -> eidetica_contract::Error {
    eidetica_contract::Error::new(eidetica_contract::ErrorKind::Internal, "sync was enabled and is not there")
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}
