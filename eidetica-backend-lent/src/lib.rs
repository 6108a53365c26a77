//! A store that one process has open, lent to others on the same machine.
//!
//! Some engines let one process in at a time. The process that has such a store open makes a [`Lender`] of it, and works through
//! [`Lender::own`]; another one, connected by any stream of bytes such as a Unix socket, works through [`Borrowed`], which
//! is a [`Backend`](eidetica_contract::Backend) like any other. To both the store is one that several processes share
//! ([`Capabilities::shared`](eidetica_contract::Capabilities::shared)): expectations hold between them, and
//! [`changed`](eidetica_contract::Backend::changed) tells each of the commits of the others.
//!
//! ```
//! use std::sync::Arc;
//!
//! use eidetica_backend_lent::{Borrowed, Lender};
//! use eidetica_contract::{Backend, Keyspace, WriteBatch};
//! use eidetica_core::Memory;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! const NOTES: Keyspace = Keyspace::new(0);
//! let lender = Lender::new(Arc::new(Memory::new()));
//! let (here, there) = tokio::io::duplex(64 << 10);
//! let serving = tokio::spawn({
//!     let lender = lender.clone();
//!     async move { lender.serve(here).await }
//! });
//! let borrowed = Borrowed::connect(there).await?;
//! let mut batch = WriteBatch::new();
//! batch.put(NOTES, "greeting", "hello");
//! borrowed.commit(batch).await?;
//! let own = lender.own();
//! assert_eq!(own.snapshot().await?.get(NOTES, b"greeting").await?.as_deref(), Some(&b"hello"[..]));
//! borrowed.close().await?;
//! serving.await.unwrap()?;
//! own.close().await?;
//! # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
//! ```
//!
//! # Who is let in
//!
//! Whoever holds the other end of the stream can read and write everything in the store: seeing to it that only the same user of
//! the machine gets there is the caller's part. There is no encryption and no deadline: both ends are processes of one
//! machine, and when one of them ends the stream ends.
//!
//! # Limits
//!
//! 64 calls of a borrower are under way at once, further ones wait. A borrower holds 1,000 snapshots at most. A call or an
//! answer has at most 256 MiB; what is larger is answered `TooLarge`.

mod borrower;
mod error;
mod ledger;
mod lender;
mod spoken;

pub use borrower::Borrowed;
pub use error::SpokenError;
pub use lender::Lender;

#[cfg(test)]
mod tests;
