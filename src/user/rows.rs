//! The rows of users: their names and their forms.
//!
//! | name | what it holds |
//! | --- | --- |
//! | `user/` name | [`UserRow`]: the user, the lock, the master key |
//! | `user-key/` user `/` public key | [`KeyRow`]: a sealed private key |
//! | `tracked/` database `/` user | [`TrackedRow`]: what the user wishes for a database |
//! | `login-failures` | which names were tried in vain of late; see `attempts.rs` |
//!
//! A row is a list of the version of its form and the form itself. Fields that a later version adds are skipped.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::Id;
use minicbor::{Decode, Encode};

use super::password::Lock;
use super::{KeyId, refused};

/// The version of the forms here.
const VERSION: u64 = 1;

/// Where rows about tracked databases begin.
pub(crate) const TRACKED: &str = "tracked/";
/// Where the rows of users begin.
pub(super) const USERS: &str = "user/";
/// The row of failed logins.
pub(super) const FAILURES: &str = "login-failures";

/// What a user is called in the names of rows, whatever the user is called by people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct UserId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// A user.
#[derive(Clone, Encode, Decode)]
pub(super) struct UserRow {
    #[n(0)]
    pub id: UserId,
    /// As in the name of the row, so that a row under another name is noticed.
    #[n(1)]
    pub name: String,
    /// The number that the next key gets: it tells which key is the oldest.
    #[n(2)]
    pub next_key: u64,
    /// Which master key seals the keys now.
    #[n(3)]
    pub master: u64,
    /// `None` without a password.
    #[n(4)]
    pub lock: Option<Lock>,
    /// The master key, sealed by the lock if there is one.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub master_key: Vec<u8>,
}

/// A private key.
#[derive(Clone, Encode, Decode)]
pub(super) struct KeyRow {
    #[n(0)]
    pub number: u64,
    #[n(1)]
    pub name: Option<String>,
    /// Which master key seals it.
    #[n(2)]
    pub master: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

/// What a user wishes for a database.
#[derive(Clone, Encode, Decode)]
pub(crate) struct TrackedRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub key: [u8; 32],
    #[n(1)]
    pub sync_enabled: bool,
    #[n(2)]
    pub sync_on_commit: bool,
    #[n(3)]
    pub interval_seconds: Option<u64>,
    #[n(4)]
    pub properties: BTreeMap<String, String>,
}

/// What an invitation that a user has made is good for.
#[cfg(feature = "sync")]
#[derive(Clone, Encode, Decode)]
pub(super) struct InvitationRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub database: [u8; 32],
    /// The key that grants.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub key: [u8; 32],
    #[n(2)]
    pub permission: u8,
    #[n(3)]
    pub uses_left: u32,
    /// When it ends, in milliseconds since 1970.
    #[n(4)]
    pub ends: u64,
}

pub(super) fn user(name: &str) -> String {
    format!("{USERS}{name}")
}

pub(super) fn key(user: UserId, key: &KeyId) -> String {
    format!("{}{key}", keys(user))
}

/// Where the rows of the keys of a user begin.
pub(super) fn keys(user: UserId) -> String {
    format!("user-key/{user}/")
}

/// Where the rows of the invitations of a user begin.
#[cfg(feature = "sync")]
pub(super) fn invitations(user: UserId) -> String {
    format!("invitation/{user}/")
}

#[cfg(feature = "sync")]
pub(super) fn invitation(user: UserId, id: &eidetica_contract::PublicKey) -> String {
    format!("{}{id}", invitations(user))
}

pub(super) fn tracked(database: &Id, user: UserId) -> String {
    format!("{TRACKED}{database}/{user}")
}

impl TrackedRow {
    /// The database and the user that the name of a row speaks of.
    pub fn parts(name: &str) -> Result<(Id, &str)> {
        let parts = name.strip_prefix(TRACKED).and_then(|rest| rest.split_once('/'));
        let parsed = parts.and_then(|(database, user)| Some((database.parse().ok()?, user)));
        parsed.ok_or_else(|| damaged("the name of a tracked database"))
    }

    pub fn parse(row: &[u8]) -> Result<TrackedRow> {
        read(row, "a tracked database")
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The bytes of a row.
pub(super) fn write(form: impl Encode<()>) -> Bytes {
    // Writing into memory cannot fail.
    minicbor::to_vec((VERSION, form)).unwrap_or_default().into()
}

/// The form that a row holds.
pub(super) fn read<'b, T: Decode<'b, ()>>(row: &'b [u8], what: &'static str) -> Result<T> {
    let mut input = minicbor::Decoder::new(row);
    let version = input.array().and_then(|_| input.u64()).map_err(|_| damaged(what))?;
    if version > VERSION {
        let message = "a row of users was written by a newer version of this program; it was left as it is; update it";
        return Err(Error::new(ErrorKind::NewerFormat, message).with("row", what).with("form", version));
    }
    input.decode().map_err(|_| damaged(what))
}

/// Rows of users that nobody here has written so.
pub(super) fn damaged(what: &'static str) -> Error {
    let message = "the rows of users are damaged, or were tampered with; restore the store from a backup";
    Error::new(ErrorKind::Corrupted, message).with("reason", "damaged").with("damaged", what)
}

/// Refuses names that no row and no command line takes well.
pub(super) fn check_name(name: &str) -> Result<()> {
    let message = match name {
        "" => "the name of a user must not be empty",
        _ if name.len() > 256 => "the name of a user has at most 256 bytes",
        _ if name.chars().any(char::is_control) => "the name of a user must not hold control characters",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidInput, message).with("user", name))
}

impl UserRow {
    /// The user in a row, who must be the one that it is named after.
    pub fn parse(name: &str, row: &[u8]) -> Result<UserRow> {
        let user: UserRow = read(row, "a user")?;
        if user.name == name { Ok(user) } else { Err(damaged("a user under the name of another one")) }
    }

    /// Refuses a session that holds an older master key.
    pub fn check_master(&self, number: u64) -> Result<()> {
        if self.master == number { Ok(()) } else { Err(refused::stale_session(&self.name)) }
    }
}
