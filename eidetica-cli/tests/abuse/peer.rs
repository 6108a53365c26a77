//! Peers who behave.

use std::time::{Duration, Instant};

use eidetica::auth::Permission;
use eidetica::store::DocStore;
use eidetica::sync::session::{Identity, Offer, SessionChannel, SessionLimits};
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::{Address, CallOptions, Transport};
use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Database, Error, ErrorKind, Id, Instance, Result, SecretKey, SystemEnvironment, User};

use crate::kit::{Place, until};
use crate::serving::Serving;

/// A peer with a store in memory, which calls and cannot be called.
pub struct Peer {
    database: Database,
    _user: User,
    instance: Instance,
}

impl Peer {
    /// Asks for the database, is let in by who serves it, and has it.
    pub async fn join(name: &str, id: &Id, place: &Place, serving: &Serving) -> Peer {
        let instance = Instance::open_url("memory:").await.unwrap();
        instance.enable_sync().await.unwrap();
        instance.create_user(name, None).await.unwrap();
        let user = instance.login_user(name, None).await.unwrap();
        let (key, sync) = (user.get_default_key().unwrap(), instance.sync().unwrap());
        sync.register_transport("http", HttpTransport::builder()).await.unwrap();
        let address = Address::http(&serving.address);
        let asked = user.request_database_access(&sync, &address, id, &key, Permission::Write).await;
        approve(place, &asked.unwrap_err());
        sync.sync_with_peer(&address, Some(id)).await.unwrap();
        let database = user.open_database(id).await.unwrap();
        Peer { database, _user: user, instance }
    }

    /// One whose user may write, and who has not called yet.
    pub async fn granted(name: &str, id: &Id, place: &Place) -> Granted {
        let instance = Instance::open_url("memory:").await.unwrap();
        instance.enable_sync().await.unwrap();
        instance.create_user(name, None).await.unwrap();
        let user = instance.login_user(name, None).await.unwrap();
        let key = user.get_default_key().unwrap().to_string();
        tokio::task::block_in_place(|| place.run(&["grant", &id.to_string(), &key, "write"]).ok());
        Granted { instance, user }
    }

    /// Lets go of its connections and sessions, and makes new ones: each attempt may be pushed out before it has shown who it is.
    pub async fn comes_again(&self, id: &Id, address: &str) {
        let sync = self.instance.sync().unwrap();
        sync.register_transport("http", HttpTransport::builder()).await.unwrap();
        let began = Instant::now();
        while let Err(error) = sync.sync_with_peer(&Address::http(address), Some(id)).await {
            assert!(began.elapsed() < Duration::from_secs(60), "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn set(&self, key: &str, value: &str) -> Result<()> {
        let transaction = self.database.new_transaction().await?;
        transaction.get_store::<DocStore>("notes").await?.set(key, value).await?;
        transaction.commit().await.map(drop)
    }

    async fn get(&self, key: &str) -> Option<String> {
        let notes = self.database.get_store_viewer::<DocStore>("notes").await.ok()?;
        notes.get_string(key).await.ok()
    }

    /// How long it takes until this is here.
    pub async fn sees(&self, key: &str, value: &str, patience: Duration) -> Option<Duration> {
        let began = Instant::now();
        while self.get(key).await.as_deref() != Some(value) {
            if began.elapsed() > patience {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Some(began.elapsed())
    }

    pub async fn close(self) {
        self.instance.close().await.unwrap();
    }
}

/// A peer with a right to the database, and nothing of it.
pub struct Granted {
    instance: Instance,
    user: User,
}

impl Granted {
    /// Comes, as often as it takes, and has it.
    pub async fn come(mut self, id: &Id, address: &str) -> Peer {
        let sync = self.instance.sync().unwrap();
        sync.register_transport("http", HttpTransport::builder()).await.unwrap();
        let key_id = self.user.get_default_key().unwrap();
        let wish = TrackedDatabase { database_id: *id, key_id, sync_settings: SyncSettings::default() };
        self.user.track_database(wish).await.unwrap();
        let began = Instant::now();
        while let Err(error) = sync.sync_with_peer(&Address::http(address), Some(id)).await {
            assert!(began.elapsed() < Duration::from_secs(60), "{error}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let database = self.user.open_database(id).await.unwrap();
        Peer { database, _user: self.user, instance: self.instance }
    }
}

/// Approves what was asked for by a request that is pending.
pub fn approve(place: &Place, pending: &Error) {
    assert_eq!(pending.kind(), ErrorKind::Pending, "{pending}");
    approve_request(place, pending.context("request_id").unwrap());
}

pub fn approve_request(place: &Place, request: &str) {
    tokio::task::block_in_place(|| {
        until("the request is there", || place.json(&["requests"]).iter().any(|asked| asked["request"] == request));
        place.run(&["approve", request]).ok();
    });
}

/// Makes a session as a device that was never seen before, over a connection of its own.
pub async fn newcomer(serving: &Serving, patience: Duration) -> Result<Duration> {
    let began = Instant::now();
    let identity = Identity::new(SecretKey::generate(&SystemEnvironment)?, std::sync::Arc::new(SystemEnvironment))?;
    let transport = HttpTransport::builder().into_transport()?;
    let channel = transport.dial(&Address::http(&serving.address), CallOptions::timeout(patience)).await?;
    let pin = Some(serving.device.parse()?);
    let limits = SessionLimits::default();
    let session = SessionChannel::new(channel.into(), 1 << 20, identity, Offer::versions(1, 1), limits, pin)?;
    session.connect(CallOptions::timeout(patience)).await?;
    Ok(began.elapsed())
}
