//! The code of the guide on synchronization, as it is written there, over every backend and every transport, and over both
//! transports at once.

mod blocks;
mod forms;

use eidetica::backend::Backend;
use eidetica::backend::database::{Memory, Sqlite};
use eidetica::{Instance, Result};
use eidetica_backend_redb::Redb;

/// Where a store of the guide lies.
#[derive(Clone, Copy)]
pub enum Store {
    Sqlite,
    /// In memory, as far as SQLite has it there.
    SqliteMemory,
    Redb,
    Memory,
}

impl Store {
    /// A new one. Files lie in a folder that is removed when the test lets go of it.
    async fn backend(self) -> Result<(Box<dyn Backend>, tempfile::TempDir)> {
        let folder = tempfile::tempdir().expect("a folder for a test");
        let backend: Box<dyn Backend> = match self.again(&folder).await? {
            Some(backend) => backend,
            None if matches!(self, Store::SqliteMemory) => Box::new(Sqlite::in_memory().await?),
            None => Box::new(Memory::new()),
        };
        Ok((backend, folder))
    }

    /// The same one after it was closed; `None` if nothing of it stays.
    async fn again(self, folder: &tempfile::TempDir) -> Result<Option<Box<dyn Backend>>> {
        Ok(match self {
            Store::Sqlite => Some(Box::new(Sqlite::open(folder.path().join("store.db")).await?)),
            Store::Redb => Some(Box::new(Redb::open(folder.path().join("store.redb")).await?)),
            Store::SqliteMemory | Store::Memory => None,
        })
    }

    /// A device with sync enabled and a user without a password.
    async fn instance(self, user: &str) -> Result<(Instance, tempfile::TempDir)> {
        let (backend, folder) = self.backend().await?;
        let instance = Instance::open(backend).await?;
        instance.enable_sync().await?;
        instance.create_user(user, None).await?;
        Ok((instance, folder))
    }
}

/// Every block, over every store and every way.
macro_rules! matrix {
    ($($store:ident: $kind:ident),*; $ways:tt; $blocks:tt) => {
        $(mod $store { matrix!(@ways $kind; $ways; $blocks); })*
    };
    (@ways $kind:ident; [$($way:ident: $ways:ident),*]; $blocks:tt) => {
        $(mod $way { matrix!(@blocks $kind; $ways; $blocks); })*
    };
    (@blocks $kind:ident; $ways:ident; [$($block:ident),*]) => {
        $(
            #[tokio::test]
            async fn $block() -> eidetica::Result<()> {
                use crate::sync::{guide::{Store, blocks}, ways::Ways};
                blocks::$block(Store::$kind, Ways::$ways).await
            }
        )*
    };
}

matrix! {
    sqlite: Sqlite, sqlite_in_memory: SqliteMemory, redb: Redb, memory: Memory;
    [over_http: Http, over_iroh: Iroh, over_both: Both];
    [quick_start_and_bootstrap, declarative_sync, sync_settings, transports_by_their_addresses]
}
