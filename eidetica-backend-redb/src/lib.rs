//! The redb backend of Eidetica: a store in one file, written in Rust throughout, which one process uses at a time.
//!
//! ```
//! use eidetica_backend_redb::Redb;
//! use eidetica_contract::{Backend, Keyspace, WriteBatch};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("notes.redb");
//! const NOTES: Keyspace = Keyspace::new(0);
//! let store = Redb::open(&path).await?;
//! let mut batch = WriteBatch::new();
//! batch.put(NOTES, "greeting", "hello");
//! store.commit(batch).await?;
//! store.flush().await?;
//! assert_eq!(store.snapshot().await?.get(NOTES, b"greeting").await?.as_deref(), Some(&b"hello"[..]));
//! store.close().await?;
//! # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
//! ```
//!
//! Linking the crate registers the scheme `redb`: `redb:notes.redb`.
//!
//! # How it works
//!
//! One table per keyspace. A commit is a transaction without durability, which ends in memory: a small one runs where it is
//! called while nobody else writes, all others one after the other on a thread of the store. A flush is an empty
//! transaction with durability, on a second thread; redb does not wait for the disk in it, so that further commits go on
//! meanwhile, and `disk.rs` says why that is safe. Flushes that wait at the same time share one. A snapshot is a read
//! transaction; short reads run where they are called, long ones on a third thread.
//!
//! What was committed and not flushed is gone when the process is killed, where other backends may still have it. After a
//! crash, opening reads and writes the whole file once.
//!
//! The file begins with a page of our own that says which format it has; what redb would recognise comes behind it. It must
//! lie on a local file system.

mod disk;
#[cfg(test)]
mod disk_tests;
mod engine;
mod error;
mod housekeeping;
mod mark;
mod overlay;
mod place;
mod reader;
mod store;
mod tables;
mod worker;
mod writer;

pub use store::{Builder, Redb};
