//! Identifiers of entries and databases.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use cid::multihash::Multihash;
use eidetica_contract::{Error, ErrorKind};

const DAG_CBOR: u64 = 0x71;
const BLAKE3: u64 = 0x1e;

/// The id of an entry: the BLAKE3-256 hash of its header. The id of a database is that of its root entry.
///
/// It is shown as a CIDv1 (codec dag-cbor, hash blake3) in base 32.
///
/// ```
/// use eidetica_core::Id;
///
/// let id = Id::of(b"some header");
/// assert!(id.to_string().starts_with("bafyr4i"));
/// assert_eq!(id.to_string().parse::<Id>()?, id);
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 32]);

impl Id {
    /// The id of the entry with these header bytes.
    pub fn of(header: &[u8]) -> Id {
        Id(*blake3::hash(header).as_bytes())
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Id {
        Id(bytes)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = Multihash::<64>::wrap(BLAKE3, &self.0).map_err(|_| fmt::Error)?;
        fmt::Display::fmt(&Cid::new_v1(DAG_CBOR, hash), f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Id, Error> {
        let refused = || {
            let message = "not an id of an entry or database; it is a CIDv1 (dag-cbor, blake3) such as `bafyr4i…`";
            Error::new(ErrorKind::InvalidInput, message).with("id", text)
        };
        let cid: Cid = text.parse().map_err(|_| refused())?;
        let canonical = cid.codec() == DAG_CBOR && cid.hash().code() == BLAKE3 && cid.to_string() == text;
        Id::from_slice(cid.hash().digest()).filter(|_| canonical).ok_or_else(refused)
    }
}
