//! The rows of peers: their names and their forms.
//!
//! A row is a list of the version of its form and the form itself. Fields that a later version adds are skipped.

use bytes::Bytes;
use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use eidetica_core::{Engine, Id, LocalChange, Time};
use minicbor::{Decode, Encode};

use super::info::{PeerName, SyncAuth};
use super::record::{KnownAddress, PeerRecord, Relationship};

/// The version of the forms here.
const VERSION: u64 = 1;

pub(super) const PEERS: &str = "sync/peer/";
pub(super) const RELATIONS: &str = "sync/relation/";
pub(super) const LANES: &str = "sync/lane/";

#[derive(Clone, PartialEq, Encode, Decode)]
pub(super) struct PeerRow {
    /// The key as text, or the text that is none.
    #[n(0)]
    pub text: String,
    #[n(1)]
    pub display_name: Option<String>,
    #[n(2)]
    pub declared: bool,
    /// Times are milliseconds since 1970.
    #[n(3)]
    pub since: u64,
    #[n(4)]
    pub seen: Option<u64>,
    #[n(5)]
    pub addresses: Vec<AddressRow>,
    /// Whether the name was declared, and is not what the peer calls itself.
    #[n(6)]
    pub name_declared: bool,
}

#[derive(Clone, PartialEq, Encode, Decode)]
pub(super) struct AddressRow {
    #[n(0)]
    pub transport_type: String,
    #[n(1)]
    pub address: String,
    #[n(2)]
    pub declared: bool,
    #[n(3)]
    pub since: u64,
    #[n(4)]
    pub worked: Option<u64>,
    #[n(5)]
    pub failures: u32,
}

#[derive(Clone, PartialEq, Encode, Decode)]
pub(super) struct RelationRow {
    #[n(0)]
    pub text: String,
    #[n(1)]
    pub declared: bool,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub auth: Option<[u8; 32]>,
    #[n(3)]
    pub since: u64,
    /// The key whose right the peer has shown; none if somebody here has wished it.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub vouched: Option<[u8; 32]>,
}

#[derive(Clone, PartialEq, Encode, Decode)]
pub(super) struct LaneRow {
    /// The ids, one after the other.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub heads: Vec<u8>,
    #[n(1)]
    pub at: u64,
}

/// A peer in the name of a row. What is no key may be of any length and hold anything, so its hash stands for it.
fn part(peer: &PeerName) -> String {
    match peer.key() {
        Ok(key) => key.to_string(),
        Err(_) => format!("?{}", blake3::hash(peer.to_string().as_bytes())),
    }
}

pub(super) fn peer(peer: &PeerName) -> String {
    format!("{PEERS}{}", part(peer))
}

/// Where the rows of the databases of a peer begin: with those of no other peer.
pub(super) fn relations(peer: &PeerName) -> String {
    format!("{RELATIONS}{}/", part(peer))
}

pub(super) fn relation(peer: &PeerName, database: &Id) -> String {
    format!("{}{database}", relations(peer))
}

/// Where the rows of what is remembered of a peer begin.
pub(super) fn lanes(peer: &PeerName) -> String {
    format!("{LANES}{}/", part(peer))
}

pub(super) fn lane(peer: &PublicKey, database: &Id) -> String {
    format!("{LANES}{peer}/{database}")
}

/// The bytes of a row.
pub(super) fn write(form: &impl Encode<()>) -> Bytes {
    // Writing into memory cannot fail.
    minicbor::to_vec((VERSION, form)).unwrap_or_default().into()
}

/// The form that a row holds.
pub(super) fn read<'b, T: Decode<'b, ()>>(name: &str, row: &'b [u8]) -> Result<T> {
    let mut input = minicbor::Decoder::new(row);
    let version = input.array().and_then(|_| input.u64()).map_err(|_| damaged(name))?;
    if version > VERSION {
        let message = "a row of peers was written by a newer version of this program; it was left as it is; update it";
        return Err(Error::new(ErrorKind::NewerFormat, message).with("row", name).with("form", version));
    }
    let form = input.decode().map_err(|_| damaged(name))?;
    if input.position() == row.len() { Ok(form) } else { Err(damaged(name)) }
}

/// A row that nobody here has written so.
pub(super) fn damaged(name: &str) -> Error {
    let message =
        "a row of peers is damaged, or was tampered with; remove the peer, or restore the store from a backup";
    Error::new(ErrorKind::Corrupted, message).with("reason", "damaged").with("row", name)
}

impl PeerRow {
    /// The row with this name, which must speak of the peer that it is named after.
    pub fn parse(name: &str, row: &[u8]) -> Result<PeerRow> {
        let form: PeerRow = read(name, row)?;
        if peer(&form.name()) == name { Ok(form) } else { Err(damaged(name)) }
    }

    pub fn name(&self) -> PeerName {
        PeerName::of(&self.text)
    }

    pub fn record(self) -> PeerRecord {
        let name = self.name();
        let mut addresses: Vec<KnownAddress> = self.addresses.into_iter().map(AddressRow::known).collect();
        // What has failed least, then what has worked last, then what was declared, then what is newest.
        addresses.sort_by_key(|known| {
            use std::cmp::Reverse;
            (known.failures, Reverse(known.worked), Reverse(known.declared), Reverse(known.since))
        });
        let PeerRow { display_name, declared, since, seen, .. } = self;
        let (since, seen) = (Time::from_millis(since), seen.map(Time::from_millis));
        PeerRecord { name, display_name, declared, since, seen, addresses }
    }
}

impl AddressRow {
    pub fn is(&self, address: &Address) -> bool {
        self.transport_type == address.transport_type && self.address == address.address
    }

    fn known(self) -> KnownAddress {
        let AddressRow { transport_type, address, declared, since, worked, failures } = self;
        let (since, worked) = (Time::from_millis(since), worked.map(Time::from_millis));
        KnownAddress { address: Address { transport_type, address }, declared, since, worked, failures }
    }
}

impl RelationRow {
    pub fn parse(name: &str, row: &[u8]) -> Result<Relationship> {
        let form: RelationRow = read(name, row)?;
        let peer = PeerName::of(&form.text);
        let database = name.strip_prefix(&relations(&peer)).and_then(|rest| rest.parse().ok());
        let database = database.ok_or_else(|| damaged(name))?;
        let auth = form.auth.map(|key| SyncAuth::key(PublicKey::from_bytes(key)));
        let vouched = form.vouched.map(PublicKey::from_bytes);
        Ok(Relationship {
            peer,
            database,
            declared: form.declared,
            auth,
            since: Time::from_millis(form.since),
            vouched,
        })
    }
}

impl LaneRow {
    /// The ids; `None` if they are none.
    pub fn ids(&self) -> Option<Vec<Id>> {
        let (ids, rest) = self.heads.as_chunks::<32>();
        rest.is_empty().then(|| ids.iter().map(|id| Id::from_bytes(*id)).collect())
    }
}

/// Changes rows, unless they are no longer as they were read. Gives whether it has come to that; if not, they are to be read
/// again. What is as it was is not written.
pub(super) async fn changed(engine: &Engine, mut changes: Vec<LocalChange>) -> Result<bool> {
    changes.retain(|change| change.before != change.after);
    if changes.is_empty() {
        return Ok(true);
    }
    match engine.change_locals(changes).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}
