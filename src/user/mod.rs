//! Users: who they are, their keys, and the databases that they follow.
//!
//! A user has a name, a ring of keys, and a list of tracked databases. All of it lies in the store, in rows that belong
//! to this node and are never sent. Any number of users, and any number of sessions of each, may be logged in at once;
//! several processes may share the store.
//!
//! # What protects the keys
//!
//! * **With a password**, private keys are sealed (XChaCha20-Poly1305) by a random master key of the user, and that by a
//!   key that Argon2id makes of the password. Each sealed key is bound to its user and its public key.
//! * **Without a password, keys are as good as unsealed**: the master key lies beside them, and whoever can read the store
//!   can use them. The same holds of the key of the device. A new SQLite store can be read by its owner alone (mode 0600).
//! * A password that comes later protects against those who get at the store from then on. Copies that were made before,
//!   backups included, and remains in the file that were not overwritten yet, keep what they held.
//!
//! Keys in memory are wiped when the last handle goes that needs them. A [`Database`](crate::Database) that was opened keeps
//! the key that it writes with, also after a logout.

#[cfg(feature = "sync")]
mod access;
mod account;
mod attempts;
#[cfg(feature = "sync")]
mod bootstrap;
#[cfg(feature = "sync")]
mod grants;
#[cfg(feature = "sync")]
mod invitations;
mod password;
mod refused;
mod rights;
mod ring;
mod rows;
mod seal;
mod session;
#[cfg(feature = "sync")]
mod tickets;
mod tracking;
pub mod types;

pub(crate) use attempts::Attempts;
#[cfg(feature = "sync")]
pub use invitations::{InvitationInfo, Terms};
pub use rights::{PreparedChange, RightsChange};
pub use ring::UserKey;
pub(crate) use rows::{TRACKED, TrackedRow};
pub use session::User;
#[cfg(feature = "sync")]
pub(crate) use session::WeakUser;

/// What a key of a user is called: its public key, shown as `ed25519:` and 64 digits. So it can be given to others as it is,
/// and be granted rights.
pub type KeyId = eidetica_contract::PublicKey;
