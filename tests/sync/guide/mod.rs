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
    Redb,
    Memory,
}

impl Store {
    /// A new one. A file of redb lies in a folder that is removed when the test lets go of it.
    async fn backend(self) -> Result<(Box<dyn Backend>, tempfile::TempDir)> {
        let folder = tempfile::tempdir().expect("a folder for a test");
        let backend: Box<dyn Backend> = match self {
            Store::Sqlite => Box::new(Sqlite::in_memory().await?),
            Store::Redb => Box::new(Redb::open(folder.path().join("store.redb")).await?),
            Store::Memory => Box::new(Memory::new()),
        };
        Ok((backend, folder))
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
    sqlite: Sqlite, redb: Redb, memory: Memory;
    [over_http: Http, over_iroh: Iroh, over_both: Both];
    [quick_start_and_bootstrap, declarative_sync, sync_settings, transports_by_their_addresses]
}
