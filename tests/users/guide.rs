//! The blocks of the guide that need no network, word for word but for the calls of sync.

// The form of the guide.
#![allow(clippy::clone_on_copy)]

use eidetica::user::types::{SyncSettings, TrackedDatabase};
use eidetica::{Instance, backend::database::Sqlite, crdt::Doc};

#[tokio::test]
async fn a_user_is_created_and_logged_in() -> eidetica::Result<()> {
    let backend = Box::new(Sqlite::in_memory().await?);
    let instance = Instance::open(backend).await?;

    // Create and login a user (generates authentication key automatically)
    instance.create_user("alice", None).await?;
    let user = instance.login_user("alice", None).await?;
    assert_eq!(user.list_keys().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn sync_settings_of_a_database() -> eidetica::Result<()> {
    let backend = Box::new(Sqlite::in_memory().await?);
    let instance = Instance::open(backend).await?;
    instance.create_user("alice", None).await?;
    let mut user = instance.login_user("alice", None).await?;
    let key = user.get_default_key()?;
    let db = user.create_database(Doc::new(), &key).await?;
    let db_id = db.root_id().clone();
    let tracked = TrackedDatabase {
        database_id: db_id,
        key_id: user.get_default_key()?,
        sync_settings: SyncSettings {
            sync_enabled: true,
            sync_on_commit: true,       // Sync immediately on commit
            interval_seconds: Some(60), // Also sync every 60 seconds
            properties: Default::default(),
        },
    };

    // Track this database with the User
    user.track_database(tracked).await?;
    assert_eq!(user.databases().await?[0].sync_settings.interval_seconds, Some(60));
    Ok(())
}
