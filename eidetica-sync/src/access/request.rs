//! Asking for access: what is wanted, and the proof that the holder of the key wants it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::auth::Permission;
use eidetica_core::{Id, SecretKey, attested};

use crate::session::wire::Fields;

/// Keeps this statement apart from all others that a key signs.
const PURPOSE: &str = "eidetica-sync 1 access request";

/// The longest name in bytes.
pub const MAX_NAME: usize = 256;
/// The most pairs of metadata.
pub const MAX_PAIRS: usize = 16;
/// The longest name of a pair in bytes.
pub const MAX_PAIR_NAME: usize = 64;
/// The most bytes of all pairs, names and values together.
pub const MAX_METADATA: usize = 1024;

/// What somebody wants. Nothing in it but the key is proven by a [`Request`]: name and metadata are what the other side says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// The database.
    pub database: Id,
    /// The user key that is to have the right.
    pub key: PublicKey,
    /// What it is to be allowed; `None` asks what it may do already, and waits for nobody.
    pub permission: Option<Permission>,
    /// Who asks, for people: at least one byte and at most [`MAX_NAME`], without control characters.
    pub name: String,
    /// Whatever else may help to decide, for people: at most [`MAX_PAIRS`] pairs and [`MAX_METADATA`] bytes; a name of a pair
    /// has at least one byte and at most [`MAX_PAIR_NAME`]; no control characters.
    pub metadata: BTreeMap<String, String>,
}

/// A request for access, signed by the key that is to have it, from one device to another. There is none without a right
/// signature, and nobody can use it elsewhere: another device cannot send it, and another device does not take it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    wanted: Wanted,
    from: PublicKey,
    to: PublicKey,
    signature: [u8; 64],
}

impl Wanted {
    /// What is wanted, without metadata.
    pub fn new(database: Id, key: PublicKey, permission: Option<Permission>, name: impl Into<String>) -> Wanted {
        Wanted { database, key, permission, name: name.into(), metadata: BTreeMap::new() }
    }

    /// Errors: [`ErrorKind::InvalidInput`] for a name or metadata that cannot be sent.
    pub fn check(&self) -> Result<()> {
        let clean = |text: &str| !text.chars().any(char::is_control);
        let pair = |(name, value): (&String, &String)| {
            !name.is_empty() && name.len() <= MAX_PAIR_NAME && clean(name) && clean(value)
        };
        let bytes: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        let message = match () {
            () if self.name.is_empty() => "who asks for access must have a name",
            () if self.name.len() > MAX_NAME => "the name of who asks for access has at most 256 bytes",
            () if !clean(&self.name) => "the name of who asks for access must not hold control characters",
            () if self.metadata.len() > MAX_PAIRS => "a request for access has at most 16 pairs of metadata",
            () if bytes > MAX_METADATA => "the metadata of a request for access have at most 1,024 bytes",
            () if !self.metadata.iter().all(pair) => {
                "the name of a pair of metadata has 1 to 64 bytes, and neither name nor value holds control characters"
            }
            () => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidInput, message).with("reason", "bad_request"))
    }

    /// The bytes of what is wanted, the same wherever it is asked.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(self.database.as_bytes());
        out.extend_from_slice(self.key.as_bytes());
        out.push(permission_number(self.permission));
        write_text(&mut out, &self.name);
        out.push(self.metadata.len() as u8);
        for (name, value) in &self.metadata {
            write_text(&mut out, name);
            write_text(&mut out, value);
        }
        out
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Wanted> {
        let (database, key) = (Id::from_bytes(fields.array()?), PublicKey::from_bytes(fields.array()?));
        let permission = permission_of(fields.byte()?)?;
        let mut wanted = Wanted::new(database, key, permission, read_text(fields, MAX_NAME)?);
        let pairs = usize::from(fields.byte()?);
        let mut last = String::new();
        for _ in 0..pairs {
            let (name, value) = (read_text(fields, MAX_PAIR_NAME)?, read_text(fields, MAX_METADATA)?);
            // In ascending order, so that the same is always the same bytes. No name is empty.
            if name <= last {
                return None;
            }
            last.clone_from(&name);
            wanted.metadata.insert(name, value);
        }
        wanted.check().is_ok().then_some(wanted)
    }
}

impl Request {
    /// Signs a request, to be sent by one device to another.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] as for [`Wanted::check`], and if this is not the key that is to have the right.
    pub fn sign(wanted: Wanted, from: PublicKey, to: PublicKey, key: &SecretKey) -> Result<Request> {
        wanted.check()?;
        if wanted.key != key.public() {
            let message = "a request for access is signed by the key that is to have it";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("key", wanted.key));
        }
        let signature = key.attest(PURPOSE, &statement(&from, &to, &wanted.to_bytes()));
        Ok(Request { wanted, from, to, signature })
    }

    /// What is wanted.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The device that asks.
    pub fn from(&self) -> &PublicKey {
        &self.from
    }

    /// The device that is asked.
    pub fn to(&self) -> &PublicKey {
        &self.to
    }

    /// The request as it travels: without the devices, which both sides know.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = self.wanted.to_bytes();
        out.extend_from_slice(&self.signature);
        out.into()
    }

    /// Reads a request that a device has sent to another. `None` if it has another form, or was not signed for these two.
    pub fn parse(bytes: &[u8], from: &PublicKey, to: &PublicKey) -> Option<Request> {
        let mut fields = Fields::new(bytes);
        let wanted = Wanted::read(&mut fields)?;
        let signature = fields.array()?;
        let statement = statement(from, to, &bytes[..bytes.len().checked_sub(64)?]);
        let sound = fields.is_empty() && attested(&wanted.key, PURPOSE, &statement, &signature);
        sound.then_some(Request { wanted, from: *from, to: *to, signature })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Request");
        out.field("wanted", &self.wanted).field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

/// What is signed.
fn statement(from: &PublicKey, to: &PublicKey, wanted: &[u8]) -> Vec<u8> {
    [&from.as_bytes()[..], to.as_bytes(), wanted].concat()
}

pub(super) fn permission_number(permission: Option<Permission>) -> u8 {
    match permission {
        None => 0,
        Some(Permission::Read) => 1,
        Some(Permission::Write) => 2,
        Some(Permission::Admin) => 3,
    }
}

pub(super) fn permission_of(number: u8) -> Option<Option<Permission>> {
    Some(match number {
        0 => None,
        1 => Some(Permission::Read),
        2 => Some(Permission::Write),
        3 => Some(Permission::Admin),
        _ => return None,
    })
}

/// A text of less than 64 KiB, as all here are.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn read_text(fields: &mut Fields<'_>, most: usize) -> Option<String> {
    let len = usize::from(fields.u16()?);
    let text = fields.take(len).filter(|_| len <= most)?;
    std::str::from_utf8(text).ok().map(str::to_owned)
}
