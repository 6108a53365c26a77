//! The rows of grants and requests: their names and their forms.
//!
//! | name | what it holds |
//! | --- | --- |
//! | `sync/grant/` database `/` user key | [`GrantRow`]: this device may carry the database for the user |
//! | `sync/listing/` user key | [`GrantRow`]: this device may ask which databases the user may read |
//!
//! A row is a list of the version of its form and the form itself. Fields that a later version adds are skipped.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;
use minicbor::{Decode, Encode};

use super::grant::{Claim, Grant, Scope};

/// The version of the forms here.
const VERSION: u64 = 1;

const GRANT: &str = "sync/grant/";
/// Where the rows of listing grants begin.
pub(super) const LISTING: &str = "sync/listing/";

/// A grant. Its scope and user stand in the name.
#[derive(Clone, Encode, Decode)]
pub(super) struct GrantRow {
    /// For which device it was signed: this one, unless the key of the device was exchanged.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub device: [u8; 32],
    #[n(1)]
    pub serial: u64,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl GrantRow {
    pub fn of(grant: &Grant) -> GrantRow {
        let signature = grant.claim().signature;
        GrantRow { device: *grant.device().as_bytes(), serial: grant.serial(), signature }
    }

    pub fn parse(row: &[u8]) -> Result<GrantRow> {
        read(row, "a grant")
    }

    pub fn claim(&self, user: PublicKey) -> Claim {
        Claim { user, serial: self.serial, signature: self.signature }
    }
}

/// Where the rows of grants for a database begin.
pub(super) fn grants(database: &Id) -> String {
    format!("{GRANT}{database}/")
}

/// Where the rows of grants of a scope begin.
pub(super) fn grants_of(scope: &Scope) -> String {
    match scope {
        Scope::Database(id) => grants(id),
        Scope::Listing => LISTING.to_owned(),
    }
}

pub(super) fn grant(scope: &Scope, user: &PublicKey) -> String {
    format!("{}{user}", grants_of(scope))
}

/// The key at the end of the name of a row.
pub(super) fn key_of(name: &str, prefix: &str) -> Result<PublicKey> {
    let key = name.strip_prefix(prefix).and_then(|key| key.parse().ok());
    key.ok_or_else(|| damaged("the name of a row"))
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
        let message = "a row of sync was written by a newer version of this program; it was left as it is; update it";
        return Err(Error::new(ErrorKind::NewerFormat, message).with("row", what).with("form", version));
    }
    input.decode().map_err(|_| damaged(what))
}

/// Rows of sync that nobody here has written so.
pub(super) fn damaged(what: &'static str) -> Error {
    let message = "the rows of sync are damaged, or were tampered with; restore the store from a backup";
    Error::new(ErrorKind::Corrupted, message).with("reason", "damaged").with("damaged", what)
}
