//! Faults from a seed, for tests of whatever stands on a backend or a transport: a backend that crashes and loses what was not flushed, and
//! a network in memory whose messages are lost, held back, sent twice and changed.
//!
//! They keep to the contracts where the contracts say what may happen; that the suite notices what does not is for the
//! mutants of the feature `teeth`. For real sockets there is a [proxy](crate::proxy).
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use eidetica_conformance::faults::Crashing;
//! use eidetica_contract::{Backend, Keyspace, WriteBatch};
//!
//! let store = Crashing::memory(7);
//! let mut batch = WriteBatch::new();
//! batch.put(Keyspace::new(0), "greeting", "hello");
//! store.commit(batch).await?;
//! store.crash();
//! // What was not flushed is there, or is not: the seed decides.
//! let store = store.reopen().await?;
//! # store.snapshot().await?;
//! # Ok::<(), eidetica_contract::Error>(()) }).unwrap();
//! ```

pub use eidetica_sync::sim::{Conditions, Crashing, Delay, Network, Reach, SimTransport, Survived, copy_rows};
