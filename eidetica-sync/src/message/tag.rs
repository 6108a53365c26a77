//! How a database is named to a peer that may not know it.

use eidetica_contract::PublicKey;
use eidetica_core::Id;

/// Names a database between two devices. Who does not know the id of the database learns nothing from it, and it is of no
/// use with anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag(pub [u8; 16]);

/// What makes tags for one caller and one answerer.
#[derive(Clone, Copy)]
pub(crate) struct TagKey([u8; 32]);

impl TagKey {
    pub fn new(caller: &PublicKey, answerer: &PublicKey) -> TagKey {
        let mut devices = [0; 64];
        devices[..32].copy_from_slice(caller.as_bytes());
        devices[32..].copy_from_slice(answerer.as_bytes());
        TagKey(blake3::derive_key("eidetica 2026 sync 1, the tags of databases", &devices))
    }

    pub fn tag(&self, database: &Id) -> Tag {
        let hash = blake3::keyed_hash(&self.0, database.as_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash.as_bytes()[..16]);
        Tag(tag)
    }
}
