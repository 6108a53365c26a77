//! The rows of grants and requests: their names and their forms.
//!
//! | name | what it holds |
//! | --- | --- |
//! | `sync/grant/` database `/` user key | [`GrantRow`]: this device may carry the database for the user |
//! | `sync/listing/` user key | [`GrantRow`]: this device may ask which databases the user may read |
//! | `sync/request/` database `/` user key | [`RequestRow`]: what others have asked for here |
//! | `sync/request-count` | how often a request was added; each addition changes it, so that none is overlooked |
//! | `sync/request-secret` | what ids of requests are made with |
//! | `sync/asked/` database `/` user key `/` device | [`AskedRow`]: what was asked of another device |
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
const LISTING: &str = "sync/listing/";
/// Where the rows of requests begin.
pub(super) const REQUESTS: &str = "sync/request/";
/// The row that counts additions.
pub(super) const COUNT: &str = "sync/request-count";
/// The row that ids are made with.
pub(super) const SECRET: &str = "sync/request-secret";
/// Where the rows of what was asked begin.
pub(super) const ASKED: &str = "sync/asked/";

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

/// A request of somebody else. Database and key stand in the name, and in the request.
#[derive(Clone, Encode, Decode)]
pub(super) struct RequestRow {
    /// What is wanted, as it travels: the id is made of these bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub wanted: Vec<u8>,
    /// A device that has asked.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub device: [u8; 32],
    /// When it was asked first, in milliseconds since 1970.
    #[n(2)]
    pub asked: u64,
    /// When it was asked last, as far as that was noted.
    #[n(3)]
    pub refreshed: u64,
    #[n(4)]
    pub decision: Decision,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Decision {
    /// Nobody has decided.
    #[n(0)]
    None,
    /// An approval has begun: the grant is being written into the database.
    #[n(1)]
    Begun(#[n(0)] Decided),
    /// An admin has approved: to this right.
    #[n(2)]
    Approved(#[n(0)] Decided, #[n(1)] u64),
    /// An admin has rejected, for this reason.
    #[n(3)]
    Rejected(#[n(0)] Decided, #[n(1)] String),
}

/// Who has decided, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Decided {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub by: [u8; 32],
    /// In milliseconds since 1970.
    #[n(1)]
    pub at: u64,
}

/// What was asked of another device.
#[derive(Clone, Encode, Decode)]
pub(super) struct AskedRow {
    /// The request as it travels; it can be sent again with no key unlocked.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub request: Vec<u8>,
    /// The answer as it travels; empty before there is one.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub answer: Vec<u8>,
    /// When it was asked first, in milliseconds since 1970.
    #[n(2)]
    pub asked: u64,
}

pub(super) fn request(database: &Id, key: &PublicKey) -> String {
    format!("{REQUESTS}{database}/{key}")
}

/// Where the rows of grants of a scope begin.
pub(super) fn grants_of(scope: &Scope) -> String {
    match scope {
        Scope::Database(id) => format!("{GRANT}{id}/"),
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
