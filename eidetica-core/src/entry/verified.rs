//! Entries whose bytes are proven.

use std::fmt;

use bytes::Bytes;

use super::header::{Header, Origin, StoreDelta};
use crate::auth;
use crate::id::Id;
use crate::key::{self, SecretKey};
use crate::limits::{FORMAT_VERSION, MAX_HEADER};

/// The body of one store of an entry; `None` where it is not here.
pub type Body = Option<Bytes>;

/// An entry as it travels: nothing about it is known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// The canonical bytes of the header.
    pub header: Bytes,
    /// The bodies in the order of the header's stores. A list that is too short leaves the rest absent.
    pub bodies: Vec<Body>,
}

/// An entry whose header is canonical, within the limits of the format and well signed, and whose bodies are those that
/// the header commits to. Only [`verify`] and [`VerifiedEntry::sign`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEntry {
    id: Id,
    header: Header,
    header_bytes: Bytes,
    bodies: Vec<Body>,
}

/// Why bytes are no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejected {
    /// The header is longer than the format allows.
    TooLong,
    /// The bytes are cut off, not a header, or not the canonical form of one.
    NotCanonical,
    /// It breaks a limit of the format.
    Limit(&'static str),
    /// The signature is not that of the author.
    BadSignature,
    /// Its format version is newer than this program: no fault of the sender.
    NewerVersion(u64),
    /// More bodies than stores were sent with it.
    SurplusBodies,
    /// The settings delta does not parse, or breaks a limit.
    BadSettings(&'static str),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::TooLong => write!(f, "the header is longer than {MAX_HEADER} bytes"),
            Rejected::NotCanonical => f.write_str("the bytes are not the canonical form of a header"),
            Rejected::Limit(rule) => f.write_str(rule),
            Rejected::BadSignature => f.write_str("the signature is not that of the author"),
            Rejected::NewerVersion(version) => {
                write!(f, "its format version is {version}, and this program knows {FORMAT_VERSION}; update it")
            }
            Rejected::SurplusBodies => f.write_str("it came with more bodies than it touches stores"),
            Rejected::BadSettings(reason) => write!(f, "the settings delta is malformed: {reason}"),
        }
    }
}

impl std::error::Error for Rejected {}

/// Proves an entry.
///
/// A body whose hash or length is not the one in the header is left out, as if it had not been sent: the header stands by
/// itself. A settings body that is there must parse, since settings decide what is admitted.
pub fn verify(raw: RawEntry) -> Result<VerifiedEntry, Rejected> {
    // First: the limits of a newer version may be other ones.
    let version = Header::version(&raw.header).map_err(|_| Rejected::NotCanonical)?;
    if version > FORMAT_VERSION.into() {
        return Err(Rejected::NewerVersion(version));
    }
    if raw.header.len() > MAX_HEADER {
        return Err(Rejected::TooLong);
    }
    let header = Header::read(&raw.header).map_err(|_| Rejected::NotCanonical)?;
    if header.to_bytes() != raw.header {
        return Err(Rejected::NotCanonical);
    }
    header.check().map_err(Rejected::Limit)?;
    if raw.bodies.len() > header.stores.len() {
        return Err(Rejected::SurplusBodies);
    }
    if !key::verify(&header.author, &header.signed_hash(), &header.signature) {
        return Err(Rejected::BadSignature);
    }
    let mut bodies = raw.bodies;
    bodies.resize(header.stores.len(), None);
    for (store, body) in header.stores.iter().zip(&mut bodies) {
        body.take_if(|body| !store.fits(body));
        if let (auth::KIND, Some(body)) = (store.kind.as_str(), &body) {
            auth::Settings::parse(body).map_err(Rejected::BadSettings)?;
        }
    }
    Ok(VerifiedEntry { id: Id::of(&raw.header), header, header_bytes: raw.header, bodies })
}

impl VerifiedEntry {
    /// Signs a new entry. `header` says everything but the stores and the signature, which follow from the deltas: name
    /// and kind of a store, and its body.
    ///
    /// Errors: [`Rejected::Limit`], [`Rejected::TooLong`], [`Rejected::BadSettings`], as [`verify`] would answer.
    pub fn sign(
        mut header: Header,
        mut deltas: Vec<(String, String, Bytes)>,
        key: &SecretKey,
    ) -> Result<VerifiedEntry, Rejected> {
        deltas.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        header.parents.sort_unstable();
        header.stores = deltas.iter().map(|(name, kind, body)| StoreDelta::of(name, kind, body)).collect();
        header.author = key.public();
        header.check().map_err(Rejected::Limit)?;
        header.signature = key.sign(&header.signed_hash());
        let header_bytes = Bytes::from(header.to_bytes());
        if header_bytes.len() > MAX_HEADER {
            return Err(Rejected::TooLong);
        }
        for (_, _, body) in deltas.iter().filter(|(_, kind, _)| kind == auth::KIND) {
            auth::Settings::parse(body).map_err(Rejected::BadSettings)?;
        }
        let bodies = deltas.into_iter().map(|(_, _, body)| Some(body)).collect();
        Ok(VerifiedEntry { id: Id::of(&header_bytes), header, header_bytes, bodies })
    }

    /// An entry that this store has verified before, read back from it.
    pub(crate) fn trusted(header_bytes: Bytes, bodies: Vec<Body>) -> Option<VerifiedEntry> {
        let header = Header::read(&header_bytes).ok()?;
        let fits = bodies.len() == header.stores.len();
        fits.then(|| VerifiedEntry { id: Id::of(&header_bytes), header, header_bytes, bodies })
    }

    /// The id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// How many bytes header and bodies have.
    pub(crate) fn length(&self) -> usize {
        self.header_bytes.len() + self.bodies.iter().flatten().map(Bytes::len).sum::<usize>()
    }

    /// What it says about itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The canonical bytes of the header.
    pub fn header_bytes(&self) -> &Bytes {
        &self.header_bytes
    }

    /// The stores it touches, with their bodies.
    pub fn deltas(&self) -> impl Iterator<Item = (&StoreDelta, &Body)> {
        self.header.stores.iter().zip(&self.bodies)
    }

    /// The bodies, in the order of the header's stores.
    pub fn bodies(&self) -> &[Body] {
        &self.bodies
    }

    /// The database it belongs to: for a root, its own id.
    pub fn database(&self) -> Id {
        match self.header.origin {
            Origin::Root { .. } => self.id,
            Origin::Database(id) => id,
        }
    }

    /// The settings delta, if it touches the settings and the body is here.
    pub(crate) fn settings(&self) -> Option<&Bytes> {
        self.deltas().find(|(store, _)| store.kind == auth::KIND).and_then(|(_, body)| body.as_ref())
    }

    /// True if it touches the settings.
    pub(crate) fn touches_settings(&self) -> bool {
        self.header.stores.iter().any(|store| store.kind == auth::KIND)
    }

    /// This entry with the bodies of another copy of it filled in where they were absent; `None` if none was.
    pub(crate) fn completed_by(&self, other: &VerifiedEntry) -> Option<VerifiedEntry> {
        let bodies: Vec<Body> = self
            .bodies
            .iter()
            .zip(&other.bodies)
            .map(|(mine, theirs)| mine.clone().or_else(|| theirs.clone()))
            .collect();
        (bodies != self.bodies).then(|| VerifiedEntry { bodies, ..self.clone() })
    }

    /// As it travels.
    pub fn to_raw(&self) -> RawEntry {
        RawEntry { header: self.header_bytes.clone(), bodies: self.bodies.clone() }
    }
}
