//! What a user wishes for a database.

use std::collections::BTreeMap;

use eidetica_core::Id;

use super::KeyId;

/// A database that a user follows, with the key that is used for it.
///
/// ```
/// use eidetica::user::types::{SyncSettings, TrackedDatabase};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica::Result<()> {
/// # let instance = eidetica::Instance::open_url("memory:").await?;
/// # instance.create_user("alice", None).await?;
/// # let mut user = instance.login_user("alice", None).await?;
/// # let key = user.get_default_key()?;
/// # let database = user.create_database(eidetica::crdt::Doc::new(), &key).await?;
/// let sync_settings = SyncSettings { interval_seconds: Some(60), ..SyncSettings::default() };
/// let tracked = TrackedDatabase { database_id: *database.root_id(), key_id: key, sync_settings };
/// user.track_database(tracked.clone()).await?;
/// assert_eq!(user.databases().await?, [tracked]);
/// # instance.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedDatabase {
    /// The database. It need not be here yet.
    pub database_id: Id,
    /// The key of the user that reads and writes it.
    pub key_id: KeyId,
    /// Whether and when it is to be synced.
    pub sync_settings: SyncSettings,
}

/// Whether and when a database is to be synced.
///
/// By default it is, with every commit, and not at intervals:
///
/// ```
/// use eidetica::user::types::SyncSettings;
///
/// let settings = SyncSettings::default();
/// assert!(settings.sync_enabled && settings.sync_on_commit && settings.interval_seconds.is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSettings {
    /// Whether it is synced at all.
    pub sync_enabled: bool,
    /// Whether a commit is sent at once.
    pub sync_on_commit: bool,
    /// How often it is synced besides. At least one second.
    pub interval_seconds: Option<u64>,
    /// Whatever an application wants to keep with it.
    pub properties: BTreeMap<String, String>,
}

impl Default for SyncSettings {
    fn default() -> SyncSettings {
        SyncSettings { sync_enabled: true, sync_on_commit: true, interval_seconds: None, properties: BTreeMap::new() }
    }
}
