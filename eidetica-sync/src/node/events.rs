//! What happens in sync, for those who like to hear of it.

use eidetica_contract::{ErrorKind, PublicKey};
use eidetica_core::Id;

use crate::reconcile::{Outcome, Progress};

/// Something has happened. Whoever hears too slowly misses some: the state itself is always told by
/// [`SyncHandle::status`](super::SyncHandle::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SyncEvent {
    /// A round with a peer has got on.
    Progressed {
        /// The device key of the peer.
        peer: PublicKey,
        /// The database.
        database: Id,
        /// How far it has come.
        progress: Progress,
    },
    /// A round with a peer has ended well.
    Synced {
        /// The device key of the peer.
        peer: PublicKey,
        /// The database.
        database: Id,
        /// What it has done.
        outcome: Outcome,
    },
    /// A round with a peer has failed; it will be tried again.
    Failed {
        /// The device key of the peer.
        peer: PublicKey,
        /// The database.
        database: Id,
        /// The kind of the error.
        kind: ErrorKind,
        /// What was wrong.
        text: String,
        /// The context pairs of the error, such as `reason` with `removed`: this device was removed from the database.
        context: Vec<(String, String)>,
    },
    /// Somebody asks for access to a database here.
    AccessRequested,
}
