//! The SQLite backend of Eidetica: a store in one file, which several processes may use at once.
//!
//! ```
//! use eidetica_backend_sqlite::Sqlite;
//! use eidetica_contract::{Backend, Keyspace, WriteBatch};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("notes.db");
//! const NOTES: Keyspace = Keyspace::new(0);
//! let store = Sqlite::open(&path).await?;
//! let mut batch = WriteBatch::new();
//! batch.put(NOTES, "greeting", "hello");
//! store.commit(batch).await?;
//! store.flush().await?;
//! assert_eq!(store.snapshot().await?.get(NOTES, b"greeting").await?.as_deref(), Some(&b"hello"[..]));
//! store.close().await?;
//! # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
//! ```
//!
//! Linking the crate registers the scheme `sqlite`: `sqlite:notes.db`, or `sqlite::memory:` for a store that is gone when
//! it is closed.
//!
//! # How it works
//!
//! One table per keyspace, in WAL mode. Commits do not wait for the disk: a small one runs where it is called while nobody
//! else writes, all others one after the other on a thread of the store. A flush is one `fdatasync` of the WAL on a second
//! thread, so that further commits go on meanwhile; flushes that wait at the same time share one. A snapshot is a read
//! transaction on a connection from a small pool; short reads run where they are called, long ones on a third thread.
//!
//! Beside the file `notes.db` lie `notes.db-wal` and `notes.db-shm` while it is open, and after a crash. They belong to it:
//! copy or move all three, or none. The file must lie on a local file system.

mod error;
mod flush;
mod open;
mod reader;
mod statements;
mod store;
mod worker;
mod writer;

pub use store::{Builder, Sqlite};
