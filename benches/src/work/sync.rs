//! Sync on this machine; the limit is a round trip of as many bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::auth::Permission;
use eidetica::store::SettingsStore;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::sync::{Address, CallOptions, Caller, Channel, Service, Syncer, Transport};
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Durability, ErrorKind, Id, Instance, User};

use crate::Result;
use crate::base::{self, Bases};
use crate::clock::{Took, Watch};
use crate::counted::{Counted, Counts};
use crate::raw_iroh::RawIroh;
use crate::workloads::{self, NEAR};

/// The transport that is measured.
#[derive(Clone, Copy)]
pub enum Way {
    /// HTTP on loopback.
    Http,
    /// iroh on loopback, without relays.
    Iroh,
}

/// A store with a user who tracks the database of the bench.
pub struct Side {
    /// The store.
    pub instance: Instance,
    /// Who tracks the database.
    pub user: User,
    /// Its sync.
    pub sync: Syncer,
    /// What has gone out.
    pub counts: Counts,
}

impl Side {
    /// Opens a store, and makes its user if there is none yet.
    pub async fn open(way: Way, path: &std::path::Path, name: &str) -> Result<Side> {
        let instance = Instance::open(Box::new(base::sqlite(path).await?)).await?;
        instance.enable_sync().await?;
        if !instance.list_users().await?.iter().any(|user| user == name) {
            instance.create_user(name, None).await?;
        }
        let user = instance.login_user(name, None).await?;
        let sync = instance.sync().ok_or("sync was enabled")?;
        let counts = Counts::default();
        match way {
            Way::Http => {
                let builder = HttpTransport::builder().bind("127.0.0.1:0");
                sync.register_transport("http", Counted(builder, counts.clone())).await?;
            }
            Way::Iroh => {
                let builder = IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0");
                sync.register_transport("iroh", Counted(builder, counts.clone())).await?;
            }
        }
        Ok(Side { instance, user, sync, counts })
    }

    /// Listens, and says where.
    pub async fn listen(&self) -> Result<Address> {
        self.sync.accept_connections().await?;
        Ok(self.sync.get_server_address_async().await?)
    }

    /// Tracks the database: by hand alone, or live.
    pub async fn track(&mut self, id: Id, live: bool) -> Result<()> {
        let key_id = self.user.get_default_key()?;
        let interval_seconds = (!live).then_some(86_400);
        let sync_settings =
            SyncSettings { sync_enabled: true, sync_on_commit: live, interval_seconds, properties: BTreeMap::new() };
        Ok(self.user.track_database(TrackedDatabase { database_id: id, key_id, sync_settings }).await?)
    }

    /// The database, with the key of the benches.
    pub async fn database(&self, id: &Id) -> Result<Database> {
        let database = self.instance.open_database_with_key(id, Some(base::key())).await?;
        Ok(database)
    }

    /// Ends all of it.
    pub async fn close(self) -> Result<()> {
        Ok(self.instance.close().await?)
    }
}

/// Lets keys in.
pub async fn let_in(database: &Database, keys: &[eidetica::PublicKey]) -> Result<()> {
    let transaction = database.new_transaction().await?;
    let settings = transaction.get_store::<SettingsStore>("_settings").await?;
    for key in keys {
        settings.set_auth_key(key, Permission::Write, 0).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Two stores that had the same in the end of a bootstrap, and sync when they are told, or live.
pub struct Pair {
    anna: Side,
    ben: Side,
    address: Address,
    id: Id,
    there: Database,
    here: Database,
    turn: u64,
}

impl Pair {
    /// A store with `n` commits, and a new one that has got them all. They sync when they are told.
    pub async fn new(way: Way, bases: &Bases, n: u64) -> Result<Pair> {
        Pair::open(way, bases, n, false).await
    }

    /// The same, and whatever is committed on one side goes to the other by itself. Ben calls; anna could not.
    pub async fn live(way: Way, bases: &Bases, n: u64) -> Result<Pair> {
        Pair::open(way, bases, n, true).await
    }

    async fn open(way: Way, bases: &Bases, n: u64, live: bool) -> Result<Pair> {
        let id = bases.id();
        let mut anna = Side::open(way, &bases.copy(n)?, "anna").await?;
        let mut ben = Side::open(way, &bases.fresh(), "ben").await?;
        let there = anna.database(&id).await?;
        let_in(&there, &[anna.user.get_default_key()?, ben.user.get_default_key()?]).await?;
        let address = anna.listen().await?;
        anna.track(id, live).await?;
        ben.track(id, live).await?;
        ben.sync.sync_with_peer(&address, Some(&id)).await?;
        let here = ben.database(&id).await?;
        Ok(Pair { anna, ben, address, id, there, here, turn: 0 })
    }

    /// From a commit here until it can be read there, or the other way.
    pub async fn until_readable(&mut self, from_here: bool) -> Result<Duration> {
        let (from, to) = if from_here { (&self.here, &self.there) } else { (&self.there, &self.here) };
        let mut watch = to.watch().await?;
        let began = Instant::now();
        let put = base::commit(from, &workloads::puts(NEAR, self.turn..self.turn + 1), Durability::Buffered).await?;
        self.turn += 1;
        loop {
            let late = |_| eidetica::Error::new(ErrorKind::Timeout, "a commit did not arrive");
            let change = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.map_err(late)??;
            if change.log.id == put {
                break;
            }
        }
        let took = began.elapsed();
        // What follows a commit, such as the answer to whoever has sent it, is not part of the next one.
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(took)
    }

    /// How long so many rounds take in which there is nothing new.
    pub async fn nothing_new(&mut self, times: u64) -> Result<Took> {
        let watch = Watch::start();
        for _ in 0..times {
            self.sync().await?;
        }
        Ok(watch.stop())
    }

    /// The same with one new entry there.
    pub async fn pull_one(&mut self, times: u64) -> Result<Took> {
        self.with_one(true, times).await
    }

    /// The same with one new entry here.
    pub async fn push_one(&mut self, times: u64) -> Result<Took> {
        self.with_one(false, times).await
    }

    async fn with_one(&mut self, there: bool, times: u64) -> Result<Took> {
        let mut all = Took::default();
        for _ in 0..times {
            let writer = if there { &self.there } else { &self.here };
            base::commit(writer, &workloads::puts(NEAR, self.turn..self.turn + 1), Durability::Buffered).await?;
            self.turn += 1;
            let watch = Watch::start();
            self.sync().await?;
            let took = watch.stop();
            (all.wall, all.cpu) = (all.wall + took.wall, all.cpu + took.cpu);
        }
        Ok(all)
    }

    async fn sync(&self) -> Result<()> {
        self.ben.sync.sync_with_peer(&self.address, Some(&self.id)).await?;
        Ok(())
    }

    /// Requests, bytes out and bytes back since the last time, of one who asks.
    pub fn counts(&self) -> [u64; 3] {
        self.ben.counts.take()
    }

    /// Ends both.
    pub async fn close(self) -> Result<()> {
        let Pair { anna, ben, there, here, .. } = self;
        drop((there, here));
        anna.close().await?;
        ben.close().await
    }
}

/// How long so many bootstraps take, each of a new store from one with `n` commits.
pub async fn bootstraps(way: Way, bases: &Bases, n: u64, times: u64) -> Result<Took> {
    let id = bases.id();
    let mut anna = Side::open(way, &bases.copy(n)?, "anna").await?;
    let there = anna.database(&id).await?;
    let_in(&there, &[anna.user.get_default_key()?]).await?;
    let address = anna.listen().await?;
    anna.track(id, false).await?;
    let mut all = Took::default();
    for _ in 0..times {
        let mut ben = Side::open(way, &bases.fresh(), "ben").await?;
        let_in(&there, &[ben.user.get_default_key()?]).await?;
        ben.track(id, false).await?;
        let watch = Watch::start();
        ben.sync.sync_with_peer(&address, Some(&id)).await?;
        let took = watch.stop();
        (all.wall, all.cpu) = (all.wall + took.wall, all.cpu + took.cpu);
        if ben.database(&id).await?.get_tips().await? != there.get_tips().await? {
            return Err("a bootstrap has not brought everything".into());
        }
        ben.close().await?;
    }
    drop(there);
    anna.close().await?;
    Ok(all)
}

/// Answers with so many bytes as the first eight of the message say.
struct Answers;

#[async_trait]
impl Service for Answers {
    async fn handle(&self, _: Caller, message: Bytes) -> eidetica::Result<Bytes> {
        let length = message.first_chunk::<8>().map_or(0, |length| u64::from_be_bytes(*length));
        Ok(vec![7; length as usize].into())
    }
}

/// Round trips without anything above them: the limit.
pub enum RoundTrips {
    /// Over the transport of HTTP alone.
    Http {
        /// The one that answers, and the one that asks.
        ends: Vec<HttpTransport>,
        /// The connection between them.
        channel: Box<dyn Channel>,
    },
    /// Over iroh itself.
    Iroh(RawIroh),
}

impl RoundTrips {
    /// A connection on which nothing has gone yet.
    pub async fn new(way: Way) -> Result<RoundTrips> {
        if let Way::Iroh = way {
            return Ok(RoundTrips::Iroh(RawIroh::open().await?));
        }
        let server = HttpTransport::builder().bind("127.0.0.1:0").into_transport()?;
        server.listen(Arc::new(Answers)).await?;
        let client = HttpTransport::builder().into_transport()?;
        let address = server.addresses().first().cloned().ok_or("it listens")?;
        let channel = client.dial(&address, CallOptions::default()).await?;
        Ok(RoundTrips::Http { ends: vec![server, client], channel })
    }

    /// How long so many round trips take, each of so many bytes out (at least eight) and back.
    pub async fn run(&self, times: u64, out: u64, back: u64) -> Result<Duration> {
        match self {
            RoundTrips::Http { channel, .. } => {
                let mut message = vec![7; out.max(8) as usize];
                message[..8].copy_from_slice(&back.to_be_bytes());
                let message = Bytes::from(message);
                let began = Instant::now();
                for _ in 0..times {
                    channel.request(message.clone(), CallOptions::timeout(Duration::from_secs(10))).await?;
                }
                Ok(began.elapsed())
            }
            RoundTrips::Iroh(raw) => raw.carry([times, out * times, back * times]).await,
        }
    }
}
