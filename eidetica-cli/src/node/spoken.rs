//! What is said between a command and the process that serves the store: one JSON document on each line.
//!
//! The command says an [`Operation`]. Any number of lines `{"moved": …}` come back, then one `{"done": …}` or
//! `{"failed": …}`, and the connection stays open for the next operation.

#[cfg(unix)]
use eidetica_backend_lent::SpokenError;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The longest line that is read, in bytes.
#[cfg(unix)]
pub const LONGEST: u64 = 4 << 20;

/// The `reason` among the context pairs of the answer to [`Operation::Borrow`] where several processes may open the store.
#[cfg(unix)]
pub const NOT_LENT: &str = "not_lent";

/// What the node of a store can be asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Operation {
    /// Reach an address, and tell whose it is.
    Contact { address: String },
    /// Reach a device of a ticket, and tell which, and at which address.
    Reach { ticket: String },
    /// Tell which databases the users of this store may read at an address.
    Discover { address: String },
    /// Send a request for access that was signed for the peer `to`: its bytes in base64.
    Request { address: String, to: String, request: String },
    /// Sync with an address, or with all peers: a database, or all.
    Sync { address: Option<String>, database: Option<String> },
    /// Tell how everything stands.
    Status,
    /// Read what other processes have changed.
    CatchUp,
    /// Change a field of a row, as the user without a password. For the demo, which measures how long this takes.
    Put { database: String, table: String, key: String, field: String, value: i64 },
    /// Tell a field of a row each time that something of the database has arrived. For the demo.
    Follow { database: String, table: String, key: String, field: String },
    /// Lend the store. After `done` the connection speaks as `eidetica_backend_lent` does, to its end.
    Borrow,
    /// Stop serving.
    Stop,
}

/// How far a transfer has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Moved {
    pub peer: String,
    pub database: String,
    pub received: u64,
    pub sent: u64,
    /// Entries that are still to come, as far as is known.
    pub left: u64,
}

/// What comes back.
#[cfg(unix)]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Moved(Json),
    Done(Json),
    Failed(SpokenError),
}
