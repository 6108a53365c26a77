//! The backends under test, and how to make one.

use std::path::Path;
use std::sync::Arc;

use eidetica_backend_lent::{Borrowed, Lender};
use eidetica_backend_redb::Redb;
use eidetica_backend_sqlite::Sqlite;
use eidetica_contract::Backend;
use eidetica_core::Memory;

#[derive(Clone, Copy, Debug)]
pub enum Subject {
    Memory,
    SqliteFile,
    SqliteInMemory,
    Redb,
    /// What a process borrows from another one, which has it in memory.
    Lent,
}

impl Subject {
    /// Opens the store in this directory, or makes a new one.
    pub async fn open(self, directory: &Path) -> Arc<dyn Backend> {
        let path = directory.join("store.db");
        match self {
            Subject::Memory => Arc::new(Memory::new()),
            Subject::SqliteFile => Arc::new(Sqlite::builder().path(&path).page_cache(2 << 20).open().await.unwrap()),
            Subject::SqliteInMemory => Arc::new(Sqlite::in_memory().await.unwrap()),
            Subject::Redb => Arc::new(Redb::builder(&path).page_cache(2 << 20).open().await.unwrap()),
            Subject::Lent => {
                let lender = Lender::new(Arc::new(Memory::new()));
                let (here, there) = tokio::io::duplex(16 << 10);
                // It ends with the borrower.
                tokio::spawn(async move { lender.serve(here).await });
                Arc::new(Borrowed::connect(there).await.unwrap())
            }
        }
    }
}
