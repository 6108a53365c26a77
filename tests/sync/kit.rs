//! Instances with a user each, on this machine.

use std::time::Duration;

use eidetica::auth::Permission;
use eidetica::backend::database::Memory;
use eidetica::store::{DocStore, SettingsStore};
use eidetica::sync::transports::http::{HttpTransport, HttpTransportBuilder};
use eidetica::sync::{Address, SyncOptions, Syncer};
use eidetica::user::KeyId;
use eidetica::{Database, Instance, Result, User};

use super::ways::Ways;

pub struct Device {
    pub instance: Instance,
    pub user: User,
    pub key: KeyId,
    pub sync: Syncer,
}

impl Device {
    /// A device with a user without a password. It can call others.
    pub async fn new(name: &str) -> Device {
        let instance = Instance::open(Box::new(Memory::new())).await.unwrap();
        instance.create_user(name, None).await.unwrap();
        Device::of(instance, name, None).await
    }

    pub async fn of(instance: Instance, name: &str, password: Option<&str>) -> Device {
        let http = HttpTransport::builder().bind("127.0.0.1:0");
        Device::with(instance, name, password, http, SyncOptions::default()).await
    }

    pub async fn with(
        instance: Instance,
        name: &str,
        password: Option<&str>,
        http: HttpTransportBuilder,
        options: SyncOptions,
    ) -> Device {
        let device = Device::start(instance, name, password, options).await;
        device.sync.register_transport("http", http).await.unwrap();
        device
    }

    /// A device with a user without a password, which is reached over these ways.
    pub async fn over(name: &str, ways: Ways) -> Device {
        let instance = Instance::open(Box::new(Memory::new())).await.unwrap();
        instance.create_user(name, None).await.unwrap();
        let device = Device::start(instance, name, None, SyncOptions::default()).await;
        ways.register(&device.sync).await.unwrap();
        device
    }

    /// A device without a transport.
    pub async fn start(instance: Instance, name: &str, password: Option<&str>, options: SyncOptions) -> Device {
        instance.enable_sync_with(options).await.unwrap();
        let user = instance.login_user(name, password).await.unwrap();
        let key = user.get_default_key().unwrap();
        let sync = instance.sync().unwrap();
        Device { instance, user, key, sync }
    }

    /// Listens, and says where.
    pub async fn listen(&self) -> Address {
        self.sync.accept_connections().await.unwrap();
        self.sync.get_server_address_async().await.unwrap()
    }
}

pub async fn set(database: &Database, key: &str, value: &str) -> Result<()> {
    let transaction = database.new_transaction().await?;
    transaction.get_store::<DocStore>("notes").await?.set(key, value).await?;
    transaction.commit().await.map(|_| ())
}

pub async fn get(database: &Database, key: &str) -> Option<String> {
    let notes = database.get_store_viewer::<DocStore>("notes").await.ok()?;
    notes.get_string(key).await.ok()
}

/// Waits until this is so, for half a minute.
pub async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    until_within(Duration::from_secs(30), what, so).await;
}

pub async fn until_within<F: Future<Output = bool>>(time: Duration, what: &str, so: impl Fn() -> F) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(time, wait).await.is_err() {
        panic!("after {time:?} still not: {what}");
    }
}

/// Lets another device's user into a database of the user of this one, as a writer.
pub async fn let_in(database: &Database, key: &KeyId) {
    set_right(database, key, Some(Permission::Write)).await;
}

/// Gives a user this right to a database, or takes all.
pub async fn set_right(database: &Database, key: &KeyId, permission: Option<Permission>) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    match permission {
        Some(permission) => settings.set_auth_key(key, permission, 0).await.unwrap(),
        None => settings.revoke_auth_key(key).await.unwrap(),
    }
    transaction.commit().await.unwrap();
}
