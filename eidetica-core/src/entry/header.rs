//! The header of an entry and its canonical bytes.

use eidetica_contract::PublicKey;

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::clock::Time;
use crate::id::Id;
use crate::limits::{FORMAT_VERSION, MAX_BODIES, MAX_HEIGHT, MAX_KIND_NAME, MAX_PARENTS, MAX_STORE_NAME, MAX_STORES};

/// The derivation context of BLAKE3 under which the unsigned header is hashed; the hash is what is signed.
const SIGNATURE_CONTEXT: &str = "eidetica entry 1 signature";

/// What an entry says about itself, and what its id is the hash of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which database it belongs to.
    pub origin: Origin,
    /// The entries directly below it, in ascending order.
    pub parents: Vec<Id>,
    /// One more than the greatest height of its parents; 0 for a root.
    pub height: u64,
    /// When it was written, by a clock that never runs behind its parents.
    pub time: Time,
    /// Whose key signed it.
    pub author: PublicKey,
    /// The stores that it touches, ordered by name and kind.
    pub stores: Vec<StoreDelta>,
    /// Ed25519 over everything above.
    pub signature: [u8; 64],
}

/// Which database an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is the root of a database; the nonce makes its id unique.
    Root {
        /// Random bytes.
        nonce: [u8; 16],
    },
    /// It belongs to the database with this root.
    Database(Id),
}

/// What an entry changes in one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDelta {
    /// The name of the store.
    pub name: String,
    /// The name of its kind.
    pub kind: String,
    /// How many bytes the body has.
    pub length: u32,
    /// The BLAKE3-256 hash of the body.
    pub hash: [u8; 32],
}

impl StoreDelta {
    pub(crate) fn of(name: &str, kind: &str, body: &[u8]) -> StoreDelta {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        StoreDelta { name: name.to_owned(), kind: kind.to_owned(), length, hash: *blake3::hash(body).as_bytes() }
    }

    /// True if this is the body that is meant.
    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.length as usize && *blake3::hash(body).as_bytes() == self.hash
    }
}

impl Header {
    /// The canonical bytes; their BLAKE3 hash is the id of the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.list(8);
        self.write_unsigned(&mut out);
        out.bytes(&self.signature);
        out.finish()
    }

    /// What the signature is made over.
    pub(crate) fn signed_hash(&self) -> [u8; 32] {
        let mut out = Writer::new();
        out.list(7);
        self.write_unsigned(&mut out);
        blake3::derive_key(SIGNATURE_CONTEXT, &out.finish())
    }

    fn write_unsigned(&self, out: &mut Writer) {
        out.uint(FORMAT_VERSION.into());
        match &self.origin {
            Origin::Root { nonce } => out.bytes(nonce),
            Origin::Database(id) => out.bytes(id.as_bytes()),
        };
        out.list(self.parents.len());
        for parent in &self.parents {
            out.bytes(parent.as_bytes());
        }
        out.uint(self.height).uint(self.time.number()).bytes(self.author.as_bytes());
        out.list(self.stores.len());
        for store in &self.stores {
            out.list(4).text(&store.name).text(&store.kind).uint(store.length.into()).bytes(&store.hash);
        }
    }

    /// Reads a header of this format version. Whether it is canonical, within the limits and well signed is for
    /// [`verify`](super::verify) to say.
    pub(crate) fn read(bytes: &[u8]) -> Read<Header> {
        let mut input = Reader::new(bytes);
        input.list_of(8)?;
        if input.uint()? != u64::from(FORMAT_VERSION) {
            return Err(Malformed);
        }
        let origin = input.bytes()?;
        let parents = input.list(usize::MAX)?;
        let parents = (0..parents).map(|_| input.array().map(Id::from_bytes)).collect::<Read<Vec<Id>>>()?;
        let origin = match (parents.is_empty(), Id::from_slice(origin)) {
            (true, _) => Origin::Root { nonce: origin.try_into().map_err(|_| Malformed)? },
            (false, Some(id)) => Origin::Database(id),
            (false, None) => return Err(Malformed),
        };
        let height = input.uint()?;
        let time = Time::from_number(input.uint()?);
        let author = PublicKey::from_bytes(input.array()?);
        let stores = input.list(usize::MAX)?;
        let stores = (0..stores).map(|_| read_store(&mut input)).collect::<Read<Vec<StoreDelta>>>()?;
        let signature = input.array()?;
        input.end()?;
        Ok(Header { origin, parents, height, time, author, stores, signature })
    }

    /// The format version that these bytes claim, if they look like a header at all.
    pub(super) fn version(bytes: &[u8]) -> Read<u64> {
        let mut input = Reader::new(bytes);
        input.list(usize::MAX)?;
        input.uint()
    }

    /// The limits and the order that the format asks for; `Err` names the one that is broken.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let ascending = |ids: &[Id]| ids.windows(2).all(|pair| pair[0] < pair[1]);
        let ordered = self.stores.windows(2).all(|w| (&w[0].name, &w[0].kind) < (&w[1].name, &w[1].kind));
        let named = |text: &str, max: usize| !text.is_empty() && text.len() <= max;
        let bodies: u64 = self.stores.iter().map(|store| u64::from(store.length)).sum();
        let settings = |store: &StoreDelta| (store.name == crate::auth::STORE) == (store.kind == crate::auth::KIND);
        let rules = [
            (self.parents.len() <= MAX_PARENTS, "more parents than an entry may have"),
            (ascending(&self.parents), "the parents are not in strictly ascending order"),
            (self.stores.len() <= MAX_STORES, "more stores than an entry may touch"),
            (self.stores.iter().all(|s| named(&s.name, MAX_STORE_NAME)), "the name of a store is empty or too long"),
            (self.stores.iter().all(|s| named(&s.kind, MAX_KIND_NAME)), "the kind of a store is empty or too long"),
            (ordered, "the stores are not in strictly ascending order"),
            (bodies <= MAX_BODIES as u64, "the bodies are longer than an entry may hold"),
            (self.stores.iter().all(settings), "the settings store and its kind belong together"),
            (self.height <= MAX_HEIGHT, "the height is too great"),
            ((self.height == 0) == self.parents.is_empty(), "only a root has the height 0"),
        ];
        rules.into_iter().find(|(kept, _)| !kept).map_or(Ok(()), |(_, rule)| Err(rule))
    }
}

fn read_store(input: &mut Reader<'_>) -> Read<StoreDelta> {
    input.list_of(4)?;
    let (name, kind) = (input.text()?.to_owned(), input.text()?.to_owned());
    let length = u32::try_from(input.uint()?).map_err(|_| Malformed)?;
    Ok(StoreDelta { name, kind, length, hash: input.array()? })
}
