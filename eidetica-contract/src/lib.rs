//! The two contracts of Eidetica, for people who write a backend or a transport.
//!
//! * [`Backend`]: an ordered key-value store with atomic batches and snapshots.
//! * [`Transport`]: moves one opaque message there and one back.
//!
//! Everything that can be wrong in a subtle way (the DAG, merging, permissions, encryption, paging, retry, group commit)
//! exists once, above these contracts. An implementation therefore needs no knowledge of Eidetica's formats: to a
//! backend all keys and values are byte strings, to a transport all messages are.
//!
//! This crate depends on nothing but `bytes`, `async-trait`, `thiserror` and `inventory`, and no other foreign type than
//! [`bytes::Bytes`] appears in it, so that an implementation builds in seconds and outlives changes elsewhere.
//!
//! The contract of backends as code is `Memory` of the crate `eidetica-core`; every backend and transport is checked with the crate
//! `eidetica-conformance`. How a crate makes itself known stands at [`BackendEntry`] and [`TransportEntry`].
//!
//! # Conventions that hold for every method
//!
//! * **Errors** are [`Error`]; what matters is their [`ErrorKind`], whose numbers are fixed. A method's documentation
//!   names the kinds that callers act on; any method may also answer [`ErrorKind::Io`] and [`ErrorKind::Closed`].
//! * **Cancellation**: dropping a future is allowed at any time. Each method says what may then have happened.
//! * **Runtime**: futures are polled within a runtime of tokio, of one thread or of several, with time and I/O enabled; so `tokio::spawn`,
//!   sockets and `spawn_blocking` work in them, and `block_in_place`, which needs several threads, may not. What is no future, dropping included,
//!   may happen outside of one.
//! * **Threads**: every object is `Send + Sync`, and every method may be called at once from any number of tasks.
//! * **Panics**: no input may cause one.
//! * **Growth**: a new method always comes with a default that is correct, or that answers [`ErrorKind::Unsupported`].

mod address;
mod backend;
mod error;
mod key;
mod registry;
mod transport;

pub use address::Address;
pub use backend::{
    Backend, BackendInfo, Capabilities, Direction, Expectation, Keyspace, Limits, Maintenance, Operation, Page, Scan,
    Snapshot, WriteBatch,
};
pub use error::{Error, ErrorKind, Result, Retry};
pub use key::PublicKey;
pub use registry::{BackendEntry, OpenFuture, RegisteredBackend, RegisteredTransport, Registry, TransportEntry};
pub use transport::{
    CallOptions, Caller, Channel, Service, Transport, TransportBuilder, TransportContext, TransportInfo, TransportState,
};

/// What entries are submitted with; see [`BackendEntry`].
pub use inventory;
